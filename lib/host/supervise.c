/* SPDX-License-Identifier: MIT
 *
 * The supervisor of an emulated host: see emu.h.
 *
 * One process, one poll loop: it starts the two file servers and QEMU, all
 * three with a parent-death signal, and is ended by the first of them that
 * ends.  Resources reach them as descriptors or by names relative to their
 * working directory, so that no path of the user's has to fit into QEMU's
 * option syntax.
 */
#include "host/emu.h"

#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "host/mux.h"

/* A machine that has not come up by then will not: the slowest seen took a
 * fifth of it. */
#define START_LIMIT CLOCK_S(40)
/* What a power-off may take: it kills, syncs and unmounts. */
#define STOP_LIMIT CLOCK_S(10)
/* What its end may take, once it has closed its connections. */
#define QEMU_END_MS 5000
/* The console log: so much of the newest, and as much before it. */
#define CONSOLE_MAX ((size_t)1 << 20)

enum { FS_ROOT, FS_SHARE, FS_N };

struct console {
	int fd;	 /* from QEMU's serial port */
	int log;
	size_t written;
	char line[160]; /* the last one that was not empty */
	size_t len;	/* of the one being received, in next[] */
	char next[160];
};

struct supervisor {
	const struct emu_config *c;
	char *dir;
	int sigfd;
	struct proc qemu;
	struct proc fs[FS_N];
	struct console console;
	uint64_t deadline; /* UINT64_MAX: none */
	bool reported;
	int report;
	struct mux mux;
};

/* ---- the file servers ---- */

static const char *find_virtiofsd(void)
{
	static const char *const places[] = {
		"/usr/lib/qemu/virtiofsd",
		"/usr/libexec/virtiofsd",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(places); i++) {
		if (access(places[i], X_OK) == 0)
			return places[i];
	}
	return NULL;
}

/* @sock is where QEMU will find it: it listens before the server starts, so
 * nobody has to wait for anybody. */
static int start_fs(struct supervisor *s, int which, struct err *e)
{
	static const char *const names[] = { "root", "share" };
	/* The machine's root hardly changes while it is up, and is read all
	 * the time; a share is where people build, and must never be stale. */
	static const char *const caches[] = { "cache=always",
					      "cache=auto,timeout=0" };
	mem_auto char *source = str_path(s->dir, names[which]);
	mem_auto char *sock = str_printf("%s/%s.sock", s->dir, names[which]);
	const char *argv[] = { find_virtiofsd(), "-f", "--fd=3",
			       "-o", "source=/proc/self/fd/4/.",
			       "-o", caches[which], "-o", "sandbox=chroot",
			       "-o", "log_level=warn", NULL };
	struct proc_spec spec = PROC_SPEC_INIT;
	fd_auto int fd = -1;
	fd_auto int dir = -1;
	int keep[2];

	if (!source || !sock)
		return err_sys(e, ENOMEM, "file server");
	if (!argv[0]) {
		err_set(e, ENOENT, "no virtiofsd on this machine");
		return err_fix(e, "apt-get install qemu-system-x86");
	}
	fd = sock_listen(sock, e);
	if (fd < 0)
		return fd;
	/* By descriptor: a comma in the path would end the option. */
	dir = open(source, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(e, errno, "cannot open %s", source);
	keep[0] = fd;
	keep[1] = dir;
	spec.argv = argv;
	spec.out = STDERR_FILENO;
	spec.err = STDERR_FILENO;
	spec.keep = keep;
	spec.nkeep = 2;
	spec.session = true;
	spec.die_with_parent = SIGKILL;
	return proc_spawn(&s->fs[which], &spec, e);
}

/* ---- QEMU ---- */

static const char cmdline[] =
	"console=ttyS0 loglevel=7 panic=-1 mitigations=off nokaslr "
	"random.trust_cpu=on cryptomgr.notests apparmor=0 audit=0";

struct qemu_args {
	const char *v[64];
	char text[8][256];
	int n, ntext;
};

static void arg(struct qemu_args *a, const char *word)
{
	a->v[a->n++] = word;
}

static void arg2(struct qemu_args *a, const char *option, const char *value)
{
	arg(a, option);
	arg(a, value);
}

static __attribute__((format(printf, 3, 4))) void
argf(struct qemu_args *a, const char *option, const char *fmt, ...)
{
	char *text = a->text[a->ntext++];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(a->text[0]), fmt, ap);
	va_end(ap);
	arg2(a, option, text);
}

