/* SPDX-License-Identifier: MIT
 *
 * Owner, mode, extended attributes and times of an entry.
 */
#ifndef ROOTFS_META_H
#define ROOTFS_META_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct archive_entry;
struct err;
struct limits;

struct meta {
	uid_t uid;
	gid_t gid;
	mode_t mode; /* the permission bits */
	struct timespec mtime;
	struct archive_entry *xattrs; /* borrowed: has them */
	bool default_acl; /* one of them is what entries in it shall inherit */
};

/* Read and check them all.  0 or -EINVAL (-E2BIG), @e filled. */
int meta_read(struct meta *m, struct archive_entry *entry,
	      const struct limits *limits, struct err *e);

/* Put them on the open file or directory @fd; the extended attributes that it
 * has already and shall not have are removed if it is @old. */
int meta_put_fd(const struct meta *m, int fd, bool old, struct err *e);

/* Put them on what @name is in @dir: a link, a device, a FIFO. */
int meta_put_at(const struct meta *m, int dir, const char *name,
		bool is_symlink, struct err *e);

/* Everything back to what a directory has that no layer speaks of. */
int meta_put_default(int fd, struct err *e);

#endif
