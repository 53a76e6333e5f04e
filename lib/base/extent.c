/* SPDX-License-Identifier: MIT
 *
 * Where a sparse file has data: see extent.h.
 *
 * By FIEMAP, and lseek(2) with SEEK_DATA only where there is none (tmpfs).  On
 * XFS, in a file that shares data with another one and was written to, SEEK_DATA
 * takes what was set aside for the next writes for a hole, though there is data
 * below it: seen with Linux 6.1, and until the file system gives that back.
 */
#include "base/extent.h"

#include <errno.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int by_seek(int fd, off_t at, off_t *data, off_t *hole)
{
	*data = lseek(fd, at, SEEK_DATA);
	if (*data < 0)
		return -errno;
	*hole = lseek(fd, *data, SEEK_HOLE);
	return *hole < 0 ? -errno : 0;
}

int extent_next(int fd, off_t at, off_t *data, off_t *hole)
{
	union {
		struct fiemap map;
		char room[sizeof(struct fiemap) + sizeof(struct fiemap_extent)];
	} u = { .map = { .fm_start = (uint64_t)at,
			 .fm_length = FIEMAP_MAX_OFFSET - (uint64_t)at,
			 .fm_flags = FIEMAP_FLAG_SYNC,
			 .fm_extent_count = 1 } };
	const struct fiemap_extent *x = u.map.fm_extents;

	if (ioctl(fd, FS_IOC_FIEMAP, &u) < 0)
		return errno == EOPNOTSUPP || errno == ENOTTY ||
				       errno == EINVAL ?
			       by_seek(fd, at, data, hole) :
			       -errno;
	if (u.map.fm_mapped_extents == 0)
		return -ENXIO;
	*data = (off_t)x->fe_logical < at ? at : (off_t)x->fe_logical;
	*hole = (off_t)(x->fe_logical + x->fe_length);
	return *hole > at ? 0 : -EIO;
}
