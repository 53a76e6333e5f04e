/* SPDX-License-Identifier: MIT
 *
 * The guests' virtio driver: see virtio.h.
 */
#include "virtio.h"

#define MAGIC 0x74726976u

unsigned refused_rules;

bool device_find(struct device *d, uint32_t id, unsigned nth)
{
	unsigned i;

	memset(d, 0, sizeof(*d));
	for (i = 0; i < LAYOUT_DEVICES_MAX; i++) {
		d->at = (uint32_t)(LAYOUT_MMIO + i * LAYOUT_MMIO_STRIDE);
		if (reg(d, REG_MAGIC) != MAGIC || reg(d, REG_DEVICE_ID) != id ||
		    nth-- != 0)
			continue;
		d->index = i;
		while (d->queues < 4) {
			set_reg(d, REG_QUEUE_SEL, d->queues);
			if (reg(d, REG_QUEUE_NUM_MAX) == 0)
				break;
			d->queues++;
		}
		irq_enable(LAYOUT_GSI + i);
		return true;
	}
	return false;
}

uint64_t device_offers(const struct device *d)
{
	uint64_t low;

	set_reg(d, REG_DEVICE_FEATURES_SEL, 0);
	low = reg(d, REG_DEVICE_FEATURES);
	set_reg(d, REG_DEVICE_FEATURES_SEL, 1);
	return low | (uint64_t)reg(d, REG_DEVICE_FEATURES) << 32;
}

bool device_negotiate(const struct device *d, uint64_t features)
{
	uint32_t s = STATUS_ACKNOWLEDGE | STATUS_DRIVER;

	set_reg(d, REG_STATUS, 0);
	set_reg(d, REG_STATUS, s);
	set_reg(d, REG_DRIVER_FEATURES_SEL, 0);
	set_reg(d, REG_DRIVER_FEATURES, (uint32_t)features);
	set_reg(d, REG_DRIVER_FEATURES_SEL, 1);
	set_reg(d, REG_DRIVER_FEATURES, (uint32_t)(features >> 32));
	set_reg(d, REG_STATUS, s | STATUS_FEATURES_OK);
	return reg(d, REG_STATUS) & STATUS_FEATURES_OK;
}

bool device_broken(const struct device *d)
{
	return reg(d, REG_STATUS) & STATUS_NEEDS_RESET;
}

/* ---- queues ---- */

void queue_make(struct device *d, unsigned i, uint32_t num)
{
	struct queue *q = &d->q[i];

	if (!q->desc) {
		q->desc = alloc(256 * sizeof(*q->desc), 16);
		q->avail = alloc(sizeof(*q->avail), 2);
		q->used = alloc(sizeof(*q->used), 4);
	}
	memset((void *)q->desc, 0, 256 * sizeof(*q->desc));
	memset((void *)q->avail, 0, sizeof(*q->avail));
	memset((void *)q->used, 0, sizeof(*q->used));
	q->num = num;
	q->seen = 0;
}

static void set_reg64(const struct device *d, unsigned off, uint64_t x)
{
	set_reg(d, off, (uint32_t)x);
	set_reg(d, off + 4, (uint32_t)(x >> 32));
}

bool queue_ready_at(const struct device *d, unsigned i, uint32_t num,
		    uint64_t desc, uint64_t avail, uint64_t used)
{
	set_reg(d, REG_QUEUE_SEL, i);
	set_reg(d, REG_QUEUE_NUM, num);
	set_reg64(d, REG_DESC, desc);
	set_reg64(d, REG_AVAIL, avail);
	set_reg64(d, REG_USED, used);
	set_reg(d, REG_QUEUE_READY, 1);
	return reg(d, REG_QUEUE_READY) == 1;
}

bool queue_ready(const struct device *d, unsigned i)
{
	const struct queue *q = &d->q[i];

	return queue_ready_at(d, i, q->num, addr(q->desc), addr(q->avail),
			      addr(q->used));
}

void device_up(struct device *d, uint64_t features, uint32_t num)
{
	unsigned i;

	if (!device_negotiate(d, features | F_VERSION_1))
		give_up("the device refuses its own features");
	for (i = 0; i < d->queues; i++) {
		queue_make(d, i, num);
		if (!queue_ready(d, i))
			give_up("the device refuses a good queue");
	}
	set_reg(d, REG_STATUS, reg(d, REG_STATUS) | STATUS_DRIVER_OK);
	if (device_broken(d))
		give_up("the device is broken from the start");
}

/* ---- chains ---- */

void put_desc(struct device *d, unsigned i, unsigned k, uint64_t at,
	      uint32_t len, uint16_t flags, uint16_t next)
{
	volatile struct desc *to = &d->q[i].desc[k];

	to->addr = at;
	to->len = len;
	to->flags = flags;
	to->next = next;
}

void make_available(struct device *d, unsigned i, uint16_t head)
{
	struct queue *q = &d->q[i];

	q->avail->ring[q->avail->idx % q->num] = head;
	/* x86 keeps the order of writes, and volatile the compiler's. */
	q->avail->idx++;
}

void kick(const struct device *d, unsigned i)
{
	set_reg(d, REG_NOTIFY, i);
}

void submit(struct device *d, unsigned i, const struct buffer *b, unsigned n)
{
	unsigned k;

	for (k = 0; k < n; k++)
		put_desc(d, i, k, addr(b[k].p), b[k].len,
			 (uint16_t)(b[k].flags | (k + 1 < n ? DESC_NEXT : 0)),
			 (uint16_t)(k + 1));
	make_available(d, i, 0);
	kick(d, i);
}

bool came_back(const struct device *d, unsigned i)
{
	return d->q[i].used->idx != d->q[i].seen;
}

uint32_t wait_used(struct device *d, unsigned i, uint32_t *len)
{
	struct queue *q = &d->q[i];
	unsigned at = q->seen % q->num;

	while (!came_back(d, i)) {
		if (device_broken(d))
			give_up("the device refuses a good request");
		sleep();
	}
	q->seen++;
	if (len)
		*len = q->used->ring[at].len;
	return q->used->ring[at].id;
}

uint32_t request(struct device *d, unsigned i, const struct buffer *b,
		 unsigned n)
{
	uint32_t len;

	submit(d, i, b, n);
	wait_used(d, i, &len);
	return len;
}

void wait_broken(const struct device *d)
{
	while (!device_broken(d))
		sleep();
}

void refuses(struct device *d, unsigned i, uint64_t features, uint32_t num,
	     const char *what)
{
	if (d->provoke)
		d->provoke(d, i);
	else
		kick(d, i);
	wait_broken(d);
	refused_rules++;
	ok(!came_back(d, i) && (reg(d, REG_INTERRUPT) & INT_CONFIG), what);
	device_up(d, features, num);
}
