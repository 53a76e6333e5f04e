/* SPDX-License-Identifier: MIT
 *
 * Files of the guest: see file.h.
 *
 * A file that is put is written under another name, or under none, beside its
 * place, and takes it when the input has ended.  A client that goes away in
 * between has this process ended by SIGTERM, or one that takes it back killed,
 * and only then its input closed: that it ended for another reason than that it
 * was complete cannot happen here.
 */
#include "agent/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"
#include "wire/msg.h"

#define CHUNK ((size_t)1 << 20)

void file_call(struct file_call *c, const struct wire_request *x)
{
	const char *argv[] = { "/proc/self/exe", "file",   c->verb, c->flags,
			       c->mode,		 c->owner, x->path, NULL };

	snprintf(c->verb, sizeof(c->verb), "%u", x->verb);
	snprintf(c->flags, sizeof(c->flags), "%u", x->flags);
	strcpy(c->mode, "-");
	strcpy(c->owner, "-");
	if (x->mode >= 0)
		snprintf(c->mode, sizeof(c->mode), "%d", x->mode);
	if (x->has_owner)
		snprintf(c->owner, sizeof(c->owner), "%u:%u", x->owner_uid,
			 x->owner_gid);
	memcpy(c->argv, argv, sizeof(argv));
	c->argc = FILE_ARGS;
}

/* ---- get ---- */

static int get(const struct file_job *j, struct err *e)
{
	/* Not waiting for a FIFO's writer, nor taking a terminal. */
	fd_auto int fd =
		open(j->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "cannot read %s", j->path);
	if (S_ISDIR(st.st_mode))
		return err_set(e, EISDIR, "%s is a directory", j->path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "%s is not a regular file", j->path);
	do {
		n = sendfile(STDOUT_FILENO, fd, NULL, CHUNK);
	} while (n > 0);
	return n < 0 ? err_sys(e, errno, "cannot read %s", j->path) : 0;
}

/* ---- records ---- */

static char type_of(mode_t mode)
{
	static const struct {
		mode_t mode;
		char letter;
	} types[] = {
		{ S_IFREG, 'f' },  { S_IFDIR, 'd' }, { S_IFLNK, 'l' },
		{ S_IFCHR, 'c' },  { S_IFBLK, 'b' }, { S_IFIFO, 'p' },
		{ S_IFSOCK, 's' },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		if (types[i].mode == (mode & S_IFMT))
			return types[i].letter;
	}
	return '?';
}

