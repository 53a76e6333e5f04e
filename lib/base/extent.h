/* SPDX-License-Identifier: MIT
 *
 * Where a sparse file has data.
 */
#ifndef BASE_EXTENT_H
#define BASE_EXTENT_H

#include <sys/types.h>

/* The next bytes from @at on that may be other than zero: from *@data up to
 * *@hole, which is beyond @at.  What was written before is brought to disk.  0;
 * -ENXIO when there is no more; another -errno. */
int extent_next(int fd, off_t at, off_t *data, off_t *hole);

#endif
