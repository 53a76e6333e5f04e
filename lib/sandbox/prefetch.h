/* SPDX-License-Identifier: MIT
 *
 * What of a snapshot's memory a machine has wanted.
 */
#ifndef SANDBOX_PREFETCH_H
#define SANDBOX_PREFETCH_H

#include <sys/types.h>

struct err;

/* Write the file SNAPSHOT_PREFETCH in the directory @dir, a snapshot's, by what
 * of its memory file the process @pid, a monitor that was restored from it, has
 * touched.  0 or -errno, @e filled; then there is none. */
int prefetch_record(int dir, pid_t pid, struct err *e);

/* Have the memory file of a snapshot with that list in the page cache.  0 or
 * -errno, @e filled. */
int prefetch_ready(int dir, struct err *e);

#endif
