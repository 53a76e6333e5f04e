/* SPDX-License-Identifier: MIT
 *
 * The blocks of the image file, which contents of files go to as they arrive.
 *
 * What a later layer removes is free again and used first for what comes then;
 * free blocks are holes, and read as zeros.
 */
#ifndef ROOTFS_SPACE_H
#define ROOTFS_SPACE_H

#include <stddef.h>
#include <stdint.h>

struct err;

#define SPACE_BLOCK ((uint64_t)4096)

struct extent {
	uint32_t block, count;
};

struct space {
	int fd;		     /* borrowed */
	uint32_t end;	     /* the first block that was never used */
	struct extent *free; /* owned; by block, never adjacent */
	size_t nfree, room;
};

#define SPACE_INIT(file)               \
	{                              \
		.fd = (file), .end = 1 \
	} /* 0: the superblock */
#define space_auto __attribute__((cleanup(space_free)))

static inline uint64_t space_blocks(uint64_t bytes)
{
	return bytes / SPACE_BLOCK + (bytes % SPACE_BLOCK != 0);
}

/* Blocks for @bytes, more than 0, one after another, which read as zeros; the
 * first one goes to @block.  0 or -EFBIG, @e filled. */
int space_get(struct space *s, uint64_t bytes, uint32_t *block, struct err *e);

/* Give them back.  0 or -errno, @e filled. */
int space_put(struct space *s, uint32_t block, uint64_t bytes, struct err *e);

/* Write @n bytes at @at of what begins at @block. */
int space_write(const struct space *s, uint32_t block, uint64_t at,
		const void *p, size_t n, struct err *e);

void space_free(struct space *s);

#endif
