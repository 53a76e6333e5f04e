/* SPDX-License-Identifier: MIT
 *
 * One entry of a layer, put into the tree.
 */
#ifndef ROOTFS_ENTRY_H
#define ROOTFS_ENTRY_H

struct archive;
struct archive_entry;
struct err;
struct path;
struct space;
struct tree;

/* What @entry stands for comes to be at @p; the contents of a file are read
 * from @a and go to @s.  0 or -errno, @e filled (-ECANCELED: reading from @a
 * failed, which says why). */
int entry_put(struct tree *t, struct space *s, struct archive *a,
	      struct archive_entry *entry, const struct path *p, struct err *e);

#endif
