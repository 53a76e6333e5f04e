/* SPDX-License-Identifier: MIT
 *
 * The agent protocol: frames.  See frame.h, and msg.h for what they carry.
 */
#include "wire/frame.h"

#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "wire/msg.h"

/* What a frame of each type must look like. */
struct rule {
	uint8_t from;	     /* set of enum wire_side; 0: no such type */
	uint8_t on_stream;   /* 0: stream must be 0; 1: must not */
	uint8_t channel_max; /* of the channel byte */
	uint16_t min, max;   /* payload */
};

#define BOTH (WIRE_CLIENT | WIRE_AGENT)
#define TEXT_MAX 1024

static const struct rule rules[] = {
	[WIRE_HELLO] = { BOTH, 0, 0, 8, 8 + TEXT_MAX },
	[WIRE_PING] = { BOTH, 0, 0, 0, 64 },
	[WIRE_PONG] = { BOTH, 0, 0, 0, 64 },
	[WIRE_ERROR] = { WIRE_AGENT, 0, 0, 4, 4 + TEXT_MAX },
	[WIRE_SHUTDOWN] = { WIRE_CLIENT, 0, 0, 0, 0 },
	[WIRE_OPEN] = { WIRE_CLIENT, 1, WIRE_OPEN_MORE, 1, WIRE_PAYLOAD_MAX },
	[WIRE_STARTED] = { WIRE_AGENT, 1, 0, 4, 4 },
	[WIRE_FAILED] = { WIRE_AGENT, 1, 0, 4, 4 + TEXT_MAX },
	[WIRE_DATA] = { BOTH, 1, WIRE_STDERR, 1, WIRE_PAYLOAD_MAX },
	[WIRE_EOF] = { BOTH, 1, WIRE_STDERR, 0, 0 },
	[WIRE_CREDIT] = { BOTH, 1, WIRE_STDERR, 4, 4 },
	[WIRE_SIGNAL] = { WIRE_CLIENT, 1, 0, 4, 4 },
	[WIRE_WINSIZE] = { WIRE_CLIENT, 1, 0, 8, 8 },
	[WIRE_EXIT] = { WIRE_AGENT, 1, 0, 32, 32 },
	[WIRE_RESET] = { WIRE_CLIENT, 1, 0, 0, 0 },
};

void wire_reader_init(struct wire_reader *r, enum wire_side from)
{
	r->from = from;
	r->start = 0;
	r->end = 0;
}

/* Move what is left to the front, so that a whole frame fits behind it. */
static void compact(struct wire_reader *r)
{
	if (r->start == r->end)
		r->start = r->end = 0;
	if (r->start == 0)
		return;
	memmove(r->data, r->data + r->start, r->end - r->start);
	r->end -= r->start;
	r->start = 0;
}

