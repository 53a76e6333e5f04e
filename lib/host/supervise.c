/* SPDX-License-Identifier: MIT
 *
 * The supervisor of an emulated host: see emu.h.
 *
 * One process, one poll loop: it starts the machine's processes, which die
 * with it, and is ended by the first of them that ends.
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
#include "host/console.h"
#include "host/machine.h"
#include "host/mux.h"

/* A machine that has not come up by then will not: the slowest seen took a
 * fifth of it. */
#define START_LIMIT CLOCK_S(120)
/* What a power-off may take: it kills, syncs and unmounts. */
#define STOP_LIMIT CLOCK_S(10)
/* What its end may take, once it has closed its connections. */
#define QEMU_END_MS 5000

struct supervisor {
	const struct emu_config *c;
	char *dir;
	int sigfd;
	struct machine machine;
	struct console console;
	uint64_t deadline; /* UINT64_MAX: none */
	bool reported;
	int starting; /* see struct emu_handed */
	int report;
	struct mux mux;
};

/* ---- telling ---- */

/* The last line of its console, if it has one, in an error's text. */
#define CONSOLE "%s%s%s"
#define CONSOLE_ARG(s)                                                      \
	(s)->console.line[0] ? ", its console: \"" : "", (s)->console.line, \
		(s)->console.line[0] ? "\"" : ""

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
		      "pid", (int)getpid(), "started", (json_int_t)time(NULL),
		      "cpus", (json_int_t)s->c->cpus, "memory",
		      (json_int_t)s->c->memory, "kernel", s->c->vmlinux,
		      "shares", shares);
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
	struct pollfd pf = { s->machine.qemu.pidfd, POLLIN, 0 };

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
	if (p != &s->machine.qemu && qemu_went_first(s, status))
		return explain(s, &s->machine.qemu, "QEMU", e);
	if (s->mux.shutdown && p == &s->machine.qemu && status == 0)
		return err_set(e, ESHUTDOWN,
			       "the emulated host '%s' was switched off",
			       s->c->name);
	err_set(e, ECONNABORTED, "the emulated host '%s' ended: %s %s" CONSOLE,
		s->c->name, what, proc_status_text(status, text),
		CONSOLE_ARG(s));
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
		return err_set(e, ESHUTDOWN,
			       "the emulated host '%s' was "
			       "switched off by force",
			       s->c->name);
	err_set(e, ETIMEDOUT,
		"the emulated host '%s' did not come up in %d s" CONSOLE,
		s->c->name, (int)(START_LIMIT / CLOCK_S(1)), CONSOLE_ARG(s));
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
		console_input(&s->console, s->dir);
	if (pf[P_SIG].revents)
		take_signal(s);
	if (pf[P_QEMU].revents)
		return explain(s, &s->machine.qemu, "QEMU", e);
	if (pf[P_ROOT].revents)
		return explain(s, &s->machine.fs[FS_ROOT], "virtiofsd", e);
	if (pf[P_SHARE].revents)
		return explain(s, &s->machine.fs[FS_SHARE], "virtiofsd", e);
	r = mux_serve(&s->mux, pf + P_MUX, n - P_MUX, e);
	/* The port closes a moment before QEMU ends, whose end says more. */
	if (r < 0 && r != -EPROTO && r != -ECONNABORTED)
		return explain(s, &s->machine.qemu, "QEMU", e);
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
		pf[P_QEMU] =
			(struct pollfd){ s->machine.qemu.pidfd, POLLIN, 0 };
		pf[P_ROOT] =
			(struct pollfd){ s->machine.fs[0].pidfd, POLLIN, 0 };
		pf[P_SHARE] =
			(struct pollfd){ s->machine.fs[1].pidfd, POLLIN, 0 };
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
static int detach(struct supervisor *s, const struct emu_handed *h,
		  struct err *e)
{
	mem_auto char *log = str_path(s->dir, "host.log");
	int null = open("/dev/null", O_RDWR);
	int handed[] = { h->lock, h->starting, h->report };
	int fd, i;

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
	/* Up, out of the way, then down in their order to 3, 4, 5. */
	for (i = 0; i < 3; i++)
		handed[i] = fcntl(handed[i], F_DUPFD_CLOEXEC, 16);
	for (i = 0; i < 3; i++) {
		if (handed[i] < 0 || dup3(handed[i], 3 + i, O_CLOEXEC) < 0)
			return err_sys(e, errno, "cannot detach");
	}
	s->starting = 4;
	s->report = 5;
	syscall(SYS_close_range, 6, ~0U, 0);
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
	fd_auto int listen = -1;
	int r;

	if (!path)
		return err_sys(e, ENOMEM, "socket");
	listen = sock_listen(path, e);
	if (listen < 0)
		return listen;
	fd_close(&s->starting);
	r = emu_view(s->c, s->dir, e);
	if (r == 0)
		r = machine_start(&s->machine, s->c, s->dir, &s->mux.agent,
				  &s->console.fd, e);
	if (r < 0)
		return r;
	console_rotate(&s->console, s->dir);
	mux_init(&s->mux, s->mux.agent, fd_steal(&listen));
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

void emu_supervise(const struct emu_config *c, const struct emu_handed *h)
{
	static struct supervisor s;
	struct err e = ERR_INIT;
	int r;

	s = (struct supervisor){
		.c = c,
		.dir = str_printf("%s/host/%s", c->iso_root, c->name),
		.sigfd = -1,
		.machine = MACHINE_INIT,
		.console = CONSOLE_INIT,
		.starting = h->starting,
		.report = h->report,
		.mux = { .agent = -1, .listen = -1 },
	};
	r = s.dir ? detach(&s, h, &e) : err_sys(&e, ENOMEM, "directory");
	if (r == 0)
		r = take_signals(&s, &e);
	if (r == 0)
		r = bring_up(&s, &e);
	if (r == 0)
		r = serve(&s, &e);
	fprintf(stderr, "iso-host: %s\n", e.text);
	remove_names(&s);
	machine_end(&s.machine);
	mux_close(&s.mux, &e);
	report(&s, &e);
	_exit(r == -ESHUTDOWN ? 0 : 1);
}
