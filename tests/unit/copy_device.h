/* SPDX-License-Identifier: MIT
 *
 * A device that copies what it reads into what it writes, for tests of queues.
 */
#ifndef TESTS_UNIT_COPY_DEVICE_H
#define TESTS_UNIT_COPY_DEVICE_H

#include "tests/tap.h"
#include "tests/unit/driver.h"

#include <errno.h>

#define NUM 8
#define RAM 65536

static struct vq_chain chain;
static struct virtio v;
static struct driver d;

static inline int copy(struct virtio *dev, unsigned i)
{
	struct vq *q = &dev->q[i];
	uint8_t data[256];
	size_t n;
	int r;

	while ((r = vq_pop(q, &chain)) > 0) {
		n = vq_read(&chain, 0, data, sizeof(data));
		n = vq_write(&chain, 0, data, n);
		vq_push(q, chain.head, (uint32_t)n);
		virtio_signal(dev, i);
	}
	return r;
}

static const struct virtio_ops ops = {
	.name = "copy", .id = 63, .queues = 2, .queue = copy
};

static inline void up(uint64_t features)
{
	driver_up(&d, &v, features, NUM);
	driver_interrupts(&d);
}

/* A device from nothing, with @low and @high bytes of RAM. */
static inline void begin(uint64_t low, uint64_t high)
{
	memset(&d, 0, sizeof(d));
	driver_ram(&d, low, high);
	virtio_init(&v, &ops, &d.m, NULL, NULL);
	up(~0ULL);
}

static inline void end(void)
{
	virtio_free(&v);
	driver_ram_free(&d);
}

/* "hello" goes in and comes out. */
static inline bool works(unsigned i)
{
	uint64_t in = driver_alloc(&d, 5, 1), out = driver_alloc(&d, 5, 1);
	struct driver_buf b[] = { { in, 5, false }, { out, 5, true } };
	uint32_t len = 0;
	int head;

	memcpy(driver_ptr(&d, in), "hello", 5);
	head = driver_add(&d, i, b, 2);
	driver_kick(&d, i);
	return head >= 0 && driver_used(&d, i, &len) == head && len == 5 &&
	       memcmp(driver_ptr(&d, out), "hello", 5) == 0;
}

/* Descriptor @k of queue 0. */
static inline void set(unsigned k, uint64_t addr, uint32_t len, unsigned flags,
		       unsigned next)
{
	d.q[0].desc[k] = (struct driver_desc){ addr, len, (uint16_t)flags,
					       (uint16_t)next };
}

#define NEXT VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT

#endif
