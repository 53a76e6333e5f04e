/* SPDX-License-Identifier: MIT
 *
 * Frames: the table of what each may be, cutting, putting together.
 */
#include "tests/tap.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "wire/msg.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static struct wire_reader reader;
static const uint8_t zeros[WIRE_PAYLOAD_MAX];

/* What wire_next() says to one frame that @from sends; @why: its reason. */
static int parse(enum wire_side from, uint8_t type, uint8_t channel,
		 uint32_t stream, size_t len, struct err *why)
{
	uint8_t h[WIRE_HEADER];
	struct wire_frame f;
	int r;

	wire_reader_init(&reader, from);
	wire_header(h, type, channel, stream, len);
	wire_feed(&reader, h, sizeof(h));
	r = wire_next(&reader, &f, why);
	if (r == 0) {
		wire_feed(&reader, zeros, len);
		r = wire_next(&reader, &f, why);
	}
	if (r == 1 && (f.type != type || f.channel != channel ||
		       f.stream != stream || f.len != len))
		return -EIO;
	return r;
}

struct rule {
	enum wire_type type;
	int from; /* set of sides */
	bool on_stream;
	uint8_t channel_max;
	size_t min, max;
};

/* Again, from the manual and not from the code. */
static const struct rule rules[] = {
	{ WIRE_HELLO, 3, false, 0, 8, 1032 },
	{ WIRE_PING, 3, false, 0, 0, 64 },
	{ WIRE_PONG, 3, false, 0, 0, 64 },
	{ WIRE_ERROR, 2, false, 0, 4, 1028 },
	{ WIRE_SHUTDOWN, 1, false, 0, 0, 0 },
	{ WIRE_OPEN, 1, true, 1, 1, 32768 },
	{ WIRE_STARTED, 2, true, 0, 4, 4 },
	{ WIRE_FAILED, 2, true, 0, 4, 1028 },
	{ WIRE_DATA, 3, true, 2, 1, 32768 },
	{ WIRE_EOF, 3, true, 2, 0, 0 },
	{ WIRE_CREDIT, 3, true, 2, 4, 4 },
	{ WIRE_SIGNAL, 1, true, 0, 4, 4 },
	{ WIRE_WINSIZE, 1, true, 0, 8, 8 },
	{ WIRE_EXIT, 2, true, 0, 32, 32 },
	{ WIRE_RESET, 1, true, 0, 0, 0 },
};

static bool edges(const struct rule *t, enum wire_side from)
{
	uint32_t stream = t->on_stream ? 0xffffffff : 0;
	uint8_t ch = t->channel_max;

	return parse(from, t->type, 0, stream, t->min, NULL) == 1 &&
	       parse(from, t->type, ch, stream, t->max, NULL) == 1 &&
	       parse(from, t->type, 0, stream, t->max + 1, NULL) == -EPROTO &&
	       (t->min == 0 ||
		parse(from, t->type, 0, stream, t->min - 1, NULL) == -EPROTO) &&
	       parse(from, t->type, ch + 1, stream, t->min, NULL) == -EPROTO &&
	       parse(from, t->type, 255, stream, t->min, NULL) == -EPROTO &&
	       parse(from, t->type, 0, !stream, t->min, NULL) == -EPROTO;
}

static void table(void)
{
	size_t i;
	int from;

	for (i = 0; i < ARRAY_SIZE(rules); i++) {
		for (from = WIRE_CLIENT; from <= WIRE_AGENT; from++) {
			const struct rule *t = &rules[i];

			if (t->from & from)
				ok(edges(t, from), "type %d from side %d",
				   t->type, from);
			else
				is_int(parse(from, t->type, 0, t->on_stream,
					     t->min, NULL),
				       -EPROTO, "not from that side");
		}
	}
}

static void other_types(void)
{
	size_t i, known = 0;
	int type;

	for (type = 0; type < 256; type++) {
		bool listed = false;

		for (i = 0; i < ARRAY_SIZE(rules); i++)
			listed = listed || (int)rules[i].type == type;
		known += parse(WIRE_CLIENT, (uint8_t)type, 0, 0, 8, NULL) > 0 &&
			 !listed;
		known += parse(WIRE_AGENT, (uint8_t)type, 0, 1, 8, NULL) > 0 &&
			 !listed;
	}
	is_int(known, 0, "there are no other types");
}

