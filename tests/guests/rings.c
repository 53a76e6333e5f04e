/* SPDX-License-Identifier: MIT
 *
 * Every rule of the rings (lib/vmm/virtio/queue.c lists them) broken on
 * purpose, on every queue of one device: the first argument is the device's
 * name.  Each time the device must break off, answer nothing, and work again
 * after a reset.
 *
 * One of each kind comes first, so that all their names are in the monitor's
 * log before its limit is.
 */
#include "virtio.h"

#define NUM 8

static struct device d;
static uint8_t *area;

/* ---- set-up ---- */

struct bad_ring {
	const char *what;
	uint32_t num;
	uint64_t desc, avail, used; /* 0: a good one */
};

#define TOP (UINT64_MAX - 15)

/* 0 stands for the RAM's end in these: -N are the N bytes before it. */
static const struct bad_ring kinds[] = {
	{ "a queue of 3", 3, 0, 0, 0 },
	{ "a table at an odd address", NUM, 0x8008, 0, 0 },
	{ "a table in the hole", NUM, LAYOUT_HOLE, 0, 0 },
};

static const struct bad_ring more_rings[] = {
	{ "a queue of 0", 0, 0, 0, 0 },
	{ "a queue of 512", 512, 0, 0, 0 },
	{ "a queue of 65544", 0x10008, 0, 0, 0 },
	{ "a queue of 2^32-1", UINT32_MAX, 0, 0, 0 },
	{ "a queue of 2^31", 1u << 31, 0, 0, 0 },
	{ "an available ring at an odd address", NUM, 0, 0x8001, 0 },
	{ "a used ring at an odd address", NUM, 0, 0, 0x8002 },
	{ "a table at the registers", NUM, LAYOUT_MMIO, 0, 0 },
	{ "a table at the end of the address space", NUM, TOP, 0, 0 },
	{ "an available ring in the hole", NUM, 0, LAYOUT_HOLE, 0 },
	{ "an available ring at the end of it all", NUM, 0, UINT64_MAX - 1, 0 },
	{ "a used ring in the hole", NUM, 0, 0, LAYOUT_HOLE },
	{ "a used ring at 2^63", NUM, 0, 0, 1ULL << 63 },
	{ "a used ring at the end of it all", NUM, 0, 0, UINT64_MAX - 3 },
	{ "a used ring at the interrupt controller", NUM, 0, 0, LAYOUT_LAPIC },
};

static void try_ring(unsigned i, const struct bad_ring *b)
{
	const struct queue *q = &d.q[i];
	bool taken;

	device_negotiate(&d, F_VERSION_1 | F_INDIRECT);
	taken = queue_ready_at(&d, i, b->num, b->desc ? b->desc : addr(q->desc),
			       b->avail ? b->avail : addr(q->avail),
			       b->used ? b->used : addr(q->used));
	ok(!taken && device_broken(&d), b->what);
	refused_rules++;
}

static void try_rings(unsigned i, const struct bad_ring *b, unsigned n)
{
	for (; n; n--, b++)
		try_ring(i, b);
}

/* Rings that end with memory, and those that end a byte later. */
static void test_last_rings(unsigned i)
{
	const uint32_t avail = 6 + 2 * NUM, used = 6 + 8 * NUM;
	struct bad_ring bad[] = {
		{ "a table that ends behind memory", NUM,
		  ram_low - 16 * NUM + 16, 0, 0 },
		{ "an available ring that does", NUM, 0, ram_low - avail + 2,
		  0 },
		{ "a used ring that does", NUM, 0, 0, ram_low - used + 2 },
	};
	const struct queue *q = &d.q[i];

	device_negotiate(&d, F_VERSION_1 | F_INDIRECT);
	ok(queue_ready_at(&d, i, NUM, ram_low - 16 * NUM, addr(q->avail),
			  addr(q->used)),
	   "a table that ends with memory");
	device_negotiate(&d, F_VERSION_1 | F_INDIRECT);
	ok(queue_ready_at(&d, i, NUM, addr(q->desc), ram_low - avail,
			  addr(q->used)),
	   "an available ring that ends with memory");
	device_negotiate(&d, F_VERSION_1 | F_INDIRECT);
	ok(queue_ready_at(&d, i, NUM, addr(q->desc), addr(q->avail),
			  ram_low - (used + 2) / 4 * 4),
	   "a used ring that ends with memory");
	bad[2].used = (ram_low - used + 6) / 4 * 4;
	try_rings(i, bad, 3);
}

