/* SPDX-License-Identifier: MIT
 *
 * virtio memory balloon: see balloon.h.
 *
 * The queues are 0 inflate, 1 deflate, 2 reporting.  The specification numbers
 * reporting 4, behind two optional ones; Linux counts only those that were
 * negotiated, and Linux is what there is.
 *
 * A page that is given back reads as zeros or, in a VM made from a snapshot,
 * as it was in that; both are allowed, as no feature says otherwise
 * (VIRTIO_BALLOON_F_PAGE_POISON is not offered).
 */
#include "vmm/virtio/balloon.h"

#include <linux/virtio_balloon.h>
#include <linux/virtio_ids.h>
#include <string.h>
#include <sys/mman.h>

#include "base/err.h"
#include "vmm/mem.h"
#include "vmm/state.h"

enum { Q_INFLATE, Q_DEFLATE, Q_REPORT, Q_COUNT };

#define PAGE ((uint64_t)4096)
#define BIT(n) (1ULL << (n))

/* Page numbers that are read at a time: as many as Linux sends. */
#define PFNS 256

/* Pages until others have the loop, and of one list at all.  A driver could
 * make one of 2^30 numbers, which would take us minutes; what is beyond this
 * it gives up without our taking it, as we may. */
#define PAGES_MAX 65536

/* Requests until others have the loop. */
#define BATCH 32

static void give_back(void *p, uint64_t len)
{
	/* Only whole pages: the rest may be in use. */
	uintptr_t from = ((uintptr_t)p + PAGE - 1) & ~(PAGE - 1);
	uintptr_t to = ((uintptr_t)p + len) & ~(PAGE - 1);

	if (from < to)
		madvise((void *)from, to - from, MADV_DONTNEED);
}

/* Pages come in runs more often than not: one call for each run. */
static int inflate_some(struct balloon *d, const uint32_t *pfn, size_t n)
{
	size_t i, run;

	for (i = 0; i < n; i += run) {
		uint64_t at = (uint64_t)pfn[i] * PAGE;
		void *p;

		for (run = 1; i + run < n && pfn[i + run] == pfn[i] + run;)
			run++;
		p = mem_at(d->v.mem, at, run * PAGE);
		if (!p)
			return virtio_rule(&d->v, "page outside of memory");
		give_back(p, run * PAGE);
		d->inflated += run * PAGE;
	}
	return 0;
}

/* How many pages were looked at, or -EPROTO. */
static int inflate(struct balloon *d)
{
	uint32_t pfn[PFNS];
	int done = 0, r = 0;
	size_t n;

	while (r == 0 && done < PAGES_MAX) {
		n = vq_read(&d->chain, (uint64_t)done * 4, pfn, sizeof(pfn)) /
		    4;
		if (n == 0)
			break;
		r = inflate_some(d, pfn, n);
		done += (int)n;
	}
	return r < 0 ? r : done;
}

static int report(struct balloon *d)
{
	unsigned i;

	if (d->chain.nread)
		return virtio_rule(&d->v, "readable buffer for reporting");
	for (i = 0; i < d->chain.nwrite; i++) {
		give_back(d->chain.iov[i].iov_base, d->chain.iov[i].iov_len);
		d->reported += d->chain.iov[i].iov_len;
	}
	return 0;
}

static int balloon_queue(struct virtio *v, unsigned q)
{
	struct balloon *d = container_of(v, struct balloon, v);
	int pages = PAGES_MAX, left = BATCH, r;

	while ((r = vq_pop(&v->q[q], &d->chain)) > 0) {
		if (q == Q_INFLATE)
			r = inflate(d);
		else if (q == Q_REPORT)
			r = report(d);
		/* Deflated pages come back by themselves when touched. */
		if (r < 0)
			return r;
		vq_push(&v->q[q], d->chain.head, 0);
		virtio_signal(v, q);
		if (q == Q_INFLATE)
			pages -= r;
		if (pages <= 0 || --left == 0)
			return 1;
	}
	return r;
}

/* The driver may write "actual", and nothing else. */
static void config_written(struct virtio *v, unsigned off, unsigned len)
{
	struct balloon *d = container_of(v, struct balloon, v);
	const unsigned at = offsetof(struct virtio_balloon_config, actual);

	if (off < at || off + len > at + 4)
		memcpy(v->config, &d->wanted, sizeof(d->wanted));
}

static const struct virtio_ops balloon_ops = {
	.name = "balloon",
	.id = VIRTIO_ID_BALLOON,
	.features = BIT(VIRTIO_BALLOON_F_DEFLATE_ON_OOM) |
		    BIT(VIRTIO_BALLOON_F_REPORTING),
	.queues = Q_COUNT,
	/* num_pages and actual */
	.config_size = 8,
	.queue = balloon_queue,
	.config_written = config_written,
};

int balloon_init(struct balloon *d, const struct mem *mem, struct loop *loop,
		 struct err *e)
{
	d->wanted = 0;
	d->inflated = d->reported = 0;
	return virtio_init(&d->v, &balloon_ops, mem, loop, e);
}

void balloon_free(struct balloon *d)
{
	virtio_free(&d->v);
}

void balloon_set(struct balloon *d, uint32_t pages)
{
	pthread_mutex_lock(&d->v.lock);
	d->wanted = pages;
	memcpy(d->v.config, &pages, sizeof(pages));
	virtio_config_changed(&d->v);
	pthread_mutex_unlock(&d->v.lock);
}

uint32_t balloon_actual(struct balloon *d)
{
	uint32_t actual;

	pthread_mutex_lock(&d->v.lock);
	memcpy(&actual,
	       d->v.config + offsetof(struct virtio_balloon_config, actual),
	       sizeof(actual));
	pthread_mutex_unlock(&d->v.lock);
	return actual;
}

void balloon_state_io(struct balloon *d, struct state_io *io)
{
	state_begin(io, "balloon", 1);
	state_u32(io, &d->wanted);
	virtio_state(&d->v, io);
	state_end(io);
}
