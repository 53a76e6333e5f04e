/* SPDX-License-Identifier: MIT
 *
 * iso-host: a machine that can run KVM guests, this one or an emulated one.
 */
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"
#include "bin/ran.h"
#include "bin/tool.h"
#include "host/emu.h"
#include "host/prepare.h"
#include "host/run.h"
#include "vmm/check.h"

#define GIB ((uint64_t)1 << 30)

static const char *opt_name = "default";
static bool opt_json;
static bool opt_tty;
static bool opt_emulate;
static bool opt_quiet;
static uint64_t opt_cpus;
static uint64_t opt_memory;
static uint64_t opt_disk = 64 * GIB;
static const char *opt_kernel;
static const char *opt_agent;
static const char *opt_device;
static struct opt_list opt_shares;

static bool name_is_good(void)
{
	struct err e = ERR_INIT;

	if (str_is_name(str_of(opt_name)))
		return true;
	err_set(&e, EINVAL, "--name: '%s' is not a name", opt_name);
	err_fix(&e, "letters, digits, '.', '_', '-', at most 64, the first "
		    "no dot or dash");
	tool_warn(&e);
	return false;
}

static int print_json(json_t *o)
{
	char *text = o ? json_dumps(o, JSON_INDENT(2)) : NULL;

	json_decref(o);
	if (!text)
		return EXIT_FAILED;
	puts(text);
	free(text);
	return EXIT_DONE;
}

/* ---- check ---- */

static json_t *check_steps(const struct check *c)
{
	json_t *steps = json_array();
	unsigned int i;

	for (i = 1; c->ran && i <= c->run.step; i++)
		json_array_append_new(
			steps,
			json_pack("{s:s, s:b}", "step", check_step_name(i),
				  "ok",
				  i < c->run.step || c->verdict == CHECK_ABLE));
	return steps;
}

static int check_print_json(const struct check *c)
{
	json_t *cpu = json_pack("{s:s, s:s, s:b, s:b, s:b}", "vendor",
				c->cpu.vendor, "model", c->cpu.model, "vmx",
				c->cpu.vmx, "svm", c->cpu.svm, "guest",
				c->cpu.guest);

	return print_json(json_pack(
		"{s:s, s:b, s:s, s:s, s:o, s:i, s:o, s:I}", "verdict",
		check_verdict_name(c->verdict), "able",
		c->verdict == CHECK_ABLE, "reason", c->reason, "remedy",
		c->remedy, "cpu", cpu, "kvm_api", c->api, "steps",
		check_steps(c), "check_us", (json_int_t)(c->total_ns / 1000)));
}

static int cmd_check(int argc, const char *const *argv)
{
	struct err e = ERR_INIT;
	struct check c;
	int code = EXIT_DONE;

	(void)argc;
	(void)argv;
	if (check_kvm(&c, opt_device, &e) < 0)
		return tool_fail(&e);
	if (opt_json) {
		code = check_print_json(&c);
	} else if (!opt_quiet) {
		printf("%s: %s\n", check_verdict_name(c.verdict), c.reason);
		if (c.remedy[0])
			printf("try: %s\n", c.remedy);
	}
	if (c.verdict != CHECK_ABLE)
		code = EXIT_FAILED;
	return tool_done(code);
}

/* Whether KVM works on this machine. */
static bool kvm_works(void)
{
	struct check c;

	return check_kvm(&c, NULL, NULL) == 0 && c.verdict == CHECK_ABLE;
}

/* ---- up ---- */

static uint64_t default_memory(void)
{
	uint64_t all = (uint64_t)sysconf(_SC_PHYS_PAGES) *
		       (uint64_t)sysconf(_SC_PAGESIZE);

	return all / 2 < 8 * GIB ? all / 2 : 8 * GIB;
}

static int fill_config(struct emu_config *c, const struct host_kernel *k,
		       struct host_shares *shares, struct err *e)
{
	int r = host_shares_find(shares, opt_shares.v, (size_t)opt_shares.n, e);

	*c = (struct emu_config){
		.iso_root = tool_root(),
		.name = opt_name,
		.cpus = opt_cpus ? opt_cpus :
				   (uint64_t)sysconf(_SC_NPROCESSORS_ONLN),
		.memory = opt_memory ? opt_memory : default_memory(),
		.disk = opt_disk,
		.vmlinux = k->vmlinux,
		.initramfs = k->initramfs,
		.modules = k->modules,
		.shares = (const char *const *)shares->v,
		.nshares = shares->n,
	};
	return r;
}

