/* SPDX-License-Identifier: MIT
 *
 * The scratch disk: see scratch.h.
 *
 * The file system is chosen for a disk that is thrown away: no journal, because
 * nobody reads it after a crash; no checksums, because the host's disk has its
 * own; no spare superblocks and no room to grow.  Inode tables count as zeroed
 * already, which they are in a new sparse file, or the guest would write 128
 * MiB of zeros for an 8 GiB disk in its first minutes.  What is left is 124 KiB
 * of data, whatever tool copies it.
 *
 * It is the same, byte for byte, wherever it is made: fixed UUID, hash seed and
 * time, and no mke2fs.conf.
 */
#include "sandbox/scratch.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/extent.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/proc.h"
#include "base/str.h"

/* To be raised with every change of what mke2fs is told. */
#define FORMAT 1
#define UUID "69736f6b-6974-4000-8000-736372617463"
#define FEATURES                                                          \
	("none,ext_attr,dir_index,filetype,extent,flex_bg,sparse_super2," \
	 "large_file,huge_file,uninit_bg,dir_nlink,extra_isize")
#define EXTENDED                                                              \
	("nodiscard,assume_storage_prezeroed=1,num_backup_sb=0,root_owner=0:" \
	 "0,hash_seed=" UUID)
#define MKE2FS "/sbin/mke2fs" /* not in an ordinary user's PATH */

static int run_mke2fs(const char *path, struct err *e)
{
	const char *const argv[] = {
		MKE2FS, "-q",	 "-F",	   "-b", "4096",   "-I",      "256",
		"-i",	"16384", "-m",	   "0",	 "-L",	   "scratch", "-U",
		UUID,	"-O",	 FEATURES, "-E", EXTENDED, path,      NULL
	};
	static const char *const envp[] = { "PATH=/sbin:/usr/sbin",
					    "MKE2FS_CONFIG=/dev/null",
					    "E2FSPROGS_FAKE_TIME=1", NULL };
	struct proc_spec spec = PROC_SPEC_INIT;
	int r;

	spec.argv = argv;
	spec.envp = envp;
	spec.die_with_parent = SIGKILL;
	r = proc_run(&spec, NULL, e);
	return r == -ENOENT ? err_fix(e, "the package e2fsprogs") : r;
}

/* ---- the template ------------------------------------------------------- */

static int make_template(const char *path, uint64_t size, struct err *e)
{
	char tmp[IO_TMP_MAX];
	fd_auto int fd = io_tmp_open(AT_FDCWD, path, 0644, tmp, e);
	int r = 0;

	if (fd < 0)
		return fd;
	if (ftruncate(fd, (off_t)size) < 0)
		r = err_sys(e, errno, "cannot make %s", path);
	if (r == 0)
		r = run_mke2fs(tmp, e);
	if (r == 0)
		return io_tmp_commit(AT_FDCWD, fd, tmp, path, e);
	unlink(tmp);
	return r;
}

/* The template, made by whoever comes first. */
static int open_template(const char *root, uint64_t size, bool *fresh,
			 struct err *e)
{
	mem_auto char *dir = str_path(root, "scratch");
	mem_auto char *path = str_printf("%s/scratch/%llu-%d.ext4", root,
					 (unsigned long long)size, FORMAT);
	mem_auto char *lock_path = str_printf("%s/scratch/.lock", root);
	fd_auto int lock = -1;
	int fd, r;

	if (!dir || !path || !lock_path)
		return err_sys(e, ENOMEM, "cannot make a disk");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 || errno != ENOENT)
		return fd < 0 ? err_sys(e, errno, "cannot open %s", path) : fd;
	r = io_mkdirs(dir, 0755, e);
	if (r < 0)
		return r;
	lock = io_lock(AT_FDCWD, lock_path, true, e);
	if (lock < 0)
		return lock;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	r = io_sweep_tmp(dir, e);
	if (r == 0)
		r = make_template(path, size, e);
	if (r < 0)
		return r;
	*fresh = true;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? err_sys(e, errno, "cannot open %s", path) : fd;
}

/* ---- the copy ----------------------------------------------------------- */

/* What copy_file_range(2) cannot, between file systems of two kinds.  Bytes, 0,
 * or -1 with errno. */
static ssize_t copy_bytes(int from, int to, off_t *at, size_t n)
{
	static char piece[65536];
	ssize_t got =
		pread(from, piece, n < sizeof(piece) ? n : sizeof(piece), *at);

	if (got > 0)
		got = pwrite(to, piece, (size_t)got, *at);
	if (got > 0)
		*at += got;
	return got;
}

static int copy_piece(int from, int to, off_t at, off_t end)
{
	off_t out = at;

	while (at < end) {
		ssize_t n = copy_file_range(from, &at, to, &out,
					    (size_t)(end - at), 0);

		if (n < 0 && errno == EXDEV)
			n = copy_bytes(from, to, &at, (size_t)(end - at));
		out = at;
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
	}
	return 0;
}

/* What is not a hole. */
static int copy_sparse(int from, int to, uint64_t size)
{
	off_t data = 0, hole = 0;
	int r = 0;

	while (r == 0 && (uint64_t)hole < size) {
		r = extent_next(from, hole, &data, &hole);
		if (r == -ENXIO || (uint64_t)data >= size)
			return 0;
		if ((uint64_t)hole > size)
			hole = (off_t)size;
		if (r == 0)
			r = copy_piece(from, to, data, hole);
	}
	return r;
}

int scratch_copy(int from, int dir, const char *name, bool *cloned,
		 struct err *e)
{
	fd_auto int to = -1;
	struct stat st;
	int r = 0;

	if (fstat(from, &st) < 0)
		return err_sys(e, errno, "cannot copy the disk");
	to = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (to < 0)
		return err_sys(e, errno, "cannot make the disk");
	*cloned = ioctl(to, FICLONE, from) == 0;
	if (!*cloned && ftruncate(to, st.st_size) < 0)
		r = -errno;
	if (r == 0 && !*cloned)
		r = copy_sparse(from, to, (uint64_t)st.st_size);
	return r < 0 ? err_sys(e, -r, "cannot copy the disk") : 0;
}

int scratch_make(const char *root, uint64_t size, int dir, const char *name,
		 struct scratch *s, struct err *e)
{
	fd_auto int from = -1;
	struct stat st;

	*s = (struct scratch){ .fresh = false };
	from = open_template(root, size, &s->fresh, e);
	if (from < 0)
		return from;
	if (fstat(from, &st) < 0 || (uint64_t)st.st_size != size)
		return err_set(e, EIO,
			       "%s/scratch: the template of %llu bytes "
			       "has another size",
			       root, (unsigned long long)size);
	return scratch_copy(from, dir, name, &s->cloned, e);
}
