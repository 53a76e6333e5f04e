/* SPDX-License-Identifier: MIT
 *
 * Names that say what is gone.
 */
#ifndef ROOTFS_WHITEOUT_H
#define ROOTFS_WHITEOUT_H

#include "rootfs/tree.h"

struct err;

enum whiteout {
	WHITEOUT_NONE,	 /* an entry like any other */
	WHITEOUT_IGNORE, /* aufs' own notes, .wh..wh.* */
	WHITEOUT_NAME,	 /* .wh.NAME: what lower layers have at NAME is gone */
	WHITEOUT_OPAQUE, /* .wh..wh..opq: all that they have beside it */
};

/* What @p is.  -EINVAL with @e filled for a whiteout that makes no sense. */
int whiteout_kind(const struct path *p, enum whiteout *kind, struct err *e);

/* Do what @p, which is one of the last two, says. */
int whiteout_apply(struct tree *t, const struct path *p, enum whiteout kind,
		   struct err *e);

#endif
