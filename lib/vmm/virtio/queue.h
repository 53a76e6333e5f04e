/* SPDX-License-Identifier: MIT
 *
 * Split virtqueues, the device's side: virtio 1.2, 2.7.
 *
 * Everything in the rings is written by the guest, while we read it.  So each
 * number is read once, checked, and the checked copy is used; the checks stand
 * together in queue.c as the list of rules they are.  A guest that breaks one
 * gets -EPROTO with the rule's name, upon which the device is to ask for a
 * reset (virtio_broken()).
 */
#ifndef VMM_VIRTIO_QUEUE_H
#define VMM_VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct mem;

/* Entries of a ring, and so the most buffers a chain may have.  Linux uses
 * what it is offered; 256 keeps a disk busy with 64 requests of 4 pages. */
#define VQ_MAX 256

/* What a snapshot has of a queue: plain numbers. */
struct vq_state {
	uint16_t num; /* entries, a power of two up to VQ_MAX */
	bool ready;
	uint64_t desc, avail, used; /* guest addresses */
	uint16_t next_avail;	    /* of the ring's counters */
	uint16_t next_used;
	uint16_t signalled; /* next_used at the last interrupt */
	bool signalled_valid;
};

struct vq {
	struct vq_state s;
	const struct mem *mem; /* borrowed */
	bool event_idx;	       /* VIRTIO_F_EVENT_IDX was negotiated */
	const char *broken;    /* the rule that the driver broke, or NULL */
	/* The rings in our memory while s.ready; checked as a whole. */
	struct vq_desc *desc_host;
	struct vq_avail *avail_host;
	struct vq_used *used_host;
};

/* A chain of buffers that the driver has made available: first those that the
 * device reads, then those that it writes. */
struct vq_chain {
	uint16_t head;
	unsigned nread, nwrite;	      /* of iov */
	uint64_t read_len, write_len; /* bytes of each; < 2^32 together */
	struct iovec iov[VQ_MAX];     /* into guest memory */
};

/* Back to what a device has after a reset. */
void vq_reset(struct vq *q);

/* The driver says that the ring is there: 0, or -EPROTO when num or one of the
 * addresses cannot be. */
int vq_enable(struct vq *q);

/* The next chain: 1 with @c filled, 0 when there is none, -EPROTO when the
 * ring is broken (q->broken says how).  Once a queue is broken it stays so.
 * Who takes chains until there is none is notified of the next one. */
int vq_pop(struct vq *q, struct vq_chain *c);

/* Leave the chain that was popped last for the next vq_pop(). */
void vq_unpop(struct vq *q);

/* Give the chain @head back, with @len bytes written to it.  The driver sees
 * it at once.  Into a queue that was disabled meanwhile nothing goes. */
void vq_push(struct vq *q, uint16_t head, uint32_t len);

/* Whether the driver wants an interrupt for what was pushed since it got the
 * last one (2.7.7). */
bool vq_wants_interrupt(struct vq *q);

/* Ask the driver for notifications (2.7.10): false with @on when a chain came
 * in meanwhile and the queue is to be looked at again. */
bool vq_notify(struct vq *q, bool on);

/* Where the driver's counter of available chains stands: 0 to 65535, or -EPROTO.
 */
int vq_avail_idx(struct vq *q);

/* Whether it has come to @idx, which is at most a ring ahead.  If not, the driver
 * is asked to notify when it does, and not before. */
bool vq_await(struct vq *q, uint16_t idx);

/* ---- bytes of chains ---- */

/* Copy up to @n bytes from the readable part, starting @off bytes into it;
 * how many there were. */
size_t vq_read(const struct vq_chain *c, uint64_t off, void *p, size_t n);

/* Copy up to @n bytes to the writable part from @off on; how many fitted. */
size_t vq_write(const struct vq_chain *c, uint64_t off, const void *p,
		size_t n);

/* The part of an iov array from byte @off on, at most @len bytes of it, into
 * @out (as long as the array): how many entries. */
unsigned vq_slice(const struct iovec *iov, unsigned n, uint64_t off,
		  uint64_t len, struct iovec *out);

#endif
