/* SPDX-License-Identifier: MIT
 *
 * The tree that layers are applied to: see tree.h.
 *
 * A directory is opened by its whole path from the root, not step by step from
 * one that is open: the kernel walks ten components in a microsecond, and only
 * from the root does RESOLVE_IN_ROOT mean what it says.
 */
#include "rootfs/tree.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "rootfs/meta.h"


/* ---- cleaned paths ----------------------------------------------------- */

static int add_component(struct path *p, const char *c, size_t n,
			 struct err *e)
{
	if (n == 0 || (n == 1 && c[0] == '.'))
		return 0;
	if (n == 2 && c[0] == '.' && c[1] == '.')
		return err_set(e, EINVAL, "its path has a '..' in it");
	if (n > NAME_MAX)
		return err_set(e, ENAMETOOLONG,
			       "a name has %zu bytes; %d are the limit", n,
			       NAME_MAX);
	if (p->len + 1 + n >= sizeof(p->text))
		return err_set(e, ENAMETOOLONG,
			       "its path has more than %d bytes",
			       PATH_MAX - 1);
	if (p->len)
		p->text[p->len++] = '/';
	p->name = p->len;
	memcpy(p->text + p->len, c, n);
	p->len += n;
	p->text[p->len] = '\0';
	p->depth++;
	return 0;
}

int path_clean(struct path *p, const char *raw, struct err *e)
{
	int r = 0;

	p->len = p->name = p->depth = 0;
	p->text[0] = '\0';
	while (r == 0 && *raw) {
		size_t n = strcspn(raw, "/");

		r = add_component(p, raw, n, e);
		raw += n + (raw[n] == '/');
	}
	return r;
}

/* The path of what @p lies in.  Not for the root. */
static void path_parent(struct path *out, const struct path *p)
{
	const char *slash;

	out->len = p->name ? p->name - 1 : 0;
	memcpy(out->text, p->text, out->len);
	out->text[out->len] = '\0';
	out->depth = p->depth - 1;
	slash = strrchr(out->text, '/');
	out->name = slash ? (size_t)(slash - out->text) + 1 : 0;
}

/* ---- the cache --------------------------------------------------------- */

static int dir_close(struct dir *d, struct err *e)
{
	struct timespec t[2] = { { .tv_nsec = UTIME_OMIT }, d->mtime };
	int r = 0;

	if (d->fd < 0)
		return 0;
	if (futimens(d->fd, t) < 0)
		r = err_sys(e, errno, "cannot set the time of a directory");
	fd_close(&d->fd);
	mem_free(&d->path);
	return r;
}

int tree_init(struct tree *t, int root, unsigned int max_depth, struct err *e)
{
	char link[32], path[PATH_MAX];
	ssize_t n;
	size_t i;

	memset(t, 0, sizeof(*t));
	t->root = root;
	t->max_depth = max_depth;
	t->lowest = true;
	for (i = 0; i < TREE_DIRS; i++)
		t->dirs[i].fd = -1;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", root);
	n = readlink(link, path, sizeof(path));
	if (n < 0)
		return err_sys(e, errno, "cannot read %s (is /proc mounted?)",
			       link);
	t->root_len = (size_t)n + 1;
	return meta_put_default(root, e);
}

int tree_flush_but(struct tree *t, struct dir *keep, struct err *e)
{
	size_t i;
	int r = 0;

	for (i = 0; i < TREE_DIRS; i++) {
		if (&t->dirs[i] != keep && dir_close(&t->dirs[i], e) < 0)
			r = -e->num;
	}
	/* The way to it may be another one now. */
	if (keep)
		mem_free(&keep->path);
	return r;
}

int tree_flush(struct tree *t, struct err *e)
{
	return tree_flush_but(t, NULL, e);
}

void tree_free(struct tree *t)
{
	size_t i;

	for (i = 0; i < TREE_DIRS; i++) {
		fd_close(&t->dirs[i].fd);
		mem_free(&t->dirs[i].path);
	}
	marks_free(&t->marks);
}

static struct dir *cached(struct tree *t, const char *path)
{
	size_t i;

	for (i = 0; i < TREE_DIRS; i++) {
		struct dir *d = &t->dirs[i];

		if (d->fd >= 0 && d->path && strcmp(d->path, path) == 0) {
			d->used = ++t->clock;
			return d;
		}
	}
	return NULL;
}

/* The slot of the inode @ino, or an empty one, or the one longest not used,
 * which is given its time and emptied. */
static struct dir *slot_for(struct tree *t, uint64_t ino, struct err *e)
{
	struct dir *oldest = &t->dirs[0];
	size_t i;

	for (i = 0; i < TREE_DIRS; i++) {
		struct dir *d = &t->dirs[i];

		if (d->fd >= 0 && d->ino == ino)
			return d;
		if (d->fd < 0 || (oldest->fd >= 0 && d->used < oldest->used))
			oldest = d;
	}
	return dir_close(oldest, e) < 0 ? NULL : oldest;
}

/* How deep @d really is and how long its path: not what the entry's path says
 * when links were followed. */
static int measure(const struct tree *t, struct dir *d, struct err *e)
{
	char link[32], path[PATH_MAX];
	ssize_t n, i;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", d->fd);
	n = readlink(link, path, sizeof(path));
	/* The kernel says so of paths that do not fit a page. */
	if (n < 0 && errno != ENAMETOOLONG)
		return err_sys(e, errno, "cannot read %s", link);
	if (n < 0 || n == (ssize_t)sizeof(path))
		return err_set(e, ENAMETOOLONG,
			       "it lies deeper than %d bytes of path",
			       PATH_MAX - 1);
	d->len = (size_t)n > t->root_len ? (size_t)n - t->root_len : 0;
	d->depth = d->len > 0;
	for (i = (ssize_t)t->root_len; i < n; i++)
		d->depth += path[i] == '/';
	return 0;
}

