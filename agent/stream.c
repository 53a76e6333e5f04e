/* SPDX-License-Identifier: MIT
 *
 * Streams of the agent: one command each, or what else was asked for.  See
 * server.h.
 *
 * A stream ends with exactly one of FAILED and EXIT from the agent, after
 * which its number means nothing: frames that cross it on the way are ignored,
 * which is why numbers only ever rise.  EXIT comes after the last byte that
 * the process itself wrote; what its children write later is not waited for.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "agent/pty.h"
#include "agent/server.h"
#include "agent/session.h"
#include "base/err.h"
#include "base/fd.h"

static struct stream streams[STREAMS_MAX];
static const struct stream_ops command_ops;

static struct stream *stream_find(struct conn *c, uint32_t id)
{
	size_t i;

	for (i = 0; i < STREAMS_MAX; i++) {
		if (streams[i].state != STREAM_FREE && streams[i].conn == c &&
		    streams[i].id == id)
			return &streams[i];
	}
	return NULL;
}

static struct stream *stream_new(struct conn *c, uint32_t id)
{
	struct stream *s;
	size_t i;

	for (i = 0; i < STREAMS_MAX && streams[i].state != STREAM_FREE; i++)
		;
	if (i == STREAMS_MAX)
		return NULL;
	s = &streams[i];
	*s = (struct stream){
		.state = STREAM_OPENING,
		.fail = -1,
		.conn = c,
		.id = id,
		.request = BUF_INIT_MAX(WIRE_REQUEST_MAX),
		.flow = WIRE_FLOW_INIT,
		.ops = &command_ops,
	};
	in_init(s);
	out_init(s);
	return s;
}

void stream_free(struct stream *s)
{
	loop_close(&s->in_w);
	loop_close(&s->out[0].w);
	loop_close(&s->out[1].w);
	buf_free(&s->request);
	buf_free(&s->in);
	fd_close(&s->fail);
	cgroup_release(s->cgroup);
	s->state = STREAM_FREE;
}

void stream_fail(struct stream *s, const struct err *why)
{
	wire_put_error(&s->conn->out, s->id, why);
	stream_free(s);
}

/* ---- a command on pipes or a terminal ---- */

static void command_in_end(struct stream *s)
{
	static const char eot = 4;

	/* A terminal has no end; its users type one. */
	if (s->tty && s->in_w.fd >= 0)
		(void)!write(s->in_w.fd, &eot, 1);
	else
		loop_close(&s->in_w);
}

static void command_more(struct stream *s, int i)
{
	loop_arm(&s->out[i].w, EPOLLIN);
}

/* The command's next write gets SIGPIPE, as it would at home; a terminal that
 * nobody looks at any more hangs up. */
static void command_unwanted(struct stream *s, int i)
{
	loop_close(&s->out[i].w);
	if (s->tty)
		loop_close(&s->in_w);
}

static void command_signal(struct stream *s, int sig)
{
	kill(-s->pid, sig);
}

/* Before its input is closed, whose end it could take for success. */
static void command_kill(struct stream *s)
{
	if (!cgroup_kill(s->cgroup))
		kill(-s->pid, SIGKILL);
}

static void command_reset(struct stream *s)
{
	s->reset = true;
	command_kill(s);
	loop_close(&s->in_w);
	out_close(s, 0);
	out_close(s, 1);
}

static bool command_lost(struct stream *s)
{
	if (s->detach) {
		stream_leave_alone(s);
		return false;
	}
	if (s->tidy)
		kill(-s->pid, SIGTERM);
	else
		command_kill(s);
	loop_close(&s->in_w);
	out_close(s, 0);
	out_close(s, 1);
	/* It is freed when its process is reaped. */
	return false;
}

static const struct stream_ops command_ops = {
	.in_end = command_in_end,
	.more = command_more,
	.unwanted = command_unwanted,
	.signal = command_signal,
	.reset = command_reset,
	.lost = command_lost,
};

/* ---- all of them ---- */

void stream_resume_all(struct conn *c, const struct stream *first)
{
	size_t i, start = (size_t)(first - streams);
	int ch;

	for (i = 0; i < STREAMS_MAX; i++) {
		struct stream *s = &streams[(start + i) % STREAMS_MAX];

		if (s->state < STREAM_RUNNING || s->conn != c)
			continue;
		for (ch = 0; s->state == STREAM_RUNNING && ch < 2; ch++)
			s->ops->more(s, ch);
		if (s->state == STREAM_EXITED)
			out_drain(s);
	}
}

/* ---- frames ---- */

static void on_eof(struct stream *s, const struct wire_frame *f)
{
	int i = f->channel - WIRE_STDOUT;

	if (f->channel == WIRE_STDIN) {
		if (s->in_eof)
			return;
		s->in_eof = true;
		in_push(s);
	} else if (s->state == STREAM_EXITED) {
		loop_close(&s->out[i].w);
		out_drain(s);
	} else {
		s->ops->unwanted(s, i);
	}
}

static void on_credit(struct stream *s, const struct wire_frame *f)
{
	if (s->state == STREAM_EXITED)
		out_drain(s);
	else
		s->ops->more(s, f->channel - WIRE_STDOUT);
}

static void on_signal(struct stream *s, uint32_t sig)
{
	if (sig > 0 && sig < NSIG && s->state == STREAM_RUNNING)
		s->ops->signal(s, (int)sig);
}

