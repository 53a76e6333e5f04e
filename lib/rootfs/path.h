/* SPDX-License-Identifier: MIT
 *
 * Paths of entries, cleaned.
 */
#ifndef ROOTFS_PATH_H
#define ROOTFS_PATH_H

#include <limits.h>
#include <stddef.h>

#include "base/str.h"

struct err;

/* Relative to the image's root, which is "": no slash in front or behind, no
 * empty component, no "." and no "..". */
struct path {
	char text[PATH_MAX];
	size_t len;
	size_t name; /* where its last component begins */
};

/* Clean @raw.  "..", components of more than 255 bytes, more than PATH_MAX:
 * -EINVAL or -ENAMETOOLONG, @e filled. */
int path_clean(struct path *p, const char *raw, struct err *e);

static inline struct str path_name(const struct path *p)
{
	return (struct str){ p->text + p->name, p->len - p->name };
}

/* What it lies in. */
static inline struct str path_dir(const struct path *p)
{
	return (struct str){ p->text, p->name ? p->name - 1 : 0 };
}

enum whiteout {
	WHITEOUT_NONE,	 /* an entry like any other */
	WHITEOUT_IGNORE, /* aufs' own notes, .wh..wh.* */
	WHITEOUT_NAME,	 /* .wh.NAME: what lower layers have at NAME is gone */
	WHITEOUT_OPAQUE, /* .wh..wh..opq: all that they have beside it */
};

#define WHITEOUT_PREFIX STR(".wh.")

/* What @p is.  -EINVAL with @e filled for a whiteout that makes no sense. */
int path_whiteout(const struct path *p, enum whiteout *kind, struct err *e);

#endif
