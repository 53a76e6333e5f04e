/* SPDX-License-Identifier: MIT
 *
 * Whole reads and writes, atomic files, trees and locks: see io.h.
 *
 * Temporary files have real names (".tmp.*" beside their target) and not
 * O_TMPFILE: a nameless file can only be linked to a name that is free, so
 * that replacing one would want a second name anyway.
 */
#include "base/io.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"

ssize_t io_read_full(int fd, void *p, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t r = read(fd, (char *)p + done, n - done);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		done += (size_t)r;
	}
	return (ssize_t)done;
}

int io_write_full(int fd, const void *p, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t r = write(fd, (const char *)p + done, n - done);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		done += (size_t)r;
	}
	return 0;
}

int io_read_all(int fd, struct buf *b)
{
	for (;;) {
		size_t room = b->max - b->len;
		uint8_t probe;
		ssize_t n;
		int r;

		/* At the limit one byte more tells the end from too much. */
		if (room == 0) {
			n = io_read_full(fd, &probe, 1);
			return n > 0 ? -EMSGSIZE : (int)n;
		}
		if (b->cap > b->len && room > b->cap - b->len)
			room = b->cap - b->len;
		if (room > 65536)
			room = 65536;
		r = buf_reserve(b, room);
		if (r < 0)
			return r;
		n = io_read_full(fd, b->data + b->len, room);
		if (n < 0)
			return (int)n;
		b->len += (size_t)n;
		if ((size_t)n < room)
			return 0;
	}
}

int io_read_file(int dirfd, const char *path, struct buf *b, struct err *e)
{
	fd_auto int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return err_sys(e, errno, "cannot open %s", path);
	r = io_read_all(fd, b);
	return r < 0 ? err_sys(e, -r, "cannot read %s", path) : 0;
}

int io_read_line(int dirfd, const char *path, struct buf *b, struct err *e)
{
	int r = io_read_file(dirfd, path, b, e);

	if (r == 0 && b->len && b->data[b->len - 1] == '\n')
		b->len--;
	return r;
}

/* The length of the directory part of @path, with its slash; 0: none. */
static size_t dir_len(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? (size_t)(slash - path) + 1 : 0;
}

