/* SPDX-License-Identifier: MIT
 *
 * One request to an agent: see request.h.
 */
#include "wire/request.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"

#define STREAM 1U
#define TEXT_MAX 4096 /* of standard error, what is kept */
/* Frames waiting to be sent: above this, no more is taken. */
#define OUT_HIGH ((size_t)4 * WIRE_PAYLOAD_MAX)

static int lost(struct wire_stream *s, int num, const char *what)
{
	s->ended = true;
	s->error = err_sys(s->e, num, "%s", what);
	return s->error;
}

/* ---- what comes --------------------------------------------------------- */

static int on_data(struct wire_stream *s, const struct wire_frame *f)
{
	if (f->channel == WIRE_STDERR) {
		if (s->text.len + f->len > TEXT_MAX)
			buf_shift(&s->text, s->text.len + f->len - TEXT_MAX);
		buf_add(&s->text, f->data,
			f->len < TEXT_MAX ? f->len : TEXT_MAX);
		wire_put_u32(&s->out, WIRE_CREDIT, WIRE_STDERR, STREAM, f->len);
		return 0;
	}
	if (f->channel == WIRE_STDOUT &&
	    (f->len > WIRE_WINDOW - s->taken - (s->data.len - s->off) ||
	     buf_add(&s->data, f->data, f->len) < 0))
		return lost(s, EPROTO, "the agent overran its window");
	return 0;
}

static int refused(struct wire_stream *s, const struct wire_frame *f)
{
	struct err e = ERR_INIT;

	wire_get_error(f, &e);
	s->ended = true;
	s->error = err_set(s->e, e.num ? e.num : EIO, "%s", e.text);
	return s->error;
}

static int on_frame(struct wire_stream *s, const struct wire_frame *f)
{
	switch (f->type) {
	case WIRE_DATA:
		return on_data(s, f);
	case WIRE_CREDIT:
		if (f->channel == WIRE_STDIN)
			s->credit += wire_get32(f->data);
		return 0;
	case WIRE_EOF:
		if (f->channel == WIRE_STDIN)
			s->in_eof = true;
		else if (f->channel == WIRE_STDOUT)
			s->out_eof = true;
		return 0;
	case WIRE_STARTED:
		s->started = true;
		return 0;
	case WIRE_EXIT:
		wire_get_exit(f, &s->exit);
		s->ended = true;
		return 0;
	case WIRE_FAILED:
	case WIRE_ERROR:
		return refused(s, f);
	case WIRE_PING:
		wire_put(&s->out, WIRE_PONG, 0, 0, f->data, f->len);
		return 0;
	case WIRE_HELLO:
	case WIRE_PONG:
	case WIRE_SHUTDOWN:
	case WIRE_OPEN:
	case WIRE_SIGNAL:
	case WIRE_WINSIZE:
	case WIRE_RESET:
		break;
	}
	return 0;
}

static int take_in(struct wire_stream *s)
{
	struct wire_frame f;
	int r = wire_read(&s->in, s->conn);

	if (r == -EINTR || r == -EAGAIN)
		return 0;
	if (r <= 0)
		return lost(s, r ? -r : ECONNRESET, "connection to the agent");
	while (!s->ended && (r = wire_next(&s->in, &f, s->e)) > 0) {
		r = on_frame(s, &f);
		if (r < 0)
			return r;
	}
	if (!s->ended && r < 0) {
		s->ended = true;
		s->error = r;
	}
	return s->error;
}

static int give_out(struct wire_stream *s)
{
	ssize_t n = send(s->conn, s->out.data, s->out.len,
			 MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0) {
		/* What the agent said before it went is there to be read. */
		buf_clear(&s->out);
		s->in_eof = true;
		return 0;
	}
	buf_shift(&s->out, (size_t)n);
	return 0;
}

/* Wait until bytes can be taken in or given out, and do so. */
static int turn(struct wire_stream *s)
{
	struct pollfd pf = { s->conn, POLLIN, 0 };
	int n, r = 0;

	if (s->out.failed)
		return lost(s, ENOMEM, "connection to the agent");
	if (s->out.len)
		pf.events |= POLLOUT;
	n = poll(&pf, 1, clock_until_ms(s->deadline));
	if (n < 0 && errno != EINTR)
		return lost(s, errno, "connection to the agent");
	if (n == 0)
		return lost(s, ETIMEDOUT, "the agent does not answer");
	if (n > 0 && (pf.revents & (POLLIN | POLLHUP | POLLERR)))
		r = take_in(s);
	if (r == 0 && n > 0 && (pf.revents & POLLOUT))
		r = give_out(s);
	return r;
}

/* ---- calls -------------------------------------------------------------- */

