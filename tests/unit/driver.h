/* SPDX-License-Identifier: MIT
 *
 * The driver's side of virtio, for tests of our devices: it reaches a device
 * only through virtio_mmio_read() and _write() and through guest memory.
 *
 * Guest memory is made by hand, as small as the test wants it, with pages
 * around it that nobody may touch: a device that strays by a byte crashes.
 *
 * What a driver does well is a call; what it does badly is a matter of writing
 * into the rings, which are there as plain structs (driver_queue.desc, .avail,
 * .used; each in guest memory).
 *
 *	struct driver d = { 0 };
 *
 *	driver_ram(&d, 65536, 0);
 *	foo_init(&foo, ..., &d.m, NULL, &e);
 *	driver_up(&d, &foo.v, ~0ULL, 16);
 *	out = driver_alloc(&d, 8, 1);
 *	driver_add(&d, 0, (struct driver_buf[]){ { out, 8, true } }, 1);
 *	driver_kick(&d, 0);
 *	if (driver_used(&d, 0, &len) >= 0) ... driver_ptr(&d, out) ...
 *	driver_ram_free(&d);
 *
 * It gives up by abort(): it knows of no test protocol, for the fuzzers use it
 * as well.
 */
#ifndef TESTS_DRIVER_H
#define TESTS_DRIVER_H

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/layout.h"
#include "vmm/mem.h"
#include "vmm/virtio/virtio.h"

/* The features that all our devices have. */
#define DRIVER_COMMON                                                       \
	(1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_RING_F_INDIRECT_DESC | \
	 1ULL << VIRTIO_RING_F_EVENT_IDX)
#define DRIVER_INT_VRING 1 /* bits of InterruptStatus */
#define DRIVER_INT_CONFIG 2

struct driver_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct driver_avail {
	uint16_t flags, idx, ring[]; /* num, then used_event */
};

struct driver_used {
	uint16_t flags, idx;
	struct {
		uint32_t id, len;
	} ring[]; /* num, then avail_event */
};

struct driver_queue {
	uint16_t num;
	uint64_t desc_gpa, avail_gpa, used_gpa;
	struct driver_desc *desc;
	struct driver_avail *avail;
	struct driver_used *used;
	uint16_t seen; /* of used->idx */
	/* 1 + the head of the chain that a descriptor belongs to; 0: free. */
	uint16_t chain[VQ_MAX];
};

struct driver {
	struct mem m;
	uint8_t *map; /* with the guard pages */
	size_t map_size;
	uint64_t next; /* guest address of memory not given out yet */
	struct virtio *v;
	struct driver_queue q[VIRTIO_QUEUES_MAX];
};

struct driver_buf {
	uint64_t gpa;
	uint32_t len;
	bool write; /* the device writes it */
};

static inline void driver_must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "driver: %s\n", what);
	abort();
}

/* ---- guest memory ---- */

/* RAM of @low bytes from address 0 and @high bytes from 4 GiB, both multiples
 * of 4096; the host has them side by side, as mem.c has. */
