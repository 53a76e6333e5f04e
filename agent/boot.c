/* SPDX-License-Identifier: MIT
 *
 * Bringing the guest up, what the profiles have in common: see boot.h.
 *
 * Modules are loaded one after the other.  With threads for those that do not
 * need each other, five of two dozen would remain that wait for one another's
 * mutex in the kernel anyway; and a machine boots once for an image, while all
 * its sandboxes are copies of that one.
 */
#include "agent/boot.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/boot_internal.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"

static const struct mount_rule early_mounts[] = {
	{ "devtmpfs", "dev", "/dev", MS_NOSUID, "mode=755", false },
	{ "proc", "proc", "/proc", NODEVEXEC, NULL, false },
	{ "sysfs", "sys", "/sys", NODEVEXEC, NULL, false },
};

/* In the new root. */
static const struct mount_rule usual_mounts[] = {
	{ "proc", "proc", "/proc", NODEVEXEC, NULL, false },
	{ "sysfs", "sys", "/sys", NODEVEXEC, NULL, false },
	{ "cgroup2", "cgroup2", "/sys/fs/cgroup", NODEVEXEC, NULL, true },
	{ "devpts", "devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC,
	  "mode=620,gid=5,ptmxmode=666", false },
	{ "tmpfs", "shm", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777",
	  false },
	{ "mqueue", "mqueue", "/dev/mqueue", NODEVEXEC, NULL, true },
};

int boot_mount(const struct mount_rule *m, struct err *e)
{
	int r = io_mkdirs(m->target, 0755, e);

	if (r < 0)
		return r;
	if (mount(m->source, m->target, m->type, m->flags, m->data) == 0 ||
	    m->optional)
		return 0;
	return err_sys(e, errno, "cannot mount %s on %s", m->type, m->target);
}

int boot_mounts(const struct mount_rule *m, size_t n, struct err *e)
{
	int r = 0;
	size_t i;

	for (i = 0; r == 0 && i < n; i++)
		r = boot_mount(&m[i], e);
	return r;
}

static void make_dev_links(void)
{
	static const struct {
		const char *name, *target;
	} links[] = {
		{ "/dev/fd", "/proc/self/fd" },
		{ "/dev/stdin", "/proc/self/fd/0" },
		{ "/dev/stdout", "/proc/self/fd/1" },
		{ "/dev/stderr", "/proc/self/fd/2" },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(links); i++)
		(void)!symlink(links[i].target, links[i].name);
}

int boot_mount_usual(struct err *e)
{
	make_dev_links();
	return boot_mounts(usual_mounts, ARRAY_SIZE(usual_mounts), e);
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

int boot_await(int uevents, int (*find)(void), const char *what, struct err *e)
{
	char event[4096];
	int r;

	while ((r = find()) == -ENOENT) {
		if (recv(uevents, event, sizeof(event), 0) < 0 &&
		    errno != EINTR && errno != ENOBUFS)
			return err_sys(e, errno, "cannot wait for %s", what);
	}
	return r < 0 ? err_sys(e, -r, "cannot open %s", what) : r;
}

void boot_link_up(const char *name)
{
	struct ifreq ifr = { .ifr_flags = 0 };
	fd_auto int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &ifr) < 0)
		return;
	ifr.ifr_flags |= IFF_UP;
	ioctl(fd, SIOCSIFFLAGS, &ifr);
}

/* ---- the root ---- */

int boot_overlay(const char *options, struct err *e)
{
	mem_auto char *opts = str_printf("lowerdir=/lower,upperdir=/upper/data,"
					 "workdir=/upper/work%s",
					 options);
	int r = io_mkdirs("/upper/data", 0755, e);

	if (!opts)
		return err_sys(e, ENOMEM, "cannot mount overlay");
	if (r == 0)
		r = io_mkdirs("/upper/work", 0755, e);
	if (r == 0)
		r = io_mkdirs(NEW_ROOT, 0755, e);
	if (r == 0 && mount("root", NEW_ROOT, "overlay", 0, opts) < 0)
		r = err_sys(e, errno, "cannot mount overlay on %s", NEW_ROOT);
	return r;
}

/* The initramfs stays behind, empty but for the agent and its busybox: it
 * cannot be unmounted. */
int boot_switch_root(struct err *e)
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

/* ---- both ---- */

static int read_profile(struct boot *b, struct err *e)
{
	buf_auto struct buf name = BUF_INIT_MAX(64);
	int r = io_read_line(AT_FDCWD, "/profile", &name, e);
	struct str s = { (char *)name.data, name.len };

	b->sandbox = r == 0 && str_eq(s, STR("sandbox"));
	if (r == 0 && !b->sandbox && !str_eq(s, STR("host")))
		r = err_set(e, EINVAL, "unknown profile '%.*s'", STR_ARG(s));
	return r;
}

int boot_early(struct boot *b, struct err *e)
{
	int r = boot_mounts(early_mounts, ARRAY_SIZE(early_mounts), e);

	if (r < 0)
		return r;
	b->uevents = uevent_socket(e);
	if (b->uevents < 0)
		return b->uevents;
	r = load_modules(e);
	if (r < 0)
		return r;
	r = read_profile(b, e);
	if (r < 0 || b->sandbox)
		return r;
	b->port = boot_host_port(b->uevents, e);
	return b->port < 0 ? b->port : 0;
}

int boot_root(struct boot *b, struct err *e)
{
	int r = b->sandbox ? boot_sandbox_root(b->uevents, e) :
			     boot_host_root(e);

	fd_close(&b->uevents);
	if (r == 0)
		boot_link_up("lo");
	return r;
}

void boot_power_off(void)
{
	sync();
	reboot(RB_POWER_OFF);
	_exit(0);
}
