/* SPDX-License-Identifier: MIT
 *
 * iso-host: a machine that can run KVM guests, this one or an emulated one.
 */
#include <fcntl.h>
#include <grp.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/proc.h"
#include "base/str.h"
#include "bin/tool.h"
#include "host/emu.h"
#include "vmm/check.h"
#include "wire/client.h"

/* Exit codes of `run` that are its own and not the command's, as env(1) and
 * timeout(1) have them. */
enum {
	RUN_FAILED = 125,
	RUN_NOT_EXECUTABLE = 126,
	RUN_NOT_FOUND = 127,
};

#define GIB ((uint64_t)1 << 30)

extern char **environ;

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
				  "ok", i < c->run.step ||
					c->verdict == CHECK_ABLE));
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

struct guest_kernel {
	json_t *o; /* what iso-kernel said; owned */
	const char *vmlinux, *initramfs;
	char *modules; /* owned: its .../lib/modules */
};

/* A program of ours: beside this one. */
static char *sibling(const char *name)
{
	mem_auto char *self = realpath("/proc/self/exe", NULL);
	char *slash = self ? strrchr(self, '/') : NULL;

	if (!slash)
		return NULL;
	*slash = '\0';
	return str_path(self, name);
}

static int read_kernel(struct buf *out, struct guest_kernel *k, struct err *e)
{
	const char *modules = NULL;
	char *slash;

	k->o = json_loadb((char *)out->data, out->len, 0, NULL);
	if (json_unpack(k->o, "{s:{s:s}, s:{s:s}, s:s}", "vmlinux",
			"path", &k->vmlinux, "initramfs", "path",
			&k->initramfs, "modules_dir", &modules))
		return err_set(e, EPROTO, "iso-kernel's answer makes no sense");
	k->modules = str_dup(str_of(modules));
	slash = k->modules ? strrchr(k->modules, '/') : NULL;
	if (!slash)
		return err_sys(e, ENOMEM, "kernel");
	*slash = '\0';
	return 0;
}

/* Have iso-kernel prepare it.  Its talk and its errors go to our stderr. */
static int prepare_kernel(struct guest_kernel *k, struct err *e)
{
	mem_auto char *path = sibling("iso-kernel");
	buf_auto struct buf out = BUF_INIT_MAX(1 << 20);
	struct proc_spec spec = PROC_SPEC_INIT;
	const char *argv[10] = { path, "--profile", "host", "--json" };
	int n = 4;

	if (!path)
		return err_sys(e, ENOMEM, "iso-kernel");
	if (opt_quiet)
		argv[n++] = "--quiet";
	if (opt_agent) {
		argv[n++] = "--agent";
		argv[n++] = opt_agent;
	}
	if (opt_kernel) {
		argv[n++] = "--";
		argv[n++] = opt_kernel;
	}
	spec.argv = argv;
	spec.err = STDERR_FILENO;
	if (proc_run(&spec, &out, e) < 0)
		return -EIO;
	return read_kernel(&out, k, e);
}

static int add_share(const char **v, size_t *n, const char *path,
		     struct err *e)
{
	char *real = realpath(path, NULL);
	struct stat st;

	if (!real || stat(real, &st) < 0)
		return err_sys(e, errno, "cannot share %s", path);
	if (!S_ISDIR(st.st_mode))
		return err_set(e, ENOTDIR, "cannot share %s: not a directory",
			       path);
	if (strcmp(real, "/") == 0 || strpbrk(real, "\t\n")) {
		err_set(e, EINVAL, "cannot share '%s' for writing", real);
		return err_fix(e, "name the directories that are written to: "
				  "--share DIR");
	}
	v[(*n)++] = real;
	return 0;
}

static int by_length(const void *a, const void *b)
{
	size_t la = strlen(*(const char *const *)a);
	size_t lb = strlen(*(const char *const *)b);

	return (la > lb) - (la < lb);
}

/* The directories named, or else the one we are in.  A shorter path first:
 * a share within a share is mounted over it. */
static const char **find_shares(size_t *n, struct err *e)
{
	const char **v = calloc((size_t)opt_shares.n + 1, sizeof(*v));
	int i, r = 0;

	*n = 0;
	if (!v) {
		err_sys(e, ENOMEM, "shares");
		return NULL;
	}
	for (i = 0; r == 0 && i < opt_shares.n; i++)
		r = add_share(v, n, opt_shares.v[i], e);
	if (opt_shares.n == 0)
		r = add_share(v, n, ".", e);
	if (r < 0) {
		free(v);
		return NULL;
	}
	qsort(v, *n, sizeof(*v), by_length);
	return v;
}

