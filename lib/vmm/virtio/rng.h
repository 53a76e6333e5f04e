/* SPDX-License-Identifier: MIT
 *
 * virtio entropy device: virtio 1.2, 5.4.  Bytes of the host kernel's
 * generator; a device without state of its own.
 */
#ifndef VMM_VIRTIO_RNG_H
#define VMM_VIRTIO_RNG_H

#include "vmm/virtio/virtio.h"

struct rng {
	struct virtio v;
	struct vq_chain chain;
};

/* 0 or -errno, @e filled. */
int rng_init(struct rng *d, const struct mem *mem, struct loop *loop,
	     struct err *e);
void rng_free(struct rng *d);

/* Its section of the state file: see vmm/state.h. */
struct state_io;
void rng_state_io(struct rng *d, struct state_io *io);

#endif
