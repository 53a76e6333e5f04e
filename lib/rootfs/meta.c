/* SPDX-License-Identifier: MIT
 *
 * Owner, mode, extended attributes and times: see meta.h.
 *
 * The order matters: a change of owner clears the set-user-ID bit and the file
 * capabilities, so that it comes first; times come last.
 *
 * Extended attributes are kept, whatever their namespace, but for those that
 * speak of the machine the image was made on or to the one it will run on, and
 * not of the image: SELinux labels and NFS access lists, which umoci leaves out
 * as well, and the notes that overlayfs leaves for itself, which would be orders
 * to the overlayfs of the guest.  POSIX access lists come as xattrs
 * (SCHILY.xattr.system.posix_acl_*) or not at all.
 */
#include "rootfs/meta.h"

#include <archive_entry.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "rootfs/limits.h"

/* Of one directory's or file's list of names. */
#define LIST_MAX 65536

/* mkfs.erofs takes times for unsigned, ext4 ends in 2446: what lies outside
 * becomes the nearer end, so that the file system of the scratch directory has
 * no say in what the image is. */
#define MTIME_MAX 15032385535LL

static bool xattr_kept(const char *name)
{
	struct str s = str_of(name);

	return !str_eq(s, STR("security.selinux")) &&
	       !str_eq(s, STR("system.nfs4_acl")) &&
	       !str_starts(s, STR("trusted.overlay.")) &&
	       !str_starts(s, STR("user.overlay."));
}

static int read_owner(uint32_t *out, int64_t id, const char *what,
		      struct err *e)
{
	/* The last one means "none" to chown(2). */
	if (id < 0 || id >= UINT32_MAX)
		return err_set(e, EINVAL, "%s %lld is not in 0..%u", what,
			       (long long)id, UINT32_MAX - 1);
	*out = (uint32_t)id;
	return 0;
}

static int check_xattrs(struct meta *m, struct archive_entry *entry,
			const struct limits *limits, struct err *e)
{
	const char *name;
	const void *value;
	uint64_t total = 0;
	size_t n;

	archive_entry_xattr_reset(entry);
	while (archive_entry_xattr_next(entry, &name, &value, &n) == 0) {
		total += n + strlen(name);
		m->default_acl |=
			strcmp(name, "system.posix_acl_default") == 0;
		if (total <= limits->xattr)
			continue;
		err_set(e, E2BIG,
			"its extended attributes have more than the %llu "
			"bytes allowed",
			(unsigned long long)limits->xattr);
		return err_fix(e, "--max-xattr");
	}
	return 0;
}

int meta_read(struct meta *m, struct archive_entry *entry,
	      const struct limits *limits, struct err *e)
{
	m->mode = archive_entry_perm(entry) & 07777;
	m->mtime.tv_sec = archive_entry_mtime(entry);
	m->mtime.tv_nsec = archive_entry_mtime_nsec(entry);
	m->xattrs = entry;
	if (m->mtime.tv_nsec < 0 || m->mtime.tv_nsec > 999999999)
		m->mtime.tv_nsec = 0;
	if (m->mtime.tv_sec < 0)
		m->mtime = (struct timespec){ 0, 0 };
	if (m->mtime.tv_sec > MTIME_MAX)
		m->mtime = (struct timespec){ MTIME_MAX, 0 };
	if (read_owner(&m->uid, archive_entry_uid(entry), "owner", e) < 0 ||
	    read_owner(&m->gid, archive_entry_gid(entry), "group", e) < 0)
		return -e->num;
	m->default_acl = false;
	return check_xattrs(m, entry, limits, e);
}

static int xattr_failed(const char *name, int num, struct err *e)
{
	err_sys(e, num, "cannot set the extended attribute %.64s", name);
	if (num == ENOTSUP)
		err_fix(e, "an $ISO_ROOT on ext4, XFS or btrfs");
	return -num;
}

/* By descriptor, or, when @fd is negative, by a path that is not followed. */
static int put_xattrs(const struct meta *m, int fd, const char *path,
		      struct err *e)
{
	const char *name;
	const void *value;
	size_t n;

	if (!m->xattrs)
		return 0;
	archive_entry_xattr_reset(m->xattrs);
	while (archive_entry_xattr_next(m->xattrs, &name, &value, &n) == 0) {
		int r;

		if (!xattr_kept(name))
			continue;
		r = fd >= 0 ? fsetxattr(fd, name, value, n, 0) :
			      lsetxattr(path, name, value, n, 0);
		if (r < 0)
			return xattr_failed(name, errno, e);
	}
	return 0;
}

/* All but the host's own: a SELinux host labels whatever is made. */
static int drop_xattrs(int fd, struct err *e)
{
	char list[LIST_MAX];
	ssize_t n = flistxattr(fd, list, sizeof(list));
	char *at = list;

	if (n < 0 && errno == ENOTSUP)
		return 0;
	if (n < 0)
		return err_sys(e, errno, "cannot list extended attributes");
	for (; at < list + n; at += strlen(at) + 1) {
		if (xattr_kept(at) && fremovexattr(fd, at) < 0 &&
		    errno != ENODATA)
			return err_sys(e, errno,
				       "cannot remove the extended attribute "
				       "%.64s",
				       at);
	}
	return 0;
}

static int put_times(int fd, const struct timespec *mtime, struct err *e)
{
	struct timespec t[2] = { { .tv_nsec = UTIME_OMIT }, *mtime };
	struct stat st;

	if (futimens(fd, t) < 0)
		return err_sys(e, errno, "cannot set its time");
	/* Old formats of XFS and ext4 end in 2038 and say nothing. */
	if (mtime->tv_sec <= INT32_MAX)
		return 0;
	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "cannot look at it");
	if (st.st_mtim.tv_sec == mtime->tv_sec)
		return 0;
	err_set(e, ENOTSUP, "the file system of $ISO_ROOT ends before its time");
	return err_fix(e, "ext4 with 256-byte inodes, XFS with bigtime");
}

int meta_put_fd(const struct meta *m, int fd, bool old, struct err *e)
{
	if (fchown(fd, m->uid, m->gid) < 0)
		return err_sys(e, errno, "cannot give it to %u:%u", m->uid,
			       m->gid);
	if (old && drop_xattrs(fd, e) < 0)
		return -e->num;
	if (fchmod(fd, m->mode) < 0)
		return err_sys(e, errno, "cannot set its mode");
	if (put_xattrs(m, fd, NULL, e) < 0)
		return -e->num;
	return put_times(fd, &m->mtime, e);
}

int meta_put_at(const struct meta *m, int dir, const char *name,
		bool is_symlink, struct err *e)
{
	struct timespec t[2] = { { .tv_nsec = UTIME_OMIT }, m->mtime };
	char path[32 + NAME_MAX + 1];

	if (fchownat(dir, name, m->uid, m->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, errno, "cannot give it to %u:%u", m->uid,
			       m->gid);
	if (!is_symlink && fchmodat(dir, name, m->mode, 0) < 0)
		return err_sys(e, errno, "cannot set its mode");
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dir, name);
	if (put_xattrs(m, -1, path, e) < 0)
		return -e->num;
	if (utimensat(dir, name, t, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, errno, "cannot set its time");
	return 0;
}

int meta_put_default(int fd, struct err *e)
{
	struct meta m = { .mode = 0755 };

	return meta_put_fd(&m, fd, true, e);
}
