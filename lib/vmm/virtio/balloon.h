/* SPDX-License-Identifier: MIT
 *
 * virtio memory balloon: virtio 1.2, 5.5, with free page reporting.  What the
 * guest gives up is given back to the host at once.
 */
#ifndef VMM_VIRTIO_BALLOON_H
#define VMM_VIRTIO_BALLOON_H

#include "vmm/virtio/virtio.h"

struct balloon {
	struct virtio v;
	uint32_t wanted; /* state: num_pages as we said it */
	struct vq_chain chain;
	/* For people, not saved: bytes given back since the start. */
	uint64_t inflated, reported;
};

/* 0 or -errno, @e filled. */
int balloon_init(struct balloon *d, const struct mem *mem, struct loop *loop,
		 struct err *e);
void balloon_free(struct balloon *d);

/* Ask the guest to give up @pages pages of 4 KiB in all. */
void balloon_set(struct balloon *d, uint32_t pages);

/* How many it has given up. */
uint32_t balloon_actual(struct balloon *d);

/* Its section of the state file: see vmm/state.h. */
struct state_io;
void balloon_state_io(struct balloon *d, struct state_io *io);

#endif
