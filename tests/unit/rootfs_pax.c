/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "rootfs/pax.h"
#include "tests/tap.h"

static void add_header(struct buf *b, char type, size_t size)
{
	char h[512] = "name";

	h[156] = type;
	snprintf(h + 124, 12, "%011zo", size);
	buf_add(b, h, sizeof(h));
}

static void add_pax(struct buf *b, const char *body, size_t n)
{
	static const char zeros[512];

	add_header(b, 'x', n);
	buf_add(b, body, n);
	buf_add(b, zeros, -n & 511);
}

/* The check of a tar that is @b, cut in two at every place. */
static int check(const struct buf *b, struct err *e)
{
	int want = 1;
	size_t cut;

	for (cut = 0; cut <= b->len; cut += 100) {
		struct pax_view v = { { b->data, b->data + cut },
				      { cut, b->len - cut },
				      1000 };
		struct err here = ERR_INIT;
		int r = pax_check(&v, 1000, &here);

		if (want == 1)
			want = r;
		if (r != want)
			return 1;
		*e = here;
	}
	return want;
}

static void test(const char *body, size_t n, bool good, const char *what)
{
	buf_auto struct buf b = BUF_INIT;
	struct err e = ERR_INIT;

	add_pax(&b, body, n);
	add_header(&b, '0', 0);
	is_int(check(&b, &e), good ? 0 : -EINVAL, what);
}

#define TEST(body, good, what) test(body, sizeof(body) - 1, good, what)

int main(void)
{
	buf_auto struct buf b = BUF_INIT;
	struct err e = ERR_INIT;

	TEST("10 path=a\n", true, "a path");
	TEST("11 path=a\0\n", false, "with a NUL");
	TEST("15 linkpath=\0b\n", false, "a link with a NUL");
	TEST("19 GNU.sparse.name=\0", false, "no newline");
	TEST("21 SCHILY.xattr.a=\0\1\n", true, "an attribute may have one");
	TEST("8 p\0th=\n", false, "a key may not");
	TEST("10 path=a\n10 path=b\n", true, "two records");
	TEST("10 path=a\n11 path=b\n", false, "the second of a wrong length");
	TEST("0 \n", false, "no length");
	TEST("9999999999999999999999 path=a\n", false, "too much length");
	TEST("path=a\n", false, "none at all");
	TEST("", true, "nothing");

	add_header(&b, 'x', 1 << 20);
	is_int(check(&b, &e), -EINVAL, "a body that is not all there");
	has_str(e.text, "too large", "is too large");
	buf_clear(&b);
	add_header(&b, '0', 1 << 30);
	is_int(check(&b, &e), 0, "a file is none of its business");
	while (b.len < 20 * 512)
		add_header(&b, 'g', 0);
	memcpy(b.data, b.data + 512, 512);
	is_int(check(&b, &e), -EINVAL, "headers without end");
	return tap_done();
}
