/* SPDX-License-Identifier: MIT
 *
 * The root of a sandbox: an image's files (EROFS, read-only) under an overlay
 * on a scratch disk (ext4).  See boot.h.
 *
 *	/dev/pmem0, or the disk "root"	-> /lower	erofs, dax if it can be
 *	the disk "scratch"		-> /upper	ext4: data and work
 *	both				-> /		overlay
 *
 * Disks are told apart by their serial numbers, for their names depend on the
 * order in which they were found.
 *
 * The scratch disk lives as long as the memory of this machine: it is thrown
 * away when the machine dies, and a checkpoint captures both together, dirty
 * pages and all.  So nothing is ever read back that was not in memory, or
 * written, at the same moment, and making writes durable has no reader.  Hence
 * "volatile": fsync(2), and the sync of every file that is copied up, return at
 * once; and below "nobarrier", and "noauto_da_alloc", without which a file that
 * takes the name of another is written to the disk at once.  An error of the
 * disk is still told, by the next fsync.  Other options:
 *
 *	redirect_dir=on	rename(2) of an image's directory works
 *	xino=on		one st_dev and lasting inode numbers for the whole tree,
 *			which find -xdev, tar and du rely on
 *	index=off	an index of hard links is for lower layers that change
 *			hands, and takes a directory entry for every copy-up
 *	metacopy=off	what chmod and chown would save, exec and mmap of the
 *			file would pay for on every open
 *
 * ext4 is mounted without "discard": each removal would wait for the host to
 * punch a hole.  The disk has a size, and what is free can be given back when
 * the machine stands still.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/boot_internal.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/proc.h"
#include "base/str.h"

#define OVERLAY ",redirect_dir=on,xino=on,index=off,metacopy=off,volatile"
#define TOOLS NEW_ROOT "/run/iso/bin"

/* ---- devices ---- */

static char root_dev[32], scratch_dev[32];

static bool has_serial(const char *disk, struct str serial)
{
	buf_auto struct buf b = BUF_INIT_MAX(64);
	mem_auto char *path = str_printf("/sys/block/%s/serial", disk);

	return path && io_read_line(AT_FDCWD, path, &b, NULL) == 0 &&
	       str_eq((struct str){ (char *)b.data, b.len }, serial);
}

/* The disk with this serial number into @dev: 0 or -ENOENT. */
static int find_disk(struct str serial, char dev[static 32])
{
	DIR *dir = opendir("/sys/block");
	struct dirent *d;
	int r = -ENOENT;

	while (r < 0 && dir && (d = readdir(dir))) {
		if (strlen(d->d_name) > 20 || !has_serial(d->d_name, serial))
			continue;
		snprintf(dev, 32, "/dev/%.20s", d->d_name);
		r = 0;
	}
	if (dir)
		closedir(dir);
	return r;
}

static int find_root(void)
{
	if (access("/dev/pmem0", F_OK) == 0) {
		strcpy(root_dev, "/dev/pmem0");
		return 0;
	}
	return find_disk(STR("root"), root_dev);
}

static int find_scratch(void)
{
	return find_disk(STR("scratch"), scratch_dev);
}

/* ---- file systems ---- */

/* With DAX the guest keeps no second copy of what the host has in its page
 * cache.  A disk has none, and a kernel may refuse. */
static int mount_image(struct err *e)
{
	const struct mount_rule m = { "erofs",	 root_dev, "/lower",
				      MS_RDONLY, NULL,	   false };

	if (io_mkdirs(m.target, 0755, e) == 0 &&
	    mount(root_dev, m.target, m.type, m.flags, "dax=always") == 0)
		return 0;
	return boot_mount(&m, e);
}

static int mount_scratch(struct err *e)
{
	const struct mount_rule m = { "ext4",
				      scratch_dev,
				      "/upper",
				      MS_NOATIME,
				      "nobarrier,noauto_da_alloc",
				      false };

	return boot_mount(&m, e);
}

/* ---- what the root looks like ---- */

/* The image's own /tmp, so that what is written there goes to the disk and not
 * to memory. */
static void make_tmp(void)
{
	struct stat st;

	mkdir("/tmp", 01777);
	if (lstat("/tmp", &st) == 0 && S_ISDIR(st.st_mode) &&
	    (st.st_mode & 07777) != 01777)
		chmod("/tmp", 01777);
}

