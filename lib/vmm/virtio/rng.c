/* SPDX-License-Identifier: MIT
 *
 * virtio entropy device: see rng.h.
 *
 * A request is answered with at most RNG_MAX bytes, however large it is: the
 * driver asks again if it wants more, and nobody can keep the loop busy with
 * one request of 4 GiB.
 */
#include "vmm/virtio/rng.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <sys/random.h>
#include "vmm/state.h"

#define RNG_MAX 4096

/* Requests until others have the loop. */
#define BATCH 32

static uint32_t fill(const struct vq_chain *c)
{
	uint8_t bytes[RNG_MAX];
	size_t want = c->write_len < RNG_MAX ? (size_t)c->write_len : RNG_MAX;
	/* Never short below 256 bytes, and never blocking once the host has
	 * booted. */
	ssize_t n = getrandom(bytes, want, 0);

	return n < 0 ? 0 : (uint32_t)vq_write(c, 0, bytes, (size_t)n);
}

static int rng_queue(struct virtio *v, unsigned q)
{
	struct rng *d = container_of(v, struct rng, v);
	unsigned left = BATCH;
	int r;

	while ((r = vq_pop(&v->q[q], &d->chain)) > 0) {
		if (d->chain.nread)
			return virtio_rule(v, "readable buffer for entropy");
		vq_push(&v->q[q], d->chain.head, fill(&d->chain));
		virtio_signal(v, q);
		if (--left == 0)
			return 1;
	}
	return r;
}

static const struct virtio_ops rng_ops = {
	.name = "rng",
	.id = VIRTIO_ID_RNG,
	.queues = 1,
	.queue = rng_queue,
};

int rng_init(struct rng *d, const struct mem *mem, struct loop *loop,
	     struct err *e)
{
	return virtio_init(&d->v, &rng_ops, mem, loop, e);
}

void rng_free(struct rng *d)
{
	virtio_free(&d->v);
}

void rng_state_io(struct rng *d, struct state_io *io)
{
	state_begin(io, "rng", 1);
	virtio_state(&d->v, io);
	state_end(io);
}