static int start_emulated(void)
{
	host_kernel_auto struct host_kernel k = HOST_KERNEL_INIT;
	host_shares_auto struct host_shares shares = HOST_SHARES_INIT;
	struct emu_config c = { .name = opt_name };
	struct err e = ERR_INIT;
	uint64_t from = clock_now();
	bool already = false;
	int r = host_kernel_prepare(&k, opt_kernel, opt_agent, opt_quiet, &e);

	/* iso-kernel has said why. */
	if (r == -EIO)
		return EXIT_FAILED;
	if (r == 0)
		r = fill_config(&c, &k, &shares, &e);
	if (r == 0)
		r = emu_start(&c, &already, &e);
	if (r < 0)
		return tool_fail(&e);
	if (!opt_quiet && already)
		tool_say("the emulated host '%s' is up already", c.name);
	else if (!opt_quiet)
		tool_say("the emulated host '%s' is up: %llu CPUs, %llu MiB, "
			 "in %.1f s",
			 c.name, (unsigned long long)c.cpus,
			 (unsigned long long)(c.memory >> 20),
			 (double)(clock_now() - from) / 1e9);
	return EXIT_DONE;
}

static int cmd_up(int argc, const char *const *argv)
{
	struct err e = ERR_INIT;
	struct check c;

	(void)argc;
	(void)argv;
	if (!name_is_good())
		return EXIT_WRONG;
	if (!opt_emulate && check_kvm(&c, NULL, &e) == 0) {
		if (c.verdict == CHECK_ABLE) {
			if (!opt_quiet)
				tool_say("KVM works here, nothing is emulated");
			return EXIT_DONE;
		}
		if (!opt_quiet)
			tool_say("no KVM here: %s", c.reason);
	}
	if (geteuid() != 0) {
		err_set(&e, EPERM,
			"the emulated host shares this machine's "
			"files, which only root can do");
		err_fix(&e, "sudo iso-host up");
		return tool_fail(&e);
	}
	return start_emulated();
}

/* ---- run ---- */

static int run_here(const char *const *argv)
{
	struct err e = ERR_INIT;

	tool_restore_signals();
	execvp(argv[0], (char *const *)(uintptr_t)argv);
	err_sys(&e, errno, "cannot run %s", argv[0]);
	return ran_fail(&e, ran_code_of(e.num));
}

static int run_there(int conn, const char *const *argv)
{
	struct wire_exit ended = { .code = 0 };
	struct err e = ERR_INIT;

	enum wire_outcome how = host_run(conn, argv, opt_tty, &ended, &e);

	if (how == WIRE_LOST && !e.fix[0])
		err_fix(&e, "iso-host up");
	return ran_code(how, &ended, &e);
}

static int cmd_run(int argc, const char *const *argv)
{
	struct err e = ERR_INIT;
	fd_auto int conn = -1;

	(void)argc;
	if (!name_is_good())
		return EXIT_WRONG;
	conn = emu_connect(tool_root(), opt_name, &e);
	if (conn >= 0)
		return run_there(conn, argv);
	if (conn != -ENOENT)
		return ran_fail(&e, RAN_FAILED);
	return kvm_works() ? run_here(argv) : ran_fail(&e, RAN_FAILED);
}

/* ---- down, status ---- */

static int cmd_down(int argc, const char *const *argv)
{
	struct err e = ERR_INIT;
	int r;

	(void)argc;
	(void)argv;
	if (!name_is_good())
		return EXIT_WRONG;
	r = emu_stop(tool_root(), opt_name, &e);
	/* Down is what was asked for, and down it is. */
	if (r < 0 && r != -ENOENT)
		return tool_fail(&e);
	if (!opt_quiet)
		tool_say(r == 0 ? "the emulated host '%s' is down" :
				  "the emulated host '%s' was not up",
			 opt_name);
	return EXIT_DONE;
}

static int print_status(bool up, json_t *o)
{
	json_int_t pid = 0, started = 0, cpus = 0, memory = 0;

	if (opt_json) {
		if (!o)
			o = json_pack("{s:s}", "name", opt_name);
		json_object_set_new(o, "up", json_boolean(up));
		return print_json(o);
	}
	if (json_unpack(o, "{s:I, s:I, s:I, s:I}", "pid", &pid, "started",
			&started, "cpus", &cpus, "memory", &memory) == 0)
		printf("%s\tup\tpid %lld\t%lld CPUs\t%lld MiB\tsince %lld s\n",
		       opt_name, (long long)pid, (long long)cpus,
		       (long long)(memory >> 20),
		       (long long)(time(NULL) - started));
	else
		printf("%s\t%s\n", opt_name, up ? "starting" : "down");
	json_decref(o);
	return EXIT_DONE;
}

