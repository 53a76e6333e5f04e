/* SPDX-License-Identifier: MIT
 *
 * An EROFS image, compressed.
 */
#ifndef ROOTFS_PACK_H
#define ROOTFS_PACK_H

struct err;

#define PACK_VERSION_MAX 32

/* Write the file system in the file "image" of the directory @dir compressed
 * (lz4hc) to its file "packed"; takes CAP_SYS_ADMIN, a loop device and
 * mkfs.erofs, whose version goes to @version.  @hex as for erofs_write().
 * 0 or -errno, @e filled. */
int pack_erofs(const char *dir, const char *hex,
	       char version[static PACK_VERSION_MAX], struct err *e);

/* Read all of the file system in the file @path and check it, by fsck.erofs.
 * 0 or -errno, @e filled. */
int pack_check(const char *path, struct err *e);

#endif