static uint64_t default_memory(void)
{
	uint64_t all = (uint64_t)sysconf(_SC_PHYS_PAGES) *
		       (uint64_t)sysconf(_SC_PAGESIZE);

	return all / 2 < 8 * GIB ? all / 2 : 8 * GIB;
}

static int up_preflight(struct err *e)
{
	if (geteuid() == 0)
		return 0;
	err_set(e, EPERM, "the emulated host shares this machine's files, "
			  "which only root can do");
	return err_fix(e, "sudo iso-host up");
}

static int start_emulated(struct err *e)
{
	struct guest_kernel k = { .o = NULL };
	struct emu_config c = { .iso_root = tool_root(), .name = opt_name };
	uint64_t from = clock_now();
	bool already = false;
	int r = prepare_kernel(&k, e);

	/* iso-kernel has said why. */
	if (r == -EIO)
		return -EIO;
	if (r < 0)
		return tool_fail(e), -EIO;
	c.cpus = opt_cpus ? opt_cpus : (uint64_t)sysconf(_SC_NPROCESSORS_ONLN);
	c.memory = opt_memory ? opt_memory : default_memory();
	c.disk = opt_disk;
	c.vmlinux = k.vmlinux;
	c.initramfs = k.initramfs;
	c.modules = k.modules;
	c.shares = find_shares(&c.nshares, e);
	r = c.shares ? emu_start(&c, &already, e) : -EINVAL;
	if (r < 0)
		tool_warn(e);
	else if (!opt_quiet && already)
		tool_say("the emulated host '%s' is up already", c.name);
	else if (!opt_quiet)
		tool_say("the emulated host '%s' is up: %llu CPUs, %llu MiB, "
			 "in %.1f s", c.name, (unsigned long long)c.cpus,
			 (unsigned long long)(c.memory >> 20),
			 (double)(clock_now() - from) / 1e9);
	free(k.modules);
	free((void *)(uintptr_t)c.shares);
	json_decref(k.o);
	return r;
}

static int cmd_up(int argc, const char *const *argv)
{
	struct err e = ERR_INIT;

	(void)argc;
	(void)argv;
	if (!name_is_good())
		return EXIT_WRONG;
	if (!opt_emulate && kvm_works()) {
		if (!opt_quiet)
			tool_say("KVM works here, nothing is emulated");
		return EXIT_DONE;
	}
	if (up_preflight(&e) < 0)
		return tool_fail(&e);
	return start_emulated(&e) < 0 ? EXIT_FAILED : EXIT_DONE;
}

/* ---- run ---- */

static int run_fail(const struct err *e, int code)
{
	tool_warn(e);
	return code;
}

static int exec_code(int num)
{
	return num == ENOENT ? RUN_NOT_FOUND :
	       num == EACCES || num == ENOEXEC ? RUN_NOT_EXECUTABLE :
						 RUN_FAILED;
}

static int run_here(const char *const *argv)
{
	struct err e = ERR_INIT;

	execvp(argv[0], (char *const *)(uintptr_t)argv);
	err_sys(&e, errno, "cannot run %s", argv[0]);
	return run_fail(&e, exec_code(e.num));
}

/* Our own credentials, directory and mask, for the command. */
static int describe_self(struct wire_exec *x, char **cwd, struct err *e)
{
	int n = getgroups(WIRE_GROUPS_MAX, x->groups);
	mode_t mask = umask(0);

	umask(mask);
	*cwd = getcwd(NULL, 0);
	if (!*cwd)
		return err_sys(e, errno, "cannot tell the working directory");
	if (n < 0)
		return err_sys(e, errno, "more than %d groups",
			       WIRE_GROUPS_MAX);
	x->cwd = *cwd;
	x->umask = (int)mask;
	x->has_cred = true;
	x->uid = geteuid();
	x->gid = getegid();
	x->ngroups = (size_t)n;
	for (x->envp = (const char **)environ; x->envp[x->envc]; x->envc++)
		;
	return 0;
}

