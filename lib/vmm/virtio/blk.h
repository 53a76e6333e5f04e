/* SPDX-License-Identifier: MIT
 *
 * A disk: virtio 1.2, 5.2, one queue, on a file of ours.
 */
#ifndef VMM_VIRTIO_BLK_H
#define VMM_VIRTIO_BLK_H

#include "vmm/virtio/virtio.h"

#define BLK_SERIAL_MAX 20 /* VIRTIO_BLK_ID_BYTES; not terminated at that */

struct blk_spec {
	int fd; /* borrowed: a file or block device, open as read_only says */
	bool read_only;
	const char *serial; /* what the guest finds the disk by */
};

/* What a snapshot has of it besides v.s and the queue. */
struct blk_state {
	uint64_t sectors; /* of 512 bytes */
};

struct blk {
	struct virtio v;
	struct blk_state s;
	int fd; /* borrowed */
	bool read_only;
	bool failing; /* and that was said: see virtio.h, on_failed */
	char serial[BLK_SERIAL_MAX]; /* NUL-padded */
	/* The request at hand: here and not on the stack for its size. */
	struct vq_chain chain;
	struct iovec iov[VQ_MAX];
};

/* Set up the disk as large as the file is (a multiple of 512 bytes).  Requests
 * are done one after the other on @loop's thread, which waits for the disk:
 * give it a loop of its own.
 *
 * They are done with v.lock held, from being taken to being answered: whoever
 * has the lock knows that none is in flight, and need drain nothing.
 * 0 or -errno with @e filled; blk_free() in both cases. */
int blk_init(struct blk *b, const struct blk_spec *spec, const struct mem *mem,
	     struct loop *loop, struct err *e);
void blk_free(struct blk *b);

/* Its section of the state file: see vmm/state.h. */
struct state_io;
void blk_state_io(struct blk *b, struct state_io *io);

#endif