int wire_stream_open(struct wire_stream *s, int conn,
		     const struct wire_request *x, struct err *e)
{
	buf_auto struct buf request = BUF_INIT_MAX(WIRE_REQUEST_MAX + 1);
	int r;

	s->conn = conn;
	s->deadline = UINT64_MAX;
	s->out = (struct buf)BUF_INIT;
	s->data = (struct buf)BUF_INIT_MAX(2 * (size_t)WIRE_WINDOW);
	s->text = (struct buf)BUF_INIT_MAX(TEXT_MAX + 1);
	s->off = 0;
	s->credit = WIRE_WINDOW;
	s->taken = 0;
	s->started = s->in_eof = s->out_eof = s->ended = false;
	s->error = 0;
	s->e = e;
	wire_reader_init(&s->in, WIRE_AGENT);
	r = wire_request_encode(&request, x, e);
	if (r < 0)
		return r;
	if (wire_put_open(&s->out, STREAM, &request) < 0)
		return err_sys(e, ENOMEM, "cannot send the request");
	return 0;
}

void wire_stream_free(struct wire_stream *s)
{
	buf_free(&s->out);
	buf_free(&s->data);
	buf_free(&s->text);
}

int wire_stream_started(struct wire_stream *s)
{
	int r = 0;

	while (r == 0 && !s->started && !s->ended)
		r = turn(s);
	if (r == 0 && !s->started)
		r = s->error ? s->error :
			       lost(s, EPROTO, "an end without a beginning");
	return r;
}

int wire_stream_write(struct wire_stream *s, const void *p, size_t n)
{
	const uint8_t *at = p;
	int r = 0;

	while (r == 0 && n) {
		size_t piece = n < WIRE_PAYLOAD_MAX ? n : WIRE_PAYLOAD_MAX;

		if (s->ended || s->in_eof)
			return s->error ? s->error : -EPIPE;
		if (s->credit == 0 || s->out.len >= OUT_HIGH) {
			r = turn(s);
			continue;
		}
		if (piece > s->credit)
			piece = s->credit;
		wire_put(&s->out, WIRE_DATA, WIRE_STDIN, STREAM, at, piece);
		s->credit -= (uint32_t)piece;
		at += piece;
		n -= piece;
	}
	return r;
}

int wire_stream_eof(struct wire_stream *s)
{
	if (!s->ended && !s->in_eof)
		wire_put(&s->out, WIRE_EOF, WIRE_STDIN, STREAM, NULL, 0);
	return s->error;
}

static void give_credit(struct wire_stream *s, size_t n)
{
	s->taken += (uint32_t)n;
	if (s->taken < WIRE_WINDOW / 2 || s->ended)
		return;
	wire_put_u32(&s->out, WIRE_CREDIT, WIRE_STDOUT, STREAM, s->taken);
	s->taken = 0;
}

ssize_t wire_stream_read(struct wire_stream *s, void *p, size_t n)
{
	size_t have;
	int r = 0;

	while (r == 0 && s->data.len == s->off && !s->out_eof && !s->ended)
		r = turn(s);
	if (r < 0)
		return r;
	have = s->data.len - s->off;
	if (n > have)
		n = have;
	if (n)
		memcpy(p, s->data.data + s->off, n);
	s->off += n;
	if (s->off == s->data.len) {
		buf_clear(&s->data);
		s->off = 0;
	}
	if (n)
		give_credit(s, n);
	return n || !s->error ? (ssize_t)n : s->error;
}

/* The last line that it said, which is where programs put the reason. */
static struct str last_line(const struct buf *b)
{
	struct str s = str_trim((struct str){ (char *)b->data, b->len });
	const char *nl = s.len ? memrchr(s.p, '\n', s.len) : NULL;

	if (nl) {
		s.len -= (size_t)(nl + 1 - s.p);
		s.p = nl + 1;
	}
	return s;
}

int wire_stream_end(struct wire_stream *s)
{
	char drop[4096];
	ssize_t n;

	while ((n = wire_stream_read(s, drop, sizeof(drop))) > 0)
		;
	while (n == 0 && !s->ended)
		n = turn(s);
	if (n < 0 || s->error)
		return s->error ? s->error : (int)n;
	if (!s->exit.signaled && s->exit.code == 0)
		return 0;
	if (s->text.len)
		return err_set(s->e, EIO, "%.*s", STR_ARG(last_line(&s->text)));
	return err_set(s->e, EIO, "the guest's end %s %u",
		       s->exit.signaled ? "was killed by signal" :
					  "exited with",
		       s->exit.code);
}

int wire_ask(int conn, const struct wire_request *x, uint64_t deadline,
	     struct err *e)
{
	/* Too big for a small stack. */
	mem_auto struct wire_stream *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_sys(e, ENOMEM, "cannot ask the agent");
	r = wire_stream_open(s, conn, x, e);
	s->deadline = deadline;
	if (r == 0)
		r = wire_stream_eof(s);
	if (r == 0)
		r = wire_stream_end(s);
	wire_stream_free(s);
	return r;
}
