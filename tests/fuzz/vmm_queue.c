/* SPDX-License-Identifier: MIT
 *
 * libFuzzer: the queue alone, against a second reading of the rules.
 *
 * The input: u8 log2 of the entries, u16 where each of the three rings is (in
 * units that make them aligned, unless bit 7 of the first is set); the rest is
 * memory.  While memory stays as it is, a chain that was popped must be what a
 * plain walk through the tables finds, every buffer inside of RAM; and one that
 * was refused must break a rule that is on the list.
 */
#include "tests/fuzz/virtio.h"

#include <errno.h>

/* The walk again, written for reading: whether the chain at @head is good, with
 * its buffers in @b. */
struct walk {
	const struct driver *d;
	unsigned num;
	unsigned n;
	struct driver_buf b[VQ_MAX];
};

static struct walk walk;
static struct vq_chain chain;
static struct vq queue;

static bool in_ram(uint64_t gpa, uint64_t len)
{
	if (gpa >= LAYOUT_HIGH)
		return gpa - LAYOUT_HIGH <= FUZZ_HIGH &&
		       len <= FUZZ_HIGH - (gpa - LAYOUT_HIGH);
	return gpa <= FUZZ_LOW && len <= FUZZ_LOW - gpa;
}

static bool add(struct walk *w, const struct driver_desc *d)
{
	bool write = d->flags & VRING_DESC_F_WRITE;

	if (d->len == 0 || !in_ram(d->addr, d->len) || w->n == w->num)
		return false;
	if (!write && w->n && w->b[w->n - 1].write)
		return false;
	w->b[w->n++] = (struct driver_buf){ d->addr, d->len, write };
	return true;
}

static bool through(struct walk *w, const struct driver_desc *table,
		    unsigned size, unsigned i, bool inner)
{
	for (;;) {
		struct driver_desc d;
		bool more;

		if (i >= size)
			return false;
		d = table[i];
		more = d.flags & VRING_DESC_F_NEXT;
		if (d.flags & VRING_DESC_F_INDIRECT)
			return !inner && !more && d.len && d.len % 16 == 0 &&
			       d.len / 16 <= w->num && d.addr % 8 == 0 &&
			       in_ram(d.addr, d.len) &&
			       through(w,
				       driver_ptr((struct driver *)w->d,
						  d.addr),
				       d.len / 16, 0, true);
		if (!add(w, &d))
			return false;
		if (!more)
			return true;
		i = d.next;
	}
}

static void same(const struct driver *d)
{
	uint64_t read_len = 0, write_len = 0;
	unsigned k;

	fuzz_must(walk.n == chain.nread + chain.nwrite);
	for (k = 0; k < walk.n; k++) {
		const struct driver_buf *b = &walk.b[k];

		fuzz_must(b->write == (k >= chain.nread));
		fuzz_must(chain.iov[k].iov_len == b->len);
		fuzz_must(chain.iov[k].iov_base ==
			  driver_ptr((struct driver *)d, b->gpa));
		*(b->write ? &write_len : &read_len) += b->len;
	}
	fuzz_must(chain.read_len == read_len && chain.write_len == write_len);
}

/* Everything that a device does with a chain, on its bytes. */
static void use(unsigned seed)
{
	static struct iovec out[VQ_MAX];
	uint64_t off = chain.read_len ? seed % chain.read_len : 0, sum = 0;
	uint8_t data[64];
	unsigned k, n;

	n = vq_slice(chain.iov, chain.nread, off, UINT64_MAX, out);
	for (k = 0; k < n; k++)
		sum += out[k].iov_len;
	fuzz_must(sum == chain.read_len - off && n <= chain.nread);
	sum = vq_read(&chain, off, data, sizeof(data));
	fuzz_must(sum ==
		  (chain.read_len - off < 64 ? chain.read_len - off : 64));
	off = chain.write_len ? seed % chain.write_len : 0;
	n = (unsigned)vq_write(&chain, off, data, (size_t)sum);
	fuzz_must(n ==
		  (chain.write_len - off < sum ? chain.write_len - off : sum));
}

/* The chain that was popped from entry @at of the available ring. */
static void popped(const struct driver *d, uint16_t at)
{
	fuzz_must(chain.head == at && at < queue.s.num);
	walk.d = d;
	walk.num = queue.s.num;
	walk.n = 0;
	fuzz_must(through(&walk, (void *)queue.desc_host, queue.s.num, at,
			  false));
	same(d);
	use(at);
}

/* At most as many as the ring has; it may be its own buffer and never end. */
static void pop_all(const struct driver *d, const uint16_t *avail)
{
	uint16_t at, idx;
	unsigned k;
	int r;

	for (k = 0; k <= queue.s.num; k++) {
		at = queue.s.next_avail;
		idx = avail[1];
		r = vq_pop(&queue, &chain);
		/* It may have written its wish for a notification over idx. */
		fuzz_must(r != 0 || idx == at || avail[1] != idx);
		fuzz_must(r >= 0 || (r == -EPROTO && queue.broken));
		if (r <= 0)
			return;
		popped(d, avail[2 + at % queue.s.num]);
	}
}

/* The chains that are refused are bad. */
static void refused(struct driver *d, const uint16_t *avail)
{
	uint16_t behind = (uint16_t)(avail[1] - queue.s.next_avail);
	uint16_t head;

	if (behind > queue.s.num)
		return;
	fuzz_must(behind);
	head = avail[2 + queue.s.next_avail % queue.s.num];
	walk = (struct walk){ .d = d, .num = queue.s.num };
	fuzz_must(head >= queue.s.num ||
		  !through(&walk, (void *)queue.desc_host, queue.s.num, head,
			   false));
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct fuzz_bytes b = { p, n };
	struct driver *d = fuzz_ram();
	unsigned how = (unsigned)fuzz_int(&b, 1);
	bool any = how & 0x80; /* addresses that are not aligned */
	uint16_t num = (uint16_t)(1 << (how & 0x7f) % 10);

	queue = (struct vq){ .mem = &d->m };
	vq_reset(&queue);
	queue.s.num = num;
	queue.s.desc = fuzz_int(&b, 2) * (any ? 1 : 16);
	queue.s.avail = fuzz_int(&b, 2) * (any ? 1 : 2);
	queue.s.used = fuzz_int(&b, 2) * (any ? 1 : 4);
	queue.event_idx = queue.s.used & 4;
	fuzz_copy(&b, d->m.host, d->m.size);
	if (vq_enable(&queue) < 0) {
		fuzz_must(queue.broken && !queue.s.ready);
		return 0;
	}
	fuzz_must(num <= VQ_MAX);
	pop_all(d, (void *)queue.avail_host);
	if (queue.broken)
		refused(d, (void *)queue.avail_host);
	vq_push(&queue, 3, 7);
	vq_wants_interrupt(&queue);
	return 0;
}
