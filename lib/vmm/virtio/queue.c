/* SPDX-License-Identifier: MIT
 *
 * Split virtqueues: see queue.h.
 *
 * The rules of virtio 1.2 that a driver can break, each checked where the
 * number in question is read:
 *
 *	size		num is a power of two, at most VQ_MAX (2.7, 2.7.1)
 *	rings		each lies in RAM as a whole, aligned (2.7.1)
 *	avail		idx is at most num ahead of ours (2.7.6)
 *	head		a head is below num (2.7.6)
 *	next		a next is below the table's size (2.7.5)
 *	length		a chain has at most as many buffers as the queue has
 *			entries, which also ends loops (2.7.5.3.1)
 *	order		what the device writes comes last (2.7.4.2)
 *	buffer		lies in RAM as a whole, and has bytes; one that we only
 *			read may lie in persistent memory
 *	total		fewer than 2^32 bytes a chain (2.7.5)
 *	indirect	not within another one, not with NEXT, a multiple of 16
 *			bytes, at most num entries, in RAM (2.7.5.3.1)
 *
 * Rejected: pointers that are made from ring addresses at each access.  The
 * RAM's mapping never changes while a VM lives, so one check when the queue is
 * enabled holds for good, and the fast path has no range checks on rings.
 */
#include "vmm/virtio/queue.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_ring.h>
#include <stdatomic.h>
#include <string.h>

#include "vmm/mem.h"

/* The rings as of 2.7.  Not the kernel's structs, whose flexible arrays are
 * not followed by the event indices. */
struct vq_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

struct vq_avail {
	uint16_t flags;
	_Atomic uint16_t idx;
	uint16_t ring[]; /* num entries, then used_event */
};

struct vq_used_elem {
	uint32_t id;
	uint32_t len;
};

struct vq_used {
	uint16_t flags;
	_Atomic uint16_t idx;
	struct vq_used_elem ring[]; /* num entries, then avail_event */
};

static_assert(sizeof(struct vq_desc) == 16, "virtio 1.2, 2.7.5");
static_assert(sizeof(struct vq_used_elem) == 8, "virtio 1.2, 2.7.8");

#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))

void vq_reset(struct vq *q)
{
	q->s = (struct vq_state){ .num = 0 };
	q->event_idx = false;
	q->broken = NULL;
	q->desc_host = NULL;
	q->avail_host = NULL;
	q->used_host = NULL;
}

static int broken(struct vq *q, const char *rule)
{
	q->broken = rule;
	return -EPROTO;
}

int vq_enable(struct vq *q)
{
	const uint64_t num = q->s.num;

	if (num == 0 || num > VQ_MAX || (num & (num - 1)))
		return broken(q, "size");
	if (q->s.desc % 16 || q->s.avail % 2 || q->s.used % 4)
		return broken(q, "alignment of the rings");
	/* Each with its event index behind it. */
	q->desc_host = mem_at(q->mem, q->s.desc, num * sizeof(struct vq_desc));
	q->avail_host = mem_at(q->mem, q->s.avail, 6 + num * 2);
	q->used_host = mem_at(q->mem, q->s.used,
			      6 + num * sizeof(struct vq_used_elem));
	if (!q->desc_host || !q->avail_host || !q->used_host)
		return broken(q, "rings outside of memory");
	q->s.ready = true;
	return 0;
}

static uint16_t *used_event(const struct vq *q)
{
	return &q->avail_host->ring[q->s.num];
}

static uint16_t *avail_event(const struct vq *q)
{
	return (uint16_t *)&q->used_host->ring[q->s.num];
}

/* Chains that are available; more than the ring holds is a lie.  Acquire: the
 * driver wrote ring and descriptors before idx (2.7.13.3), and we must not
 * read them as they were before that. */
static int available(struct vq *q)
{
	uint16_t idx =
		atomic_load_explicit(&q->avail_host->idx, memory_order_acquire);
	uint16_t n = (uint16_t)(idx - q->s.next_avail);

	return n > q->s.num ? broken(q, "avail index") : n;
}

/* The table that a chain is walked through: the queue's, or an indirect one. */
struct table {
	const struct vq_desc *desc;
	unsigned num;
	bool indirect;
};

