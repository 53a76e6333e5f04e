/* SPDX-License-Identifier: MIT
 *
 * iso-boot: makes a sandbox of an image, and prints its id.
 */
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "bin/tool.h"
#include "sandbox/scratch.h"
#include "sandbox/start.h"

#define GIB ((uint64_t)1 << 30)

static const char *name, *kernel, *cmdline;
static uint64_t vcpus = 1;
static uint64_t memory = GIB;
static uint64_t disk = 8 * GIB;
static uint64_t idle_s;
static uint64_t patience = 120;
static struct opt_list env;
static bool json, quiet;

/* ---- signals ------------------------------------------------------------ */

/* What ends us while a sandbox is being made: read from a descriptor, so that
 * it can be taken back first.  -1: none can come. */
static int watch_signals(void)
{
	static const int ends[] = { SIGHUP, SIGINT, SIGTERM };
	struct sigaction sa;
	sigset_t set;
	size_t i;

	sigemptyset(&set);
	for (i = 0; i < ARRAY_SIZE(ends); i++) {
		if (sigaction(ends[i], NULL, &sa) == 0 &&
		    sa.sa_handler != SIG_IGN)
			sigaddset(&set, ends[i]);
	}
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

/* End as the signal would have ended us. */
static int end_by_signal(int fd)
{
	struct signalfd_siginfo si;
	sigset_t set;

	if (read(fd, &si, sizeof(si)) != sizeof(si))
		return EXIT_FAILED;
	sigemptyset(&set);
	sigaddset(&set, (int)si.ssi_signo);
	raise((int)si.ssi_signo);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	return EXIT_FAILED;
}

/* ---- what was asked for ------------------------------------------------- */

static int wrong(const struct err *e)
{
	tool_warn(e);
	return EXIT_WRONG;
}

static int check_env(struct err *e)
{
	int i;

	for (i = 0; i < env.n; i++) {
		const char *eq = strchr(env.v[i], '=');

		if (eq && eq != env.v[i])
			continue;
		err_set(e, EINVAL, "--env: '%s' sets no variable", env.v[i]);
		return err_fix(e, "--env NAME=VALUE");
	}
	return 0;
}

static uint64_t round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

static void warn(const struct err *e)
{
	if (!quiet)
		tool_warn(e);
}

/* ---- the answer --------------------------------------------------------- */

static json_int_t us(uint64_t from, uint64_t to)
{
	return (json_int_t)((to - from) / 1000);
}

static int print_json(const struct start_spec *s, const struct needs *n,
		      const struct box *b, const struct start_times *t,
		      uint64_t begun)
{
	json_t *o = config_make(b, s, n);
	json_t *times = json_pack("{sI sI sI sI sI}", "found",
				  us(begun, t->begun), "made",
				  us(begun, t->made), "vmm", us(begun, t->vmm),
				  "agent", us(begun, t->agent), "ready",
				  us(begun, t->ready));
	int r = -1;

	if (o && times && json_object_set(o, "us", times) == 0)
		r = json_dumpf(o, stdout, JSON_INDENT(2));
	json_decref(times);
	json_decref(o);
	putchar('\n');
	return tool_done(r < 0 ? EXIT_FAILED : EXIT_DONE);
}

static int print(const struct start_spec *s, const struct needs *n,
		 const struct box *b, const struct start_times *t,
		 uint64_t begun)
{
	if (json)
		return print_json(s, n, b, t, begun);
	puts(b->id);
	return tool_done(EXIT_DONE);
}

/* ---- the work ----------------------------------------------------------- */

static int start(const char *image, const struct needs *n, uint64_t begun)
{
	struct start_spec s = { .root = tool_root(),
				.image = image,
				.name = name,
				.vcpus = vcpus,
				.memory = round_up(memory, START_MEMORY_ALIGN),
				.disk = round_up(disk, SCRATCH_ALIGN),
				.idle_s = idle_s,
				.env = env.v,
				.cmdline = cmdline,
				.patience = CLOCK_S(patience),
				.on_lack = warn };
	box_auto struct box b = BOX_INIT;
	fd_auto int signals = watch_signals();
	struct start_times t;
	struct err e = ERR_INIT;

	s.cancel = signals;
	if (start_sandbox(&s, n, &b, &t, &e) < 0) {
		tool_warn(&e);
		return e.num == EINTR ? end_by_signal(signals) : EXIT_FAILED;
	}
	return print(&s, n, &b, &t, begun);
}

static int run(int argc, const char *const *argv)
{
	struct needs_spec spec = { .root = tool_root(),
				   .image = argv[0],
				   .kernel = kernel,
				   .quiet = quiet };
	needs_auto struct needs n = NEEDS_INIT;
	struct err e = ERR_INIT;
	uint64_t begun = clock_now();
	int r;

	(void)argc;
	if (check_env(&e) < 0 || (name && id_check_name(name, &e) < 0))
		return wrong(&e);
	r = needs_find(&n, &spec, &e);
	/* Who was asked for it has said why. */
	if (r == -EREMOTEIO)
		return EXIT_FAILED;
	if (r < 0)
		return r == -EINVAL ? wrong(&e) : tool_fail(&e);
	return start(argv[0], &n, begun);
}

static const struct opt options[] = {
	{ .name = "vcpus",
	  .letter = 'c',
	  .kind = OPT_COUNT,
	  .out = &vcpus,
	  .arg = "N",
	  .help = "virtual processors (1)",
	  .min = 1,
	  .max = START_VCPUS_MAX },
	{ .name = "memory",
	  .letter = 'm',
	  .kind = OPT_BYTES,
	  .out = &memory,
	  .arg = "SIZE",
	  .help = "memory; what is not used is not taken (1G)",
	  .min = START_MEMORY_MIN,
	  .max = START_MEMORY_MAX },
	{ .name = "disk",
	  .letter = 'd',
	  .kind = OPT_BYTES,
	  .out = &disk,
	  .arg = "SIZE",
	  .help = "room for what is written; not taken either (8G)",
	  .min = SCRATCH_MIN,
	  .max = SCRATCH_MAX },
	{ .name = "env",
	  .letter = 'e',
	  .kind = OPT_TEXTS,
	  .out = &env,
	  .arg = "NAME=VALUE",
	  .help = "set a variable for all commands (may be repeated)" },
	{ .name = "timeout",
	  .letter = 't',
	  .kind = OPT_COUNT,
	  .out = &idle_s,
	  .arg = "SECONDS",
	  .help = "destroy itself when unused for that long (0: never)",
	  .max = 365 * 86400 },
	{ .name = "name",
	  .letter = 'n',
	  .kind = OPT_TEXT,
	  .out = &name,
	  .arg = "NAME",
	  .help = "call it that besides its id" },
	{ .name = "kernel",
	  .letter = 'k',
	  .kind = OPT_TEXT,
	  .out = &kernel,
	  .arg = "KERNEL",
	  .help = "the kernel, as for iso-kernel",
	  .offer = OFFER_FILE },
	{ .name = "cmdline",
	  .kind = OPT_TEXT,
	  .out = &cmdline,
	  .arg = "WORDS",
	  .help = "more for the kernel's command line" },
	{ .name = "boot-timeout",
	  .kind = OPT_COUNT,
	  .out = &patience,
	  .arg = "SECONDS",
	  .help = "how long its guest may take to answer (120)",
	  .min = 1,
	  .max = 86400 },
	{ .name = "json",
	  .letter = 'j',
	  .kind = OPT_FLAG,
	  .out = &json,
	  .help = "print an object" },
	{ .name = "quiet",
	  .letter = 'q',
	  .kind = OPT_FLAG,
	  .out = &quiet,
	  .help = "say nothing but errors" },
	{ .name = NULL },
};

static const struct opt_prog prog = {
	.self = {
		.name = "iso-boot",
		.args = "IMAGE",
		.help = "make a sandbox of an image",
		.opts = options,
		.min_args = 1,
		.max_args = 1,
		.run = run,
	},
};

int main(int argc, char **argv)
{
	return tool_main(&prog, argc, argv);
}
