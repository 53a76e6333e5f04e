/* SPDX-License-Identifier: MIT
 *
 * The frame parser, from both sides: whatever bytes come, in whatever pieces,
 * the frames are the same, and they are the bytes that came.
 *
 * An input is a byte for the side, four that seed the sizes of the pieces, and
 * what the other end sent, in which 0xee and a u16 stand for that many zeros:
 * so that small inputs hold frames of all sizes.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "wire/msg.h"

#define must(what)               \
	do {                     \
		if (!(what))     \
			abort(); \
	} while (0)

static struct wire_reader reader;

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* What the code behind the parser does with a frame of each type. */
static void decode(const struct wire_frame *f)
{
	wire_request_auto struct wire_request x = WIRE_REQUEST_INIT;
	struct err e = ERR_INIT;
	struct wire_winsize w;
	struct wire_exit ended;

	if (f->type == WIRE_HELLO) {
		must(wire_check_hello(f, &e) <= 0);
	} else if (f->type == WIRE_ERROR || f->type == WIRE_FAILED) {
		wire_get_error(f, &e);
		must(e.num > 0 && strlen(e.text) < sizeof(e.text));
	} else if (f->type == WIRE_OPEN) {
		wire_request_decode(&x, f->data, f->len, &e);
	} else if (f->type == WIRE_WINSIZE) {
		wire_get_winsize(f->data, &w);
	} else if (f->type == WIRE_EXIT) {
		wire_get_exit(f, &ended);
	} else if (f->type == WIRE_CREDIT || f->type == WIRE_SIGNAL ||
		   f->type == WIRE_STARTED) {
		must(f->len == 4);
	}
}

static uint32_t next_size(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	/* Mostly small, now and then as much as there is. */
	return *seed >> 31 ? *seed >> 10 & 0x1ffff : 1 + (*seed >> 20 & 15);
}

/* Feed @p in pieces and write the frames back into @back.  True when the
 * parser refused something. */
static bool parse(enum wire_side from, uint32_t seed, const uint8_t *p,
		  size_t n, struct buf *back)
{
	struct err e = ERR_INIT;
	struct wire_frame f;
	size_t done = 0;
	int r = 0;

	wire_reader_init(&reader, from);
	while (done < n && r == 0) {
		size_t piece = seed ? next_size(&seed) : n;

		if (piece > n - done)
			piece = n - done;
		done += wire_feed(&reader, p + done, piece);
		while ((r = wire_next(&reader, &f, &e)) > 0) {
			decode(&f);
			wire_put(back, f.type, f.channel, f.stream, f.data,
				 f.len);
		}
	}
	must(r == 0 || (r == -EPROTO && e.num == EPROTO && e.text[0]));
	return r < 0;
}

static void expand(const uint8_t *p, size_t n, struct buf *out)
{
	static const uint8_t zeros[65536];
	size_t i;

	for (i = 0; i < n; i++) {
		if (p[i] == 0xee && n - i > 2) {
			buf_add(out, zeros, wire_get16(p + i + 1));
			i += 2;
		} else {
			buf_add(out, p + i, 1);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	buf_auto struct buf sent = BUF_INIT_MAX(1 << 20);
	buf_auto struct buf whole = BUF_INIT;
	buf_auto struct buf pieces = BUF_INIT;
	enum wire_side from;
	uint32_t seed;
	bool a, b;

	if (n < 5)
		return 0;
	from = p[0] & 1 ? WIRE_AGENT : WIRE_CLIENT;
	seed = wire_get32(p + 1) | 1;
	expand(p + 5, n - 5, &sent);
	a = parse(from, 0, sent.data, sent.len, &whole);
	b = parse(from, seed, sent.data, sent.len, &pieces);
	must(a == b && whole.len == pieces.len && whole.len <= sent.len);
	must(whole.len == 0 || memcmp(whole.data, pieces.data, whole.len) == 0);
	must(whole.len == 0 || memcmp(whole.data, sent.data, whole.len) == 0);
	return 0;
}