static struct vq_desc read_desc(const struct vq_desc *at)
{
	return (struct vq_desc){ .addr = READ_ONCE(at->addr),
				 .len = READ_ONCE(at->len),
				 .flags = READ_ONCE(at->flags),
				 .next = READ_ONCE(at->next) };
}

/* Go on in the table that @d is, from its first entry. */
static int enter_indirect(struct vq *q, struct table *t,
			  const struct vq_desc *d)
{
	if (t->indirect)
		return broken(q, "indirect in indirect");
	if (d->flags & VRING_DESC_F_NEXT)
		return broken(q, "indirect with next");
	if (d->len == 0 || d->len % sizeof(*d) ||
	    d->len / sizeof(*d) > q->s.num)
		return broken(q, "size of the indirect table");
	t->desc = mem_at(q->mem, d->addr, d->len);
	if (!t->desc)
		return broken(q, "indirect table outside of memory");
	/* A descriptor at an odd address would be undefined behaviour. */
	if ((uintptr_t)t->desc % 8)
		return broken(q, "alignment of the indirect table");
	t->num = d->len / (unsigned)sizeof(*d);
	t->indirect = true;
	return 0;
}

static int add_buffer(struct vq *q, struct vq_chain *c, const struct vq_desc *d)
{
	const unsigned n = c->nread + c->nwrite;
	const bool write = d->flags & VRING_DESC_F_WRITE;
	void *p = write ? mem_at(q->mem, d->addr, d->len) :
			  (void *)(uintptr_t)mem_at_ro(q->mem, d->addr, d->len);

	if (n == q->s.num)
		return broken(q, "chain longer than the queue");
	if (!p || d->len == 0)
		return broken(q, "buffer outside of memory");
	c->iov[n] = (struct iovec){ .iov_base = p, .iov_len = d->len };
	if (write) {
		c->nwrite++;
		c->write_len += d->len;
	} else if (c->nwrite) {
		return broken(q, "readable buffer after a writable one");
	} else {
		c->nread++;
		c->read_len += d->len;
	}
	if (c->read_len + c->write_len > UINT32_MAX)
		return broken(q, "chain of 2^32 bytes");
	return 0;
}

static int walk(struct vq *q, struct vq_chain *c, unsigned i)
{
	struct table t = { q->desc_host, q->s.num, false };
	struct vq_desc d;
	int r;

	for (;;) {
		if (i >= t.num)
			return broken(q, "descriptor beyond the table");
		d = read_desc(&t.desc[i]);
		if (d.flags & VRING_DESC_F_INDIRECT) {
			r = enter_indirect(q, &t, &d);
			i = 0;
			if (r < 0)
				return r;
			continue;
		}
		r = add_buffer(q, c, &d);
		if (r < 0)
			return r;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return 0;
		i = d.next;
	}
}

int vq_pop(struct vq *q, struct vq_chain *c)
{
	int r;

	if (q->broken)
		return -EPROTO;
	if (!q->s.ready)
		return 0;
	r = available(q);
	/* Whoever finds nothing is to be told of the next one.  Here, so that
	 * no device can forget it. */
	if (r == 0 && !vq_notify(q, true))
		r = available(q);
	if (r <= 0)
		return r;
	c->nread = c->nwrite = 0;
	c->read_len = c->write_len = 0;
	c->head = READ_ONCE(
		q->avail_host->ring[q->s.next_avail & (q->s.num - 1)]);
	if (c->head >= q->s.num)
		return broken(q, "head beyond the table");
	r = walk(q, c, c->head);
	if (r < 0)
		return r;
	q->s.next_avail++;
	return 1;
}

void vq_unpop(struct vq *q)
{
	q->s.next_avail--;
}

void vq_push(struct vq *q, uint16_t head, uint32_t len)
{
	struct vq_used_elem *at;

	/* Disabled since the chain was popped: num may have changed, and the
	 * ring that was checked is not this long. */
	if (!q->s.ready)
		return;
	at = &q->used_host->ring[q->s.next_used & (q->s.num - 1)];
	WRITE_ONCE(at->id, head);
	WRITE_ONCE(at->len, len);
	q->s.next_used++;
	/* Release: whoever sees the new idx must see the element, and all that
	 * was written to its buffers; otherwise the driver reads stale ones. */
	atomic_store_explicit(&q->used_host->idx, q->s.next_used,
			      memory_order_release);
}