static void on_winsize(struct stream *s, const uint8_t *p)
{
	struct wire_winsize w;

	wire_get_winsize(p, &w);
	if (s->tty && s->in_w.fd >= 0)
		pty_resize(s->in_w.fd, &w);
}

static void on_reset(struct stream *s)
{
	struct err e = ERR_INIT;

	if (s->state == STREAM_OPENING) {
		err_set(&e, ECANCELED, "taken back");
		stream_fail(s, &e);
	} else if (s->state == STREAM_EXITED) {
		s->reset = true;
		loop_close(&s->in_w);
		out_drain(s);
	} else {
		s->ops->reset(s);
	}
}

/* The first piece of a request.  NULL: refused, the peer is told. */
static struct stream *on_new(struct conn *c, const struct wire_frame *f)
{
	struct stream *s = stream_new(c, f->stream);
	struct err why = ERR_INIT;

	c->last = f->stream;
	if (s)
		return s;
	err_set(&why, EAGAIN, "%d commands are running, as many as can",
		STREAMS_MAX);
	wire_put_error(&c->out, f->stream, &why);
	return NULL;
}

static void on_open(struct stream *s, const struct wire_frame *f)
{
	struct err why = ERR_INIT;
	int r;

	if (buf_add(&s->request, f->data, f->len) < 0) {
		err_set(&why, E2BIG, "request longer than %u bytes",
			WIRE_REQUEST_MAX);
		stream_fail(s, &why);
		return;
	}
	if (!s->flow.opened)
		return;
	r = run_start(s, &why);
	if (r < 0) {
		stream_fail(s, &why);
		return;
	}
	s->state = STREAM_RUNNING;
	buf_free(&s->request);
	if (r == RUN_LATER)
		return;
	wire_put_u32(&s->conn->out, WIRE_STARTED, 0, s->id, (uint32_t)s->pid);
	if (r == RUN_DONE)
		stream_ended(s, 0);
	else
		s->ops->more(s, 0);
}

static int dispatch(struct stream *s, const struct wire_frame *f, struct err *e)
{
	if (f->type == WIRE_DATA)
		return in_data(s, f, e);
	if (f->type == WIRE_OPEN)
		on_open(s, f);
	else if (f->type == WIRE_CREDIT)
		on_credit(s, f);
	else if (f->type == WIRE_EOF)
		on_eof(s, f);
	else if (f->type == WIRE_SIGNAL)
		on_signal(s, wire_get32(f->data));
	else if (f->type == WIRE_WINSIZE)
		on_winsize(s, f->data);
	else
		on_reset(s);
	return 0;
}

int stream_frame(struct conn *c, const struct wire_frame *f, struct err *e)
{
	struct stream *s = stream_find(c, f->stream);
	int r;

	/* What crosses the stream's end on the way means nothing any more. */
	if (!s && f->stream <= c->last)
		return 0;
	if (!s && f->type != WIRE_OPEN)
		return wire_flow_not_open(f, e);
	if (!s)
		s = on_new(c, f);
	if (!s)
		return 0;
	r = wire_flow_in(&s->flow, f, e);
	if (r == 0)
		r = dispatch(s, f, e);
	if (s->state == STREAM_RUNNING && s->ops->settle)
		s->ops->settle(s);
	return r;
}

/* ---- ends ---- */

void stream_abandon_all(struct conn *c)
{
	size_t i;

	for (i = 0; i < STREAMS_MAX; i++) {
		struct stream *s = &streams[i];

		if (s->state == STREAM_FREE || s->conn != c)
			continue;
		s->conn = NULL;
		if (s->state != STREAM_RUNNING || s->ops->lost(s))
			stream_free(s);
	}
	stream_tell_busy();
}

void stream_leave_alone(struct stream *s)
{
	s->alone = true;
	s->conn = NULL;
	loop_close(&s->in_w);
	buf_free(&s->in);
	out_discard(s, 0);
	out_discard(s, 1);
}

void stream_tell_busy(void)
{
	bool busy = session_any_busy();
	size_t i;

	for (i = 0; i < STREAMS_MAX; i++)
		busy |= streams[i].state == STREAM_RUNNING && streams[i].alone;
	status_set(busy);
}

/* What stands in the pipe when the process has ended includes all that it
 * wrote itself.  Of a terminal there is no telling, but when it is empty. */
static size_t left_in(const struct stream *s, int i)
{
	int n;

	if (s->tty || s->out[i].w.fd < 0 ||
	    ioctl(s->out[i].w.fd, FIONREAD, &n) < 0)
		return SIZE_MAX;
	return (size_t)n;
}

void stream_ended(struct stream *s, int status)
{
	bool alone = s->alone;

	s->state = STREAM_EXITED;
	s->status = status;
	s->out[0].left = left_in(s, 0);
	s->out[1].left = left_in(s, 1);
	out_drain(s);
	if (alone)
		stream_tell_busy();
}

static void reaped(pid_t pid, int status, const struct rusage *usage)
{
	struct conn *c;
	size_t i;

	for (i = 0; i < STREAMS_MAX; i++) {
		struct stream *s = &streams[i];

		if (s->state != STREAM_RUNNING || s->ops != &command_ops ||
		    s->pid != pid)
			continue;
		c = s->conn;
		s->usage = *usage;
		stream_ended(s, status);
		if (c)
			conn_flush(c);
		return;
	}
	session_reaped(pid, status);
}

void stream_reap(void)
{
	struct rusage usage;
	int status;
	pid_t pid;

	while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0)
		reaped(pid, status, &usage);
	cgroup_sweep();
}