static void test_order_of_status(unsigned i)
{
	const struct queue *q = &d.q[i];

	set_reg(&d, REG_STATUS, 0);
	ok(!queue_ready_at(&d, i, NUM, addr(q->desc), addr(q->avail),
			   addr(q->used)) &&
		   device_broken(&d),
	   "a queue before the features are agreed on");
	refused_rules++;
	set_reg(&d, REG_STATUS, 0);
	set_reg(&d, REG_STATUS,
		STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_DRIVER_OK);
	ok(device_broken(&d), "DRIVER_OK before the features are agreed on");
	refused_rules++;
	ok(!(reg(&d, REG_STATUS) & STATUS_DRIVER_OK), "which it does not take");
}

/* ---- chains ---- */

/* A device that only sends breaks over any chain of its own kind, but the
 * rules of the ring come before that. */
static void refused(unsigned i, const char *what)
{
	refuses(&d, i, F_INDIRECT, NUM, what);
}

static void bad_chain(unsigned i, uint16_t head, const char *what)
{
	make_available(&d, i, head);
	refused(i, what);
}

/* One buffer of any kind. */
static void bad_buffer(unsigned i, uint64_t at, uint32_t len, uint16_t flags,
		       const char *what)
{
	put_desc(&d, i, 0, at, len, flags, 0);
	bad_chain(i, 0, what);
}

static void test_indices(unsigned i)
{
	d.q[i].avail->idx = NUM + 1;
	refused(i, "more available than the ring holds");
	bad_chain(i, NUM, "a head beyond the table");
	put_desc(&d, i, 0, addr(area), 16, DESC_NEXT, NUM);
	bad_chain(i, 0, "a next beyond the table");
}

static void test_loops(unsigned i)
{
	put_desc(&d, i, 0, addr(area), 16, DESC_NEXT, 0);
	bad_chain(i, 0, "a descriptor that follows itself");
}

static void test_order(unsigned i)
{
	put_desc(&d, i, 0, addr(area), 64, DESC_WRITE | DESC_NEXT, 1);
	put_desc(&d, i, 1, addr(area), 64, 0, 0);
	bad_chain(i, 0, "a readable buffer behind a writable one");
}

/* As much as goes into a table of 8: 8 times all of memory and more is not
 * 2^32 bytes with what a guest of the test has, so this takes a larger one. */
static void test_total(unsigned i)
{
	unsigned k, n = 0x80000000u / (ram_low / 2);

	device_up(&d, F_INDIRECT, 256);
	for (k = 0; k < n; k++)
		put_desc(&d, i, k, 0, ram_low, DESC_NEXT, (uint16_t)(k + 1));
	put_desc(&d, i, n - 1, 0, ram_low, 0, 0);
	bad_chain(i, 0, "2^32 bytes in a chain");
}

static void put_inner(unsigned k, uint64_t at, uint32_t len, uint16_t flags,
		      uint16_t next)
{
	struct desc *t = (struct desc *)area;

	t[k] = (struct desc){ at, len, flags, next };
}

static void test_indirect(unsigned i)
{
	put_inner(0, addr(area), 16, DESC_INDIRECT, 0);
	bad_buffer(i, addr(area), 16, DESC_INDIRECT, "a table in a table");
	put_inner(0, addr(area), 16, 0, 0);
	bad_buffer(i, addr(area), 16, DESC_INDIRECT | DESC_NEXT,
		   "a table with a next");
	bad_buffer(i, addr(area), 17, DESC_INDIRECT, "a table of 17 bytes");
	bad_buffer(i, ram_low, 16, DESC_INDIRECT, "a table behind memory");
	bad_buffer(i, addr(area) + 4, 16, DESC_INDIRECT,
		   "a table at an odd address");
}

