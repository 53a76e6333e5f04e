/* SPDX-License-Identifier: MIT
 *
 * Root file systems and who uses them: see store.h.
 */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/fd.h"
#include "oci/store.h"

char *rootfs_path(const char *root, const struct digest *d, const char *suffix)
{
	return str_printf("%s/rootfs/%s%s", root, digest_hex(d), suffix);
}

int rootfs_open(const char *root, const struct digest *d, struct err *e)
{
	mem_auto char *path = rootfs_path(root, d, ".erofs");
	struct stat st;
	int r;

	if (!path)
		return err_sys(e, ENOMEM, "cannot open a root file system");
	for (;;) {
		fd_auto int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

		if (fd < 0)
			return err_sys(e, errno, "cannot open %s", path);
		do {
			r = flock(fd, LOCK_SH);
		} while (r < 0 && errno == EINTR);
		if (r < 0 || fstat(fd, &st) < 0)
			return err_sys(e, errno, "cannot lock %s", path);
		/* Removed or replaced before the lock was ours: look again. */
		if (st.st_nlink)
			return fd_steal(&fd);
	}
}
