/* SPDX-License-Identifier: MIT
 *
 * Bringing the guest up: see boot.h.
 *
 * Two profiles, named by the file /profile of the initramfs.  "host" is the
 * emulated host: its root is the real machine's root file system (virtiofs,
 * read-only) under a tmpfs overlay, and a second virtiofs "share" carries the
 * directories that are shared for writing, with a file "setup" in its root
 * that says where they go.  "sandbox" runs from the initramfs as it is.
 *
 * Nothing here waits for a time: what is not there yet is announced by a
 * uevent of the kernel.
 */
#include "agent/boot.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"

#define PORT_NAME "iso.agent"
#define NEW_ROOT "/newroot"
#define SHARE "/run/iso/share"

struct mount_rule {
	const char *type;
	const char *source;
	const char *target;
	unsigned long flags;
	const char *data;
	bool optional; /* the kernel may lack it */
};

#define NODEVEXEC (MS_NOSUID | MS_NODEV | MS_NOEXEC)

static const struct mount_rule early_mounts[] = {
	{ "devtmpfs", "dev", "/dev", MS_NOSUID, "mode=755", false },
	{ "proc", "proc", "/proc", NODEVEXEC, NULL, false },
	{ "sysfs", "sys", "/sys", NODEVEXEC, NULL, false },
};

static const struct mount_rule host_root[] = {
	{ "virtiofs", "root", "/lower", MS_RDONLY, NULL, false },
	{ "tmpfs", "upper", "/upper", 0, "mode=755", false },
};

/* In the new root. */
static const struct mount_rule late_mounts[] = {
	{ "proc", "proc", "/proc", NODEVEXEC, NULL, false },
	{ "sysfs", "sys", "/sys", NODEVEXEC, NULL, false },
	{ "cgroup2", "cgroup2", "/sys/fs/cgroup", NODEVEXEC, NULL, true },
	{ "devpts", "devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC,
	  "mode=620,gid=5,ptmxmode=666", false },
	{ "tmpfs", "shm", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777",
	  false },
	{ "tmpfs", "run", "/run", MS_NOSUID | MS_NODEV, "mode=755", false },
	{ "tmpfs", "tmp", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777", false },
};

static int mount_rule(const struct mount_rule *m, struct err *e)
{
	int r = io_mkdirs(m->target, 0755, e);

	if (r < 0)
		return r;
	if (mount(m->source, m->target, m->type, m->flags, m->data) == 0 ||
	    m->optional)
		return 0;
	return err_sys(e, errno, "cannot mount %s on %s", m->type, m->target);
}

static int mount_rules(const struct mount_rule *m, size_t n, struct err *e)
{
	int r = 0;
	size_t i;

	for (i = 0; r == 0 && i < n; i++)
		r = mount_rule(&m[i], e);
	return r;
}

/* ---- modules ---- */

static int load_module(struct str name, struct err *e)
{
	mem_auto char *path = str_printf("/modules/%.*s", STR_ARG(name));
	fd_auto int fd = -1;

	if (!path)
		return err_sys(e, ENOMEM, "module %.*s", STR_ARG(name));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "cannot open %s", path);
	/* ENODEV: a faster variant of something for another processor. */
	if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST &&
	    errno != ENODEV)
		return err_sys(e, errno, "cannot load %s", path);
	/* The initramfs is memory: what was loaded need not stay there. */
	unlink(path);
	return 0;
}

static int load_modules(struct err *e)
{
	buf_auto struct buf b = BUF_INIT_MAX(65536);
	struct str list, line;
	int r = io_read_file(AT_FDCWD, "/modules/list", &b, e);

	list = (struct str){ (char *)b.data, b.len };
	while (r == 0 && list.p) {
		line = str_trim(str_cut(&list, '\n'));
		if (line.len)
			r = load_module(line, e);
	}
	return r;
}

/* ---- devices ---- */