/* One of each kind. */
static void test_kinds(unsigned i)
{
	try_rings(i, kinds, sizeof(kinds) / sizeof(kinds[0]));
	test_order_of_status(i);
	device_up(&d, F_INDIRECT, NUM);
	test_indices(i);
	test_loops(i);
	test_order(i);
	bad_buffer(i, ram_low, 1, 0, "a buffer behind memory");
	test_total(i);
	test_indirect(i);
}

/* ---- the edges of everything ---- */

static void test_buffers(unsigned i)
{
	const struct {
		uint64_t at;
		uint32_t len;
		const char *what;
	} bad[] = {
		{ ram_low - 1, 2, "a buffer across the end of memory" },
		{ ram_low - 16, UINT32_MAX, "2^32-1 bytes at its end" },
		{ 0, UINT32_MAX, "2^32-1 bytes at its beginning" },
		{ 0, 0, "a buffer of 0 bytes" },
		{ ram_low, 0, "a buffer of 0 bytes behind memory" },
		{ UINT64_MAX, 0, "a buffer of 0 bytes at the end of it all" },
		{ LAYOUT_HOLE, 1, "a buffer in the hole" },
		{ LAYOUT_HOLE - 1, 2, "a buffer across its beginning" },
		{ LAYOUT_MMIO, 4, "a buffer of registers" },
		{ LAYOUT_LAPIC, 4, "a buffer of interrupt controller" },
		{ LAYOUT_HIGH - 1, 1, "a buffer below 4 GiB" },
		{ LAYOUT_HIGH - 1, 2, "a buffer across 4 GiB" },
		/* At 4 GiB itself there may be persistent memory. */
		{ LAYOUT_HIGH + LAYOUT_GIB, 1, "a buffer that is no RAM" },
		{ LAYOUT_HIGH, UINT32_MAX, "2^32-1 bytes of that" },
		{ 1ULL << 40, 16, "a buffer at 2^40" },
		{ 1ULL << 63, 16, "a buffer at 2^63" },
		{ UINT64_MAX, 1, "the last byte of the address space" },
		{ UINT64_MAX, 2, "the last byte and the first" },
		{ UINT64_MAX - 15, UINT32_MAX, "2^32-1 bytes around the end" },
	};
	unsigned k;

	for (k = 0; k < sizeof(bad) / sizeof(bad[0]); k++) {
		bad_buffer(i, bad[k].at, bad[k].len, DESC_WRITE, bad[k].what);
		bad_buffer(i, bad[k].at, bad[k].len, 0, "and to be read from");
	}
}

static void test_more_indices(unsigned i)
{
	d.q[i].avail->idx = UINT16_MAX;
	refused(i, "an available index behind ours");
	bad_chain(i, UINT16_MAX, "head 65535");
	put_desc(&d, i, 0, addr(area), 16, DESC_NEXT, UINT16_MAX);
	bad_chain(i, 0, "next 65535");
	put_desc(&d, i, 0, addr(area), 16, DESC_NEXT, 1);
	put_desc(&d, i, 1, addr(area), 16, DESC_NEXT, 0);
	bad_chain(i, 0, "a loop of two");
	put_desc(&d, i, NUM - 1, addr(area), 16, DESC_NEXT | DESC_WRITE,
		 NUM - 1);
	bad_chain(i, NUM - 1, "a loop of one that is written");
}

