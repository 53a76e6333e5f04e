/* SPDX-License-Identifier: MIT
 *
 * Growing buffers: limits, the failed state, the terminator.
 */
#include "tests/tap.h"

#include "base/buf.h"

#include <errno.h>

static void appending(void)
{
	buf_auto struct buf b = BUF_INIT;
	uint8_t want[5000];
	size_t i;

	for (i = 0; i < sizeof(want); i++) {
		want[i] = (uint8_t)(i * 7);
		buf_add(&b, &want[i], 1);
	}
	is_mem(b.data, b.len, want, sizeof(want), "byte by byte");
	is_int(buf_add(&b, NULL, 0), 0, "nothing may be appended");
	is_int(b.len, sizeof(want), "and changes nothing");
	buf_clear(&b);
	is_int(b.len, 0, "cleared");
	ok(b.cap >= sizeof(want), "the memory is kept");
	buf_puts(&b, "a=");
	is_int(buf_printf(&b, "%d,%s", 42, "x"), 0, "printf");
	is_str(buf_str(&b), "a=42,x", "the whole as a string");
	is_int(b.len, 6, "whose NUL is not counted");
}

static void limit(void)
{
	buf_auto struct buf b = BUF_INIT_MAX(10);

	is_int(buf_add(&b, "0123456789", 10), 0, "exactly the limit");
	is_str(buf_str(&b), "0123456789", "a full buffer is a string too");
	is_int(b.len, 10, "of that length");
	is_int(buf_add(&b, "", 0), 0, "nothing more fits");
	is_int(buf_add(&b, "x", 1), -EMSGSIZE, "one byte more does not");
	ok(b.failed, "the failure is remembered");
	is_int(b.len, 10, "what was there is there");
	is_int(buf_puts(&b, ""), -ENOMEM, "later appends fail");
	ok(!buf_str(&b), "there is no string of half a text");
	buf_clear(&b);
	is_int(buf_printf(&b, "%s", "0123456789"), 0, "printf up to the limit");
	is_int(buf_printf(&b, "%s", "x"), -EMSGSIZE, "but not past it");
	is_int(b.len, 10, "and nothing of it is there");
	buf_free(&b);
	ok(!b.failed && !b.data && b.max == 10, "free makes it as new");
}

/* So that malloc(3) says no to what there cannot be, sanitizers or not. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}

/* A limit of nothing, and one that no addition may overflow. */
static void extreme_limits(void)
{
	buf_auto struct buf none = BUF_INIT_MAX(0);
	buf_auto struct buf all = BUF_INIT_MAX(SIZE_MAX);

	is_int(buf_reserve(&none, 0), 0, "no room is always there");
	is_str(buf_str(&none), "", "the empty string fits in no bytes");
	is_int(buf_add(&none, "x", 1), -EMSGSIZE, "a byte does not");
	buf_puts(&all, "x");
	is_int(buf_reserve(&all, SIZE_MAX), -EMSGSIZE, "SIZE_MAX and one");
	buf_clear(&all);
	is_int(buf_reserve(&all, SIZE_MAX - 1), -ENOMEM, "more than there is");
	is_mem(all.data, 1, "x", 1, "what was there is there");
}

static void shifting(void)
{
	buf_auto struct buf b = BUF_INIT;

	buf_shift(&b, 5);
	is_int(b.len, 0, "nothing off nothing");
	buf_puts(&b, "abcdef");
	buf_shift(&b, 2);
	is_str(buf_str(&b), "cdef", "two off the front");
	buf_shift(&b, 0);
	is_str(buf_str(&b), "cdef", "none");
	buf_shift(&b, 100);
	is_int(b.len, 0, "more than there are");
	buf_puts(&b, "new");
	is_str(buf_str(&b), "new", "and it goes on");
}

int main(void)
{
	appending();
	limit();
	extreme_limits();
	shifting();
	return tap_done();
}