/* Put @fd, reached by @path, into the cache. */
static int remember(struct tree *t, const struct path *path, bool straight,
		    int fd, struct dir **out, struct err *e)
{
	fd_auto int own = fd;
	struct stat st;
	struct dir *d;

	if (fstat(own, &st) < 0)
		return err_sys(e, errno, "cannot look at a directory");
	d = slot_for(t, st.st_ino, e);
	if (!d)
		return -e->num;
	mem_free(&d->path);
	d->path = str_dup((struct str){ path->text, path->len });
	if (!d->path)
		return err_sys(e, ENOMEM, "cannot open a directory");
	if (d->fd < 0) {
		d->fd = fd_steal(&own);
		d->ino = st.st_ino;
		d->mtime = st.st_mtim;
		d->depth = path->depth;
		d->len = path->len;
		if (!straight && measure(t, d, e) < 0)
			return -e->num;
	}
	d->used = ++t->clock;
	*out = d;
	return 0;
}

/* ---- opening ----------------------------------------------------------- */

static int open_how(const struct tree *t, const char *path, uint64_t resolve)
{
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS |
			   RESOLVE_NO_XDEV | resolve,
	};
	int fd;

	do {
		fd = (int)syscall(SYS_openat2, t->root, *path ? path : ".",
				  &how, sizeof(how));
	} while (fd < 0 && errno == EAGAIN); /* a rename elsewhere */
	return fd < 0 ? -errno : fd;
}

/* Open @path; *@straight: no link was followed. */
static int open_path(const struct tree *t, const char *path, bool *straight)
{
	int fd = open_how(t, path, RESOLVE_NO_SYMLINKS);

	*straight = fd != -ELOOP;
	return *straight ? fd : open_how(t, path, 0);
}

static int make_missing(struct tree *t, const struct path *p, struct err *e);

static int open_dir(struct tree *t, const struct path *p, bool create,
		    struct dir **out, struct err *e)
{
	bool straight;
	int fd;

	*out = cached(t, p->text);
	if (*out)
		return 0;
	fd = open_path(t, p->text, &straight);
	if (fd == -ENOENT && create) {
		if (make_missing(t, p, e) < 0)
			return -e->num;
		fd = open_path(t, p->text, &straight);
	}
	if (fd == -ENOTDIR)
		return err_set(e, ENOTDIR,
			       "what its path takes for a directory is none");
	if (fd == -ENOENT)
		return err_set(e, ENOENT, "a directory of its path is missing");
	if (fd < 0)
		return err_sys(e, -fd, "cannot open its directory");
	return remember(t, p, straight, fd, out, e);
}

/* The directory @p was not found: make it, and what it lies in.  Recursion is
 * as deep as the path, whose depth is limited. */
static int make_missing(struct tree *t, const struct path *p, struct err *e)
{
	struct path *up = malloc(sizeof(*up));
	mem_auto void *own = up;
	struct dir *d;
	int fd, r;

	if (!up)
		return err_sys(e, ENOMEM, "cannot make a directory");
	path_parent(up, p);
	r = open_dir(t, up, true, &d, e);
	if (r < 0)
		return r;
	if (mkdirat(d->fd, path_name(p), 0755) < 0) {
		if (errno == EEXIST)
			return err_set(e, ENOTDIR,
				       "its path leads over a link to nowhere");
		return err_sys(e, errno, "cannot make its directory");
	}
	r = tree_mark(t, d, path_name(p), e);
	if (r < 0)
		return r;
	fd = openat(d->fd, path_name(p),
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "cannot make its directory");
	/* The umask and a set-group-ID directory have had their say. */
	r = meta_put_default(fd, e);
	fd_close(&fd);
	return r;
}

static int check_depth(const struct tree *t, const struct dir *d,
		       const char *name, struct err *e)
{
	if (d->depth + 1 > t->max_depth) {
		err_set(e, ENAMETOOLONG,
			"it lies deeper than the %u directories allowed",
			t->max_depth);
		return err_fix(e, "--max-depth");
	}
	if (d->len + 1 + strlen(name) >= PATH_MAX)
		return err_set(e, ENAMETOOLONG,
			       "it lies deeper than %d bytes of path",
			       PATH_MAX - 1);
	return 0;
}

int tree_parent(struct tree *t, const struct path *p, bool create,
		struct dir **out, struct err *e)
{
	struct path up;
	int r;

	if (p->depth > t->max_depth) {
		err_set(e, ENAMETOOLONG,
			"it lies deeper than the %u directories allowed",
			t->max_depth);
		return err_fix(e, "--max-depth");
	}
	path_parent(&up, p);
	r = open_dir(t, &up, create, out, e);
	return r < 0 ? r : check_depth(t, *out, path_name(p), e);
}

int tree_dir(struct tree *t, const struct path *p, struct dir **out,
	     struct err *e)
{
	return open_dir(t, p, false, out, e);
}

int tree_adopt(struct tree *t, const struct path *p, int fd,
	       const struct timespec *mtime, struct err *e)
{
	struct dir *d;
	int r = remember(t, p, false, fd, &d, e);

	if (r == 0)
		d->mtime = *mtime;
	return r;
}

int tree_mark(struct tree *t, const struct dir *d, const char *name,
	      struct err *e)
{
	int r = t->lowest ? 0 : marks_add(&t->marks, d->ino, name);

	return r < 0 ? err_sys(e, -r, "cannot take note of an entry") : 0;
}
