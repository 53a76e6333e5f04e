/* SPDX-License-Identifier: MIT
 *
 * A layer's blob, read and decompressed piece by piece.
 */
#ifndef ROOTFS_UNPACK_H
#define ROOTFS_UNPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;
struct inflate_state;
struct ZSTD_DCtx_s;

enum packing {
	PACKING_NONE,
	PACKING_GZIP,
	PACKING_ZSTD,
};

#define UNPACK_INPUT ((size_t)128 << 10)

struct unpack {
	int fd; /* borrowed */
	enum packing packing;
	uint8_t *in; /* owned; UNPACK_INPUT bytes */
	size_t at, end;
	bool eof;    /* of the blob */
	bool inside; /* a gzip member or zstd frame has begun and not ended */
	uint64_t taken;		    /* bytes of the blob that were read */
	struct inflate_state *gzip; /* owned */
	struct ZSTD_DCtx_s *zstd;   /* owned */
	uint64_t window; /* bytes that compressed data may reach back, at most
			  * (limits.h); set by the caller */
};

#define UNPACK_INIT(bytes)                  \
	{                                   \
		.fd = -1, .window = (bytes) \
	}
#define unpack_auto __attribute__((cleanup(unpack_free)))

/* Begin with the blob behind @fd, whose first bytes say how it is packed: the
 * media type is not asked, because registries have it wrong now and then.
 * @u may have been used before.  0 or -errno, @e filled. */
int unpack_begin(struct unpack *u, int fd, struct err *e);

/* Fill @p with the next @n bytes; fewer only at the end, 0 when there is none
 * left.  A blob that is damaged or ends too soon is -EBADMSG, @e filled. */
ssize_t unpack_read(struct unpack *u, void *p, size_t n, struct err *e);

void unpack_free(struct unpack *u);

#endif
