/* SPDX-License-Identifier: MIT
 *
 * Sessions: see session.h.
 */
#include "agent/session.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/pty.h"
#include "agent/server.h"
#include "agent/user.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"

#define READ_SIZE 16384
/* More than a terminal holds: for emptying one that somebody fills. */
#define DRAIN_MAX ((size_t)256 * 1024)

static struct session sessions[SESSIONS_MAX];

static bool in_use(const struct session *t)
{
	return t->name[0] != '\0';
}

static struct session *find(const char *name)
{
	size_t i;

	for (i = 0; i < SESSIONS_MAX; i++) {
		if (!sessions[i].dead && strcmp(sessions[i].name, name) == 0)
			return &sessions[i];
	}
	return NULL;
}

/* ---- whether anything runs that nobody looks at ---- */

bool session_any_busy(void)
{
	size_t i;

	for (i = 0; i < SESSIONS_MAX; i++) {
		if (in_use(&sessions[i]) && sessions[i].busy)
			return true;
	}
	return false;
}

/* A command of a stream is that stream's to count.  What is typed in a
 * terminal is in its foreground until the shell prompts for more, and that is
 * output.  A shell that runs a loop of its own looks like one at its prompt,
 * and jobs in the background are not looked for. */
void session_check_busy(struct session *t)
{
	pid_t fg = t->pty.fd >= 0 && !t->dead ? pty_foreground(t->pty.fd) : 0;
	bool busy = fg && fg != t->pid && !t->clients && !t->run.stream;

	if (busy == t->busy)
		return;
	t->busy = busy;
	stream_tell_busy();
}

/* ---- the terminal ---- */

/* One read.  False: nothing is there now, or nothing ever will be. */
static bool take_output(struct session *t, size_t n)
{
	uint8_t *at = scrollback_room(&t->scroll, &n);
	ssize_t got = read(t->pty.fd, at, n);

	if (got > 0)
		scrollback_wrote(&t->scroll, (size_t)got);
	else if (got == 0 || (errno != EAGAIN && errno != EINTR))
		loop_close(&t->pty);
	return got > 0;
}

void session_drain(struct session *t)
{
	size_t n;

	for (n = 0; n < DRAIN_MAX && t->pty.fd >= 0; n += READ_SIZE) {
		if (!take_output(t, READ_SIZE))
			break;
	}
}

static void pty_ready(struct watch *w, uint32_t events)
{
	struct session *t = container_of(w, struct session, pty);
	bool begun = t->run.begun || t->run.broken;

	(void)events;
	take_output(t, READ_SIZE);
	/* Before a prompt comes what there is to report. */
	session_report(t);
	if (begun)
		session_prompted(t);
	session_check_busy(t);
	session_fan_out(t);
}

static void report_ready(struct watch *w, uint32_t events)
{
	struct session *t = container_of(w, struct session, report);

	(void)events;
	session_report(t);
	session_fan_out(t);
}

int session_type(struct session *t, const char *text)
{
	size_t n = strlen(text);
	ssize_t put = t->pty.fd < 0 ? -1 : write(t->pty.fd, text, n);

	return put == (ssize_t)n ? 0 : -EBUSY;
}

/* ---- beginnings and ends ---- */

static void release(struct session *t)
{
	session_remove_dir(t);
	loop_close(&t->pty);
	loop_close(&t->report);
	fd_close(&t->slave);
	fd_close(&t->run.in_hold);
	fd_close(&t->run.go);
	scrollback_free(&t->scroll);
	cgroup_release(t->cgroup);
	t->name[0] = '\0';
}

void session_left(struct session *t)
{
	if (in_use(t) && t->dead && !t->clients && !t->run.stream)
		release(t);
}

void session_kill(struct session *t)
{
	pid_t fg = t->pty.fd >= 0 ? pty_foreground(t->pty.fd) : 0;

	if (t->dead || cgroup_kill(t->cgroup))
		return;
	if (fg)
		kill(-fg, SIGKILL);
	kill(-t->pid, SIGKILL);
}

void session_reaped(pid_t pid, int status)
{
	struct session *t = NULL;
	size_t i;

	for (i = 0; i < SESSIONS_MAX && !t; i++) {
		if (in_use(&sessions[i]) && !sessions[i].dead &&
		    sessions[i].pid == pid)
			t = &sessions[i];
	}
	if (!t)
		return;
	t->dead = true;
	t->status = status;
	session_report(t);
	fd_close(&t->slave);
	session_drain(t);
	loop_close(&t->pty);
	session_remove_dir(t);
	session_check_busy(t);
	if (t->run.stream)
		session_run_ended(t, status);
	session_fan_out(t);
}

