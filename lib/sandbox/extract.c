/* SPDX-License-Identifier: MIT
 *
 * A guest's archive, unpacked: see extract.h.
 *
 * libarchive reads; the writing is our own, because its archive_write_disk
 * checks a path component by component with lstat(2), where openat2(2) with
 * RESOLVE_BENEATH has the kernel see to it.
 */
#include "sandbox/extract.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"

#define PIECE 65536
#define MODE_MAKING 0700 /* of a directory that is being filled */

/* A directory whose mode and times are set when all is in it. */
struct late {
	char *path; /* owned; relative to spec->dir */
	mode_t mode;
	struct timespec times[2];
	uid_t uid;
	gid_t gid;
};

struct extract {
	const struct extract_spec *spec;
	struct extract_report *report;
	struct archive *tar;
	char *top;	   /* owned: the first entry's name; NULL: none yet */
	struct late *late; /* owned, and their paths */
	size_t nlate, room;
	mode_t mask;
	int read_failed;
	char piece[PIECE];
};

static la_ssize_t on_read(struct archive *a, void *arg, const void **p)
{
	struct extract *x = arg;
	ssize_t n = x->spec->read(x->spec->arg, x->piece, sizeof(x->piece));

	*p = x->piece;
	if (n >= 0)
		return n;
	x->read_failed = (int)n;
	archive_set_error(a, (int)-n, "cannot read");
	return -1;
}

static int failed(const struct extract *x, struct err *e)
{
	const char *why = archive_error_string(x->tar);

	if (x->read_failed < 0)
		return x->read_failed;
	return err_set(e, EBADMSG, "the guest's archive is broken: %s",
		       why ? why : "unknown reason");
}

/* ---- names -------------------------------------------------------------- */

/* Without "./" at the front, "/" at the end, and doubled slashes; in place.
 * false: it is absolute, climbs, or is too deep. */
static bool normalize(char *path)
{
	char *in = path, *out = path;
	int depth = 0;

	if (*in == '/')
		return false;
	while (*in) {
		size_t n = strcspn(in, "/");

		if (n == 2 && in[0] == '.' && in[1] == '.')
			return false;
		if (n > NAME_MAX || ++depth > EXTRACT_DEPTH_MAX)
			return false;
		if (n && !(n == 1 && *in == '.')) {
			if (out != path)
				*out++ = '/';
			memmove(out, in, n);
			out += n;
		}
		in += n;
		in += strspn(in, "/");
	}
	*out = '\0';
	return true;
}

/* The path below spec->dir that an archive's name stands for, on the heap:
 * the first entry's name is replaced by spec->name. */
static char *target(const struct extract *x, const char *given, struct err *e)
{
	mem_auto char *path = given ? str_dup(str_of(given)) : NULL;
	size_t n = strlen(x->top);
	char *out = NULL;

	if (!path || !normalize(path)) {
		err_set(e, EBADMSG,
			"the guest's archive has a bad name: "
			"'%.80s'",
			given ? given : "");
		return NULL;
	}
	if (strncmp(path, x->top, n) != 0 ||
	    (n && path[n] != '/' && path[n] != '\0')) {
		err_set(e, EBADMSG,
			"the guest's archive has '%.80s' in it, which is "
			"outside of '%.80s'",
			path, x->top);
		return NULL;
	}
	given = path + n + (n && path[n] == '/');
	out = *given ? str_path(x->spec->name, given) :
		       str_dup(str_of(x->spec->name));
	if (!out)
		err_sys(e, ENOMEM, "cannot copy '%.80s'", path);
	return out;
}