static void describe_tty(struct wire_exec *x)
{
	struct winsize ws;

	x->tty = true;
	x->winsize = (struct wire_winsize){ .rows = 24, .cols = 80 };
	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_row)
		x->winsize = (struct wire_winsize){
			ws.ws_row, ws.ws_col, ws.ws_xpixel, ws.ws_ypixel };
}

static int run_there(int conn, int argc, const char *const *argv)
{
	struct wire_exec x = WIRE_EXEC_INIT;
	struct wire_exit ended = { .code = 0 };
	struct err e = ERR_INIT;
	mem_auto char *cwd = NULL;

	x.argv = (const char **)(uintptr_t)argv;
	x.argc = (size_t)argc;
	if (describe_self(&x, &cwd, &e) < 0)
		return run_fail(&e, RUN_FAILED);
	if (opt_tty)
		describe_tty(&x);
	switch (wire_run(conn, &x, &ended, &e)) {
	case WIRE_EXITED:
		return ended.signaled ? 128 + (int)ended.code :
					(int)ended.code;
	case WIRE_REFUSED:
		return run_fail(&e, exec_code(e.num));
	case WIRE_LOST:
		break;
	}
	if (!e.fix[0])
		err_fix(&e, "iso-host up");
	return run_fail(&e, RUN_FAILED);
}

static int cmd_run(int argc, const char *const *argv)
{
	struct err e = ERR_INIT;
	fd_auto int conn = -1;

	if (!name_is_good())
		return EXIT_WRONG;
	conn = emu_connect(tool_root(), opt_name, &e);
	if (conn >= 0)
		return run_there(conn, argc, argv);
	if (conn != -ENOENT)
		return run_fail(&e, RUN_FAILED);
	return kvm_works() ? run_here(argv) : run_fail(&e, RUN_FAILED);
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
	{ "quiet", 'q', OPT_FLAG, &opt_quiet, NULL,
	  "say nothing but errors", 0, 0, OFFER_NONE, NULL },
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
	  "if not given", 0, 0, OFFER_DIR, NULL },
	{ "cpus", 'c', OPT_COUNT, &opt_cpus, "N",
	  "emulated processors; all of this machine's if not given", 1, 64,
	  OFFER_NONE, NULL },
	{ "memory", 'm', OPT_BYTES, &opt_memory, "SIZE",
	  "its memory; half of this machine's, 8G at most, if not given",
	  GIB / 2, 1024 * GIB, OFFER_NONE, NULL },
	{ "disk", 'd', OPT_BYTES, &opt_disk, "SIZE",
	  "size of its state disk when that is made; 64G, sparse, if not "
	  "given", GIB, 65536 * GIB, OFFER_NONE, NULL },
	{ "kernel", 'k', OPT_TEXT, &opt_kernel, "KERNEL",
	  "the kernel, as for iso-kernel", 0, 0, OFFER_FILE, NULL },
	{ "agent", 0, OPT_TEXT, &opt_agent, "FILE",
	  "the agent, as for iso-kernel", 0, 0, OFFER_FILE, NULL },
	{ "emulate", 'e', OPT_FLAG, &opt_emulate, NULL,
	  "emulate even where KVM works", 0, 0, OFFER_NONE, NULL },
	{ .name = NULL },
};

static const struct opt run_opts[] = {
	{ "tty", 't', OPT_FLAG, &opt_tty, NULL,
	  "give the command a terminal", 0, 0, OFFER_NONE, NULL },
	{ .name = NULL },
};

static const struct opt status_opts[] = {
	{ "json", 'j', OPT_FLAG, &opt_json, NULL, "print an object", 0, 0,
	  OFFER_NONE, NULL },
	{ .name = NULL },
};

static const struct opt_cmd cmds[] = {
	{ .name = "check", .opts = check_opts, .run = cmd_check,
	  .help = "say whether this machine can run KVM guests" },
	{ .name = "up", .opts = up_opts, .run = cmd_up,
	  .help = "start the emulated host, unless KVM works here" },
	{ .name = "run", .opts = run_opts, .run = cmd_run,
	  .args = "[--] COMMAND [ARGUMENT...]", .min_args = 1, .max_args = -1,
	  .offer = OFFER_COMMAND,
	  .help = "run a command where KVM works, as if it were here" },
	{ .name = "down", .run = cmd_down,
	  .help = "switch the emulated host off" },
	{ .name = "status", .opts = status_opts, .run = cmd_status,
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
