/* SPDX-License-Identifier: MIT
 *
 * What the fuzzers of all virtio devices share: a byte string is guest memory
 * plus a sequence of what a driver does.
 *
 * The string: two bytes N, little-endian; N bytes of operations; the rest is
 * what guest memory has from address 0 on.  An operation is a byte (modulo
 * FUZZ_OPS) and its arguments, see enum fuzz_op; arguments that are missing at
 * the end are zeros.  Some operations are what a good driver does, so that the
 * fuzzer meets the device's handlers within seconds and not within days; with
 * the others every register, ring and buffer takes any value at any moment.
 *
 * Guest RAM is 64 KiB low and 64 KiB at 4 GiB between pages that crash.  The
 * rings of fuzz_up() lie in the first page, 1 KiB a queue; buffers of
 * fuzz_chain() from FUZZ_BUFFERS on.
 *
 * A target:
 *
 *	int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
 *	{
 *		struct driver *d = fuzz_ram();
 *
 *		foo_init(&foo, ..., &d->m, NULL, NULL);
 *		fuzz_virtio(d, &foo.v, &calls, p, n);
 *		foo_free(&foo);
 *		return 0;
 *	}
 *
 * Nothing is left of one input when the next comes: memory is zeroed, the
 * device is the target's to make and to free.
 */
#ifndef TESTS_FUZZ_VIRTIO_H
#define TESTS_FUZZ_VIRTIO_H

#include "tests/unit/driver.h"

#define FUZZ_LOW 65536
#define FUZZ_HIGH 65536
#define FUZZ_RINGS 0x400 /* bytes for those of a queue */
#define FUZZ_BUFFERS 0x2000
#define FUZZ_BUFS_MAX 16 /* of a chain by FUZZ_CHAIN */
#define FUZZ_OPS_MAX 2000

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* The rest of the input; read from the front. */
struct fuzz_bytes {
	const uint8_t *p;
	size_t n;
};

struct fuzz_calls {
	/* Something happened on the host's side; takes its arguments from @b.
	 * NULL: nothing ever does. */
	void (*event)(struct virtio *v, struct fuzz_bytes *b);
	/* After each operation: abort() when the device is not as it should
	 * be.  NULL: nothing to check. */
	void (*check)(struct driver *d);
};

enum fuzz_op {
	FUZZ_WRITE,   /* u8 register / 4, u32 value */
	FUZZ_READ,    /* u16 offset, u8 length */
	FUZZ_CONFIG,  /* u8 offset, u8 length, bytes: written and read */
	FUZZ_KICK,    /* u8 queue */
	FUZZ_POKE,    /* u16 address, u8 length, bytes */
	FUZZ_POKE16,  /* u16 address, u16 */
	FUZZ_EVENT,   /* the target's */
	FUZZ_UP,      /* u8 log2 of entries, u32 features not to take */
	FUZZ_CHAIN,   /* u8 queue, u8 buffers and flags, the buffers: see
			 fuzz_chain() */
	FUZZ_AVAIL,   /* u8 queue, u16 head: anything made available */
	FUZZ_COLLECT, /* u8 queue: take used chains back */
	FUZZ_ACK,     /* acknowledge interrupts */
	FUZZ_RESET,
	FUZZ_OPS
};

#define fuzz_must(good)                                                    \
	do {                                                               \
		if (!(good)) {                                             \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, \
				#good);                                    \
			abort();                                           \
		}                                                          \
	} while (0)

/* ---- input ---- */

static inline uint64_t fuzz_int(struct fuzz_bytes *b, unsigned bytes)
{
	uint64_t x = 0;
	unsigned i;

	for (i = 0; i < bytes && b->n; i++, b->n--)
		x |= (uint64_t)*b->p++ << (8 * i);
	return x;
}

/* Up to @n bytes from the input into @to; how many there were. */
static inline size_t fuzz_copy(struct fuzz_bytes *b, void *to, size_t n)
{
	if (n > b->n)
		n = b->n;
	if (n)
		memcpy(to, b->p, n);
	b->p += n;
	b->n -= n;
	return n;
}

/* ---- operations ---- */