bool vq_wants_interrupt(struct vq *q)
{
	const uint16_t now = q->s.next_used, old = q->s.signalled;
	bool first = !q->s.signalled_valid;
	uint16_t event;

	if (!q->s.ready)
		return false;
	/* Our idx must be visible before the driver's wish is read: it writes
	 * the wish, then reads idx.  Were both sides' reads early, each would
	 * wait for the other. */
	atomic_thread_fence(memory_order_seq_cst);
	if (!q->event_idx)
		return !(READ_ONCE(q->avail_host->flags) &
			 VRING_AVAIL_F_NO_INTERRUPT);
	event = READ_ONCE(*used_event(q));
	q->s.signalled = now;
	q->s.signalled_valid = true;
	return first || vring_need_event(event, now, old);
}

/* Ask the driver to notify once its counter goes past @idx. */
static void ask(struct vq *q, uint16_t idx)
{
	if (q->event_idx)
		WRITE_ONCE(*avail_event(q), idx);
	else
		WRITE_ONCE(q->used_host->flags, 0);
	/* The wish must be visible before idx is read again, as above with the
	 * roles exchanged. */
	atomic_thread_fence(memory_order_seq_cst);
}

bool vq_notify(struct vq *q, bool on)
{
	if (!q->s.ready || q->broken)
		return true;
	if (!on) {
		if (!q->event_idx)
			WRITE_ONCE(q->used_host->flags, VRING_USED_F_NO_NOTIFY);
		return true;
	}
	ask(q, q->s.next_avail);
	return atomic_load_explicit(&q->avail_host->idx,
				    memory_order_acquire) == q->s.next_avail;
}

int vq_avail_idx(struct vq *q)
{
	int n = q->s.ready && !q->broken ? available(q) : -EPROTO;

	return n < 0 ? n : (uint16_t)(q->s.next_avail + n);
}

bool vq_await(struct vq *q, uint16_t idx)
{
	int now;

	if (!q->s.ready || q->broken)
		return false;
	ask(q, (uint16_t)(idx - 1));
	now = vq_avail_idx(q);
	return now >= 0 && (int16_t)(now - idx) >= 0;
}

/* ---- bytes of chains ---- */

unsigned vq_slice(const struct iovec *iov, unsigned n, uint64_t off,
		  uint64_t len, struct iovec *out)
{
	unsigned i, made = 0;

	for (i = 0; i < n && len; i++) {
		size_t have = iov[i].iov_len;

		if (off >= have) {
			off -= have;
			continue;
		}
		have -= (size_t)off;
		if (have > len)
			have = (size_t)len;
		out[made].iov_base = (uint8_t *)iov[i].iov_base + off;
		out[made++].iov_len = have;
		len -= have;
		off = 0;
	}
	return made;
}

size_t vq_read(const struct vq_chain *c, uint64_t off, void *p, size_t n)
{
	size_t done = 0;
	unsigned i;

	for (i = 0; i < c->nread && done < n; i++) {
		size_t have = c->iov[i].iov_len;

		if (off >= have) {
			off -= have;
			continue;
		}
		have -= (size_t)off;
		if (have > n - done)
			have = n - done;
		memcpy((uint8_t *)p + done,
		       (const uint8_t *)c->iov[i].iov_base + off, have);
		done += have;
		off = 0;
	}
	return done;
}

size_t vq_write(const struct vq_chain *c, uint64_t off, const void *p, size_t n)
{
	const struct iovec *iov = c->iov + c->nread;
	size_t done = 0;
	unsigned i;

	for (i = 0; i < c->nwrite && done < n; i++) {
		size_t have = iov[i].iov_len;

		if (off >= have) {
			off -= have;
			continue;
		}
		have -= (size_t)off;
		if (have > n - done)
			have = n - done;
		memcpy((uint8_t *)iov[i].iov_base + off,
		       (const uint8_t *)p + done, have);
		done += have;
		off = 0;
	}
	return done;
}
