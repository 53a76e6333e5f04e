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
#include "sandbox/capture.h"
#include "sandbox/golden.h"
#include "sandbox/scratch.h"
#include "sandbox/start.h"

#define GIB ((uint64_t)1 << 30)

/* What a machine has if nothing is said. */
#define VCPUS 1
#define MEMORY GIB
#define DISK (8 * GIB)

static const char *name, *kernel, *cmdline, *prewarm, *snapshot;
static uint64_t vcpus, memory, disk; /* 0: not given */
static uint64_t idle_s = CONFIG_SAME;
static uint64_t patience = 120;
static struct opt_list env;
static bool json, quiet, cold, build_only;

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

static int print_json(json_t *config, const struct start_times *t,
		      uint64_t begun)
{
	json_t *times = json_pack("{sI sI sI sI sI}", "found",
				  us(begun, t->begun), "made",
				  us(begun, t->made), "vmm", us(begun, t->vmm),
				  "agent", us(begun, t->agent), "ready",
				  us(begun, t->ready));
	int r = -1;

	if (times && json_object_set_new(config, "us", times) == 0)
		r = json_dumpf(config, stdout, JSON_INDENT(2));
	putchar('\n');
	return tool_done(r < 0 ? EXIT_FAILED : EXIT_DONE);
}

static int print(json_t *config, const struct box *b,
		 const struct start_times *t, uint64_t begun)
{
	if (json)
		return print_json(config, t, begun);
	puts(b->id);
	return tool_done(EXIT_DONE);
}

/* ---- a machine ---------------------------------------------------------- */

/* *@refused, which may be NULL: the monitor does not take the state that it is to
 * begin with. */
static int start(json_t *config, const struct start_source *from,
		 uint64_t begun, bool *refused)
{
	struct start_spec s = { .root = tool_root(),
				.name = name,
				.patience = CLOCK_S(patience),
				.on_lack = warn };
	box_auto struct box b = BOX_INIT;
	fd_auto int signals = watch_signals();
	struct start_times t;
	struct err e = ERR_INIT;

	s.cancel = signals;
	if (start_sandbox(&s, config, from, &b, &t, &e) < 0) {
		tool_warn(&e);
		if (refused)
			*refused = e.num == EBADMSG;
		return e.num == EINTR ? end_by_signal(signals) : EXIT_FAILED;
	}
	return print(config, &b, &t, begun);
}

/* One that was captured goes on: @image is what it is called, if its snapshot
 * is not what was asked for. */
static int restore(const char *word, const char *image, uint64_t begun,
		   bool *refused)
{
	restore_auto struct restore r = RESTORE_INIT;
	struct err e = ERR_INIT;
	int n = restore_find(&r, tool_root(), word,
			     image && idle_s == CONFIG_SAME ? 0 : idle_s, env.v,
			     &e);

	/* Who was asked about the snapshot has said what is wrong with it. */
	if (n == -EREMOTEIO)
		return EXIT_FAILED;
	if (n == 0 && image &&
	    json_object_set_new(r.config, "image", json_string(image)) < 0)
		n = err_sys(&e, ENOMEM, "cannot describe the sandbox");
	return n < 0 ? tool_fail(&e) : start(r.config, &r.from, begun, refused);
}

/* ---- an image's --------------------------------------------------------- */

static int out_of_memory(void)
{
	struct err e = ERR_INIT;

	err_sys(&e, ENOMEM, "cannot describe the sandbox");
	return tool_fail(&e);
}

static int boot_cold(const json_t *config, const struct start_source *from,
		     uint64_t begun)
{
	json_t *own = config_derive(config, idle_s == CONFIG_SAME ? 0 : idle_s,
				    env.v);
	int r = own ? start(own, from, begun, NULL) : out_of_memory();

	json_decref(own);
	return r;
}

static void say_building(const char *image)
{
	if (!quiet)
		fprintf(stderr,
			"iso-boot: making a golden snapshot of %s, for the "
			"next ones to begin as\n",
			image);
}

/* The golden snapshot, which is made if there is none: by whoever comes first,
 * and all others wait.  0, -EINTR with *@signals what ended it, or another
 * -errno; @e filled.  *@booted: but the machine came up. */
static int find_golden(struct golden_spec *g, const char *image,
		       char id[static SNAPSHOT_ID_SIZE], int *signals,
		       bool *booted, struct err *e)
{
	fd_auto int lock = -1;
	char key[GOLDEN_KEY];
	int r = golden_key(g, key, e);

	if (r < 0 || golden_look(g->root, key, id) == 0)
		return r;
	lock = golden_lock(g->root, key, e);
	if (lock < 0 || golden_look(g->root, key, id) == 0)
		return lock < 0 ? lock : 0;
	say_building(image);
	g->cancel = *signals = watch_signals();
	return golden_build(g, key, id, booted, e);
}

/* What it was made on was another machine, if only by the frequency that the
 * kernel measured when it booted. */
static int restore_golden(const char *id, const char *image,
			  struct golden_spec *g, uint64_t begun)
{
	bool refused = false;
	int r = restore(id, image, begun, &refused);

	if (!refused)
		return r;
	golden_forget(g, id);
	if (!quiet)
		fprintf(stderr, "iso-boot: it boots instead; the next start "
				"makes a golden snapshot anew\n");
	return boot_cold(g->config, &g->cold, begun);
}

