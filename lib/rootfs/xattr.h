/* SPDX-License-Identifier: MIT
 *
 * Extended attributes of an entry, as EROFS has them behind an inode.
 */
#ifndef ROOTFS_XATTR_H
#define ROOTFS_XATTR_H

#include <stdint.h>

struct archive_entry;
struct err;
struct tree;

/* Those of @entry, in order of their names, into the tree's strings: their
 * number, 0 if there are none or, with @e filled, on failure. */
uint32_t xattr_keep(struct tree *t, struct archive_entry *entry, struct err *e);

/* The bytes that go behind the inode, and how many; 0 for number 0. */
uint32_t xattr_bytes(const struct tree *t, uint32_t at, const uint8_t **p);

#endif
