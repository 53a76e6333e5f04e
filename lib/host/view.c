/* SPDX-License-Identifier: MIT
 *
 * What the emulated host sees of this machine: see emu.h.
 *
 * Read-only and writable are decided here, by mounts in a namespace that only
 * the file servers live in, and not by the guest: a process that breaks out of
 * a sandbox into the emulated host still finds nothing of this machine that it
 * can write but the shares.
 */
#include "host/emu.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"

/* glibc's <sys/mount.h> and the kernel's clash; these four are all it takes. */
int mount(const char *, const char *, const char *, unsigned long,
	  const void *);
int umount2(const char *, int);
#define MNT_DETACH 2
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

/* What the guest has of its own. */
static const char *const hidden[] = { "proc", "sys", "dev", "run", "tmp" };

static int own_namespace(struct err *e)
{
	int r;

	if (unshare(CLONE_NEWNS) == 0 &&
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
		return 0;
	r = err_sys(e, errno, "cannot make a mount namespace");
	err_fix(e, "run as root, outside of a container without CAP_SYS_ADMIN");
	return r;
}

static int view_root(const char *dir, struct err *e)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
	mem_auto char *root = str_path(dir, "root");
	size_t i;
	int r;

	if (!root)
		return err_sys(e, ENOMEM, "view of /");
	r = io_mkdirs(root, 0700, e);
	if (r < 0)
		return r;
	if (mount("/", root, NULL, MS_BIND | MS_REC, NULL) < 0)
		return err_sys(e, errno, "cannot bind / on %s", root);
	for (i = 0; i < ARRAY_SIZE(hidden); i++) {
		mem_auto char *sub = str_path(root, hidden[i]);

		/* Not each of them is a mount of its own; that is no error. */
		if (sub)
			umount2(sub, MNT_DETACH);
	}
	if (syscall(SYS_mount_setattr, AT_FDCWD, root, AT_RECURSIVE, &attr,
		    sizeof(attr)) < 0)
		return err_sys(e, errno, "cannot make %s read-only", root);
	return 0;
}

/* Directory @path, as number @n of the share. */
static int view_share(const char *share, size_t n, const char *path,
		      struct err *e)
{
	char name[24];
	mem_auto char *at = NULL;
	int r;

	snprintf(name, sizeof(name), "%zu", n);
	at = str_path(share, name);
	if (!at)
		return err_sys(e, ENOMEM, "share of %s", path);
	r = io_mkdirs(at, 0755, e);
	if (r == 0 && mount(path, at, NULL, MS_BIND | MS_REC, NULL) < 0)
		r = err_sys(e, errno, "cannot share %s", path);
	return r;
}

/* What $ISO_ROOT inside has from here: content that never changes once it has
 * its name.  The rest of it is the state disk. */
static const char *const content[] = { "images", "rootfs", "kernel" };

static int add_content(const struct emu_config *c, const char *share,
		       struct buf *setup, struct err *e)
{
	size_t i;
	int r = 0;

	buf_printf(setup, "xfs\t/dev/vda\t%s\n", c->iso_root);
	for (i = 0; r == 0 && i < ARRAY_SIZE(content); i++) {
		mem_auto char *path = str_path(c->iso_root, content[i]);

		if (!path)
			return err_sys(e, ENOMEM, "share of %s", content[i]);
		r = io_mkdirs(path, 0755, e);
		if (r == 0)
			r = view_share(share, c->nshares + i, path, e);
		buf_printf(setup, "bind\t%zu\t%s\n", c->nshares + i, path);
	}
	if (c->modules)
		buf_printf(setup, "bind\t%s\t/lib/modules\n", c->modules);
	return r;
}

static int view_shares(const struct emu_config *c, const char *dir,
		       struct err *e)
{
	mem_auto char *share = str_path(dir, "share");
	mem_auto char *file = str_path(dir, "share/setup");
	buf_auto struct buf setup = BUF_INIT_MAX(65536);
	char host[65] = "";
	size_t i;
	int r;

	if (!share || !file)
		return err_sys(e, ENOMEM, "shares");
	r = io_mkdirs(share, 0700, e);
	if (r < 0)
		return r;
	if (mount("share", share, "tmpfs", 0, "mode=755,size=1m") < 0)
		return err_sys(e, errno, "cannot mount tmpfs on %s", share);
	gethostname(host, sizeof(host) - 1);
	buf_printf(&setup, "hostname\t%s\n", host);
	for (i = 0; r == 0 && i < c->nshares; i++) {
		r = view_share(share, i, c->shares[i], e);
		buf_printf(&setup, "bind\t%zu\t%s\n", i, c->shares[i]);
	}
	if (r == 0)
		r = add_content(c, share, &setup, e);
	if (r == 0 && setup.failed)
		r = err_set(e, E2BIG, "%zu shares are too many", c->nshares);
	if (r == 0)
		r = io_write_atomic(AT_FDCWD, file, setup.data, setup.len, 0644,
				    e);
	return r;
}

int emu_view(const struct emu_config *c, const char *dir, struct err *e)
{
	int r = own_namespace(e);

	if (r == 0)
		r = view_root(dir, e);
	if (r == 0)
		r = view_shares(c, dir, e);
	return r;
}
