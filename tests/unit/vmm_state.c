/* SPDX-License-Identifier: MIT
 *
 * The state file: what is saved is loaded, and nothing else is.
 */
#include "tests/tap.h"

#include "base/err.h"
#include "tests/unit/driver.h"
#include "vmm/state.h"
#include "vmm/virtio/balloon.h"
#include "vmm/virtio/rng.h"

#define ROOM 4096

struct numbers {
	uint8_t a;
	uint16_t b;
	uint32_t c;
	uint64_t d;
	bool e;
	uint8_t f[5];
};

static const struct numbers first = { 0xa5,	  0xbeef,
				      0xdeadbeef, 0x0123456789abcdef,
				      true,	  { 1, 2, 3, 4, 5 } };

/* Two sections, described once. */
static void describe(struct state_io *io, struct numbers *x)
{
	state_begin(io, "one", 3);
	state_u8(io, &x->a);
	state_u16(io, &x->b);
	state_u32(io, &x->c);
	state_u64(io, &x->d);
	state_end(io);
	state_begin(io, "another", 1);
	state_bool(io, &x->e);
	state_bytes(io, x->f, sizeof(x->f));
	state_same(io, 77, "the year");
	state_end(io);
}

static size_t save(uint8_t *buf, size_t room)
{
	struct numbers x = first;
	struct state_io io;

	state_save(&io, buf, room);
	describe(&io, &x);
	return state_done(&io, NULL) < 0 ? 0 : io.at;
}

static int load(const uint8_t *buf, size_t n, struct numbers *x, struct err *e)
{
	struct state_io io;

	memset(x, 0, sizeof(*x));
	state_load(&io, buf, n);
	describe(&io, x);
	return state_done(&io, e);
}

static bool equal(const struct numbers *x)
{
	return x->a == first.a && x->b == first.b && x->c == first.c &&
	       x->d == first.d && x->e == first.e &&
	       memcmp(x->f, first.f, sizeof(x->f)) == 0;
}

static void there_and_back(void)
{
	uint8_t buf[ROOM];
	struct err e = ERR_INIT;
	struct numbers x;
	size_t n = save(buf, sizeof(buf)), i;
	int taken = 0;

	is_int((int)n, 16 + 28 + 15 + 28 + 14, "so many bytes");
	is_int(memcmp(buf, "isostate\1\0\0\0\76\0\0\0one\0", 20), 0,
	       "that begin with what they are");
	is_int(load(buf, n, &x, &e), 0, "are loaded");
	ok(equal(&x), "as what they were");
	for (i = 0; i < n; i++)
		taken += save(buf, i) != 0;
	is_int(taken, 0, "no smaller room is enough");
}

/* Cut off, or one bit turned: never loaded, and said of which section. */
static void damage(void)
{
	uint8_t buf[ROOM];
	struct numbers x;
	size_t n = save(buf, sizeof(buf)), i;
	int taken = 0, silent = 0, nameless = 0;

	for (i = 0; i < n; i++) {
		struct err e = ERR_INIT;

		taken += load(buf, i, &x, &e) == 0;
		silent += !e.text[0];
	}
	for (i = 0; i < n * 8; i++) {
		struct err e = ERR_INIT;

		buf[i / 8] ^= (uint8_t)(1U << (i % 8));
		taken += load(buf, n, &x, &e) == 0;
		silent += !e.text[0];
		nameless += i >= 16 * 8 && !strstr(e.text, "section '");
		buf[i / 8] ^= (uint8_t)(1U << (i % 8));
	}
	is_int(taken, 0, "nothing damaged is loaded");
	is_int(silent, 0, "without saying so");
	is_int(nameless, 0, "nor without naming the section");
}

static void refuses(const uint8_t *buf, size_t n, const char *text,
		    const char *name)
{
	struct err e = ERR_INIT;
	struct numbers x;

	is_int(load(buf, n, &x, &e), -EBADMSG, name);
	has_str(e.text, text, name);
}

static void others(void)
{
	uint8_t buf[ROOM];
	struct state_io io;
	struct numbers x = first;
	size_t n;

	state_save(&io, buf, sizeof(buf));
	state_begin(&io, "one", 4);
	state_u8(&io, &x.a);
	state_end(&io);
	refuses(buf, io.at, "version 4; this program knows 3", "newer");
	state_save(&io, buf, sizeof(buf));
	state_begin(&io, "two", 3);
	state_end(&io);
	refuses(buf, io.at, "another section", "another's");
	state_save(&io, buf, sizeof(buf));
	state_begin(&io, "one", 3);
	state_bytes(&io, buf, 20);
	state_end(&io);
	refuses(buf, io.at, "5 bytes more", "longer");
	n = save(buf, sizeof(buf));
	buf[n] = 0;
	refuses(buf, n + 1, "1 bytes too many", "something behind it");
	refuses((const uint8_t *)"#!/bin/sh", 9, "", "a script");
}

/* ---- a device ------------------------------------------------------------ */

/* By members: what is between them may be anything. */
static bool same_state(const struct virtio_state *a,
		       const struct virtio_state *b)
{
	return a->status == b->status &&
	       a->device_features_sel == b->device_features_sel &&
	       a->driver_features_sel == b->driver_features_sel &&
	       a->features == b->features && a->queue_sel == b->queue_sel &&
	       a->interrupt == b->interrupt &&
	       a->config_generation == b->config_generation;
}

static void balloon(void)
{
	struct driver d = { 0 };
	struct balloon a, b;
	struct err e = ERR_INIT;
	struct state_io io;
	uint8_t buf[ROOM];
	uint32_t len;
	uint64_t pages;

	driver_ram(&d, 1 << 20, 0);
	balloon_init(&a, &d.m, NULL, &e);
	driver_up(&d, &a.v, ~0ULL, 16);
	balloon_set(&a, 12);
	pages = driver_alloc(&d, 4, 4);
	*(uint32_t *)driver_ptr(&d, pages) = 100;
	driver_add(&d, 0, (struct driver_buf[]){ { pages, 4, false } }, 1);
	driver_kick(&d, 0);
	ok(driver_used(&d, 0, &len) >= 0, "a balloon takes a page");

	state_save(&io, buf, sizeof(buf));
	balloon_state_io(&a, &io);
	is_int(state_done(&io, &e), 0, "and is saved");
	balloon_init(&b, &d.m, NULL, &e);
	state_load(&io, buf, io.at);
	balloon_state_io(&b, &io);
	is_int(state_done(&io, &e), 0, "and loaded as another");
	ok(same_state(&a.v.s, &b.v.s), "in the same state");
	is_int(memcmp(a.v.config, b.v.config, 8), 0, "that says the same");
	d.v = &b.v;
	driver_add(&d, 0, (struct driver_buf[]){ { pages, 4, false } }, 1);
	driver_kick(&d, 0);
	ok(driver_used(&d, 0, &len) >= 0, "which goes on where it was");

	b.v.q[0].s.desc = UINT64_MAX - 15;
	state_save(&io, buf, sizeof(buf));
	balloon_state_io(&b, &io);
	balloon_free(&a);
	balloon_init(&a, &d.m, NULL, &e);
	state_load(&io, buf, io.at);
	balloon_state_io(&a, &io);
	is_int(state_done(&io, &e), -EBADMSG, "rings that are nowhere");
	has_str(e.text, "section 'balloon'", "are refused by name");
	balloon_free(&a);
	balloon_free(&b);
	driver_ram_free(&d);
}

int main(void)
{
	there_and_back();
	damage();
	others();
	balloon();
	return tap_done();
}
