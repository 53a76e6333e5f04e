/* SPDX-License-Identifier: MIT
 *
 * The distribution's kernel package: see apt.h.
 *
 * By apt's programs and not by a download of our own: apt knows the machine's
 * mirrors, proxies and keys, and has checked what it gives us.  Not by
 * libapt-pkg, which is C++ and changes its ABI with each release.  Its lists
 * are the administrator's: they are read, never updated from here.
 */
#include "guest/apt.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/proc.h"
#include "base/progress.h"
#include "base/str.h"

#define META "linux-image-cloud-amd64"
#define STATUS_FD "APT::Status-Fd=3" /* the first kept descriptor */
#define FIX_UPDATE "apt-get update; or name a kernel's package or directory"

/* The value of the first line that starts with @name in apt-cache's answer. */
static struct str field(const struct buf *b, struct str name)
{
	struct str rest = { (const char *)b->data, b->len };

	while (rest.p) {
		struct str line = str_cut(&rest, '\n');

		if (!str_starts(line, name))
			continue;
		line.p += name.len;
		line.len -= name.len;
		return str_trim(line);
	}
	return STR("");
}

static int show(const char *package, struct buf *out, struct err *e)
{
	const char *const argv[] = { "apt-cache", "show", "--no-all-versions",
				     package, NULL };
	struct proc_spec spec = PROC_SPEC_INIT;
	int r;

	spec.argv = argv;
	r = proc_run(&spec, out, e);
	if (r == -EIO || (r == 0 && out->len == 0)) {
		err_set(e, ENOENT, "apt knows no package %s", package);
		return err_fix(e, FIX_UPDATE);
	}
	return r < 0 ? err_fix(e, "name a kernel's package, or its directory") :
		       0;
}

static bool copy(char *to, size_t size, struct str from)
{
	if (from.len == 0 || from.len >= size)
		return false;
	memcpy(to, from.p, from.len);
	to[from.len] = '\0';
	return true;
}

/* "linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2), ..." */
static bool parse_depends(struct str depends, struct apt_package *a)
{
	while (depends.p) {
		struct str one = str_trim(str_cut(&depends, ','));
		struct str name = str_cut(&one, ' ');
		struct str op = str_cut(&one, ' ');
		struct str version = str_cut(&one, ')');

		if (str_starts(name, STR("linux-image-")) &&
		    str_eq(op, STR("(=")))
			return copy(a->name, sizeof(a->name), name) &&
			       copy(a->version, sizeof(a->version), version);
	}
	return false;
}

int apt_resolve(struct apt_package *a, struct err *e)
{
	buf_auto struct buf meta = BUF_INIT, real = BUF_INIT;
	int r = show(META, &meta, e);

	if (r < 0)
		return r;
	if (!parse_depends(field(&meta, STR("Depends:")), a))
		return err_set(e, EPROTO,
			       "apt says nothing of the package that " META
			       " depends on");
	r = show(a->name, &real, e);
	if (r < 0)
		return r;
	a->size = 0;
	str_u64(field(&real, STR("Size:")), 0, UINT64_MAX, &a->size, "size",
		NULL);
	return 0;
}

/* ---- fetching ---------------------------------------------------------- */

/* apt's own progress: "dlstatus:1:37.5:Retrieving file 1 of 1". */
static void follow(int fd, uint64_t size, struct progress *p)
{
	FILE *f = fdopen(fd, "r");
	char line[512];
	char *end = NULL;

	if (!f) {
		close(fd);
		return;
	}
	while (fgets(line, sizeof(line), f)) {
		/* dlstatus:NUMBER:PERCENT:TEXT */
		const char *at = strncmp(line, "dlstatus:", 9) == 0 ?
					 strchr(line + 9, ':') :
					 NULL;
		double percent = at ? strtod(at + 1, &end) : -1;

		if (percent >= 0 && percent <= 100 && end && *end == ':')
			progress_update(
				p, (uint64_t)(percent / 100 * (double)size));
	}
	fclose(f);
}

/* The last line of @fd, for an error. */
static struct str last_words(int fd, struct buf *b)
{
	struct str s;
	const char *nl;

	lseek(fd, 0, SEEK_SET);
	if (io_read_all(fd, b) < 0 || b->len == 0)
		return STR("no reason given");
	s = str_trim((struct str){ (const char *)b->data, b->len });
	nl = s.len ? memrchr(s.p, '\n', s.len) : NULL;
	if (nl) {
		s.len -= (size_t)(nl + 1 - s.p);
		s.p = nl + 1;
	}
	return s;
}

static int run_get(const struct apt_package *a, const char *dir,
		   struct progress *p, struct err *e)
{
	mem_auto char *what = str_printf("%s=%s", a->name, a->version);
	const char *const argv[] = {
		"apt-get", "download", "-qq", "-o", STATUS_FD, what, NULL,
	};
	proc_auto struct proc proc = PROC_INIT;
	fd_auto int talk = memfd_create("apt", MFD_CLOEXEC);
	buf_auto struct buf words = BUF_INIT_MAX(65536);
	struct proc_spec spec = PROC_SPEC_INIT;
	int status = 0, r, pipefd[2];

	if (!what || talk < 0 || pipe2(pipefd, O_CLOEXEC) < 0)
		return err_sys(e, what ? errno : ENOMEM, "cannot run apt-get");
	spec.argv = argv;
	spec.cwd = dir;
	spec.err = talk;
	spec.keep = &pipefd[1];
	spec.nkeep = 1;
	spec.die_with_parent = SIGKILL;
	r = proc_spawn(&proc, &spec, e);
	close(pipefd[1]);
	follow(pipefd[0], a->size, p);
	if (r == 0)
		r = proc_wait(&proc, &status, e);
	if (r < 0)
		return r;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	err_set(e, EIO, "cannot download %s: %.*s", what,
		STR_ARG(last_words(talk, &words)));
	return err_fix(e, FIX_UPDATE);
}

static int is_deb(const struct dirent *d)
{
	return str_ends(str_of(d->d_name), STR(".deb"));
}

int apt_fetch(const struct apt_package *a, const char *dir, char **deb,
	      struct progress *p, struct err *e)
{
	struct dirent **list = NULL;
	int i, n, r;

	progress_begin(p, "downloading the kernel", a->size);
	r = run_get(a, dir, p, e);
	progress_update(p, r == 0 ? a->size : 0);
	progress_end(p, r == 0);
	if (r < 0)
		return r;
	n = scandir(dir, &list, is_deb, NULL);
	*deb = n == 1 ? str_path(dir, list[0]->d_name) : NULL;
	for (i = 0; i < n; i++)
		free(list[i]);
	free(list);
	return *deb ? 0 :
		      err_set(e, ENOENT, "apt-get left no package of %s",
			      a->name);
}