int io_sync_dir_of(int dirfd, const char *path)
{
	fd_auto int fd = -1;
	mem_auto char *dir = str_dup((struct str){ path, dir_len(path) });

	if (!dir)
		return -ENOMEM;
	fd = openat(dirfd, *dir ? dir : ".",
		    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return fsync(fd) < 0 ? -errno : 0;
}

int io_tmp_open(int dirfd, const char *path, mode_t mode, char tmp[IO_TMP_MAX],
		struct err *e)
{
	struct str dir = { path, dir_len(path) };
	uint64_t r;
	int fd, n;

	if (getrandom(&r, sizeof(r), 0) != sizeof(r))
		return err_sys(e, errno, "cannot get random bytes");
	n = snprintf(tmp, IO_TMP_MAX, "%.*s.tmp.%016llx", STR_ARG(dir),
		     (unsigned long long)r);
	if (n < 0 || n >= IO_TMP_MAX)
		return err_set(e, ENAMETOOLONG, "path too long: %s", path);
	fd = openat(dirfd, tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	return fd < 0 ? err_sys(e, errno, "cannot create %s", tmp) : fd;
}

int io_tmp_commit(int dirfd, int fd, const char *tmp, const char *path,
		  struct err *e)
{
	int r = 0;

	if (fsync(fd) < 0 || renameat(dirfd, tmp, dirfd, path) < 0)
		r = errno;
	if (r) {
		unlinkat(dirfd, tmp, 0);
		return err_sys(e, r, "cannot write %s", path);
	}
	r = io_sync_dir_of(dirfd, path);
	return r < 0 ? err_sys(e, -r, "cannot sync the directory of %s", path) :
		       0;
}

int io_write_atomic(int dirfd, const char *path, const void *p, size_t n,
		    mode_t mode, struct err *e)
{
	char tmp[IO_TMP_MAX];
	fd_auto int fd = io_tmp_open(dirfd, path, mode, tmp, e);
	int r;

	if (fd < 0)
		return fd;
	r = io_write_full(fd, p, n);
	if (r < 0) {
		unlinkat(dirfd, tmp, 0);
		return err_sys(e, -r, "cannot write %s", path);
	}
	return io_tmp_commit(dirfd, fd, tmp, path, e);
}

/* mkdir(2), content with a directory that is there already. */
static int make_dir(const char *path, mode_t mode)
{
	struct stat st;

	if (mkdir(path, mode) == 0)
		return 0;
	if (errno != EEXIST || stat(path, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int io_mkdirs(const char *path, mode_t mode, struct err *e)
{
	mem_auto char *p = NULL;
	struct stat st;
	char *at;
	int r;

	/* Mostly it is there: then no directory is locked to be told so. */
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return 0;
	p = str_dup(str_of(path));
	if (!p)
		return err_sys(e, ENOMEM, "cannot create %s", path);
	for (at = p + 1; *p; at++) {
		char c = *at;

		if (c != '/' && c != '\0')
			continue;
		*at = '\0';
		r = make_dir(p, mode);
		if (r < 0)
			return err_sys(e, -r, "cannot create %s", p);
		*at = c;
		if (c == '\0')
			break;
	}
	return 0;
}

/* A tree of whatever depth is removed without as deep a recursion: what stands
 * deeper than this is moved up to the top of the tree first. */
#define REMOVE_DEPTH_MAX 256

struct removal {
	int top;	    /* borrowed: the directory that is removed */
	unsigned int moved; /* entries moved up to it */
};

static int remove_entry(struct removal *rm, int dirfd, const char *name,
			int depth);

static int remove_children(struct removal *rm, int fd, int depth)
{
	struct dirent *d;
	DIR *dir = fdopendir(fd);
	int r = 0;

	if (!dir) {
		r = -errno;
		close(fd);
		return r;
	}
	if (depth == 0)
		rm->top = fd;
	while (r == 0 && (d = readdir(dir))) {
		if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
			r = remove_entry(rm, fd, d->d_name, depth + 1);
	}
	closedir(dir);
	return r;
}

static int move_up(struct removal *rm, int dirfd, const char *name)
{
	char to[32];

	do {
		snprintf(to, sizeof(to), ".removed.%u", ++rm->moved);
		if (renameat(dirfd, name, rm->top, to) == 0)
			return 0;
	} while (errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR);
	return -errno;
}

static int remove_dir(struct removal *rm, int dirfd, const char *name,
		      int depth)
{
	unsigned int moved;
	int fd, r;

	do {
		moved = rm->moved;
		fd = openat(dirfd, name,
			    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		r = remove_children(rm, fd, depth);
		if (r < 0)
			return r;
		r = unlinkat(dirfd, name, AT_REMOVEDIR) < 0 ? -errno : 0;
	} while (r == -ENOTEMPTY && depth == 0 && rm->moved != moved);
	return r;
}

static int remove_entry(struct removal *rm, int dirfd, const char *name,
			int depth)
{
	struct stat st;

	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	/* EPERM is what POSIX has unlink say of a directory; of a file it
	 * means what it says. */
	if (errno == EPERM &&
	    fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    !S_ISDIR(st.st_mode))
		return -EPERM;
	if (depth > REMOVE_DEPTH_MAX)
		return move_up(rm, dirfd, name);
	return remove_dir(rm, dirfd, name, depth);
}

int io_remove_tree(int dirfd, const char *path, struct err *e)
{
	struct removal rm = { .top = -1 };
	int r = remove_entry(&rm, dirfd, path, 0);

	return r < 0 ? err_sys(e, -r, "cannot remove %s", path) : 0;
}

int io_sweep_tmp(const char *path, struct err *e)
{
	DIR *dir = opendir(path);
	struct dirent *d;
	int r = 0;

	if (!dir)
		return err_sys(e, errno, "cannot open %s", path);
	while (r == 0 && (d = readdir(dir))) {
		if (str_starts(str_of(d->d_name), STR(".tmp.")))
			r = io_remove_tree(dirfd(dir), d->d_name, e);
	}
	closedir(dir);
	return r;
}

int io_lock(int dirfd, const char *path, bool wait, struct err *e)
{
	fd_auto int fd =
		openat(dirfd, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return err_sys(e, errno, "cannot open %s", path);
	do {
		r = flock(fd, wait ? LOCK_EX : LOCK_EX | LOCK_NB);
	} while (r < 0 && errno == EINTR);
	if (r < 0 && errno == EWOULDBLOCK)
		return err_set(e, EWOULDBLOCK, "%s is locked", path);
	if (r < 0)
		return err_sys(e, errno, "cannot lock %s", path);
	return fd_steal(&fd);
}
