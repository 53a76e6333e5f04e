/* SPDX-License-Identifier: MIT
 *
 * One entry of a layer, put into the tree: see entry.h.
 *
 * What is there already gives way first only where it must: a call that makes
 * something new is tried, and what it says is in its way is removed.  Only a
 * directory over a directory stays, with its contents; it gets other
 * attributes.
 *
 * A hard link shares the inode of its target, whichever layer that is of, and
 * changes nothing about it: its header repeats the attributes of the target.
 */
#include "rootfs/entry.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "rootfs/meta.h"

/* What EROFS (and the kernel's own encoding) has room for. */
#define DEV_MAJOR_MAX 4095
#define DEV_MINOR_MAX 0xfffff

/* Remove what is at @name in @d, if anything.  Only @d survives of the tree's
 * directories if that was part of somebody's path. */
static int displace(struct tree *t, struct dir *d, const char *name,
		    struct err *e)
{
	struct stat st;

	if (fstatat(d->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 :
					 err_sys(e, errno, "cannot look at it");
	if ((S_ISDIR(st.st_mode) || S_ISLNK(st.st_mode)) &&
	    tree_flush_but(t, d, e) < 0)
		return -e->num;
	if (S_ISDIR(st.st_mode))
		return io_remove_tree(d->fd, name, e);
	if (unlinkat(d->fd, name, 0) < 0)
		return err_sys(e, errno, "cannot replace what is there");
	return 0;
}

static int cannot_make(struct err *e)
{
	return err_sys(e, errno, "cannot make it");
}

/* ---- directories ------------------------------------------------------- */

static int put_root(struct tree *t, const struct meta *m, const struct path *p,
		    struct err *e)
{
	int fd = openat(t->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return cannot_make(e);
	if (meta_put_fd(m, fd, true, e) < 0) {
		close(fd);
		return -e->num;
	}
	return tree_adopt(t, p, fd, &m->mtime, e);
}

/* *@old: there is a directory already. */
static int make_dir(struct tree *t, struct dir *d, const char *name, bool *old,
		    struct err *e)
{
	struct stat st;

	*old = false;
	if (mkdirat(d->fd, name, 0700) == 0)
		return 0;
	if (errno != EEXIST ||
	    fstatat(d->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return cannot_make(e);
	*old = S_ISDIR(st.st_mode);
	if (*old)
		return 0;
	if (displace(t, d, name, e) < 0)
		return -e->num;
	return mkdirat(d->fd, name, 0700) < 0 ? cannot_make(e) : 0;
}

static int put_dir(struct tree *t, struct dir *d, const struct meta *m,
		   const struct path *p, struct err *e)
{
	const char *name = path_name(p);
	bool old;
	int fd;

	if (make_dir(t, d, name, &old, e) < 0 || tree_mark(t, d, name, e) < 0)
		return -e->num;
	fd = openat(d->fd, name,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return cannot_make(e);
	if (meta_put_fd(m, fd, old || t->inherits, e) < 0) {
		close(fd);
		return -e->num;
	}
	return tree_adopt(t, p, fd, &m->mtime, e);
}

/* ---- files ------------------------------------------------------------- */

static int create(struct dir *d, const char *name)
{
	return openat(d->fd, name,
		      O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		      0600);
}

static int write_at(int fd, const void *p, size_t n, int64_t at)
{
	size_t done = 0;

	while (done < n) {
		ssize_t r = pwrite(fd, (const char *)p + done, n - done,
				   at + (int64_t)done);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		done += (size_t)r;
	}
	return 0;
}

/* Holes stay holes. */
static int copy_contents(struct archive *a, int fd, int64_t size,
			 struct err *e)
{
	const void *p;
	int64_t at, end = 0;
	size_t n;
	int r;

	while ((r = archive_read_data_block(a, &p, &n, &at)) != ARCHIVE_EOF) {
		if (r != ARCHIVE_OK)
			return err_set(e, ECANCELED, "cannot read it");
		if (at < end || at > size || n > (uint64_t)(size - at))
			return err_set(e, EBADMSG,
				       "its contents overlap or pass its end");
		r = write_at(fd, p, n, at);
		if (r < 0)
			return err_sys(e, -r, "cannot write");
		end = at + (int64_t)n;
	}
	if (end < size && ftruncate(fd, size) < 0)
		return err_sys(e, errno, "cannot write");
	return 0;
}

static int put_file(struct tree *t, struct dir *d, const struct meta *m,
		    const char *name, struct archive *a, int64_t size,
		    struct err *e)
{
	fd_auto int fd = create(d, name);

	if (fd < 0 && errno == EEXIST) {
		if (displace(t, d, name, e) < 0)
			return -e->num;
		fd = create(d, name);
	}
	if (fd < 0)
		return cannot_make(e);
	if (tree_mark(t, d, name, e) < 0 || copy_contents(a, fd, size, e) < 0)
		return -e->num;
	return meta_put_fd(m, fd, t->inherits, e);
}

/* ---- everything that one call makes ------------------------------------ */

static int make_node(const struct dir *d, const char *name,
		     struct archive_entry *entry, const char *target)
{
	if (target)
		return symlinkat(target, d->fd, name);
	return mknodat(d->fd, name, archive_entry_filetype(entry) | 0600,
		       makedev((unsigned)archive_entry_rdevmajor(entry),
			       (unsigned)archive_entry_rdevminor(entry)));
}

static int check_device(struct archive_entry *entry, struct err *e)
{
	uint64_t major = archive_entry_rdevmajor(entry);
	uint64_t minor = archive_entry_rdevminor(entry);

	if (archive_entry_filetype(entry) == AE_IFIFO ||
	    (major <= DEV_MAJOR_MAX && minor <= DEV_MINOR_MAX))
		return 0;
	return err_set(e, EINVAL, "device %llu:%llu is not in 0:0..%u:%u",
		       (unsigned long long)major, (unsigned long long)minor,
		       DEV_MAJOR_MAX, DEV_MINOR_MAX);
}

/* A symbolic link (to @target), a device or a FIFO. */
static int put_node(struct tree *t, struct dir *d, const struct meta *m,
		    const char *name, struct archive_entry *entry,
		    const char *target, struct err *e)
{
	if (!target && check_device(entry, e) < 0)
		return -e->num;
	if (make_node(d, name, entry, target) < 0) {
		if (errno != EEXIST)
			return cannot_make(e);
		if (displace(t, d, name, e) < 0)
			return -e->num;
		if (make_node(d, name, entry, target) < 0)
			return cannot_make(e);
	}
	if (tree_mark(t, d, name, e) < 0)
		return -e->num;
	return meta_put_at(m, d->fd, name, target != NULL, e);
}

/* ---- hard links -------------------------------------------------------- */

/* 1: linked, or the same already; 0: something else is there. */
static int try_link(const struct dir *from, const char *target,
		    const struct dir *to, const char *name, struct err *e)
{
	struct stat a, b;

	if (fstatat(from->fd, target, &a, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, errno, "cannot find what it is a link to");
	if (S_ISDIR(a.st_mode))
		return err_set(e, EISDIR, "it is a hard link to a directory");
	if (linkat(from->fd, target, to->fd, name, 0) == 0)
		return 1;
	if (errno != EEXIST)
		return err_sys(e, errno, "cannot link it");
	return fstatat(to->fd, name, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
	       a.st_ino == b.st_ino;
}

static int put_link(struct tree *t, const struct path *p, const char *raw,
		    struct err *e)
{
	struct path target;
	struct dir *to, *from;
	int r = path_clean(&target, raw, e);

	if (r == 0 && !target.len)
		r = err_set(e, EISDIR, "it is a hard link to a directory");
	/* In this order: the second call opens one directory at most, and the
	 * first one's is not the one longest unused. */
	if (r == 0)
		r = tree_parent(t, p, true, &to, e);
	if (r == 0)
		r = tree_parent(t, &target, false, &from, e);
	if (r == 0)
		r = try_link(from, path_name(&target), to, path_name(p), e);
	if (r == 0) {
		r = displace(t, to, path_name(p), e);
		/* Perhaps that was on the way to the target. */
		if (r == 0)
			r = tree_parent(t, &target, false, &from, e);
		if (r == 0)
			r = try_link(from, path_name(&target), to,
				     path_name(p), e);
	}
	return r < 0 ? r : tree_mark(t, to, path_name(p), e);
}

/* ---- which of them ----------------------------------------------------- */

int entry_put(struct tree *t, struct archive *a, struct archive_entry *entry,
	      const struct path *p, const struct limits *limits, struct err *e)
{
	const char *hard = archive_entry_hardlink(entry);
	mode_t type = archive_entry_filetype(entry);
	const char *target;
	struct meta m;
	struct dir *d;

	if (!p->len && (hard || type != AE_IFDIR))
		return err_set(e, EINVAL,
			       "the root can be nothing but a directory");
	if (hard)
		return put_link(t, p, hard, e);
	if (meta_read(&m, entry, limits, e) < 0)
		return -e->num;
	t->inherits |= m.default_acl;
	if (!p->len)
		return put_root(t, &m, p, e);
	if (tree_parent(t, p, true, &d, e) < 0)
		return -e->num;
	switch (type) {
	case AE_IFDIR:
		return put_dir(t, d, &m, p, e);
	case AE_IFREG:
		return put_file(t, d, &m, path_name(p), a,
				archive_entry_size(entry), e);
	case AE_IFLNK:
		target = archive_entry_symlink(entry);
		if (!target || !*target)
			return err_set(e, EINVAL, "it is a link to nothing");
		return put_node(t, d, &m, path_name(p), entry, target, e);
	case AE_IFCHR:
	case AE_IFBLK:
	case AE_IFIFO:
		return put_node(t, d, &m, path_name(p), entry, NULL, e);
	default:
		return err_set(e, EINVAL, "it is of no known type");
	}
}