int wire_read(struct wire_reader *r, int fd)
{
	ssize_t n;

	compact(r);
	do {
		n = read(fd, r->data + r->end, sizeof(r->data) - r->end);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	r->end += (size_t)n;
	return (int)n;
}

size_t wire_feed(struct wire_reader *r, const void *p, size_t n)
{
	compact(r);
	if (n > sizeof(r->data) - r->end)
		n = sizeof(r->data) - r->end;
	memcpy(r->data + r->end, p, n);
	r->end += n;
	return n;
}

static int broken(struct err *e, const char *what, const uint8_t *h)
{
	return err_set(e, EPROTO,
		       "protocol broken: %s (type %u, channel %u, stream %u, "
		       "length %u)",
		       what, h[2], h[3], wire_get32(h + 4), wire_get16(h));
}

/* The header @h against the table; 0 or -EPROTO. */
static int check(const struct wire_reader *r, const uint8_t *h, struct err *e)
{
	const struct rule *rule = h[2] < ARRAY_SIZE(rules) ? &rules[h[2]] :
							     &rules[0];
	uint16_t len = wire_get16(h);

	if (!rule->from)
		return broken(e, "unknown type", h);
	if (!(rule->from & r->from))
		return broken(e, "type from the wrong side", h);
	if ((wire_get32(h + 4) != 0) != rule->on_stream)
		return broken(e, "wrong stream", h);
	if (h[3] > rule->channel_max)
		return broken(e, "wrong channel", h);
	if (len < rule->min || len > rule->max)
		return broken(e, "wrong length", h);
	return 0;
}

int wire_next(struct wire_reader *r, struct wire_frame *f, struct err *e)
{
	const uint8_t *h = r->data + r->start;
	size_t have = r->end - r->start;
	size_t len;
	int ret;

	if (have < WIRE_HEADER)
		return 0;
	ret = check(r, h, e);
	if (ret < 0)
		return ret;
	len = wire_get16(h);
	if (have < WIRE_HEADER + len)
		return 0;
	*f = (struct wire_frame){
		.type = h[2],
		.channel = h[3],
		.stream = wire_get32(h + 4),
		.data = h + WIRE_HEADER,
		.len = (uint16_t)len,
	};
	r->start += WIRE_HEADER + len;
	return 1;
}

void wire_header(uint8_t at[static WIRE_HEADER], enum wire_type type,
		 uint8_t channel, uint32_t stream, size_t len)
{
	wire_set16(at, (uint16_t)len);
	at[2] = (uint8_t)type;
	at[3] = channel;
	wire_set32(at + 4, stream);
}

int wire_put(struct buf *b, enum wire_type type, uint8_t channel,
	     uint32_t stream, const void *p, size_t len)
{
	uint8_t h[WIRE_HEADER];
	int r;

	if (len > WIRE_PAYLOAD_MAX)
		return -EMSGSIZE;
	wire_header(h, type, channel, stream, len);
	r = buf_reserve(b, sizeof(h) + len);
	if (r < 0)
		return r;
	buf_add(b, h, sizeof(h));
	return buf_add(b, p, len);
}

/* ---- what those of a fixed shape carry: msg.h ---- */

int wire_put_hello(struct buf *out, const char *text)
{
	uint8_t v[8 + 64];
	size_t n = strnlen(text, 64);

	wire_set32(v, WIRE_MAGIC);
	wire_set16(v + 4, WIRE_VERSION);
	wire_set16(v + 6, 0);
	memcpy(v + 8, text, n);
	return wire_put(out, WIRE_HELLO, 0, 0, v, 8 + n);
}

int wire_check_hello(const struct wire_frame *f, struct err *e)
{
	if (f->type != WIRE_HELLO)
		return err_set(e, EPROTO,
			       "protocol broken: type %u before HELLO",
			       f->type);
	if (wire_get32(f->data) != WIRE_MAGIC)
		return err_set(e, EPROTO,
			       "protocol broken: not an agent's HELLO");
	if (wire_get16(f->data + 4) != WIRE_VERSION)
		return err_set(e, EPROTO,
			       "protocol version %u at the other end, %u here",
			       wire_get16(f->data + 4), WIRE_VERSION);
	return 0;
}

int wire_put_exit(struct buf *out, uint32_t stream, const struct wire_exit *x)
{
	uint8_t v[32];

	wire_set32(v, x->signaled);
	wire_set32(v + 4, x->code);
	wire_set64(v + 8, x->user_us);
	wire_set64(v + 16, x->sys_us);
	wire_set64(v + 24, x->maxrss_kib);
	return wire_put(out, WIRE_EXIT, 0, stream, v, sizeof(v));
}

void wire_get_exit(const struct wire_frame *f, struct wire_exit *x)
{
	x->signaled = wire_get32(f->data) != 0;
	x->code = wire_get32(f->data + 4);
	x->user_us = wire_get64(f->data + 8);
	x->sys_us = wire_get64(f->data + 16);
	x->maxrss_kib = wire_get64(f->data + 24);
}

int wire_put_u32(struct buf *out, enum wire_type type, uint8_t channel,
		 uint32_t stream, uint32_t v)
{
	uint8_t p[4];

	wire_set32(p, v);
	return wire_put(out, type, channel, stream, p, sizeof(p));
}

int wire_put_error(struct buf *out, uint32_t stream, const struct err *why)
{
	uint8_t v[4 + sizeof(why->text)];
	size_t n = strnlen(why->text, sizeof(why->text));

	wire_set32(v, (uint32_t)why->num);
	memcpy(v + 4, why->text, n);
	return wire_put(out, stream ? WIRE_FAILED : WIRE_ERROR, 0, stream, v,
			4 + n);
}

void wire_get_error(const struct wire_frame *f, struct err *why)
{
	char text[sizeof(why->text)];
	size_t i, n = f->len - 4U;
	uint32_t num = wire_get32(f->data);

	if (n > sizeof(text))
		n = sizeof(text);
	memcpy(text, f->data + 4, n);
	for (i = 0; i < n; i++) {
		if (!text[i])
			text[i] = '?';
	}
	/* What claims to be no error is one of the agent's. */
	if (num == 0 || num > 4095)
		num = EPROTO;
	err_set(why, (int)num, "%.*s", (int)n, text);
	/* It ends on somebody's terminal. */
	err_plain(why);
}

void wire_set_winsize(uint8_t v[static 8], const struct wire_winsize *w)
{
	wire_set16(v, w->rows);
	wire_set16(v + 2, w->cols);
	wire_set16(v + 4, w->xpixel);
	wire_set16(v + 6, w->ypixel);
}

int wire_put_winsize(struct buf *out, uint32_t stream,
		     const struct wire_winsize *w)
{
	uint8_t v[8];

	wire_set_winsize(v, w);
	return wire_put(out, WIRE_WINSIZE, 0, stream, v, sizeof(v));
}

void wire_get_winsize(const uint8_t *p, struct wire_winsize *w)
{
	w->rows = wire_get16(p);
	w->cols = wire_get16(p + 2);
	w->xpixel = wire_get16(p + 4);
	w->ypixel = wire_get16(p + 6);
}
