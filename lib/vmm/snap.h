/* SPDX-License-Identifier: MIT
 *
 * A snapshot of a VM: its state and its memory, in two files.
 */
#ifndef VMM_SNAP_H
#define VMM_SNAP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct err;
struct mem;
struct vm;

/* What it is written to. */
enum snap_fd {
	SNAP_RESULT, /* a stream socket: see snap_start() */
	SNAP_STATE,  /* empty, open for writing */
	SNAP_MEMORY, /* open for reading and writing */
	SNAP_FDS
};

/* Where memory goes. */
struct snap_memory {
	/* Empty; or a copy of the file that memory began as: then what is the
	 * same is left as it is, and where the file system shares data between
	 * files it stays shared. */
	int fd;
	int pagemap; /* /proc/PID/pagemap of who writes, or -1 */
	bool shared; /* it is such a copy */
};

/* Begin to write a snapshot of @vm, which stands still and may run again as
 * soon as this returns.  The child that writes waits for a byte on SNAP_RESULT,
 * with which its page map may come, and says on it in the end "ok", bytes of
 * state and of memory that it wrote, or "error: " and what is wrong.  The
 * descriptors stay the caller's.  The child's process id or -errno, @e
 * filled. */
pid_t snap_start(struct vm *vm, const int fd[SNAP_FDS], bool shared,
		 struct err *e);

/* The same in this process: when it returns both files are on disk.
 * *@written: bytes of memory that were written. */
int snap_write(struct vm *vm, int state, const struct snap_memory *to,
	       uint64_t *written, struct err *e);

/* Make the file the same as memory.  *@written: bytes that were not there yet.
 * 0 or -errno, @e filled. */
int snap_write_memory(const struct mem *m, const struct snap_memory *to,
		      uint64_t *written, struct err *e);

#endif
