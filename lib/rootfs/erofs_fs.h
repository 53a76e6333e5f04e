/* SPDX-License-Identifier: MIT
 *
 * EROFS on disk, as far as we write it (Documentation/filesystems/erofs.rst).
 * All numbers are little-endian, as this machine's are.
 */
#ifndef ROOTFS_EROFS_FS_H
#define ROOTFS_EROFS_FS_H

#include <assert.h>
#include <stdint.h>

#define EROFS_SUPER_AT 1024
#define EROFS_MAGIC 0xe0f5e1e2
#define EROFS_BLOCK_BITS 12
#define EROFS_COMPAT_CHECKSUM 0x1
#define EROFS_COMPAT_MTIME 0x2
#define EROFS_SLOT UINT64_C(32) /* inodes are numbered in units of it */

struct erofs_super {
	uint32_t magic;
	uint32_t checksum; /* CRC-32C of the rest of its block, this being 0 */
	uint32_t compat;
	uint8_t block_bits;
	uint8_t ext_slots;
	uint16_t root_nid;
	uint64_t inodes;
	uint64_t build_time;
	uint32_t build_time_nsec;
	uint32_t blocks;
	uint32_t meta_block;
	uint32_t xattr_block;
	uint8_t uuid[16];
	uint8_t volume[16];
	uint32_t incompat;
	uint8_t reserved[44];
};
static_assert(sizeof(struct erofs_super) == 128, "as on disk");

#define EROFS_EXTENDED 1 /* the larger form of inode, with its own mtime */
#define EROFS_PLAIN (0 << 1)
#define EROFS_INLINE (2 << 1) /* the last part of it lies behind the inode */

struct erofs_inode {
	uint16_t format;
	uint16_t xattr_count; /* (bytes - 12) / 4 + 1; 0: none */
	uint16_t mode;
	uint16_t reserved;
	uint64_t size;
	uint32_t where; /* block, or device number */
	uint32_t serial;
	uint32_t uid;
	uint32_t gid;
	uint64_t mtime;
	uint32_t mtime_nsec;
	uint32_t links;
	uint8_t reserved2[16];
};
static_assert(sizeof(struct erofs_inode) == 64, "as on disk");

/* A block of a directory: these, then the names they point at. */
struct erofs_dirent {
	uint64_t nid;
	uint16_t name_at;
	uint8_t type;
	uint8_t reserved;
} __attribute__((packed));
static_assert(sizeof(struct erofs_dirent) == 12, "as on disk");

enum erofs_type {
	EROFS_TYPE_FILE = 1,
	EROFS_TYPE_DIR,
	EROFS_TYPE_CHAR,
	EROFS_TYPE_BLOCK,
	EROFS_TYPE_FIFO,
	EROFS_TYPE_SOCKET,
	EROFS_TYPE_LINK,
};

#endif
