/* SPDX-License-Identifier: MIT
 *
 * The agent protocol: frames.  See frame.h.
 */
#include "wire/frame.h"

#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"

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
