/* SPDX-License-Identifier: MIT
 *
 * Clients that are attached to a session's terminal: see session.h.
 *
 * Each reads the scrollback at its own pace.  The terminal is read no faster
 * than the fastest of them takes it, so that a client alone loses nothing; one
 * that is slower than another by more than the scrollback goes on with what is
 * left there, and so cannot hold the others up.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "agent/pty.h"
#include "agent/server.h"
#include "agent/session.h"
#include "base/err.h"
#include "base/fd.h"

/* How far the fastest client may be behind. */
#define LAG_MAX (SCROLLBACK_SIZE / 2)

static void unlink_client(struct stream *s)
{
	struct session *t = s->session;
	struct stream **at;

	for (at = &t->clients; *at != s; at = &(*at)->next)
		;
	*at = s->next;
	s->session = NULL;
	session_pace(t);
	session_check_busy(t);
	session_left(t);
}

/* The last frames of @s; it is free then. */
static void leave(struct stream *s, int status)
{
	unlink_client(s);
	loop_close(&s->in_w);
	out_close(s, 0);
	stream_ended(s, status);
}

/* One frame of what @s has not seen.  False: no more of it now. */
static bool send_some(struct stream *s)
{
	struct scrollback *b = &s->session->scroll;
	struct conn *c = s->conn;
	uint32_t *credit = &s->flow.credit[0];
	size_t n = *credit < WIRE_PAYLOAD_MAX ? *credit : WIRE_PAYLOAD_MAX;
	uint8_t *at;

	if (n > b->head - s->pos)
		n = (size_t)(b->head - s->pos);
	if (n && !c->held && conn_full(c))
		c->held = s;
	if (n == 0 || c->held || buf_reserve(&c->out, WIRE_HEADER + n) < 0)
		return false;
	at = c->out.data + c->out.len;
	n = scrollback_read(b, &s->pos, at + WIRE_HEADER, n);
	wire_header(at, WIRE_DATA, WIRE_STDOUT, s->id, n);
	c->out.len += WIRE_HEADER + n;
	*credit -= (uint32_t)n;
	return true;
}

/* What is there, as far as the peer takes it; and the end, if that is all. */
static void attached_more(struct stream *s, int i)
{
	struct session *t = s->session;

	if (i != 0)
		return;
	while (!s->reset && send_some(s))
		;
	if (t->dead && (s->reset || s->pos >= t->scroll.head))
		leave(s, s->reset ? 0 : t->status);
	else
		session_pace(t);
}

void session_pace(struct session *t)
{
	bool wanted = !t->clients || t->run.stream;
	const struct stream *s;

	for (s = t->clients; s && !wanted; s = s->next)
		wanted = s->reset || t->scroll.head - s->pos < LAG_MAX;
	loop_arm(&t->pty, wanted ? EPOLLIN : 0);
}

/* Writing to a connection may end it, and with it its streams, so that comes
 * when the list is gone through.  A session that ended is free when the last
 * of them has left. */
void session_fan_out(struct session *t)
{
	struct conn *conns[STREAMS_MAX];
	struct stream *s, *next;
	size_t i, k, n = 0;

	for (s = t->clients; s; s = next) {
		next = s->next;
		for (k = 0; k < n && conns[k] != s->conn; k++)
			;
		conns[k] = s->conn;
		n += k == n;
		attached_more(s, 0);
	}
	session_left(t);
	for (i = 0; i < n; i++)
		conn_flush(conns[i]);
}

/* ---- what clients do ---- */

/* The peer's input has ended: it leaves, and the session stays. */
static void attached_in_end(struct stream *s)
{
	loop_close(&s->in_w);
}

static void attached_settle(struct stream *s)
{
	if (s->in_w.fd < 0 && s->flow.in_eof && !s->reset)
		leave(s, 0);
}

static void attached_unwanted(struct stream *s, int i)
{
	if (i != 0)
		return;
	s->out[0].eof_sent = true;
	leave(s, 0);
}

/* To what is in the foreground; but the two that end a session, to all. */
static void attached_signal(struct stream *s, int sig)
{
	struct session *t = s->session;
	pid_t fg = t->pty.fd >= 0 ? pty_foreground(t->pty.fd) : 0;

	if (t->dead)
		return;
	if (sig == SIGKILL) {
		session_kill(t);
		return;
	}
	if (fg && fg != t->pid)
		kill(-fg, sig);
	if (fg == t->pid || sig == SIGHUP)
		kill(-t->pid, sig);
}

static void attached_reset(struct stream *s)
{
	s->reset = true;
	leave(s, 0);
}

static bool attached_lost(struct stream *s)
{
	unlink_client(s);
	return true;
}

/* Whether the line that they type is finished: a command's line must not come
 * behind half of theirs.  Ctrl-C, -\ and -Z may end what runs. */
static void attached_input(struct stream *s, const uint8_t *p, size_t n)
{
	struct session *t = s->session;
	size_t i;

	for (i = 0; i < n; i++) {
		bool ends = p[i] == 3 || p[i] == 28 || p[i] == 26;

		t->half_line = !ends && p[i] != '\r' && p[i] != '\n';
		if (ends)
			t->run.asked = false;
	}
}

static const struct stream_ops attached_ops = {
	.in_end = attached_in_end,
	.more = attached_more,
	.unwanted = attached_unwanted,
	.signal = attached_signal,
	.reset = attached_reset,
	.lost = attached_lost,
	.input = attached_input,
	.settle = attached_settle,
};

static void link_client(struct session *t, struct stream *s)
{
	s->ops = &attached_ops;
	s->session = t;
	s->tty = true;
	s->next = t->clients;
	t->clients = s;
	session_check_busy(t);
}

int session_attach(struct session *t, struct stream *s,
		   const struct wire_request *x, struct err *e)
{
	s->in_w.fd = fcntl(t->pty.fd, F_DUPFD_CLOEXEC, 0);
	if (s->in_w.fd < 0)
		return err_sys(e, errno, "cannot attach to session %s",
			       t->name);
	if (x->tty)
		pty_resize(t->pty.fd, &x->winsize);
	s->pos = scrollback_start(&t->scroll);
	link_client(t, s);
	return RUN_STARTED;
}

void session_await_end(struct session *t, struct stream *s)
{
	s->reset = true;
	link_client(t, s);
}
