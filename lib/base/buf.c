/* SPDX-License-Identifier: MIT
 *
 * A growing byte buffer with a limit: see buf.h.
 */
#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"

void buf_free(struct buf *b)
{
	mem_free(&b->data);
	b->len = 0;
	b->cap = 0;
	b->failed = false;
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	b->failed = false;
}

static int buf_fail(struct buf *b, int num)
{
	b->failed = true;
	return -num;
}

/* Room for @n more bytes, and @nul more behind them, which may stand past the
 * limit: a text that fills the buffer is a string too. */
static int grow(struct buf *b, size_t n, size_t nul)
{
	size_t cap = b->cap ? b->cap : 256;
	size_t want;
	uint8_t *data;

	if (b->failed)
		return -ENOMEM;
	if (n > b->max - b->len)
		return buf_fail(b, EMSGSIZE);
	if (__builtin_add_overflow(b->len + n, nul, &want))
		return buf_fail(b, ENOMEM);
	if (want <= b->cap)
		return 0;
	while (cap < want) {
		if (cap > b->max / 2)
			cap = want > b->max ? want : b->max;
		else
			cap *= 2;
	}
	data = realloc(b->data, cap);
	if (!data)
		return buf_fail(b, ENOMEM);
	b->data = data;
	b->cap = cap;
	return 0;
}

int buf_reserve(struct buf *b, size_t n)
{
	return grow(b, n, 0);
}

int buf_add(struct buf *b, const void *p, size_t n)
{
	int r = buf_reserve(b, n);

	if (r < 0)
		return r;
	if (n)
		memcpy(b->data + b->len, p, n);
	b->len += n;
	return 0;
}

int buf_puts(struct buf *b, const char *s)
{
	return buf_add(b, s, strlen(s));
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap, again;
	int n, r;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	/* vsnprintf ends its text with a NUL, which wants a byte of room. */
	r = n < 0 ? buf_fail(b, EINVAL) : grow(b, (size_t)n, 1);
	if (r == 0) {
		vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, again);
		b->len += (size_t)n;
	}
	va_end(again);
	return r;
}

void buf_shift(struct buf *b, size_t n)
{
	if (n > b->len)
		n = b->len;
	if (n && n < b->len)
		memmove(b->data, b->data + n, b->len - n);
	b->len -= n;
}

char *buf_str(struct buf *b)
{
	if (grow(b, 0, 1) < 0)
		return NULL;
	b->data[b->len] = '\0';
	return (char *)b->data;
}
