/* SPDX-License-Identifier: MIT
 *
 * One entry of a layer, put into the tree.
 */
#ifndef ROOTFS_ENTRY_H
#define ROOTFS_ENTRY_H

#include "rootfs/tree.h"

struct archive;
struct archive_entry;
struct err;
struct limits;

/* What @entry stands for comes to be at @p; the contents of a file are read
 * from @a.  0 or -errno, @e filled (-ECANCELED: reading from @a failed, which
 * says why). */
int entry_put(struct tree *t, struct archive *a, struct archive_entry *entry,
	      const struct path *p, const struct limits *limits,
	      struct err *e);

#endif
