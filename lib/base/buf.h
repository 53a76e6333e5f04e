/* SPDX-License-Identifier: MIT
 *
 * A growing byte buffer with a limit.  Bytes are counted, never terminated;
 * buf_str() adds the terminator for those who need one.
 *
 * A failed append is remembered (b->failed) and makes the later ones fail too,
 * so that a writer may append many times and look once.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *data; /* owned */
	size_t len;
	size_t cap;
	size_t max; /* len never exceeds it */
	bool failed;
};

#define BUF_MAX_DEFAULT ((size_t)64 << 20)
#define BUF_INIT                                     \
	{                                            \
		.data = NULL, .max = BUF_MAX_DEFAULT \
	}
#define BUF_INIT_MAX(limit)                  \
	{                                    \
		.data = NULL, .max = (limit) \
	}
#define buf_auto __attribute__((cleanup(buf_free)))

void buf_free(struct buf *b);

/* Forget the contents, keep the memory. */
void buf_clear(struct buf *b);

/* Make room for @n more bytes.  0, -ENOMEM, or -EMSGSIZE past b->max. */
int buf_reserve(struct buf *b, size_t n);

/* Append; the same errors. */
int buf_add(struct buf *b, const void *p, size_t n);
int buf_puts(struct buf *b, const char *s);
int buf_printf(struct buf *b, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Drop @n bytes (at most all of them) from the front. */
void buf_shift(struct buf *b, size_t n);

/* The contents with a NUL behind them (not counted), or NULL when memory is
 * out or an append failed.  Belongs to the buffer. */
char *buf_str(struct buf *b);

#endif
