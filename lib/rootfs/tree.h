/* SPDX-License-Identifier: MIT
 *
 * The tree that layers are applied to, and the way to its directories.
 *
 * Every path of an image is resolved by openat2(2) under RESOLVE_IN_ROOT: as a
 * process in a chroot would see it, so that absolute links and ".." lead
 * within the tree.  RESOLVE_BENEATH, which refuses such links, would refuse
 * real images: /var/run -> /run, and then an entry var/run/x.  The last
 * component is never part of what is resolved; it is acted on by name in its
 * directory, by calls that follow nothing.
 *
 * Directories stay open in a small cache, since entries of one directory come
 * one after another.  A directory in the cache keeps the mtime that it shall
 * have, which its own entries' coming and going would change, and gets it back
 * when it leaves: so every directory outside of the cache has its right time,
 * and no list of them is needed.
 */
#ifndef ROOTFS_TREE_H
#define ROOTFS_TREE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "rootfs/marks.h"

struct err;

#define TREE_DIRS 8

struct dir {
	char *path; /* owned; by which it was last reached; NULL: by none */
	int fd;	    /* -1: an empty slot */
	uint64_t ino;
	unsigned int depth;
	size_t len; /* of its real path */
	struct timespec mtime;
	uint64_t used; /* when */
};

struct tree {
	int root; /* borrowed */
	size_t root_len; /* of the path of root, with a slash */
	uint64_t clock;
	unsigned int max_depth;
	struct dir dirs[TREE_DIRS];
	bool inherits; /* new entries may have xattrs from their directory */
	bool lowest;	    /* the layer has none below it: no marks */
	struct marks marks; /* of the layer that is being applied */
};

#define tree_auto __attribute__((cleanup(tree_free)))

/* Begin with the empty directory @root, which stays the caller's. */
int tree_init(struct tree *t, int root, unsigned int max_depth, struct err *e);

/* Give every directory in the cache its time and forget them.  Needed before
 * anybody else looks at or changes the tree.  0 or -errno, @e filled. */
int tree_flush(struct tree *t, struct err *e);

/* The same, but @keep stays open, for the caller's use. */
int tree_flush_but(struct tree *t, struct dir *keep, struct err *e);

/* Forgets without a flush. */
void tree_free(struct tree *t);

/* A cleaned path, "" for the root itself: no slash in front or behind, no empty
 * component, no "." */
struct path {
	char text[PATH_MAX];
	size_t len;
	size_t name; /* where its last component begins */
	unsigned int depth;
};

/* Clean @raw.  "..", components of more than 255 bytes, more than PATH_MAX:
 * -EINVAL or -ENAMETOOLONG, @e filled. */
int path_clean(struct path *p, const char *raw, struct err *e);

static inline const char *path_name(const struct path *p)
{
	return p->text + p->name;
}

/* The directory that @p lies in.  @create: make what is missing of it, 0755
 * and root's.  The pointer is good until the next call that takes the tree.
 * -ENOENT without @create; -ENOTDIR; @e filled. */
int tree_parent(struct tree *t, const struct path *p, bool create,
		struct dir **out, struct err *e);

/* The directory @p itself, which exists; a link is followed. */
int tree_dir(struct tree *t, const struct path *p, struct dir **out,
	     struct err *e);

/* @fd, which becomes the tree's, is the directory @p; it shall have @mtime. */
int tree_adopt(struct tree *t, const struct path *p, int fd,
	       const struct timespec *mtime, struct err *e);

/* The layer has put @name into @d. */
int tree_mark(struct tree *t, const struct dir *d, const char *name,
	      struct err *e);

#endif