static struct session *find_free(void)
{
	size_t i;

	for (i = 0; i < SESSIONS_MAX; i++) {
		if (!in_use(&sessions[i]))
			return &sessions[i];
	}
	return NULL;
}

static struct session *begin(const struct wire_request *x, struct err *e)
{
	struct session *t = find_free();
	int r;

	if (!t) {
		err_set(e, EAGAIN, "%d sessions are there, as many as can be",
			SESSIONS_MAX);
		err_fix(e, "end one of them: attach to it and type exit");
		return NULL;
	}
	*t = (struct session){
		.dirfd = -1,
		.slave = -1,
		.pty = WATCH_INIT(&agent_loop, pty_ready),
		.report = WATCH_INIT(&agent_loop, report_ready),
		.run = { .in_hold = -1, .go = -1 },
	};
	snprintf(t->name, sizeof(t->name), "%s", x->session);
	if (scrollback_init(&t->scroll) < 0)
		r = err_sys(e, ENOMEM, "cannot start session %s", t->name);
	else
		r = session_shell(t, x, e);
	if (r == 0)
		r = loop_arm(&t->pty, EPOLLIN);
	if (r == 0)
		r = loop_arm(&t->report, EPOLLIN);
	if (r == 0)
		return t;
	if (t->pid > 0)
		session_kill(t);
	release(t);
	return NULL;
}

/* ---- requests ---- */

/* Whoever asks for a user is not given another's shell. */
static int check_user(const struct session *t, const struct wire_request *x,
		      struct err *e)
{
	struct user u = { .uid = x->uid };
	int r = x->user ? user_lookup(x->user, &u, e) : 0;

	if (r < 0)
		return r;
	if ((x->user || x->has_cred) && u.uid != t->uid)
		return err_set(e, EPERM,
			       "session %s belongs to user %u, not %u", t->name,
			       t->uid, u.uid);
	return 0;
}

/* One line a session: its name, the shell's pid, how many clients look on,
 * and whether the shell is at its prompt. */
static int list(struct stream *s, struct err *e)
{
	const struct stream *c;
	int p[2];
	size_t i;

	if (pipe2(p, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_sys(e, errno, "cannot make a pipe");
	for (i = 0; i < SESSIONS_MAX; i++) {
		const struct session *t = &sessions[i];
		int n = 0;

		if (!in_use(t) || t->dead)
			continue;
		for (c = t->clients; c; c = c->next)
			n++;
		dprintf(p[1], "%s\t%d\t%u\t%d\t%s\n", t->name, t->pid, t->uid,
			n,
			t->run.stream || pty_foreground(t->pty.fd) != t->pid ?
				"busy" :
				"idle");
	}
	close(p[1]);
	s->out[0].w.fd = p[0];
	return RUN_DONE;
}

static int check(const struct wire_request *x, struct err *e)
{
	if (!x->session || !str_is_name(str_of(x->session)) ||
	    strlen(x->session) > SESSION_NAME_MAX)
		return err_set(e, EINVAL,
			       "session name '%s' is not 1 to %d of letters, "
			       "digits, '_', '.' and '-'",
			       x->session ? x->session : "", SESSION_NAME_MAX);
	if (x->argc && x->tty)
		return err_set(e, EINVAL,
			       "a command in a session has no terminal of its "
			       "own: attach to session %s and type it",
			       x->session);
	return 0;
}

int session_start(struct stream *s, const struct wire_request *x, struct err *e)
{
	struct session *t;
	int r;

	if (x->verb == WIRE_SESSION_LIST)
		return list(s, e);
	r = check(x, e);
	if (r < 0)
		return r;
	t = find(x->session);
	if (!t && x->verb == WIRE_SESSION_END)
		return err_set(e, ENOENT, "no session %s", x->session);
	if (t) {
		r = check_user(t, x, e);
		if (r < 0)
			return r;
	} else {
		t = begin(x, e);
		if (!t)
			return -(e ? e->num : EIO);
	}
	s->pid = t->pid;
	if (x->verb == WIRE_SESSION_END) {
		session_await_end(t, s);
		session_kill(t);
		return RUN_STARTED;
	}
	return x->argc ? session_run(t, s, x, e) : session_attach(t, s, x, e);
}
