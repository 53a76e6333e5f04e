/* SPDX-License-Identifier: MIT
 *
 * Streams of the agent: one command each.  See server.h.
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

#include "agent/server.h"
#include "base/err.h"
#include "base/fd.h"

static struct stream streams[STREAMS_MAX];

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
		.conn = c,
		.id = id,
		.request = BUF_INIT_MAX(WIRE_REQUEST_MAX),
		.flow = WIRE_FLOW_INIT,
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
	cgroup_release(s->cgroup);
	s->state = STREAM_FREE;
}

static void stream_kill(struct stream *s)
{
	if (s->state == STREAM_RUNNING && !cgroup_kill(s->cgroup))
		kill(-s->pid, SIGKILL);
}

void stream_resume_all(struct conn *c, const struct stream *first)
{
	size_t i, start = (size_t)(first - streams);
	int ch;

	for (i = 0; i < STREAMS_MAX; i++) {
		struct stream *s = &streams[(start + i) % STREAMS_MAX];

		if (s->state < STREAM_RUNNING || s->conn != c)
			continue;
		for (ch = 0; ch < 2; ch++)
			loop_arm(&s->out[ch].w, EPOLLIN);
		if (s->state == STREAM_EXITED)
			out_drain(s);
	}
}

static void on_eof(struct stream *s, const struct wire_frame *f)
{
	if (f->channel == WIRE_STDIN) {
		if (s->in_eof)
			return;
		s->in_eof = true;
		if (s->in.len == 0)
			in_end(s);
	} else {
		/* The command's next write gets SIGPIPE, as it would at home;
		 * a terminal that nobody looks at any more hangs up. */
		loop_close(&s->out[f->channel - WIRE_STDOUT].w);
		if (s->tty)
			loop_close(&s->in_w);
		if (s->state == STREAM_EXITED)
			out_drain(s);
	}
}

/* ---- frames ---- */

static void on_credit(struct stream *s, const struct wire_frame *f)
{
	if (s->state == STREAM_EXITED)
		out_drain(s);
	else
		loop_arm(&s->out[f->channel - WIRE_STDOUT].w, EPOLLIN);
}

static void on_signal(struct stream *s, uint32_t sig)
{
	if (sig > 0 && sig < NSIG && s->state == STREAM_RUNNING)
		kill(-s->pid, (int)sig);
}

static void on_winsize(struct stream *s, const uint8_t *p)
{
	struct wire_winsize w;
	struct winsize ws;

	wire_get_winsize(p, &w);
	ws = (struct winsize){ w.rows, w.cols, w.xpixel, w.ypixel };
	if (s->tty && s->in_w.fd >= 0)
		ioctl(s->in_w.fd, TIOCSWINSZ, &ws);
}

static void fail(struct stream *s, const struct err *why)
{
	wire_put_error(&s->conn->out, s->id, why);
	stream_free(s);
}

static void on_reset(struct stream *s)
{
	struct err e = ERR_INIT;

	if (s->state == STREAM_OPENING) {
		err_set(&e, ECANCELED, "taken back");
		fail(s, &e);
		return;
	}
	s->reset = true;
	loop_close(&s->in_w);
	if (s->state == STREAM_EXITED) {
		out_drain(s);
		return;
	}
	stream_kill(s);
	out_close(s, 0);
	out_close(s, 1);
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

	if (buf_add(&s->request, f->data, f->len) < 0) {
		err_set(&why, E2BIG, "request longer than %u bytes",
			WIRE_REQUEST_MAX);
		fail(s, &why);
		return;
	}
	if (!s->flow.opened)
		return;
	if (run_start(s, &why) < 0) {
		fail(s, &why);
		return;
	}
	s->state = STREAM_RUNNING;
	buf_free(&s->request);
	wire_put_u32(&s->conn->out, WIRE_STARTED, 0, s->id, (uint32_t)s->pid);
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
	return r < 0 ? r : dispatch(s, f, e);
}

/* ---- ends ---- */

void stream_abandon_all(struct conn *c)
{
	size_t i;

	for (i = 0; i < STREAMS_MAX; i++) {
		struct stream *s = &streams[i];

		if (s->state == STREAM_FREE || s->conn != c)
			continue;
		stream_kill(s);
		s->conn = NULL;
		loop_close(&s->in_w);
		out_close(s, 0);
		out_close(s, 1);
		/* A running one is freed when its process is reaped. */
		if (s->state != STREAM_RUNNING)
			stream_free(s);
	}
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

static void ended(pid_t pid, int status, const struct rusage *usage)
{
	struct conn *c;
	size_t i;

	for (i = 0; i < STREAMS_MAX; i++) {
		struct stream *s = &streams[i];

		if (s->state != STREAM_RUNNING || s->pid != pid)
			continue;
		s->state = STREAM_EXITED;
		s->status = status;
		s->usage = *usage;
		s->out[0].left = left_in(s, 0);
		s->out[1].left = left_in(s, 1);
		c = s->conn;
		out_drain(s);
		if (c)
			conn_flush(c);
		return;
	}
}

void stream_reap(void)
{
	struct rusage usage;
	int status;
	pid_t pid;

	while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0)
		ended(pid, status, &usage);
	cgroup_sweep();
}