static void reasons(void)
{
	struct err e = ERR_INIT;

	parse(WIRE_CLIENT, 99, 1, 2, 3, &e);
	is_str(e.text,
	       "protocol broken: unknown type (type 99, channel 1, "
	       "stream 2, length 3)",
	       "an error tells the header");
	is_int(e.num, EPROTO, "and has a number");
	parse(WIRE_AGENT, WIRE_OPEN, 0, 1, 1, &e);
	has_str(e.text, "type from the wrong side", "side");
	parse(WIRE_AGENT, WIRE_DATA, 0, 0, 1, &e);
	has_str(e.text, "wrong stream", "stream");
	parse(WIRE_AGENT, WIRE_DATA, 3, 1, 1, &e);
	has_str(e.text, "wrong channel", "channel");
	parse(WIRE_AGENT, WIRE_DATA, 0, 1, 65535, &e);
	has_str(e.text, "wrong length", "length");
}

/* A frame of each size in turn, then cut into pieces of @piece. */
static void pieces(const struct buf *all, size_t piece, size_t frames)
{
	buf_auto struct buf back = BUF_INIT;
	struct wire_frame f;
	size_t done = 0, n = 0;
	int r = 0;

	wire_reader_init(&reader, WIRE_CLIENT);
	while (done < all->len && r == 0) {
		size_t want = all->len - done < piece ? all->len - done : piece;

		done += wire_feed(&reader, all->data + done, want);
		while ((r = wire_next(&reader, &f, NULL)) > 0) {
			wire_put(&back, f.type, f.channel, f.stream, f.data,
				 f.len);
			n++;
		}
	}
	ok(r == 0 && n == frames && back.len && back.len == all->len &&
		   memcmp(back.data, all->data, all->len) == 0,
	   "%zu frames in pieces of %zu", frames, piece);
}

static void cutting(void)
{
	static const size_t piece[] = {
		1, 7, 8, 9, 32767, 32776, 65552, 1000000
	};
	static const size_t size[] = { 1, 32768, 2, 32767, 32768, 32768, 100 };
	buf_auto struct buf all = BUF_INIT;
	uint8_t data[WIRE_PAYLOAD_MAX];
	size_t i;

	for (i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 13 >> 3);
	for (i = 0; i < ARRAY_SIZE(size); i++)
		wire_put(&all, WIRE_DATA, 0, (uint32_t)i + 1, data, size[i]);
	for (i = 0; i < ARRAY_SIZE(piece); i++)
		pieces(&all, piece[i], ARRAY_SIZE(size));
}

static void reading(void)
{
	buf_auto struct buf b = BUF_INIT;
	struct wire_frame f;
	int p[2];

	if (pipe2(p, O_NONBLOCK) < 0)
		bail("no pipe");
	wire_reader_init(&reader, WIRE_AGENT);
	is_int(wire_read(&reader, p[0]), -EAGAIN, "nothing to read");
	wire_put(&b, WIRE_PING, 0, 0, "abc", 3);
	(void)!write(p[1], b.data, b.len);
	is_int(wire_read(&reader, p[0]), 11, "a frame");
	is_int(wire_next(&reader, &f, NULL), 1, "is there");
	is_mem(f.data, f.len, "abc", 3, "with its bytes");
	is_int(wire_next(&reader, &f, NULL), 0, "and no other");
	close(p[1]);
	is_int(wire_read(&reader, p[0]), 0, "the end");
	close(p[0]);
	is_int(wire_read(&reader, p[0]), -EBADF, "an error");
}

static void putting(void)
{
	buf_auto struct buf b = BUF_INIT_MAX(20);

	is_int(wire_put(&b, WIRE_DATA, 0, 1, zeros, WIRE_PAYLOAD_MAX + 1),
	       -EMSGSIZE, "too long to be sent");
	is_int(b.len, 0, "nothing is sent of it");
	is_int(wire_put(&b, WIRE_PING, 0, 0, "abcd", 4), 0, "one that fits");
	is_int(wire_put(&b, WIRE_PING, 0, 0, "a", 1), -EMSGSIZE,
	       "one that does not");
	is_int(b.len, 12, "never half a frame");
	ok(b.failed, "and it is remembered");
	is_mem(b.data, b.len, "\4\0\2\0\0\0\0\0abcd", 12, "byte by byte");
}

static void integers(void)
{
	uint8_t p[8];

	wire_set64(p, 0x0123456789abcdefULL);
	is_mem(p, 8, "\xef\xcd\xab\x89\x67\x45\x23\x01", 8, "little-endian");
	ok(wire_get64(p) == 0x0123456789abcdefULL &&
		   wire_get32(p) == 0x89abcdef && wire_get16(p) == 0xcdef,
	   "and back");
}

int main(void)
{
	table();
	other_types();
	reasons();
	cutting();
	reading();
	putting();
	integers();
	return tap_done();
}