/* The one of /dev/pts, as in a container. */
static void make_ptmx(void)
{
	unlink("/dev/ptmx");
	(void)!symlink("pts/ptmx", "/dev/ptmx");
}

#define RUN_DEPTH 4

/* The directories of the image's /run, which the tmpfs hides and programs
 * expect: of @from, open, into the directory @to. */
static void copy_dirs(int from, int to, int depth)
{
	DIR *dir = fdopendir(from);
	struct dirent *d;

	while (dir && (d = readdir(dir))) {
		fd_auto int below = -1;
		int in = openat(from, d->d_name,
				O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		struct stat st;

		if (in < 0 || strcmp(d->d_name, ".") == 0 ||
		    strcmp(d->d_name, "..") == 0 || fstat(in, &st) < 0) {
			fd_close(&in);
			continue;
		}
		mkdirat(to, d->d_name, 0755);
		below = openat(to, d->d_name,
			       O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (below >= 0 && fchown(below, st.st_uid, st.st_gid) == 0)
			fchmod(below, st.st_mode & 07777);
		if (below >= 0 && depth < RUN_DEPTH)
			copy_dirs(fd_steal(&in), below, depth + 1);
		fd_close(&in);
	}
	if (dir)
		closedir(dir);
	else
		close(from);
}

/* /run is memory; it is mounted before the root changes hands, for the tools
 * come from the initramfs. */
static int make_run(struct err *e)
{
	static const struct mount_rule run = {
		"tmpfs",    "run", NEW_ROOT "/run", MS_NOSUID | MS_NODEV,
		"mode=755", false
	};
	fd_auto int old =
		open(NEW_ROOT "/run", O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	fd_auto int new = -1;
	int r = boot_mount(&run, e);

	if (r < 0)
		return r;
	new = open(NEW_ROOT "/run", O_DIRECTORY | O_CLOEXEC);
	if (old >= 0 && new >= 0)
		copy_dirs(fd_steal(&old), new, 0);
	return io_mkdirs(TOOLS, 0755, e);
}

/* busybox and its names below /run/iso/bin: what images without a shell, or
 * without tar, are served with. */
static int make_tools(struct err *e)
{
	static const char *const argv[] = { "/bin/busybox", "--list", NULL };
	struct proc_spec spec = PROC_SPEC_INIT;
	buf_auto struct buf names = BUF_INIT_MAX(65536);
	fd_auto int dir = open(TOOLS, O_DIRECTORY | O_CLOEXEC);
	struct str list, name;
	int r;

	if (dir < 0 || mknodat(dir, "busybox", S_IFREG | 0755, 0) < 0 ||
	    mount("/bin/busybox", TOOLS "/busybox", NULL, MS_BIND, NULL) < 0 ||
	    mount(NULL, TOOLS "/busybox", NULL,
		  MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID, NULL) < 0)
		return err_sys(e, errno, "cannot make %s", TOOLS);
	spec.argv = argv;
	r = proc_run(&spec, &names, e);
	list = (struct str){ (char *)names.data, names.len };
	while (r == 0 && list.p) {
		mem_auto char *link = NULL;

		name = str_cut(&list, '\n');
		if (name.len == 0 || memchr(name.p, '/', name.len) ||
		    str_eq(name, STR("busybox")))
			continue;
		link = str_dup(name);
		if (!link || symlinkat("busybox", dir, link) < 0)
			r = err_sys(e, errno, "cannot make %s/%.*s", TOOLS,
				    STR_ARG(name));
	}
	return r;
}

int boot_sandbox_root(int uevents, struct err *e)
{
	int r = boot_await(uevents, find_root, "the image's disk", e);

	if (r == 0)
		r = mount_image(e);
	if (r == 0)
		r = boot_await(uevents, find_scratch, "the scratch disk", e);
	if (r == 0)
		r = mount_scratch(e);
	if (r == 0)
		r = boot_overlay(OVERLAY, e);
	if (r == 0)
		r = make_run(e);
	if (r == 0)
		r = make_tools(e);
	if (r == 0)
		r = boot_switch_root(e);
	if (r == 0)
		r = boot_mount_usual(e);
	if (r < 0)
		return r;
	make_tmp();
	make_ptmx();
	boot_link_up("eth0");
	return 0;
}