static inline unsigned fuzz_queue(struct driver *d, struct fuzz_bytes *b)
{
	return (unsigned)fuzz_int(b, 1) % d->v->ops->queues;
}

static inline void fuzz_read(struct driver *d, struct fuzz_bytes *b)
{
	uint64_t off = fuzz_int(b, 2) & 0xfff;
	unsigned len = fuzz_int(b, 1) & 15;
	uint8_t got[16];

	virtio_mmio_read(d->v, off, got, len);
}

static inline void fuzz_config(struct driver *d, struct fuzz_bytes *b)
{
	uint64_t off = VIRTIO_MMIO_CONFIG + fuzz_int(b, 1);
	unsigned len = fuzz_int(b, 1) & 15;
	uint8_t data[16] = { 0 };

	fuzz_copy(b, data, len);
	virtio_mmio_write(d->v, off, data, len);
	virtio_mmio_read(d->v, off, data, len);
}

static inline void fuzz_poke(struct driver *d, struct fuzz_bytes *b)
{
	uint64_t gpa = fuzz_int(b, 2);
	size_t len = fuzz_int(b, 1);

	if (len > FUZZ_LOW - gpa)
		len = FUZZ_LOW - gpa;
	fuzz_copy(b, d->m.host + gpa, len);
}

static inline void fuzz_poke16(struct driver *d, struct fuzz_bytes *b)
{
	uint64_t gpa = fuzz_int(b, 2) & ~1ULL;
	uint16_t x = (uint16_t)fuzz_int(b, 2);

	memcpy(d->m.host + gpa, &x, sizeof(x));
}

/* Bring the device up as a good driver does, with 2 to 16 entries; but the
 * rings are not emptied when bit 7 of the first argument is set: they are what
 * memory has. */
static inline void fuzz_up(struct driver *d, struct fuzz_bytes *b)
{
	uint8_t how = (uint8_t)fuzz_int(b, 1);
	uint64_t without = fuzz_int(b, 4);
	uint16_t num = (uint16_t)(2 << (how & 3));
	uint8_t was[FUZZ_RINGS];
	unsigned i;

	/* The bits of both words on top of each other, for what differs is
	 * below 32, but for VERSION_1. */
	if (!driver_negotiate(d, driver_offered(d) & ~without))
		return;
	for (i = 0; i < d->v->ops->queues; i++) {
		uint64_t at = i * FUZZ_RINGS;

		memcpy(was, d->m.host + at, sizeof(was));
		driver_queue_at(d, i, num, at, at + 0x200, at + 0x300);
		if (how & 0x80)
			memcpy(d->m.host + at, was, sizeof(was));
		driver_queue_ready(d, i);
	}
	driver_add_status(d, VIRTIO_CONFIG_S_DRIVER_OK);
}

/* A well-formed chain.  Flags: the low 4 bits + 1 buffers, 0x10 through an
 * indirect table, 0x20 kick afterwards.  A buffer: u16, whose bit 15 is
 * "device writes" (such are moved to the end), 12 bits of length + 1; one that
 * the device reads is followed by u8 and so many bytes for its beginning. */
static inline void fuzz_chain(struct driver *d, struct fuzz_bytes *b)
{
	struct driver_buf bufs[FUZZ_BUFS_MAX];
	unsigned i = fuzz_queue(d, b), j, how = (unsigned)fuzz_int(b, 1);
	unsigned n = (how & 15) + 1;
	bool write = false;
	uint16_t x;

	if (d->q[i].num == 0)
		return;
	for (j = 0; j < n; j++) {
		x = (uint16_t)fuzz_int(b, 2);
		write = write || (x & 0x8000);
		if (d->next + 0x1000 > FUZZ_LOW)
			d->next = FUZZ_BUFFERS;
		bufs[j] =
			(struct driver_buf){ d->next, (x & 0xfffu) + 1, write };
		if (!write)
			fuzz_copy(b, d->m.host + d->next, fuzz_int(b, 1));
		d->next += bufs[j].len;
	}
	if (how & 0x10)
		driver_add_indirect(d, i, bufs, n, 0x1000 + 0x100 * i);
	else
		driver_add(d, i, bufs, n);
	if (how & 0x20)
		driver_kick(d, i);
}

