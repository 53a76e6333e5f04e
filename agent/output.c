/* SPDX-License-Identifier: MIT
 *
 * What a command writes, on its way to the peer.  See server.h.
 */
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/as.h"
#include "agent/server.h"
#include "base/err.h"

void out_close(struct stream *s, int i)
{
	struct out_chan *o = &s->out[i];

	loop_close(&o->w);
	if (o->eof_sent || !s->conn || s->reset || (s->tty && i == 1))
		return;
	o->eof_sent = true;
	wire_put(&s->conn->out, WIRE_EOF, (uint8_t)(WIRE_STDOUT + i), s->id,
		 NULL, 0);
}

void out_discard(struct stream *s, int i)
{
	s->out[i].discard = true;
	loop_arm(&s->out[i].w, EPOLLIN);
}

/* Nobody wants it, but whoever writes is not to notice. */
static void throw_away(struct stream *s, struct out_chan *o)
{
	static uint8_t nowhere[65536];
	ssize_t n = read(o->w.fd, nowhere, sizeof(nowhere));

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		loop_close(&o->w);
	else if (n > 0 && o->broken && s->ops->unheard)
		s->ops->unheard(s);
}

/* Read one frame's worth straight into the connection's buffer.  True when
 * more may be there. */
bool out_pump(struct stream *s, int i)
{
	struct out_chan *o = &s->out[i];
	struct conn *c = s->conn;
	uint32_t *credit = &s->flow.credit[i];
	size_t want = *credit < WIRE_PAYLOAD_MAX ? *credit : WIRE_PAYLOAD_MAX;
	uint8_t *at;
	ssize_t n;

	if (o->w.fd < 0)
		return false;
	if (o->left == 0) {
		out_close(s, i);
		return false;
	}
	if (want > o->left)
		want = o->left;
	if (!c->held && conn_full(c))
		c->held = s;
	if (want == 0 || c->held ||
	    buf_reserve(&c->out, WIRE_HEADER + want) < 0) {
		loop_arm(&o->w, 0);
		return false;
	}
	at = c->out.data + c->out.len;
	n = read(o->w.fd, at + WIRE_HEADER, want);
	if (n < 0 && errno == EINTR)
		return true;
	if (n < 0 && errno == EAGAIN && s->state == STREAM_RUNNING) {
		loop_arm(&o->w, EPOLLIN);
		return false;
	}
	/* The end; or, once the process has ended, nothing more of its own.
	 * A terminal says EIO when its other end is closed. */
	if (n <= 0) {
		out_close(s, i);
		return false;
	}
	wire_header(at, WIRE_DATA, (uint8_t)(WIRE_STDOUT + i), s->id,
		    (size_t)n);
	c->out.len += WIRE_HEADER + (size_t)n;
	*credit -= (uint32_t)n;
	o->left -= (size_t)n;
	return true;
}

void out_exit(struct stream *s)
{
	struct wire_exit x = {
		.signaled = WIFSIGNALED(s->status),
		.code = WIFSIGNALED(s->status) ?
				(uint32_t)WTERMSIG(s->status) :
				(uint32_t)WEXITSTATUS(s->status),
		.user_us = (uint64_t)s->usage.ru_utime.tv_sec * 1000000 +
			   (uint64_t)s->usage.ru_utime.tv_usec,
		.sys_us = (uint64_t)s->usage.ru_stime.tv_sec * 1000000 +
			  (uint64_t)s->usage.ru_stime.tv_usec,
		.maxrss_kib = (uint64_t)s->usage.ru_maxrss,
	};
	struct err e = ERR_INIT;

	/* It may be that there was no such command after all. */
	if (as_failed(s->fail, &e))
		wire_put_error(&s->conn->out, s->id, &e);
	else
		wire_put_exit(&s->conn->out, s->id, &x);
}

/* The process has ended: send what it left behind, then EXIT.  Called again
 * whenever the peer has taken something. */
void out_drain(struct stream *s)
{
	int i;

	for (i = 0; i < 2; i++) {
		if (!s->conn || s->reset || s->out[i].discard)
			out_close(s, i);
		while (out_pump(s, i))
			;
	}
	if (s->out[0].w.fd >= 0 || s->out[1].w.fd >= 0)
		return;
	if (s->conn)
		out_exit(s);
	stream_free(s);
}

static void out_ready(struct stream *s, int i)
{
	struct conn *c = s->conn;

	if (s->out[i].discard)
		throw_away(s, &s->out[i]);
	else
		out_pump(s, i);
	if (s->state == STREAM_EXITED)
		out_drain(s);
	else if (s->ops->settle)
		s->ops->settle(s);
	if (c)
		conn_flush(c);
}

static void stdout_ready(struct watch *w, uint32_t events)
{
	(void)events;
	out_ready(container_of(w, struct stream, out[0].w), 0);
}

static void stderr_ready(struct watch *w, uint32_t events)
{
	(void)events;
	out_ready(container_of(w, struct stream, out[1].w), 1);
}

void out_init(struct stream *s)
{
	s->out[0].w = (struct watch)WATCH_INIT(&agent_loop, stdout_ready);
	s->out[1].w = (struct watch)WATCH_INIT(&agent_loop, stderr_ready);
	s->out[0].left = SIZE_MAX;
	s->out[1].left = SIZE_MAX;
}