static void qemu_args(struct qemu_args *a, const struct emu_config *c)
{
	unsigned long long mib = c->memory >> 20;

	arg(a, "qemu-system-x86_64");
	arg2(a, "-name", "isokit");
	/* q35: on microvm the kernel fails to calibrate its clock. */
	arg2(a, "-machine", "q35,memory-backend=mem,vmport=off,smm=off");
	arg2(a, "-accel", "tcg,thread=multi,tb-size=512");
	/* QEMU 7.2 loses what a second-level guest writes to XCR0, so that its
	 * kernel finds vector state inconsistent: better none. */
	arg2(a, "-cpu", "max,xsave=off");
	argf(a, "-smp", "%llu", (unsigned long long)c->cpus);
	argf(a, "-m", "%lluM", mib);
	argf(a, "-object", "memory-backend-memfd,id=mem,size=%lluM,share=on",
	     mib);
	arg(a, "-nodefaults");
	arg(a, "-no-user-config");
	arg(a, "-no-reboot");
	arg2(a, "-display", "none");
	arg2(a, "-kernel", c->vmlinux);
	arg2(a, "-initrd", c->initramfs);
	arg2(a, "-append", cmdline);
	arg2(a, "-device", "virtio-serial-pci,max_ports=2");
	arg2(a, "-chardev", "socket,id=agent,fd=3");
	arg2(a, "-device", "virtserialport,chardev=agent,name=iso.agent");
	arg2(a, "-chardev", "socket,id=console,fd=4");
	arg2(a, "-serial", "chardev:console");
	arg2(a, "-chardev", "socket,id=root,path=root.sock");
	arg2(a, "-device", "vhost-user-fs-pci,chardev=root,tag=root,"
			   "queue-size=512");
	arg2(a, "-chardev", "socket,id=share,path=share.sock");
	arg2(a, "-device", "vhost-user-fs-pci,chardev=share,tag=share,"
			   "queue-size=512");
	arg2(a, "-drive", "file=state.img,format=raw,if=none,id=state,"
			  "discard=unmap,detect-zeroes=unmap,werror=report,"
			  "rerror=report");
	arg2(a, "-device", "virtio-blk-pci,drive=state");
	arg2(a, "-device", "virtio-rng-pci");
}

static int start_qemu(struct supervisor *s, struct err *e)
{
	struct proc_spec spec = PROC_SPEC_INIT;
	struct qemu_args a = { .n = 0 };
	int agent[2], console[2], keep[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, agent) < 0)
		return err_sys(e, errno, "cannot make a socket pair");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, console) < 0) {
		r = err_sys(e, errno, "cannot make a socket pair");
		close(agent[0]);
		close(agent[1]);
		return r;
	}
	s->mux.agent = agent[0];
	s->console.fd = console[0];
	keep[0] = agent[1];
	keep[1] = console[1];
	qemu_args(&a, s->c);
	spec.argv = a.v;
	spec.cwd = s->dir;
	spec.out = STDERR_FILENO;
	spec.err = STDERR_FILENO;
	spec.keep = keep;
	spec.nkeep = 2;
	spec.session = true;
	spec.die_with_parent = SIGKILL;
	r = proc_spawn(&s->qemu, &spec, e);
	close(agent[1]);
	close(console[1]);
	if (r == -ENOENT)
		err_fix(e, "apt-get install qemu-system-x86");
	return r;
}

/* ---- the console ---- */