static inline void fuzz_collect(struct driver *d, struct fuzz_bytes *b)
{
	unsigned i = fuzz_queue(d, b), k;

	for (k = 0; d->q[i].num && k < d->q[i].num; k++) {
		if (driver_used(d, i, NULL) < 0)
			return;
	}
}

static inline void fuzz_avail(struct driver *d, struct fuzz_bytes *b)
{
	unsigned i = fuzz_queue(d, b);
	uint16_t head = (uint16_t)fuzz_int(b, 2);

	if (d->q[i].num)
		driver_avail(d, i, head);
}

static inline void fuzz_op(struct driver *d, const struct fuzz_calls *calls,
			   struct fuzz_bytes *b)
{
	uint64_t off;

	switch ((enum fuzz_op)(fuzz_int(b, 1) % FUZZ_OPS)) {
	case FUZZ_WRITE:
		off = 4 * fuzz_int(b, 1) % 0x100;
		driver_write(d, off, (uint32_t)fuzz_int(b, 4));
		break;
	case FUZZ_READ:
		fuzz_read(d, b);
		break;
	case FUZZ_CONFIG:
		fuzz_config(d, b);
		break;
	case FUZZ_KICK:
		driver_kick(d, (unsigned)fuzz_int(b, 1));
		break;
	case FUZZ_POKE:
		fuzz_poke(d, b);
		break;
	case FUZZ_POKE16:
		fuzz_poke16(d, b);
		break;
	case FUZZ_EVENT:
		if (calls->event)
			calls->event(d->v, b);
		break;
	case FUZZ_UP:
		fuzz_up(d, b);
		break;
	case FUZZ_CHAIN:
		fuzz_chain(d, b);
		break;
	case FUZZ_AVAIL:
		fuzz_avail(d, b);
		break;
	case FUZZ_COLLECT:
		fuzz_collect(d, b);
		break;
	case FUZZ_ACK:
		driver_interrupts(d);
		break;
	case FUZZ_RESET:
	case FUZZ_OPS:
		driver_reset(d);
		break;
	}
}

/* ---- the run ---- */

/* What is true of any device at any time. */
static inline void fuzz_check(struct driver *d)
{
	const struct virtio *v = d->v;
	unsigned i;

	fuzz_must(v->s.interrupt <= 3);
	for (i = 0; i < v->ops->queues; i++) {
		const struct vq *q = &v->q[i];

		fuzz_must(!q->s.ready ||
			  (q->desc_host && q->avail_host && q->used_host));
		/* A broken ring is a broken device. */
		fuzz_must(!q->broken ||
			  (v->s.status & VIRTIO_CONFIG_S_NEEDS_RESET));
	}
	fuzz_must(!(v->s.status & VIRTIO_CONFIG_S_NEEDS_RESET) || v->refused);
}

/* Guest memory of zeros; the same mapping each time. */
static inline struct driver *fuzz_ram(void)
{
	static struct driver ram;
	static struct driver d;

	if (!ram.map)
		driver_ram(&ram, FUZZ_LOW, FUZZ_HIGH);
	memset(ram.m.host, 0, ram.m.size);
	d = ram;
	d.next = FUZZ_BUFFERS;
	return &d;
}

static inline void fuzz_virtio(struct driver *d, struct virtio *v,
			       const struct fuzz_calls *calls, const uint8_t *p,
			       size_t n)
{
	struct fuzz_bytes all = { p, n }, ops;
	unsigned k;

	d->v = v;
	ops.n = fuzz_int(&all, 2);
	if (ops.n > all.n)
		ops.n = all.n;
	ops.p = all.p;
	all.p += ops.n;
	all.n -= ops.n;
	fuzz_copy(&all, d->m.host, d->m.size);
	for (k = 0; ops.n && k < FUZZ_OPS_MAX; k++) {
		fuzz_op(d, calls, &ops);
		fuzz_check(d);
		if (calls->check)
			calls->check(d);
	}
}

#endif