static int boot_golden(const char *image, struct golden_spec *g, uint64_t begun)
{
	fd_auto int signals = -1;
	char id[SNAPSHOT_ID_SIZE];
	struct err e = ERR_INIT;
	bool booted = false;
	int r = find_golden(g, image, id, &signals, &booted, &e);

	if (r == -EINTR) {
		tool_warn(&e);
		return end_by_signal(signals);
	}
	if (r < 0 && (build_only || !booted))
		return r == -EREMOTEIO ? EXIT_FAILED : tool_fail(&e);
	/* It is there to be fast, and can be done without. */
	if (r < 0) {
		if (r != -EREMOTEIO)
			tool_warn(&e);
		return boot_cold(g->config, &g->cold, begun);
	}
	if (!build_only)
		return restore_golden(id, image, g, begun);
	puts(id);
	return tool_done(EXIT_DONE);
}

static int boot_image(const char *image, const struct needs *n, uint64_t begun)
{
	const struct config_spec c = {
		.image = image,
		.vcpus = vcpus ? vcpus : VCPUS,
		.memory =
			round_up(memory ? memory : MEMORY, START_MEMORY_ALIGN),
		.disk = round_up(disk ? disk : DISK, SCRATCH_ALIGN),
	};
	struct golden_spec g = { .root = tool_root(),
				 .config = config_make(&c, n),
				 .cold = { .vmlinux = n->vmlinux,
					   .initramfs = n->initramfs,
					   .cmdline = cmdline },
				 .prewarm = prewarm,
				 .patience = CLOCK_S(patience),
				 .cancel = -1,
				 .on_lack = warn };
	int r;

	if (!g.config)
		return out_of_memory();
	r = cold ? boot_cold(g.config, &g.cold, begun) :
		   boot_golden(image, &g, begun);
	json_decref((json_t *)(uintptr_t)g.config);
	return r;
}

static int find_and_boot(const char *image)
{
	struct needs_spec spec = { .root = tool_root(),
				   .image = image,
				   .kernel = kernel,
				   .quiet = quiet };
	needs_auto struct needs n = NEEDS_INIT;
	struct err e = ERR_INIT;
	uint64_t begun = clock_now();
	int r = needs_find(&n, &spec, &e);

	/* Who was asked for it has said why. */
	if (r == -EREMOTEIO)
		return EXIT_FAILED;
	if (r < 0)
		return r == -EINVAL ? wrong(&e) : tool_fail(&e);
	return boot_image(image, &n, begun);
}

/* ---- the command line --------------------------------------------------- */

/* What was captured is as it was. */
static int check_words(int argc, struct err *e)
{
	const char *extra = vcpus      ? "--vcpus" :
			    memory     ? "--memory" :
			    disk       ? "--disk" :
			    kernel     ? "--kernel" :
			    cmdline    ? "--cmdline" :
			    prewarm    ? "--prewarm" :
			    cold       ? "--cold" :
			    build_only ? "--build-only" :
			    argc       ? "an image" :
					 NULL;

	if (snapshot && extra)
		return err_set(e, EINVAL,
			       "both --from and %s: a snapshot has all that "
			       "already",
			       extra);
	if (cold && (build_only || prewarm))
		return err_set(e, EINVAL,
			       "both --cold and %s: a machine that boots has "
			       "no golden snapshot",
			       prewarm ? "--prewarm" : "--build-only");
	if (!snapshot && argc == 0) {
		err_set(e, EINVAL, "an image or --from is wanted");
		return err_fix(e, "iso-boot --help");
	}
	return 0;
}

static int run(int argc, const char *const *argv)
{
	struct err e = ERR_INIT;

	if (check_words(argc, &e) < 0 || check_env(&e) < 0 ||
	    (name && id_check_name(name, &e) < 0))
		return wrong(&e);
	return snapshot ? restore(snapshot, NULL, clock_now(), NULL) :
			  find_and_boot(argv[0]);
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
	  .max = (uint64_t)365 * 86400 },
	{ .name = "name",
	  .letter = 'n',
	  .kind = OPT_TEXT,
	  .out = &name,
	  .arg = "NAME",
	  .help = "call it that besides its id" },
	{ .name = "from",
	  .letter = 'f',
	  .kind = OPT_TEXT,
	  .out = &snapshot,
	  .arg = "SNAPSHOT",
	  .help = "go on from a snapshot, not with an image" },
	{ .name = "cold",
	  .kind = OPT_FLAG,
	  .out = &cold,
	  .help = "boot, without a golden snapshot" },
	{ .name = "build-only",
	  .kind = OPT_FLAG,
	  .out = &build_only,
	  .help = "only make the golden snapshot, and print its id" },
	{ .name = "prewarm",
	  .kind = OPT_TEXT,
	  .out = &prewarm,
	  .arg = "CMD",
	  .help = "what to run before the golden snapshot is taken" },
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
		.args = "[IMAGE]",
		.help = "make a sandbox of an image",
		.opts = options,
		.max_args = 1,
		.run = run,
	},
};

int main(int argc, char **argv)
{
	return tool_main(&prog, argc, argv);
}