/* One record of @name in @dir, which is written as @as. */
static int record(int dir, const char *name, const char *as, bool follow)
{
	char target[PATH_MAX] = "";
	struct stat st;

	if (fstatat(dir, name, &st, follow ? 0 : AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISLNK(st.st_mode) &&
	    readlinkat(dir, name, target, sizeof(target) - 1) < 0)
		return -errno;
	printf("%c %o %u %u %lld %lld %s", type_of(st.st_mode),
	       st.st_mode & 07777, st.st_uid, st.st_gid, (long long)st.st_size,
	       (long long)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec,
	       as);
	putchar('\0');
	fputs(target, stdout);
	putchar('\0');
	return ferror(stdout) ? -EIO : 0;
}

static int list(const struct file_job *j, struct err *e)
{
	DIR *dir = opendir(j->path);
	struct dirent *d;
	int r = 0;

	if (!dir)
		return err_sys(e, errno, "cannot list %s", j->path);
	for (errno = 0; r == 0 && (d = readdir(dir)); errno = 0) {
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		r = record(dirfd(dir), d->d_name, d->d_name, false);
		/* What has gone meanwhile is not there. */
		if (r == -ENOENT)
			r = 0;
	}
	if (r == 0 && errno)
		r = -errno;
	closedir(dir);
	return r < 0 ? err_sys(e, -r, "cannot list %s", j->path) : 0;
}

static int stat_one(const struct file_job *j, struct err *e)
{
	int r = record(AT_FDCWD, j->path, j->path, j->flags & WIRE_FLAG_FOLLOW);

	return r < 0 ? err_sys(e, -r, "cannot stat %s", j->path) : 0;
}

/* ---- put ---- */

static mode_t current_umask(void)
{
	mode_t mask = umask(0);

	umask(mask);
	return mask;
}

/* Mode and owner: as asked for, or those of the file that was there, or what a
 * new file gets. */
static int dress(int fd, const struct file_job *j, const struct stat *old,
		 struct err *e)
{
	mode_t mode = old ? old->st_mode & 07777 : 0666 & ~current_umask();

	if (j->has_owner && fchown(fd, j->uid, j->gid) < 0)
		return err_sys(e, errno, "cannot give %s to %u:%u", j->path,
			       j->uid, j->gid);
	/* As far as this user can. */
	if (!j->has_owner && old && fchown(fd, old->st_uid, old->st_gid) < 0 &&
	    errno != EPERM)
		return err_sys(e, errno, "cannot keep the owner of %s",
			       j->path);
	if (fchmod(fd, j->mode >= 0 ? (mode_t)j->mode : mode) < 0)
		return err_sys(e, errno, "cannot set the mode of %s", j->path);
	return 0;
}

void file_hold_term(bool hold)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(hold ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

/* What a put that is told to end takes along; "" while it has no name. */
static const char *volatile unfinished;

static void on_term(int sig)
{
	if (unfinished)
		unlink((const char *)unfinished);
	signal(sig, SIG_DFL);
	raise(sig);
}

/* Beside @path, a file without a name where there can be one, so that nothing
 * is left if we are killed; else @tmp is its name. */
static int open_beside(const char *path, char tmp[static IO_TMP_MAX],
		       struct err *e)
{
	const char *slash = strrchr(path, '/');
	mem_auto char *dir =
		slash ? str_dup((struct str){ path,
					      (size_t)(slash - path) + 1 }) :
			str_dup(STR("."));
	int fd = dir ? open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : -1;

	tmp[0] = '\0';
	if (fd < 0)
		fd = io_tmp_open(AT_FDCWD, path, 0600, tmp, NULL);
	return fd < 0 ? err_sys(e, -fd, "cannot create %s", path) : fd;
}

/* Give a nameless file a name, from which it can be renamed. */
static int name_it(int fd, const char *path, char tmp[static IO_TMP_MAX],
		   struct err *e)
{
	fd_auto int there = -1;
	char proc[32];

	if (*tmp)
		return 0;
	/* Only for the name. */
	there = io_tmp_open(AT_FDCWD, path, 0600, tmp, NULL);
	if (there < 0)
		return err_sys(e, -there, "cannot create %s", path);
	unlink(tmp);
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, proc, AT_FDCWD, tmp, AT_SYMLINK_FOLLOW) < 0)
		return err_sys(e, errno, "cannot write %s", path);
	return 0;
}

static int copy_in(int fd, const char *path, struct err *e)
{
	mem_auto uint8_t *p = malloc(CHUNK);
	ssize_t n;
	int r = 0;

	if (!p)
		return err_sys(e, ENOMEM, "cannot write %s", path);
	while (r == 0 && (n = io_read_full(STDIN_FILENO, p, CHUNK)) != 0)
		r = n < 0 ? (int)n : io_write_full(fd, p, (size_t)n);
	return r < 0 ? err_sys(e, -r, "cannot write %s", path) : 0;
}

/* Into @path, which is no link, or one that leads nowhere and makes way. */
static int put_at(const char *path, const struct file_job *j, struct err *e)
{
	char tmp[IO_TMP_MAX];
	fd_auto int fd = -1;
	struct stat st;
	bool old = lstat(path, &st) == 0 && !S_ISLNK(st.st_mode);
	int r;

	if (old && S_ISDIR(st.st_mode))
		return err_set(e, EISDIR, "%s is a directory", j->path);
	if (old && !S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "%s is not a regular file", j->path);
	file_hold_term(true);
	signal(SIGTERM, on_term);
	fd = open_beside(path, tmp, e);
	if (fd >= 0)
		unfinished = tmp;
	file_hold_term(false);
	if (fd < 0)
		return fd;
	r = copy_in(fd, j->path, e);
	if (r == 0)
		r = dress(fd, j, old ? &st : NULL, e);
	if (r == 0)
		r = name_it(fd, path, tmp, e);
	if (r == 0)
		r = io_tmp_commit(AT_FDCWD, fd, tmp, path, e);
	else if (*tmp)
		unlink(tmp);
	unfinished = NULL;
	return r;
}

int file_make_parents(const char *path, struct err *e)
{
	mem_auto char *dir = str_dup(str_of(path));
	char *slash;
	size_t n;

	if (!dir)
		return err_sys(e, ENOMEM, "cannot create %s", path);
	for (n = strlen(dir); n > 1 && dir[n - 1] == '/'; n--)
		dir[n - 1] = '\0';
	slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return 0;
	while (slash > dir && *slash == '/')
		*slash-- = '\0';
	return io_mkdirs(dir, 0777, e);
}