static inline void driver_ram(struct driver *d, uint64_t low, uint64_t high)
{
	const size_t page = 4096;

	driver_must((low | high) % page == 0, "RAM in pages");
	d->map_size = (size_t)(low + high) + 2 * page;
	d->map = mmap(NULL, d->map_size, PROT_NONE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	driver_must(d->map != MAP_FAILED, "cannot map RAM");
	d->m.host = d->map + page;
	d->m.size = low + high;
	d->m.low = low;
	driver_must(d->m.size == 0 || mprotect(d->m.host, d->m.size,
					       PROT_READ | PROT_WRITE) == 0,
		    "cannot open RAM");
	d->next = 0;
}

static inline void driver_ram_free(struct driver *d)
{
	munmap(d->map, d->map_size);
	d->m = (struct mem)MEM_INIT;
}

/* @len bytes of low RAM that nobody else has, at a multiple of @align; filled
 * with 0xa5, so that what a device did not write is seen. */
static inline uint64_t driver_alloc(struct driver *d, uint64_t len,
				    uint64_t align)
{
	uint64_t gpa = (d->next + align - 1) / align * align;

	driver_must(gpa + len <= d->m.low, "RAM is too small for the test");
	memset(d->m.host + gpa, 0xa5, len);
	d->next = gpa + len;
	return gpa;
}

/* Any byte of RAM, by guest address.  Not by mem_at(), which is under test. */
static inline void *driver_ptr(struct driver *d, uint64_t gpa)
{
	if (gpa >= LAYOUT_HIGH)
		gpa = gpa - LAYOUT_HIGH + d->m.low;
	driver_must(gpa < d->m.size, "no such guest address");
	return d->m.host + gpa;
}

/* ---- registers ---- */

static inline uint32_t driver_read(struct driver *d, uint64_t off)
{
	uint32_t x;

	virtio_mmio_read(d->v, off, &x, sizeof(x));
	return x;
}

static inline void driver_write(struct driver *d, uint64_t off, uint32_t x)
{
	virtio_mmio_write(d->v, off, &x, sizeof(x));
}

/* Bytes of the configuration space, 1, 2, 4 or 8 at @off. */
static inline uint64_t driver_config(struct driver *d, unsigned off,
				     unsigned len)
{
	uint64_t x = 0;

	virtio_mmio_read(d->v, VIRTIO_MMIO_CONFIG + off, &x, len);
	return x;
}

static inline uint32_t driver_status(struct driver *d)
{
	return driver_read(d, VIRTIO_MMIO_STATUS);
}

static inline bool driver_needs_reset(struct driver *d)
{
	return driver_status(d) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

/* Set bits of the status. */
static inline void driver_add_status(struct driver *d, uint32_t bits)
{
	driver_write(d, VIRTIO_MMIO_STATUS, driver_status(d) | bits);
}

/* What came since the last call, acknowledged: DRIVER_INT_* or 0. */
static inline uint32_t driver_interrupts(struct driver *d)
{
	uint32_t x = driver_read(d, VIRTIO_MMIO_INTERRUPT_STATUS);

	driver_write(d, VIRTIO_MMIO_INTERRUPT_ACK, x);
	return x;
}

/* For a device on a loop: wait for its interrupt line.  DRIVER_INT_*. */
static inline uint32_t driver_wait(struct driver *d)
{
	struct pollfd p = { .fd = d->v->irq, .events = POLLIN };
	uint64_t n;

	while (poll(&p, 1, -1) != 1)
		;
	driver_must(read(d->v->irq, &n, sizeof(n)) == sizeof(n), "no edge");
	return driver_interrupts(d);
}

/* ---- bringing a device up ---- */

static inline void driver_reset(struct driver *d)
{
	driver_write(d, VIRTIO_MMIO_STATUS, 0);
}

static inline uint64_t driver_offered(struct driver *d)
{
	uint64_t low, high;

	driver_write(d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	low = driver_read(d, VIRTIO_MMIO_DEVICE_FEATURES);
	driver_write(d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	high = driver_read(d, VIRTIO_MMIO_DEVICE_FEATURES);
	return low | high << 32;
}

/* Reset the device, and up to FEATURES_OK with exactly @features.  Whether it
 * agrees to them. */
static inline bool driver_negotiate(struct driver *d, uint64_t features)
{
	driver_reset(d);
	driver_add_status(d, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	driver_add_status(d, VIRTIO_CONFIG_S_DRIVER);
	driver_write(d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	driver_write(d, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)features);
	driver_write(d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	driver_write(d, VIRTIO_MMIO_DRIVER_FEATURES,
		     (uint32_t)(features >> 32));
	driver_add_status(d, VIRTIO_CONFIG_S_FEATURES_OK);
	return driver_status(d) & VIRTIO_CONFIG_S_FEATURES_OK;
}

/* Rings of @num entries for queue @i at addresses of the caller's choice;
 * empty.  The device is told by driver_queue_ready(). */
static inline void driver_queue_at(struct driver *d, unsigned i, uint16_t num,
				   uint64_t desc, uint64_t avail, uint64_t used)
{
	struct driver_queue *q = &d->q[i];

	*q = (struct driver_queue){ .num = num,
				    .desc_gpa = desc,
				    .avail_gpa = avail,
				    .used_gpa = used,
				    .desc = driver_ptr(d, desc),
				    .avail = driver_ptr(d, avail),
				    .used = driver_ptr(d, used) };
	memset(q->desc, 0, num * sizeof(*q->desc));
	memset(q->avail, 0, 6 + 2 * (size_t)num);
	memset(q->used, 0, 6 + 8 * (size_t)num);
}

/* The same somewhere; where they were if there were such already. */
static inline void driver_queue_make(struct driver *d, unsigned i, uint16_t num)
{
	struct driver_queue *q = &d->q[i];
	uint64_t desc, avail, used;

	if (q->num == num) {
		driver_queue_at(d, i, num, q->desc_gpa, q->avail_gpa,
				q->used_gpa);
		return;
	}
	desc = driver_alloc(d, 16 * (uint64_t)num, 16);
	avail = driver_alloc(d, 6 + 2 * (uint64_t)num, 2);
	used = driver_alloc(d, 6 + 8 * (uint64_t)num, 4);
	driver_queue_at(d, i, num, desc, avail, used);
}

/* Tell the device of queue @i, up to QueueReady.  Whether it took it. */
static inline bool driver_queue_ready(struct driver *d, unsigned i)
{
	const struct driver_queue *q = &d->q[i];

	driver_write(d, VIRTIO_MMIO_QUEUE_SEL, i);
	driver_write(d, VIRTIO_MMIO_QUEUE_NUM, q->num);
	driver_write(d, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)q->desc_gpa);
	driver_write(d, VIRTIO_MMIO_QUEUE_DESC_HIGH,
		     (uint32_t)(q->desc_gpa >> 32));
	driver_write(d, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)q->avail_gpa);
	driver_write(d, VIRTIO_MMIO_QUEUE_AVAIL_HIGH,
		     (uint32_t)(q->avail_gpa >> 32));
	driver_write(d, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)q->used_gpa);
	driver_write(d, VIRTIO_MMIO_QUEUE_USED_HIGH,
		     (uint32_t)(q->used_gpa >> 32));
	driver_write(d, VIRTIO_MMIO_QUEUE_READY, 1);
	return driver_read(d, VIRTIO_MMIO_QUEUE_READY) == 1;
}

/* Bring @v up from reset, all queues with @num entries and those of @features
 * that it offers (VERSION_1 always).  Also after DEVICE_NEEDS_RESET. */
static inline void driver_up(struct driver *d, struct virtio *v,
			     uint64_t features, uint16_t num)
{
	unsigned i;

	d->v = v;
	features |= 1ULL << VIRTIO_F_VERSION_1;
	driver_must(driver_negotiate(d, features & driver_offered(d)),
		    "features refused");
	for (i = 0; i < v->ops->queues; i++) {
		driver_queue_make(d, i, num);
		driver_must(driver_queue_ready(d, i), "queue refused");
	}
	driver_add_status(d, VIRTIO_CONFIG_S_DRIVER_OK);
}

/* ---- chains ---- */

/* Make @head available, whatever it is. */
static inline void driver_avail(struct driver *d, unsigned i, uint16_t head)
{
	struct driver_queue *q = &d->q[i];

	q->avail->ring[q->avail->idx % q->num] = head;
	__atomic_store_n(&q->avail->idx, (uint16_t)(q->avail->idx + 1),
			 __ATOMIC_SEQ_CST);
}

static inline int driver_free_desc(const struct driver_queue *q)
{
	int k;

	for (k = 0; k < q->num; k++) {
		if (!q->chain[k])
			return k;
	}
	return -1;
}

static inline struct driver_desc driver_to_desc(const struct driver_buf *b)
{
	return (struct driver_desc){ .addr = b->gpa,
				     .len = b->len,
				     .flags = b->write ? VRING_DESC_F_WRITE :
							 0 };
}

/* A chain of @n buffers in the queue's table, not available yet.  Its head, or
 * -1 when there are not enough free descriptors. */
static inline int driver_chain(struct driver *d, unsigned i,
			       const struct driver_buf *b, unsigned n)
{
	struct driver_queue *q = &d->q[i];
	int head = -1, last = -1, k;
	unsigned j, left = 0;

	for (j = 0; j < q->num; j++)
		left += !q->chain[j];
	if (n == 0 || n > left)
		return -1;
	for (j = 0; j < n; j++) {
		k = driver_free_desc(q);
		if (j == 0)
			head = k;
		q->chain[k] = (uint16_t)(head + 1);
		q->desc[k] = driver_to_desc(&b[j]);
		if (last >= 0) {
			q->desc[last].flags |= VRING_DESC_F_NEXT;
			q->desc[last].next = (uint16_t)k;
		}
		last = k;
	}
	return head;
}

/* The same through an indirect table at @table, which the caller has made. */
static inline int driver_chain_indirect(struct driver *d, unsigned i,
					const struct driver_buf *b, unsigned n,
					uint64_t table)
{
	struct driver_desc *t = driver_ptr(d, table);
	struct driver_buf whole = { table, n * 16, false };
	int head = driver_chain(d, i, &whole, 1);
	unsigned j;

	if (head < 0)
		return -1;
	d->q[i].desc[head].flags = VRING_DESC_F_INDIRECT;
	for (j = 0; j < n; j++) {
		t[j] = driver_to_desc(&b[j]);
		if (j + 1 < n) {
			t[j].flags |= VRING_DESC_F_NEXT;
			t[j].next = (uint16_t)(j + 1);
		}
	}
	return head;
}

/* A chain, and make it available.  Its head, or -1 as above. */
static inline int driver_add(struct driver *d, unsigned i,
			     const struct driver_buf *b, unsigned n)
{
	int head = driver_chain(d, i, b, n);

	if (head >= 0)
		driver_avail(d, i, (uint16_t)head);
	return head;
}

static inline int driver_add_indirect(struct driver *d, unsigned i,
				      const struct driver_buf *b, unsigned n,
				      uint64_t table)
{
	int head = driver_chain_indirect(d, i, b, n, table);

	if (head >= 0)
		driver_avail(d, i, (uint16_t)head);
	return head;
}

static inline void driver_kick(struct driver *d, unsigned i)
{
	driver_write(d, VIRTIO_MMIO_QUEUE_NOTIFY, i);
}

/* The next chain that came back: its head, with its @len (or NULL) and its
 * descriptors free again; -1 when there is none. */
static inline int driver_used(struct driver *d, unsigned i, uint32_t *len)
{
	struct driver_queue *q = &d->q[i];
	uint16_t idx = __atomic_load_n(&q->used->idx, __ATOMIC_ACQUIRE);
	uint32_t id;
	unsigned k;

	if (idx == q->seen)
		return -1;
	driver_must(q->num, "no such queue");
	id = q->used->ring[q->seen % q->num].id;
	if (len)
		*len = q->used->ring[q->seen % q->num].len;
	q->seen++;
	for (k = 0; k < q->num; k++) {
		if (q->chain[k] == id + 1)
			q->chain[k] = 0;
	}
	return (int)(id & 0xffff);
}

/* The event indices of VIRTIO_F_EVENT_IDX. */
static inline uint16_t *driver_used_event(struct driver *d, unsigned i)
{
	return &d->q[i].avail->ring[d->q[i].num];
}

static inline uint16_t *driver_avail_event(struct driver *d, unsigned i)
{
	return (uint16_t *)&d->q[i].used->ring[d->q[i].num];
}

#endif
