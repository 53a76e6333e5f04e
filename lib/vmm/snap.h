/* SPDX-License-Identifier: MIT
 *
 * A snapshot of a running VM: state and memory, written by a child of fork(2)
 * while the VM runs on.
 */
#ifndef VMM_SNAP_H
#define VMM_SNAP_H

#include <stdint.h>

struct err;
struct mem;
struct vm;

/* What it is written to, all open for writing; the files empty. */
enum snap_fd {
	SNAP_RESULT, /* a pipe: "ok", bytes of state, of memory that is not
			zero; or "error: " and what is wrong */
	SNAP_STATE,
	SNAP_MEMORY,
	SNAP_FDS
};

/* Begin to write a snapshot of @vm, which stands still and may run again as
 * soon as this returns.  The descriptors stay the caller's.  0 or -errno, @e
 * filled. */
int snap_start(struct vm *vm, const int fd[SNAP_FDS], struct err *e);

/* Write memory to @fd: a file as long as memory, with holes where that is
 * zero.  *@written: bytes that are not holes.  0 or -errno, @e filled. */
int snap_write_memory(const struct mem *m, int fd, uint64_t *written,
		      struct err *e);

#endif