static void test_more_indirect(unsigned i)
{
	unsigned k;

	bad_buffer(i, addr(area), 0, DESC_INDIRECT, "a table of 0 bytes");
	bad_buffer(i, addr(area), 8, DESC_INDIRECT, "half a descriptor");
	bad_buffer(i, addr(area), 16 * (NUM + 1), DESC_INDIRECT,
		   "a table longer than the queue");
	bad_buffer(i, addr(area), UINT32_MAX, DESC_INDIRECT,
		   "a table of 2^32-1 bytes");
	bad_buffer(i, addr(area), UINT32_MAX - 15, DESC_INDIRECT,
		   "a table of 2^32-16 bytes");
	bad_buffer(i, ram_low - 16, 32, DESC_INDIRECT,
		   "a table across the end of memory");
	bad_buffer(i, UINT64_MAX - 7, 16, DESC_INDIRECT,
		   "a table around the end of it all");
	bad_buffer(i, LAYOUT_MMIO, 16, DESC_INDIRECT, "a table of registers");
	put_inner(0, addr(area), 16, DESC_NEXT, 1);
	bad_buffer(i, addr(area), 16, DESC_INDIRECT,
		   "a next beyond the inner table");
	put_inner(0, addr(area), 16, DESC_NEXT, 0);
	bad_buffer(i, addr(area), 16, DESC_INDIRECT, "a loop in it");
	for (k = 0; k < NUM; k++)
		put_inner(k, addr(area), 16, DESC_NEXT, (uint16_t)(k + 1));
	put_inner(NUM - 1, addr(area), 16, 0, 0);
	put_desc(&d, i, 0, addr(area), 16, DESC_NEXT, 1);
	put_desc(&d, i, 1, addr(area), 16 * NUM, DESC_INDIRECT, 0);
	bad_chain(i, 0, "inner and outer together longer than the queue");
}

/* A queue that is taken away, and one that never was.  A notification may be
 * heard only after the next round has begun, so it is taken away first. */
static void test_disable(unsigned i)
{
	unsigned k;

	for (k = 0; k < 16; k++) {
		set_reg(&d, REG_QUEUE_SEL, i);
		set_reg(&d, REG_QUEUE_READY, 0);
		put_desc(&d, i, 0, ram_low, 1, 0, 0);
		make_available(&d, i, 0);
		kick(&d, i);
		device_up(&d, F_INDIRECT, NUM);
	}
	ok(!device_broken(&d), "a queue that was taken away is not looked at");
	kick(&d, d.queues);
	kick(&d, UINT32_MAX);
	ok(!device_broken(&d), "a queue that there is not is not notified");
}

/* ---- devices that look at a queue only when they have something for it ---- */

/* A packet that is to nobody: the vsock device answers with a reset. */
static void provoke_vsock(struct device *dev, unsigned i)
{
	static struct {
		uint64_t src_cid, dst_cid;
		uint32_t src_port, dst_port, len;
		uint16_t type, op;
		uint32_t flags, alloc, fwd;
	} __attribute__((packed)) h;
	struct buffer b = { &h, sizeof(h), 0 };

	if (i == 0) {
		h.src_cid = get32(dev->at + REG_CONFIG);
		h.dst_cid = 2;
		h.type = 1;
		h.op = 5;
		submit(dev, 1, &b, 1);
	} else {
		kick(dev, i);
	}
}

/* The queues that can be made to be looked at, a bit each. */
static const struct {
	const char *name;
	uint32_t id;
	unsigned queues;
} names[] = {
	{ "net", ID_NET, 2 },	      { "blk", ID_BLK, 1 },
	{ "rng", ID_RNG, 1 },	      { "balloon", ID_BALLOON, 7 },
	{ "vsock", ID_VSOCK, 1 | 2 }, { "pmem", ID_PMEM, 1 },
};

static unsigned find(const char *name)
{
	unsigned i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(name, names[i].name) == 0 &&
		    device_find(&d, names[i].id, 0))
			return i;
	}
	give_up("there is no such device");
}

void guest(const char *args)
{
	unsigned i, which = find(args);

	if (names[which].id == ID_VSOCK)
		d.provoke = provoke_vsock;
	area = alloc(4096, 4096);
	device_up(&d, F_INDIRECT, NUM);
	for (i = 0; i < d.queues; i++) {
		if (!(names[which].queues & 1u << i))
			continue;
		test_kinds(i);
		test_buffers(i);
		test_more_indices(i);
		test_more_indirect(i);
		try_rings(i, more_rings,
			  sizeof(more_rings) / sizeof(more_rings[0]));
		test_last_rings(i);
		device_up(&d, F_INDIRECT, NUM);
		test_disable(i);
	}
	ok(!device_broken(&d), "it works after all of that");
	tell("refused", refused_rules);
}