static int uevent_socket(struct err *e)
{
	struct sockaddr_nl sa = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC,
			NETLINK_KOBJECT_UEVENT);

	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		fd_close(&fd);
		return err_sys(e, errno, "cannot listen for devices");
	}
	return fd;
}

/* Try @find until it has a descriptor, between tries waiting for the kernel to
 * announce another device on @uevents. */
static int await_device(int uevents, int (*find)(void), const char *what,
			struct err *e)
{
	char event[4096];
	int fd;

	while ((fd = find()) == -ENOENT) {
		if (recv(uevents, event, sizeof(event), 0) < 0 &&
		    errno != EINTR && errno != ENOBUFS)
			return err_sys(e, errno, "cannot wait for %s", what);
	}
	return fd < 0 ? err_sys(e, -fd, "cannot open %s", what) : fd;
}

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

int boot_early(struct err *e)
{
	fd_auto int uevents = -1;
	int r = mount_rules(early_mounts, ARRAY_SIZE(early_mounts), e);

	if (r < 0)
		return r;
	uevents = uevent_socket(e);
	if (uevents < 0)
		return uevents;
	r = load_modules(e);
	if (r < 0)
		return r;
	return await_device(uevents, find_port, "the port " PORT_NAME, e);
}

/* ---- the root of the emulated host ---- */

static int overlay(struct err *e)
{
	static const char opts[] =
		"lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work";
	int r = io_mkdirs("/upper/data", 0755, e);

	if (r == 0)
		r = io_mkdirs("/upper/work", 0755, e);
	if (r == 0)
		r = io_mkdirs(NEW_ROOT, 0755, e);
	if (r == 0 && mount("root", NEW_ROOT, "overlay", 0, opts) < 0)
		r = err_sys(e, errno, "cannot mount overlay on %s", NEW_ROOT);
	return r;
}

/* Make NEW_ROOT "/".  The initramfs stays behind, empty but for the agent:
 * it cannot be unmounted. */
static int switch_root(struct err *e)
{
	int r = io_mkdirs(NEW_ROOT "/dev", 0755, e);

	if (r < 0)
		return r;
	if (mount("/dev", NEW_ROOT "/dev", NULL, MS_MOVE, NULL) < 0 ||
	    chdir(NEW_ROOT) < 0 ||
	    mount(NEW_ROOT, "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
	    chdir("/") < 0)
		return err_sys(e, errno, "cannot change root to %s", NEW_ROOT);
	return 0;
}

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

static void loopback_up(void)
{
	struct ifreq ifr = { .ifr_name = "lo" };
	fd_auto int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &ifr) < 0)
		return;
	ifr.ifr_flags |= IFF_UP;
	ioctl(fd, SIOCSIFFLAGS, &ifr);
}

static int host_up(struct err *e)
{
	static const struct mount_rule share = {
		"virtiofs", "share", SHARE, 0, NULL, false,
	};
	int r = mount_rules(host_root, ARRAY_SIZE(host_root), e);

	if (r == 0)
		r = overlay(e);
	if (r == 0)
		r = switch_root(e);
	if (r == 0)
		r = mount_rules(late_mounts, ARRAY_SIZE(late_mounts), e);
	if (r == 0)
		r = mount_rule(&share, e);
	if (r == 0)
		r = run_setup(e);
	if (r < 0)
		return r;
	/* Whoever may run commands here may use them with KVM. */
	chmod("/dev/kvm", 0666);
	return 0;
}

int boot_root(struct err *e)
{
	buf_auto struct buf b = BUF_INIT_MAX(64);
	int r = io_read_line(AT_FDCWD, "/profile", &b, e);

	if (r < 0)
		return r;
	if (str_eq((struct str){ (char *)b.data, b.len }, STR("host")))
		r = host_up(e);
	else
		r = mount_rules(late_mounts + 2, ARRAY_SIZE(late_mounts) - 2,
				e);
	if (r == 0)
		loopback_up();
	return r;
}

void boot_power_off(void)
{
	sync();
	reboot(RB_POWER_OFF);
	_exit(0);
}
