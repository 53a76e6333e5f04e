/* SPDX-License-Identifier: MIT
 *
 * Whiteouts: see whiteout.h.
 *
 * They act on what lower layers have, wherever in the tar they stand: what the
 * layer itself has put (t->marks) stays, with the directories that lead to it.
 * Such a directory, if only lower layers speak of it, is then one that no layer
 * speaks of, and gets the attributes that it would have if the whiteout had
 * come first.
 *
 * A second pass over the tar, or all whiteouts put off to its end, would need
 * the same knowledge of what is whose.
 */
#include "rootfs/whiteout.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"
#include "rootfs/meta.h"

#define PREFIX STR(".wh.")
#define NOTE_PREFIX STR(".wh..wh.")
#define OPAQUE STR(".wh..wh..opq")

int whiteout_kind(const struct path *p, enum whiteout *kind, struct err *e)
{
	struct str name, rest = { p->text, p->len };

	*kind = WHITEOUT_NONE;
	while (rest.p) {
		name = str_cut(&rest, '/');
		if (!str_starts(name, PREFIX))
			continue;
		if (!rest.p && str_eq(name, OPAQUE))
			*kind = WHITEOUT_OPAQUE;
		else if (str_starts(name, NOTE_PREFIX))
			*kind = WHITEOUT_IGNORE;
		else if (rest.p)
			return err_set(e, EINVAL, "it lies in a whiteout");
		else
			*kind = WHITEOUT_NAME;
		break;
	}
	if (*kind != WHITEOUT_NAME)
		return 0;
	name.p += PREFIX.len;
	name.len -= PREFIX.len;
	if (name.len == 0 || str_eq(name, STR(".")) || str_eq(name, STR("..")))
		return err_set(e, EINVAL, "it is a whiteout of nothing");
	return 0;
}

static int purge(struct tree *t, int dir, uint64_t ino, const char *name,
		 struct err *e);

/* What lower layers have in the directory @fd, which is consumed. */
static int purge_children(struct tree *t, int fd, uint64_t ino, struct err *e)
{
	DIR *stream = fdopendir(fd);
	struct dirent *d;
	int r = 0;

	if (!stream) {
		close(fd);
		return err_sys(e, errno, "cannot read a directory");
	}
	while (r == 0 && (d = readdir(stream))) {
		if (strcmp(d->d_name, ".") && strcmp(d->d_name, ".."))
			r = purge(t, dirfd(stream), ino, d->d_name, e);
	}
	closedir(stream);
	return r;
}

static int purge_dir(struct tree *t, int dir, const char *name,
		     const struct stat *st, bool ours, struct err *e)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, st->st_mtim };
	fd_auto int fd = openat(dir, name,
				O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int copy;

	/* Closed by closedir(), while this one is still needed. */
	copy = fd < 0 ? -1 : openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (copy < 0)
		return err_sys(e, errno, "cannot read a directory");
	if (purge_children(t, copy, st->st_ino, e) < 0)
		return -e->num;
	if (!ours && unlinkat(dir, name, AT_REMOVEDIR) == 0)
		return 0;
	if (!ours && errno != ENOTEMPTY && errno != EEXIST)
		return err_sys(e, errno, "cannot remove a directory");
	if (!ours)
		return meta_put_default(fd, e);
	if (futimens(fd, times) < 0)
		return err_sys(e, errno, "cannot set the time of a directory");
	return 0;
}

/* What lower layers have at @name in the directory @dir with inode @ino. */
static int purge(struct tree *t, int dir, uint64_t ino, const char *name,
		 struct err *e)
{
	bool ours = marks_has(&t->marks, ino, name);
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 :
					 err_sys(e, errno, "cannot look at it");
	if (S_ISDIR(st.st_mode))
		return purge_dir(t, dir, name, &st, ours, e);
	if (!ours && unlinkat(dir, name, 0) < 0)
		return err_sys(e, errno, "cannot remove it");
	return 0;
}

static int apply_name(struct tree *t, struct dir *d, const char *name,
		      struct err *e)
{
	struct stat st;

	if (fstatat(d->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 :
					 err_sys(e, errno, "cannot look at it");
	/* Of a directory, others in the cache may go or change. */
	if (!S_ISREG(st.st_mode) && tree_flush_but(t, d, e) < 0)
		return -e->num;
	return purge(t, d->fd, d->ino, name, e);
}

static int apply_opaque(struct tree *t, struct dir *d, struct err *e)
{
	int fd = openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, errno, "cannot read a directory");
	if (tree_flush_but(t, d, e) < 0) {
		close(fd);
		return -e->num;
	}
	return purge_children(t, fd, d->ino, e);
}

int whiteout_apply(struct tree *t, const struct path *p, enum whiteout kind,
		   struct err *e)
{
	struct dir *d;
	int r;

	/* There is nothing below. */
	if (t->lowest)
		return 0;
	r = tree_parent(t, p, false, &d, e);
	/* Nothing there, nothing to hide. */
	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	if (r < 0)
		return r;
	if (kind == WHITEOUT_OPAQUE)
		return apply_opaque(t, d, e);
	return apply_name(t, d, path_name(p) + PREFIX.len, e);
}
