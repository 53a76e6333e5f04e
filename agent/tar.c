/* SPDX-License-Identifier: MIT
 *
 * Archives of the guest's files: see file.h.
 *
 * They are made and unpacked by busybox, which keeps names inside the
 * directory it is told.  An archive is unpacked into a new directory first.
 * If the path is not there yet, that directory becomes it, whole or not at all.
 * If it is a directory, the entries move into it one after the other: each
 * appears whole, directories that are in both are merged, and a file takes a
 * file's place; a file does not take a directory's, nor the reverse.  So
 * nothing is touched by an archive that is cut short or damaged, but an error
 * in the moving leaves the first entries moved.
 */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/env.h"
#include "agent/file.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/proc.h"
#include "base/str.h"
#include "wire/msg.h"

#define BUSYBOX ENV_TOOLS "/busybox"

static volatile pid_t tar_pid;

/* tar ends, and then this process cleans up. */
static void on_term(int sig)
{
	if (tar_pid > 0)
		kill(tar_pid, sig);
}

/* Run tar with these arguments, on standard input and output. */
static int run_tar(const char *const *args, struct err *e)
{
	const char *argv[16] = { BUSYBOX, "tar" };
	struct proc_spec spec = PROC_SPEC_INIT;
	proc_auto struct proc p = PROC_INIT;
	int status = 0, r;
	char text[64];
	size_t i;

	for (i = 0; args[i] && i + 3 < ARRAY_SIZE(argv); i++)
		argv[i + 2] = args[i];
	argv[i + 2] = NULL;
	/* Where there is no sandbox, the machine's own. */
	spec.argv = access(BUSYBOX, X_OK) == 0 ? argv : argv + 1;
	spec.in = STDIN_FILENO;
	spec.out = STDOUT_FILENO;
	spec.err = STDERR_FILENO;
	r = proc_spawn(&p, &spec, e);
	tar_pid = p.pid;
	file_hold_term(false);
	if (r == 0)
		r = proc_wait(&p, &status, e);
	tar_pid = 0;
	if (r == 0 && status != 0)
		r = err_set(e, EIO, "tar %s", proc_status_text(status, text));
	return r;
}

/* "a/b" is archived as "b", and what has no name of its own as ".". */
int tar_get(const struct file_job *j, struct err *e)
{
	mem_auto char *dir = str_dup(str_of(j->path));
	const char *name = ".", *at = dir;
	struct stat st;
	char *slash;
	size_t n;

	if (!dir)
		return err_sys(e, ENOMEM, "cannot read %s", j->path);
	if (lstat(j->path, &st) < 0)
		return err_sys(e, errno, "cannot read %s", j->path);
	for (n = strlen(dir); n > 1 && dir[n - 1] == '/'; n--)
		dir[n - 1] = '\0';
	slash = strrchr(dir, '/');
	if (strcmp(slash ? slash + 1 : dir, "..") != 0 &&
	    strcmp(slash ? slash + 1 : dir, ".") != 0 && dir[1]) {
		name = slash ? slash + 1 : dir;
		at = slash == dir ? "/" : slash ? dir : ".";
		if (slash && slash != dir)
			*slash = '\0';
	}
	/* A directory "x/." is its contents; a file has none. */
	return run_tar((const char *const[]){ "-c", "-f", "-", "-C", at, "--",
					      name, NULL },
		       e);
}

/* ---- put ---- */

static const struct file_job *owner; /* for give(), which gets no argument */

static int give(const char *path, const struct stat *st, int type,
		struct FTW *at)
{
	(void)st, (void)type, (void)at;
	return lchown(path, owner->uid, owner->gid);
}

/* Move the entries of @from into @to, both open. */
static int merge(int from, int to, const char *where, struct err *e)
{
	fd_auto int own = fcntl(from, F_DUPFD_CLOEXEC, 0);
	DIR *dir = fdopendir(own);
	struct dirent *d;
	int r = 0;

	if (!dir)
		return err_sys(e, errno, "cannot read an archive's directory");
	fd_steal(&own);
	while (r == 0 && (d = readdir(dir))) {
		fd_auto int a = -1, b = -1;

		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		if (renameat(from, d->d_name, to, d->d_name) == 0)
			continue;
		r = errno;
		a = openat(from, d->d_name,
			   O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (a >= 0 &&
		    (r == ENOTEMPTY || r == EEXIST || r == EXDEV || r == EBUSY))
			b = openat(to, d->d_name,
				   O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = b >= 0 ? merge(a, b, d->d_name, e) :
			     err_sys(e, r, "cannot move %s into %s", d->d_name,
				     where);
	}
	closedir(dir);
	return r;
}

static int settle(const char *tmp, bool there, const struct file_job *j,
		  struct err *e)
{
	fd_auto int from = -1, to = -1;

	owner = j;
	if (j->has_owner && nftw(tmp, give, 32, FTW_PHYS) != 0)
		return err_sys(e, errno, "cannot give %s to %u:%u", j->path,
			       j->uid, j->gid);
	if (!there)
		return rename(tmp, j->path) < 0 ?
			       err_sys(e, errno, "cannot create %s", j->path) :
			       0;
	from = open(tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	to = open(j->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (from < 0 || to < 0)
		return err_sys(e, errno, "cannot open %s", j->path);
	return merge(from, to, j->path, e);
}

/* Where it is unpacked: inside the directory that is there, or beside the one
 * that is to be, so that a rename is enough. */
static char *new_dir(const struct file_job *j, bool there, struct err *e)
{
	mem_auto char *bare = str_dup(str_of(j->path));
	char *tmp, *slash;
	uint64_t id;
	size_t n;

	if (!bare || getrandom(&id, sizeof(id), 0) != sizeof(id))
		return NULL;
	for (n = strlen(bare); n > 1 && bare[n - 1] == '/'; n--)
		bare[n - 1] = '\0';
	slash = strrchr(bare, '/');
	n = there ? strlen(bare) : slash ? (size_t)(slash - bare) + 1 : 0;
	tmp = str_printf("%.*s%s.tmp.%016llx", (int)n, bare, there ? "/" : "",
			 (unsigned long long)id);
	if (tmp && mkdir(tmp, there ? 0700 : 0777) == 0)
		return tmp;
	err_sys(e, tmp ? errno : ENOMEM, "cannot create %s", j->path);
	mem_free(&tmp);
	return NULL;
}

int tar_put(const struct file_job *j, struct err *e)
{
	mem_auto char *tmp = NULL;
	struct stat st;
	bool there = stat(j->path, &st) == 0;
	int r = 0;

	if (there && !S_ISDIR(st.st_mode))
		return err_set(e, ENOTDIR, "%s is not a directory", j->path);
	if (!there && j->flags & WIRE_FLAG_PARENTS)
		r = file_make_parents(j->path, e);
	if (r < 0)
		return r;
	/* Until there is a tar to be ended. */
	file_hold_term(true);
	signal(SIGTERM, on_term);
	tmp = new_dir(j, there, e);
	if (!tmp)
		return e->num ? -e->num : -ENOMEM;
	r = run_tar((const char *const[]){ "-x", "-p", "--numeric-owner", "-f",
					   "-", "-C", tmp, NULL },
		    e);
	if (r == 0)
		r = settle(tmp, there, j, e);
	if (r < 0 || there)
		io_remove_tree(AT_FDCWD, tmp, NULL);
	return r;
}