static int put(const struct file_job *j, struct err *e)
{
	mem_auto char *real = NULL;
	struct stat st;
	int r = 0;

	if (j->path[strlen(j->path) - 1] == '/')
		return err_set(e, EISDIR, "%s names a directory", j->path);
	if (j->flags & WIRE_FLAG_PARENTS)
		r = file_make_parents(j->path, e);
	if (r < 0)
		return r;
	/* What a link leads to is written, and not the link. */
	if (lstat(j->path, &st) == 0 && S_ISLNK(st.st_mode))
		real = realpath(j->path, NULL);
	return put_at(real ? real : j->path, j, e);
}

/* ---- directories ---- */

static int make_dir(const struct file_job *j, struct err *e)
{
	mode_t mode = j->mode >= 0 ? (mode_t)j->mode : 0777;
	bool made;
	int r = 0;

	if (j->flags & WIRE_FLAG_PARENTS)
		r = file_make_parents(j->path, e);
	if (r < 0)
		return r;
	made = mkdir(j->path, mode) == 0;
	if (!made && !(errno == EEXIST && j->flags & WIRE_FLAG_PARENTS))
		return err_sys(e, errno, "cannot create %s", j->path);
	if (made && ((j->mode >= 0 && chmod(j->path, mode) < 0) ||
		     (j->has_owner && lchown(j->path, j->uid, j->gid) < 0)))
		return err_sys(e, errno, "cannot set the mode and owner of %s",
			       j->path);
	return 0;
}

static int remove_one(const struct file_job *j, struct err *e)
{
	if (strspn(j->path, "/.") == strlen(j->path))
		return err_set(e, EBUSY, "will not remove %s", j->path);
	return io_remove_tree(AT_FDCWD, j->path, e);
}

/* ---- the process ---- */

static int (*const verbs[])(const struct file_job *j, struct err *e) = {
	[WIRE_FILE_GET] = get,	       [WIRE_FILE_PUT] = put,
	[WIRE_FILE_LIST] = list,       [WIRE_FILE_STAT] = stat_one,
	[WIRE_FILE_TAR_GET] = tar_get, [WIRE_FILE_TAR_PUT] = tar_put,
	[WIRE_FILE_MKDIR] = make_dir,  [WIRE_FILE_REMOVE] = remove_one,
};

static int parse(int argc, char **argv, uint64_t *verb, struct file_job *j,
		 struct err *e)
{
	uint64_t n = 0;
	struct str gid;
	int r;

	if (argc != FILE_ARGS - 2)
		return err_set(e, EINVAL, "file: %d arguments", argc);
	*j = (struct file_job){ .mode = -1, .path = argv[4] };
	r = str_u64(str_of(argv[0]), 1, UINT32_MAX, verb, "verb", e);
	if (r == 0)
		r = str_u64(str_of(argv[1]), 0, WIRE_FLAGS_ALL, &n, "flags", e);
	j->flags = (uint32_t)n;
	if (r == 0 && strcmp(argv[2], "-") != 0) {
		r = str_u64(str_of(argv[2]), 0, 07777, &n, "mode", e);
		j->mode = (int)n;
	}
	if (r < 0 || strcmp(argv[3], "-") == 0)
		return r;
	j->has_owner = true;
	gid = str_of(argv[3]);
	r = str_u64(str_cut(&gid, ':'), 0, UINT32_MAX, &n, "owner", e);
	j->uid = (uid_t)n;
	if (r == 0)
		r = str_u64(gid, 0, UINT32_MAX, &n, "group", e);
	j->gid = (gid_t)n;
	return r;
}

int file_main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	struct file_job j;
	uint64_t verb = 0;
	int r = parse(argc, argv, &verb, &j, &e);

	if (r == 0 && (verb >= ARRAY_SIZE(verbs) || !verbs[verb]))
		r = err_set(&e, ENOSYS, "unknown file verb %u", (unsigned)verb);
	if (r == 0)
		r = verbs[verb](&j, &e);
	if (fflush(stdout) != 0 && r == 0)
		r = err_sys(&e, errno, "cannot write");
	if (r < 0)
		fprintf(stderr, "%s\n", e.text);
	return -r;
}
