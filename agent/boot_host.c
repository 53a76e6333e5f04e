/* SPDX-License-Identifier: MIT
 *
 * The emulated host: see boot.h.
 *
 * Its root is the real machine's root file system (virtiofs, read-only) under a
 * tmpfs overlay, and a second virtiofs "share" carries the directories that
 * are shared for writing, with a file "setup" in its root that says where they
 * go.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/boot_internal.h"
#include "agent/server.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"

#define PORT_NAME "iso.agent"
#define SHARE "/run/iso/share"

static const struct mount_rule lower[] = {
	{ "virtiofs", "root", "/lower", MS_RDONLY, NULL, false },
	{ "tmpfs", "upper", "/upper", 0, "mode=755", false },
};

static const struct mount_rule late[] = {
	{ "tmpfs", "run", "/run", MS_NOSUID | MS_NODEV, "mode=755", false },
	{ "tmpfs", "tmp", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777", false },
	{ "virtiofs", "share", SHARE, 0, NULL, false },
};

/* ---- the port ---- */

static bool port_is_ours(const char *dev)
{
	buf_auto struct buf b = BUF_INIT_MAX(256);
	mem_auto char *path =
		str_printf("/sys/class/virtio-ports/%s/name", dev);

	return path && io_read_line(AT_FDCWD, path, &b, NULL) == 0 &&
	       str_eq((struct str){ (char *)b.data, b.len }, STR(PORT_NAME));
}

static int find_port(void)
{
	DIR *dir = opendir("/sys/class/virtio-ports");
	struct dirent *d;
	int fd = -ENOENT;

	while (fd == -ENOENT && dir && (d = readdir(dir))) {
		mem_auto char *path = str_path("/dev", d->d_name);

		if (d->d_name[0] == '.' || !port_is_ours(d->d_name) || !path)
			continue;
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			fd = -errno;
	}
	if (dir)
		closedir(dir);
	return fd;
}

int boot_host_port(int uevents, struct err *e)
{
	return boot_await(uevents, find_port, "the port " PORT_NAME, e);
}

/* ---- the root ---- */

/* Something to mount on: a directory, or a file when @like is one. */
static int make_target(const char *target, const char *like, struct err *e)
{
	struct stat st;
	fd_auto int fd = -1;

	if (!like || stat(like, &st) < 0 || S_ISDIR(st.st_mode))
		return io_mkdirs(target, 0755, e);
	fd = open(target, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	return fd < 0 ? err_sys(e, errno, "cannot create %s", target) : 0;
}

/* One line of the setup file:
 *	hostname	NAME
 *	bind		SOURCE	TARGET
 *	xfs		DEVICE	TARGET
 * SOURCE is relative to the share, or absolute in the new root. */
static int setup_line(struct str line, struct err *e)
{
	struct str verb = str_cut(&line, '\t');
	mem_auto char *what = str_dup(str_cut(&line, '\t'));
	mem_auto char *target = str_dup(line);
	mem_auto char *from = NULL;
	int r;

	if (str_eq(verb, STR("hostname")))
		return sethostname(what, strlen(what)) < 0 ?
			       err_sys(e, errno, "hostname '%s'", what) :
			       0;
	if (!what || !target || target[0] != '/')
		return err_set(e, EINVAL, "setup: bad line '%.*s'",
			       STR_ARG(verb));
	if (str_eq(verb, STR("xfs"))) {
		r = io_mkdirs(target, 0755, e);
		if (r == 0 && mount(what, target, "xfs", 0, "discard") < 0)
			r = err_sys(e, errno, "cannot mount XFS on %s", target);
		return r;
	}
	from = *what == '/' ? str_dup(str_of(what)) : str_path(SHARE, what);
	if (!str_eq(verb, STR("bind")) || !from)
		return err_set(e, EINVAL, "setup: unknown verb '%.*s'",
			       STR_ARG(verb));
	r = make_target(target, from, e);
	if (r == 0 && mount(from, target, NULL, MS_BIND, NULL) < 0)
		r = err_sys(e, errno, "cannot bind %s on %s", from, target);
	return r;
}

static int run_setup(struct err *e)
{
	buf_auto struct buf b = BUF_INIT_MAX(65536);
	struct str text, line;
	int r = io_read_file(AT_FDCWD, SHARE "/setup", &b, e);

	text = (struct str){ (char *)b.data, b.len };
	while (r == 0 && text.p) {
		line = str_cut(&text, '\n');
		if (line.len)
			r = setup_line(line, e);
	}
	return r;
}

/* ---- what is held ----
 *
 * What the kernel does for the first of a kind and undoes after the last one, and
 * QEMU's emulation does not survive for ever, is done now and never undone.  Most
 * of it is that the kernel patches its own code (static keys), while other
 * processors run it: now and then one of them still meets the breakpoint that
 * stood there for a moment, when nobody knows of it any more, and that is a
 * panic.  cgroup_hold_bandwidth() is for the scheduler's. */

static void hold_vcpu(int dev, bool irqchip)
{
	int vm = ioctl(dev, KVM_CREATE_VM, 0UL);

	if (vm >= 0 && irqchip)
		(void)ioctl(vm, KVM_CREATE_IRQCHIP, 0UL);
	if (vm >= 0)
		(void)ioctl(vm, KVM_CREATE_VCPU, 0UL);
}

/* VMs that nobody runs.  For the first one KVM switches hardware virtualization
 * on, and off after the last, which hangs this machine sooner or later; and it
 * patches itself for the first vCPU that has no local APIC, and for the first
 * that has not enabled it. */
static void hold_vms(void)
{
	int dev = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (dev < 0)
		return;
	hold_vcpu(dev, true);
	hold_vcpu(dev, false);
	close(dev);
}

/* To make a VM is to move a thread to a cgroup, which otherwise waits until
 * every processor has been seen to do something else: 30 ms of 33.  A kernel
 * older than 6.0 cannot. */
static void favor_moves(void)
{
	mount(NULL, "/sys/fs/cgroup", NULL,
	      MS_REMOUNT | MS_NOSUID | MS_NODEV | MS_NOEXEC, "favordynmods");
}

int boot_host_root(struct err *e)
{
	int r = boot_mounts(lower, ARRAY_SIZE(lower), e);

	if (r == 0)
		r = boot_overlay("", e);
	if (r == 0)
		r = boot_switch_root(e);
	if (r == 0)
		r = boot_mount_usual(e);
	if (r == 0)
		r = boot_mounts(late, ARRAY_SIZE(late), e);
	if (r == 0)
		r = run_setup(e);
	if (r < 0)
		return r;
	/* Whoever may run commands here may use them with KVM. */
	chmod("/dev/kvm", 0666);
	favor_moves();
	hold_vms();
	cgroup_hold_bandwidth();
	return 0;
}
