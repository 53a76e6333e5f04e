/* SPDX-License-Identifier: MIT
 *
 * A virtio driver for guests of the device tests: what is the same for all
 * devices.  It hides nothing: rings and registers are there to be misused.
 */
#ifndef TESTS_GUESTS_VIRTIO_H
#define TESTS_GUESTS_VIRTIO_H

#include "rt.h"

/* Registers, and bits in them: virtio 1.2, 4.2.2. */
enum {
	REG_MAGIC = 0x00,
	REG_VERSION = 0x04,
	REG_DEVICE_ID = 0x08,
	REG_VENDOR_ID = 0x0c,
	REG_DEVICE_FEATURES = 0x10,
	REG_DEVICE_FEATURES_SEL = 0x14,
	REG_DRIVER_FEATURES = 0x20,
	REG_DRIVER_FEATURES_SEL = 0x24,
	REG_QUEUE_SEL = 0x30,
	REG_QUEUE_NUM_MAX = 0x34,
	REG_QUEUE_NUM = 0x38,
	REG_QUEUE_READY = 0x44,
	REG_NOTIFY = 0x50,
	REG_INTERRUPT = 0x60,
	REG_ACK = 0x64,
	REG_STATUS = 0x70,
	REG_DESC = 0x80,  /* and 4 bytes further the high word; */
	REG_AVAIL = 0x90, /* likewise */
	REG_USED = 0xa0,
	REG_SHM_LEN = 0xb0,
	REG_GENERATION = 0xfc,
	REG_CONFIG = 0x100,
};

enum {
	STATUS_ACKNOWLEDGE = 1,
	STATUS_DRIVER = 2,
	STATUS_DRIVER_OK = 4,
	STATUS_FEATURES_OK = 8,
	STATUS_NEEDS_RESET = 0x40,
	STATUS_FAILED = 0x80,
};

enum { INT_USED = 1, INT_CONFIG = 2 };

enum {
	ID_NET = 1,
	ID_BLK = 2,
	ID_RNG = 4,
	ID_BALLOON = 5,
	ID_VSOCK = 19,
	ID_PMEM = 27
};

#define F_INDIRECT (1ULL << 28)
#define F_EVENT_IDX (1ULL << 29)
#define F_VERSION_1 (1ULL << 32)

enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct avail {
	uint16_t flags, idx, ring[256], event;
};

struct used {
	uint16_t flags, idx;
	struct {
		uint32_t id, len;
	} ring[256];
	uint16_t event;
};

/* Rings of any size lie in memory for the largest one; the event indices are
 * where they are for that only. */
struct queue {
	uint32_t num;
	volatile struct desc *desc;
	volatile struct avail *avail;
	volatile struct used *used;
	uint16_t seen; /* of used->idx */
};

struct device {
	uint32_t at; /* its registers */
	unsigned index;
	unsigned queues;
	struct queue q[4];
	/* Has the device look at queue @i, where a notification does not. */
	void (*provoke)(struct device *d, unsigned i);
};

static inline uint32_t reg(const struct device *d, unsigned off)
{
	return get32(d->at + off);
}

static inline void set_reg(const struct device *d, unsigned off, uint32_t x)
{
	put32(d->at + off, x);
}

/* The @nth device of kind @id, with its interrupt routed to us.  False: there
 * is none. */
bool device_find(struct device *d, uint32_t id, unsigned nth);

uint64_t device_offers(const struct device *d);
/* From reset up to FEATURES_OK: whether the device agrees. */
bool device_negotiate(const struct device *d, uint64_t features);
/* The device has broken off and waits for a reset. */
bool device_broken(const struct device *d);

/* Empty rings of @num entries for queue @i. */
void queue_make(struct device *d, unsigned i, uint32_t num);
/* Tell the device where they are; whether it took them. */
bool queue_ready(const struct device *d, unsigned i);
/* The same with numbers that may be anything. */
bool queue_ready_at(const struct device *d, unsigned i, uint32_t num,
		    uint64_t desc, uint64_t avail, uint64_t used);

/* From reset to DRIVER_OK with @features and VERSION_1; all queues with @num
 * entries. */
void device_up(struct device *d, uint64_t features, uint32_t num);

/* Write descriptor @k of queue @i. */
void put_desc(struct device *d, unsigned i, unsigned k, uint64_t at,
	      uint32_t len, uint16_t flags, uint16_t next);
/* Make @head available, and tell the device. */
void make_available(struct device *d, unsigned i, uint16_t head);
void kick(const struct device *d, unsigned i);

/* Up to three buffers as a chain at descriptor 0, those with DESC_WRITE last;
 * NULL ends them.  Made available and told. */
struct buffer {
	volatile void *p;
	uint32_t len;
	uint16_t flags;
};
void submit(struct device *d, unsigned i, const struct buffer *b, unsigned n);

/* Whether a chain came back; sleep until one does: its head, and its length in
 * *@len (or NULL).  Gives up when the device breaks off instead. */
bool came_back(const struct device *d, unsigned i);
uint32_t wait_used(struct device *d, unsigned i, uint32_t *len);
/* Submit, and the length that came back. */
uint32_t request(struct device *d, unsigned i, const struct buffer *b,
		 unsigned n);
/* Sleep until the device breaks off. */
void wait_broken(const struct device *d);

/* A test: the device breaks off over what was just made available.  Brings it
 * up again as @features and @num say.  Counts in refused_rules. */
void refuses(struct device *d, unsigned i, uint64_t features, uint32_t num,
	     const char *what);
extern unsigned refused_rules;

#endif
