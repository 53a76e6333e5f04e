/* SPDX-License-Identifier: MIT
 *
 * One compressed stream, from memory into memory.
 */
#ifndef GUEST_RAW_H
#define GUEST_RAW_H

#include <stddef.h>

struct buf;
struct err;

enum raw_kind {
	RAW_NONE, /* not compressed, or by nothing known here */
	RAW_GZIP,
	RAW_XZ,
	RAW_LZMA,
	RAW_BZIP2,
	RAW_LZ4,
	RAW_ZSTD,
};

/* What the first bytes say. */
enum raw_kind raw_kind_of(const void *p, size_t n);

/* "gzip" and so on, for messages. */
const char *raw_kind_name(enum raw_kind kind);

/* Append what @n bytes at @p unpack to; @kind is not RAW_NONE.  More than
 * @out->max allows is -EMSGSIZE, a damaged stream -EBADMSG.  0 or -errno, @e
 * filled. */
int raw_unpack(enum raw_kind kind, const void *p, size_t n, struct buf *out,
	       struct err *e);

#endif
