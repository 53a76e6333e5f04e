/* SPDX-License-Identifier: MIT
 *
 * A tree becomes an EROFS file system.
 */
#ifndef ROOTFS_EROFS_H
#define ROOTFS_EROFS_H

#include <stdint.h>

struct err;
struct space;
struct tree;

/* virtio-pmem maps whole huge pages. */
#define EROFS_ALIGN ((uint64_t)2 << 20)

/* Write inodes and directories of @t behind the contents in @s, the superblock
 * before them; the first 128 bits of @hex, the digits of a digest, become the
 * UUID.  The size, a multiple of EROFS_ALIGN, goes to @size.  0 or -errno, @e
 * filled. */
int erofs_write(struct tree *t, struct space *s, const char *hex,
		uint64_t *size, struct err *e);

#endif