/* Open beneath our directory, through no link. */
static int open_in(const struct extract *x, const char *path, uint64_t flags)
{
	struct open_how how = { .flags = flags | O_CLOEXEC,
				.resolve = RESOLVE_BENEATH |
					   RESOLVE_NO_SYMLINKS |
					   RESOLVE_NO_MAGICLINKS };
	long fd = syscall(SYS_openat2, x->spec->dir, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

/* The directory that @path is in, which is made as far as it is missing: an
 * archive need not name all of them. */
static int open_parent(const struct extract *x, char *path, const char **last)
{
	char *slash = strrchr(path, '/');
	const char *name;
	int up, fd;

	*last = slash ? slash + 1 : path;
	if (!slash)
		return open_in(x, ".", O_PATH | O_DIRECTORY);
	*slash = '\0';
	fd = open_in(x, path, O_PATH | O_DIRECTORY);
	if (fd == -ENOENT) {
		up = open_parent(x, path, &name);
		if (up >= 0 && mkdirat(up, name, 0777) < 0 && errno != EEXIST)
			fd = -errno;
		else
			fd = up < 0 ? up :
				      open_in(x, path, O_PATH | O_DIRECTORY);
		fd_close(&up);
	}
	*slash = '/';
	return fd;
}

/* ---- making ------------------------------------------------------------- */

/* Make room for another thing of that name: anything but a directory goes. */
static int make_way(int dir, const char *name)
{
	return unlinkat(dir, name, 0) == 0 || errno == ENOENT ? 0 : -errno;
}

static mode_t mode_of(const struct extract *x, struct archive_entry *n)
{
	mode_t mode = archive_entry_perm(n);

	if (!x->spec->preserve)
		return mode & 0777 & ~x->mask;
	/* Without the owner that they are to lend, the set-ID bits would lend
	 * ours, to a program of the guest's. */
	return mode & (geteuid() == 0 ? 07777 : 01777);
}

static void times_of(struct archive_entry *n, struct timespec t[static 2])
{
	t[0].tv_nsec = UTIME_OMIT;
	t[0].tv_sec = 0;
	t[1].tv_sec = archive_entry_mtime(n);
	t[1].tv_nsec = archive_entry_mtime_nsec(n);
}

/* Owner first: changing it clears the set-ID bits. */
static int finish_fd(const struct extract *x, int fd, mode_t mode,
		     const struct timespec t[static 2], uid_t uid, gid_t gid)
{
	if (x->spec->preserve && geteuid() == 0 && fchown(fd, uid, gid) < 0)
		return -errno;
	if (fchmod(fd, mode) < 0)
		return -errno;
	if (x->spec->preserve && futimens(fd, t) < 0)
		return -errno;
	return 0;
}

static int make_dir(struct extract *x, struct archive_entry *n, int dir,
		    const char *name, const char *path)
{
	struct late *l;
	struct stat st;

	if (mkdirat(dir, name, MODE_MAKING) < 0) {
		if (errno != EEXIST)
			return -errno;
		if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
		/* One that was there keeps its mode. */
		return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
	}
	if (x->nlate == x->room) {
		size_t room = x->room ? 2 * x->room : 64;
		void *v = reallocarray(x->late, room, sizeof(*x->late));

		if (!v)
			return -ENOMEM;
		x->late = v;
		x->room = room;
	}
	l = &x->late[x->nlate];
	l->path = str_dup(str_of(path));
	if (!l->path)
		return -ENOMEM;
	x->nlate++;
	l->mode = mode_of(x, n);
	l->uid = (uid_t)archive_entry_uid(n);
	l->gid = (gid_t)archive_entry_gid(n);
	times_of(n, l->times);
	return 0;
}

static int copy_data(struct extract *x, int fd, struct err *e)
{
	const void *p;
	size_t size;
	la_int64_t at;
	int r;

	while ((r = archive_read_data_block(x->tar, &p, &size, &at)) ==
	       ARCHIVE_OK) {
		if (size > x->spec->bytes_max - x->report->bytes)
			return err_set(e, EFBIG,
				       "the guest sends more than %llu bytes",
				       (unsigned long long)x->spec->bytes_max);
		x->report->bytes += size;
		while (size) {
			ssize_t n = pwrite(fd, p, size, at);

			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0)
				return err_sys(e, n < 0 ? errno : EIO,
					       "cannot write");
			p = (const char *)p + n;
			size -= (size_t)n;
			at += n;
		}
	}
	return r == ARCHIVE_EOF ? 0 : failed(x, e);
}

static int make_file(struct extract *x, struct archive_entry *n, int dir,
		     const char *name, struct err *e)
{
	struct timespec times[2];
	fd_auto int fd = -1;
	int r = make_way(dir, name);

	if (r < 0)
		return err_sys(e, -r, "cannot replace %s", name);
	fd = openat(dir, name,
		    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, errno, "cannot make %s", name);
	/* Its size ends in a hole, if at all: libarchive leaves those out. */
	if ((uint64_t)archive_entry_size(n) > x->spec->bytes_max)
		return err_set(e, EFBIG, "%s has %lld bytes, more than %llu",
			       name, (long long)archive_entry_size(n),
			       (unsigned long long)x->spec->bytes_max);
	r = copy_data(x, fd, e);
	if (r == 0 && ftruncate(fd, archive_entry_size(n)) < 0)
		r = err_sys(e, errno, "cannot write %s", name);
	if (r < 0)
		return r;
	times_of(n, times);
	r = finish_fd(x, fd, mode_of(x, n), times, (uid_t)archive_entry_uid(n),
		      (gid_t)archive_entry_gid(n));
	return r < 0 ? err_sys(e, -r, "cannot finish %s", name) : 0;
}

/* Another name for a file beneath our directory. */
static int make_link(const struct extract *x, const char *to, int dir,
		     const char *name)
{
	fd_auto int fd = open_in(x, to, O_PATH | O_NOFOLLOW);
	char path[64];
	struct stat st;
	int r;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return -EINVAL;
	r = make_way(dir, name);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, path, dir, name, AT_SYMLINK_FOLLOW) < 0 ?
		       -errno :
		       0;
}