static int cmd_status(int argc, const char *const *argv)
{
	mem_auto char *path = emu_path(tool_root(), opt_name, "status.json");
	buf_auto struct buf b = BUF_INIT_MAX(1 << 20);
	struct err e = ERR_INIT;
	json_t *o = NULL;
	int up, code;

	(void)argc;
	(void)argv;
	if (!name_is_good())
		return EXIT_WRONG;
	up = emu_is_up(tool_root(), opt_name, &e);
	if (up < 0)
		return tool_fail(&e);
	/* A file that a crash left behind tells of a machine that is gone. */
	if (up && path && io_read_file(AT_FDCWD, path, &b, NULL) == 0)
		o = json_loadb((char *)b.data, b.len, 0, NULL);
	code = print_status(up, o);
	return tool_done(code == EXIT_DONE && !up ? EXIT_FAILED : code);
}

/* ---- the table ---- */

static const struct opt common_opts[] = {
	{ "name", 'n', OPT_TEXT, &opt_name, "NAME",
	  "which emulated host; 'default' if not given", 0, 0, OFFER_NONE,
	  NULL },
	{ "quiet", 'q', OPT_FLAG, &opt_quiet, NULL, "say nothing but errors", 0,
	  0, OFFER_NONE, NULL },
	{ .name = NULL },
};

static const struct opt check_opts[] = {
	{ "json", 'j', OPT_FLAG, &opt_json, NULL,
	  "print an object with all that was found", 0, 0, OFFER_NONE, NULL },
	{ "device", 0, OPT_TEXT, &opt_device, "PATH",
	  "look at another device than /dev/kvm", 0, 0, OFFER_FILE, NULL },
	{ .name = NULL },
};

static const struct opt up_opts[] = {
	{ "share", 's', OPT_TEXTS, &opt_shares, "DIR",
	  "share DIR for writing (may be repeated); the working directory "
	  "if not given",
	  0, 0, OFFER_DIR, NULL },
	{ "cpus", 'c', OPT_COUNT, &opt_cpus, "N",
	  "emulated processors; all of this machine's if not given", 1, 64,
	  OFFER_NONE, NULL },
	{ "memory", 'm', OPT_BYTES, &opt_memory, "SIZE",
	  "its memory; half of this machine's, 8G at most, if not given",
	  GIB / 2, 1024 * GIB, OFFER_NONE, NULL },
	{ "disk", 'd', OPT_BYTES, &opt_disk, "SIZE",
	  "size of its state disk when that is made; 64G, sparse, if not "
	  "given",
	  GIB, 65536 * GIB, OFFER_NONE, NULL },
	{ "kernel", 'k', OPT_TEXT, &opt_kernel, "KERNEL",
	  "the kernel, as for iso-kernel", 0, 0, OFFER_FILE, NULL },
	{ "agent", 0, OPT_TEXT, &opt_agent, "FILE",
	  "the agent, as for iso-kernel", 0, 0, OFFER_FILE, NULL },
	{ "emulate", 'e', OPT_FLAG, &opt_emulate, NULL,
	  "emulate even where KVM works", 0, 0, OFFER_NONE, NULL },
	{ .name = NULL },
};

static const struct opt run_opts[] = {
	{ "tty", 't', OPT_FLAG, &opt_tty, NULL, "give the command a terminal",
	  0, 0, OFFER_NONE, NULL },
	{ .name = NULL },
};

static const struct opt status_opts[] = {
	{ "json", 'j', OPT_FLAG, &opt_json, NULL, "print an object", 0, 0,
	  OFFER_NONE, NULL },
	{ .name = NULL },
};

static const struct opt_cmd cmds[] = {
	{ .name = "check",
	  .opts = check_opts,
	  .run = cmd_check,
	  .help = "say whether this machine can run KVM guests" },
	{ .name = "up",
	  .opts = up_opts,
	  .run = cmd_up,
	  .help = "start the emulated host, unless KVM works here" },
	{ .name = "run",
	  .opts = run_opts,
	  .run = cmd_run,
	  .args = "[--] COMMAND [ARGUMENT...]",
	  .min_args = 1,
	  .max_args = -1,
	  .offer = OFFER_COMMAND,
	  .help = "run a command where KVM works, as if it were here" },
	{ .name = "down",
	  .run = cmd_down,
	  .help = "switch the emulated host off" },
	{ .name = "status",
	  .opts = status_opts,
	  .run = cmd_status,
	  .help = "say whether the emulated host is up" },
	{ .name = NULL },
};

static const struct opt_prog prog = {
	.self = {
		.name = "iso-host",
		.help = "A machine that can run KVM guests: this one, or an "
			"emulated one.",
		.opts = common_opts,
	},
	.cmds = cmds,
};

int main(int argc, char **argv)
{
	return tool_main(&prog, argc, argv);
}
