/* SPDX-License-Identifier: MIT
 *
 * What an image may cost before it is refused.
 *
 * All of it is counted while the layers stream in, and a file's size before
 * the first byte of it is written: a bomb is refused before it fills the disk.
 */
#ifndef ROOTFS_LIMITS_H
#define ROOTFS_LIMITS_H

#include <stdint.h>

struct limits {
	/* Bytes of all layers unpacked, and of all files in them (holes count:
	 * EROFS stores them as zeros).  The largest images in wide use, of
	 * machine learning, unpack to 20 GB or so.  Whatever it says, a tenth
	 * of what is free on the disk stays free. */
	uint64_t bytes;
	/* Entries of all layers.  The largest known images have half a million;
	 * each takes some 100 bytes of memory, or of a file (spill.h). */
	uint64_t entries;
	/* A layer may unpack to so many times its size.  Text reaches 10, logs
	 * and empty databases 50; gzip cannot exceed 1032, zstd knows no bound.
	 * Layers that unpack to less than LIMIT_RATIO_FLOOR may have any. */
	uint64_t ratio;
	/* Directories of a path.  Nothing real passes 50; what walks trees by
	 * recursion in the guest is to live. */
	uint64_t depth;
	/* Bytes of names and values of the extended attributes of one entry.
	 * The kernel's own limit is 64 KiB a value. */
	uint64_t xattr;
	/* Bytes of names, targets of links and extended attributes of all
	 * entries, which are kept like those.  A million names of the usual
	 * length have 16 MB. */
	uint64_t names;
	/* How far back compressed data may reach: the decoder keeps so much of
	 * its output.  RFC 8878 asks for 8 MiB, which `zstd -19` and Docker
	 * use; the container tools' best compression has 32 MiB. */
	uint64_t window;
};

#define LIMIT_RATIO_FLOOR ((uint64_t)256 << 20)

#define LIMITS_DEFAULT                                                         \
	{                                                                      \
		.bytes = (uint64_t)32 << 30, .entries = 1 << 20, .ratio = 200, \
		.depth = 256, .xattr = 61440, .names = (uint64_t)64 << 20,     \
		.window = (uint64_t)32 << 20                                   \
	}

#endif