static int make_hardlink(const struct extract *x, struct archive_entry *n,
			 int dir, const char *name, struct err *e)
{
	mem_auto char *to = target(x, archive_entry_hardlink(n), e);
	int r;

	if (!to)
		return e->num ? -e->num : -EBADMSG;
	r = make_link(x, to, dir, name);
	return r < 0 ? err_sys(e, -r, "cannot link %s", name) : 0;
}

static int make_symlink(struct archive_entry *n, int dir, const char *name,
			struct err *e)
{
	const char *to = archive_entry_symlink(n);
	int r = make_way(dir, name);

	if (r == 0 && (!to || symlinkat(to, dir, name) < 0))
		r = to ? -errno : -EINVAL;
	return r < 0 ? err_sys(e, -r, "cannot make the link %s", name) : 0;
}

static int make_entry(struct extract *x, struct archive_entry *n, char *path,
		      struct err *e)
{
	const char *name;
	fd_auto int dir = open_parent(x, path, &name);
	int r;

	if (dir < 0)
		return err_sys(e, -dir, "cannot make %s", path);
	if (archive_entry_hardlink(n))
		return make_hardlink(x, n, dir, name, e);
	switch (archive_entry_filetype(n)) {
	case AE_IFDIR:
		r = make_dir(x, n, dir, name, path);
		return r < 0 ? err_sys(e, -r, "cannot make %s", path) : 0;
	case AE_IFREG:
		return make_file(x, n, dir, name, e);
	case AE_IFLNK:
		return make_symlink(n, dir, name, e);
	default:
		x->report->left_out++;
		return 0;
	}
}

/* ---- all of it ---------------------------------------------------------- */

static int next_entry(struct extract *x, struct archive_entry *n, struct err *e)
{
	const char *given = archive_entry_pathname(n);
	mem_auto char *path = NULL;

	if (++x->report->entries > EXTRACT_ENTRIES_MAX)
		return err_set(e, EFBIG, "the guest sends more than %llu files",
			       (unsigned long long)EXTRACT_ENTRIES_MAX);
	if (!x->top) {
		x->top = given ? str_dup(str_of(given)) : NULL;
		if (!x->top || !normalize(x->top))
			return err_set(e, EBADMSG,
				       "the guest's archive begins with a bad "
				       "name");
	}
	path = target(x, given, e);
	if (!path)
		return e->num ? -e->num : -EBADMSG;
	return make_entry(x, n, path, e);
}

/* Children before their parents, whose times they would change. */
static int finish_dirs(struct extract *x, struct err *e)
{
	size_t i;

	for (i = x->nlate; i-- > 0;) {
		struct late *l = &x->late[i];
		fd_auto int fd = open_in(x, l->path, O_RDONLY | O_DIRECTORY);
		int r = fd < 0 ? fd :
				 finish_fd(x, fd, l->mode, l->times, l->uid,
					   l->gid);

		/* The archive may have put another thing in its place. */
		if (r < 0 && r != -ENOENT && r != -ENOTDIR && r != -ELOOP)
			return err_sys(e, -r, "cannot finish %s", l->path);
	}
	return 0;
}

static int extract_all(struct extract *x, struct err *e)
{
	struct archive_entry *n;
	int r = 0, got;

	while (r == 0) {
		got = archive_read_next_header(x->tar, &n);
		if (got == ARCHIVE_EOF)
			break;
		if (got < ARCHIVE_WARN)
			return failed(x, e);
		r = next_entry(x, n, e);
	}
	if (r == 0 && !x->report->entries)
		return err_set(e, EBADMSG, "the guest's archive is empty");
	return r < 0 ? r : finish_dirs(x, e);
}

static void extract_free(struct extract *x)
{
	archive_read_free(x->tar);
	free(x->top);
	while (x->nlate)
		free(x->late[--x->nlate].path);
	free(x->late);
	free(x);
}

int extract_tree(const struct extract_spec *s, struct extract_report *report,
		 struct err *e)
{
	struct extract *x = calloc(1, sizeof(*x));
	struct err own = ERR_INIT;
	int r;

	if (!x)
		return err_sys(e, ENOMEM, "cannot unpack");
	*report = (struct extract_report){ .entries = 0 };
	x->spec = s;
	x->report = report;
	x->mask = umask(0);
	umask(x->mask);
	x->tar = archive_read_new();
	if (x->tar && archive_read_support_format_tar(x->tar) == ARCHIVE_OK &&
	    archive_read_open(x->tar, x, NULL, on_read, NULL) == ARCHIVE_OK)
		r = extract_all(x, e ? e : &own);
	else
		r = x->tar ? failed(x, e) : err_sys(e, ENOMEM, "cannot unpack");
	extract_free(x);
	/* Names of the guest's are in it. */
	if (r < 0)
		err_plain(e);
	return r;
}