static void console_rotate(struct console *c, const char *dir)
{
	mem_auto char *now = str_path(dir, "console.log");
	mem_auto char *old = str_path(dir, "console.log.1");

	fd_close(&c->log);
	c->written = 0;
	if (!now || !old)
		return;
	/* The first time: what is there belongs to the run before. */
	rename(now, old);
	c->log = open(now, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

static void console_char(struct console *c, char ch)
{
	if (ch == '\n' || ch == '\r') {
		if (c->len) {
			memcpy(c->line, c->next, c->len);
			c->line[c->len] = '\0';
		}
		c->len = 0;
	} else if (c->len < sizeof(c->next) - 1 && ch >= ' ' && ch != 0x7f) {
		c->next[c->len++] = ch;
	}
}

static void console_input(struct supervisor *s)
{
	struct console *c = &s->console;
	char chunk[4096];
	ssize_t i, n = read(c->fd, chunk, sizeof(chunk));

	if (n <= 0) {
		if (n == 0 || (errno != EAGAIN && errno != EINTR))
			fd_close(&c->fd);
		return;
	}
	if (c->written + (size_t)n > CONSOLE_MAX)
		console_rotate(c, s->dir);
	if (c->log >= 0)
		(void)io_write_full(c->log, chunk, (size_t)n);
	c->written += (size_t)n;
	for (i = 0; i < n; i++)
		console_char(c, chunk[i]);
}

/* ---- telling ---- */

static void report(struct supervisor *s, const struct err *e)
{
	if (!s->reported)
		(void)io_write_full(s->report, e, sizeof(*e));
	s->reported = true;
	fd_close(&s->report);
}

/* status.json, for `iso-host status`: written when it is up. */
static int write_status(struct supervisor *s, struct err *e)
{
	mem_auto char *path = str_path(s->dir, "status.json");
	json_t *shares = json_array();
	json_t *o;
	char *text;
	size_t i;
	int r;

	for (i = 0; i < s->c->nshares; i++)
		json_array_append_new(shares, json_string(s->c->shares[i]));
	o = json_pack("{s:s, s:i, s:I, s:I, s:I, s:s, s:o}", "name", s->c->name,
		      "pid", (int)getpid(), "started",
		      (json_int_t)time(NULL), "cpus", (json_int_t)s->c->cpus,
		      "memory", (json_int_t)s->c->memory, "kernel",
		      s->c->vmlinux, "shares", shares);
	text = o ? json_dumps(o, JSON_INDENT(2)) : NULL;
	json_decref(o);
	if (!path || !text)
		r = err_sys(e, ENOMEM, "status");
	else
		r = io_write_atomic(AT_FDCWD, path, text, strlen(text), 0600,
				    e);
	free(text);
	return r;
}

/* A file server ends in peace when QEMU goes, and often is seen to end before
 * QEMU, which has more to tear down: is it that? */
static bool qemu_went_first(struct supervisor *s, int status)
{
	struct pollfd pf = { s->qemu.pidfd, POLLIN, 0 };

	return status == 0 && poll(&pf, 1, QEMU_END_MS) > 0;
}

/* QEMU or a file server has ended, or the port was closed: in words. */
static int explain(struct supervisor *s, struct proc *p, const char *what,
		   struct err *e)
{
	char text[64];
	int status = 0;
	int r = proc_wait(p, &status, e);

	if (r < 0)
		return r;
	if (p != &s->qemu && qemu_went_first(s, status))
		return explain(s, &s->qemu, "QEMU", e);
	if (s->mux.shutdown && p == &s->qemu && status == 0)
		return err_set(e, ESHUTDOWN,
			       "the emulated host '%s' was switched off",
			       s->c->name);
	err_set(e, ECONNABORTED, "the emulated host '%s' ended: %s %s%s%s%s",
		s->c->name, what, proc_status_text(status, text),
		s->console.line[0] ? ", its console: \"" : "",
		s->console.line, s->console.line[0] ? "\"" : "");
	if (s->reported)
		return err_fix(e, "iso-host up");
	return err_fix(e, "see %s/host.log and console.log there", s->dir);
}

/* ---- the loop ---- */

enum { P_SIG, P_QEMU, P_ROOT, P_SHARE, P_CONSOLE, P_MUX };

/* SIGTERM means: down, as `iso-host down` would. */
static void take_signal(struct supervisor *s)
{
	struct signalfd_siginfo si;

	if (read(s->sigfd, &si, sizeof(si)) == sizeof(si))
		mux_shutdown(&s->mux);
}

static int check_deadline(struct supervisor *s, struct err *e)
{
	if (s->deadline == UINT64_MAX || clock_now() < s->deadline)
		return 0;
	if (s->mux.shutdown)
		return err_set(e, ESHUTDOWN, "the emulated host '%s' was "
			       "switched off by force", s->c->name);
	err_set(e, ETIMEDOUT, "the emulated host '%s' did not come up in %d s",
		s->c->name, (int)(START_LIMIT / CLOCK_S(1)));
	return err_fix(e, "see %s/console.log", s->dir);
}

/* What changed with this round's events. */
static int progress(struct supervisor *s, struct err *e)
{
	struct err fine = ERR_INIT;
	int r;

	if (s->mux.shutdown && s->deadline == UINT64_MAX)
		s->deadline = clock_now() + STOP_LIMIT;
	/* Nobody is there yet who could switch it off in order. */
	if (s->mux.shutdown && !s->mux.ready)
		s->deadline = 0;
	if (s->mux.ready && !s->reported) {
		r = write_status(s, e);
		if (r < 0)
			return r;
		s->deadline = UINT64_MAX;
		report(s, &fine);
	}
	return check_deadline(s, e);
}

static int dispatch(struct supervisor *s, const struct pollfd *pf, size_t n,
		    struct err *e)
{
	int r;

	if (pf[P_CONSOLE].revents)
		console_input(s);
	if (pf[P_SIG].revents)
		take_signal(s);
	if (pf[P_QEMU].revents)
		return explain(s, &s->qemu, "QEMU", e);
	if (pf[P_ROOT].revents)
		return explain(s, &s->fs[FS_ROOT], "virtiofsd", e);
	if (pf[P_SHARE].revents)
		return explain(s, &s->fs[FS_SHARE], "virtiofsd", e);
	r = mux_serve(&s->mux, pf + P_MUX, n - P_MUX, e);
	/* The port closes a moment before QEMU ends, whose end says more. */
	if (r < 0 && r != -EPROTO && r != -ECONNABORTED)
		return explain(s, &s->qemu, "QEMU", e);
	return r < 0 ? r : progress(s, e);
}

static int serve(struct supervisor *s, struct err *e)
{
	struct pollfd pf[P_MUX + MUX_POLL_MAX];
	size_t n;
	int r = 0;

	s->deadline = clock_now() + START_LIMIT;
	while (r == 0) {
		pf[P_SIG] = (struct pollfd){ s->sigfd, POLLIN, 0 };
		pf[P_QEMU] = (struct pollfd){ s->qemu.pidfd, POLLIN, 0 };
		pf[P_ROOT] = (struct pollfd){ s->fs[0].pidfd, POLLIN, 0 };
		pf[P_SHARE] = (struct pollfd){ s->fs[1].pidfd, POLLIN, 0 };
		pf[P_CONSOLE] = (struct pollfd){ s->console.fd, POLLIN, 0 };
		n = P_MUX + mux_want(&s->mux, pf + P_MUX);
		if (poll(pf, n, clock_until_ms(s->deadline)) < 0) {
			if (errno != EINTR)
				r = err_sys(e, errno, "cannot wait");
			continue;
		}
		r = dispatch(s, pf, n, e);
	}
	return r;
}

/* ---- being one ---- */

/* Away from the terminal, the shell and everything that was inherited: a pipe
 * of whoever called `iso-host up` must not stay open for as long as we live. */
static int detach(struct supervisor *s, int lock, struct err *e)
{
	mem_auto char *log = str_path(s->dir, "host.log");
	int null = open("/dev/null", O_RDWR);
	int fd;

	if (!log || null < 0)
		return err_sys(e, errno, "cannot detach");
	fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
	if (fd < 0)
		return err_sys(e, errno, "cannot create %s", log);
	setsid();
	umask(022);
	dup2(null, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	/* 3: the lock, held until we end; 4: the report. */
	lock = fcntl(lock, F_DUPFD_CLOEXEC, 16);
	s->report = fcntl(s->report, F_DUPFD_CLOEXEC, 16);
	if (lock < 0 || s->report < 0 || dup3(lock, 3, O_CLOEXEC) < 0 ||
	    dup3(s->report, 4, O_CLOEXEC) < 0)
		return err_sys(e, errno, "cannot detach");
	s->report = 4;
	syscall(SYS_close_range, 5, ~0U, 0);
	return 0;
}

static int take_signals(struct supervisor *s, struct err *e)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	s->sigfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->sigfd < 0 ? err_sys(e, errno, "cannot take signals") : 0;
}

static int bring_up(struct supervisor *s, struct err *e)
{
	mem_auto char *path = str_path(s->dir, "agent.sock");
	int listen, r;

	if (!path)
		return err_sys(e, ENOMEM, "socket");
	r = emu_view(s->c, s->dir, e);
	if (r == 0)
		r = start_fs(s, FS_ROOT, e);
	if (r == 0)
		r = start_fs(s, FS_SHARE, e);
	if (r == 0)
		r = start_qemu(s, e);
	if (r < 0)
		return r;
	listen = sock_listen(path, e);
	if (listen < 0)
		return listen;
	console_rotate(&s->console, s->dir);
	mux_init(&s->mux, s->mux.agent, listen);
	return 0;
}

static void remove_names(const struct supervisor *s)
{
	static const char *const names[] = { "agent.sock", "root.sock",
					     "share.sock", "status.json" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		mem_auto char *path = str_path(s->dir, names[i]);

		if (path)
			unlink(path);
	}
}

void emu_supervise(const struct emu_config *c, int lock, int report_fd)
{
	static struct supervisor s;
	struct err e = ERR_INIT;
	int r;

	s = (struct supervisor){
		.c = c,
		.dir = str_printf("%s/host/%s", c->iso_root, c->name),
		.sigfd = -1,
		.qemu = PROC_INIT,
		.fs = { PROC_INIT, PROC_INIT },
		.console = { .fd = -1, .log = -1 },
		.report = report_fd,
		.mux = { .agent = -1, .listen = -1 },
	};
	r = s.dir ? detach(&s, lock, &e) : err_sys(&e, ENOMEM, "directory");
	if (r == 0)
		r = take_signals(&s, &e);
	if (r == 0)
		r = bring_up(&s, &e);
	if (r == 0)
		r = serve(&s, &e);
	fprintf(stderr, "iso-host: %s\n", e.text);
	remove_names(&s);
	proc_end(&s.qemu);
	proc_end(&s.fs[FS_ROOT]);
	proc_end(&s.fs[FS_SHARE]);
	mux_close(&s.mux, &e);
	report(&s, &e);
	_exit(r == -ESHUTDOWN ? 0 : 1);
}
