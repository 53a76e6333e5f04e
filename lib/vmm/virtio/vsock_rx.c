/* SPDX-License-Identifier: MIT
 *
 * vsock: packets to the guest.  See vsock.h.
 *
 * A packet needs a buffer of the guest's, of which there may be none.  So what
 * is to be sent is never built ahead and queued, but remembered as a bit of its
 * connection, and made from the connection's state when a buffer is there: the
 * bits bound what can wait, and a credit update that waited is up to date.
 * Data waits in the client's socket, which is not watched meanwhile, and is
 * read straight into the guest's buffers: one readv(2) over several of them,
 * because a driver's buffers are small (4 KiB in Linux).
 *
 * Connections that have something to send stand in a list and take turns, each
 * with at most VSOCK_PACKET_MAX bytes.  One that is freed is left in the list
 * with nothing to send, which its turn then does.
 *
 * Rejected: a queue of packets (as vhost has it).  It copies the data once
 * more, and has to be bounded by no longer looking at what the guest sends.
 */
#include "vmm/virtio/vsock_internal.h"

#include <errno.h>
#include <sys/uio.h>

void vsock_want(struct vsock_conn *c, enum vsock_todo todo)
{
	struct vsock *d = c->d;

	c->todo |= todo;
	if (c->waiting)
		return;
	c->waiting = true;
	c->next = NULL;
	*d->last = c;
	d->last = &c->next;
}

static void unlist_first(struct vsock *d)
{
	struct vsock_conn *c = d->first;

	d->first = c->next;
	if (!d->first)
		d->last = &d->first;
	c->waiting = false;
}

void vsock_credit(struct vsock_conn *c)
{
	/* Half: often enough that a stream never stops for it, rarely enough
	 * that most updates travel with other packets. */
	if (c->phase != VSOCK_DRAINING &&
	    c->fwd - c->fwd_told >= VSOCK_RING / 2)
		vsock_want(c, VSOCK_DO_CREDIT);
}

/* ---- buffers of the guest ---- */

/* A chain of the receive queue: 1; 0 when there is none, and then the driver
 * will notify us of the next; -EPROTO. */
static int pop(struct vsock *d, struct vq_chain *to)
{
	int r = vq_pop(&d->v.q[VSOCK_RX], to);

	if (r <= 0)
		return r;
	if (to->nread)
		return virtio_rule(&d->v, "readable buffer to receive into");
	if (to->write_len <= VSOCK_HEADER)
		return virtio_rule(&d->v, "buffer too small for a packet");
	return 1;
}

static void push(struct vsock *d, const struct vq_chain *to,
		 const struct virtio_vsock_hdr *h)
{
	vq_write(to, 0, h, sizeof(*h));
	vq_push(&d->v.q[VSOCK_RX], to->head, VSOCK_HEADER + h->len);
	d->rx_pushed = true;
}

/* Every packet of a connection says how much of its data has been taken. */
static void push_packet(struct vsock_conn *c, const struct vq_chain *to,
			uint16_t op, uint32_t len)
{
	struct virtio_vsock_hdr h = {
		.src_cid = VSOCK_HOST_CID,
		.dst_cid = c->d->s.cid,
		.src_port = c->host_port,
		.dst_port = c->guest_port,
		.len = len,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = op,
		.flags = op == VIRTIO_VSOCK_OP_SHUTDOWN ? c->host_shut : 0,
		.buf_alloc = VSOCK_RING,
		.fwd_cnt = c->fwd,
	};

	push(c->d, to, &h);
	c->fwd_told = c->fwd;
	c->todo &= ~(unsigned)VSOCK_DO_CREDIT;
}

/* ---- data ---- */

/* Chains to read into, of up to @want bytes together. */
struct batch {
	unsigned chains, iovs;
	uint32_t room[VSOCK_BATCH]; /* bytes of each */
	uint32_t total;
};

static int gather(struct vsock *d, uint32_t want, struct batch *b)
{
	struct vq_chain *to;
	uint64_t room;
	int r = 1;

	*b = (struct batch){ .chains = 0 };
	while (b->chains < VSOCK_BATCH && b->total < want &&
	       b->iovs + VQ_MAX <= VSOCK_IOV) {
		to = &d->rx[b->chains];
		r = pop(d, to);
		if (r <= 0)
			break;
		room = to->write_len - VSOCK_HEADER;
		if (room > want - b->total)
			room = want - b->total;
		b->iovs += vq_slice(to->iov, to->nwrite, VSOCK_HEADER, room,
				    d->iov + b->iovs);
		b->room[b->chains++] = (uint32_t)room;
		b->total += (uint32_t)room;
	}
	return r < 0 ? r : (int)b->chains;
}

/* Hand over the chains that @n bytes were read into, and keep the others. */
static void deliver(struct vsock_conn *c, const struct batch *b, uint32_t n)
{
	unsigned i;
	uint32_t len;

	c->sent += n;
	for (i = 0; i < b->chains; i++) {
		len = n < b->room[i] ? n : b->room[i];
		if (len)
			push_packet(c, &c->d->rx[i], VIRTIO_VSOCK_OP_RW, len);
		else
			vq_unpop(&c->d->v.q[VSOCK_RX]);
		n -= len;
	}
}

/* The client's data has come to its end, or cannot be had. */
static void at_end(struct vsock_conn *c, bool failed)
{
	c->eof = true;
	c->hup |= failed;
	conn_host_shut(c,
		       failed ? VSOCK_SHUT_BOTH : VIRTIO_VSOCK_SHUTDOWN_SEND);
}

static int send_data(struct vsock_conn *c)
{
	uint32_t want = conn_credit(c);
	struct batch b;
	ssize_t n;
	int r;

	if (want > VSOCK_PACKET_MAX)
		want = VSOCK_PACKET_MAX;
	if (want && !c->eof) {
		r = gather(c->d, want, &b);
		if (r <= 0)
			return r;
		n = readv(c->w.fd, c->d->iov, (int)b.iovs);
		deliver(c, &b, n > 0 ? (uint32_t)n : 0);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			at_end(c, true);
		/* Nothing follows on what one who has gone left. */
		else if (n == 0 || (n > 0 && c->hup && (size_t)n < b.total))
			at_end(c, false);
	}
	c->todo &= ~(unsigned)VSOCK_DO_DATA;
	/* Once: with no credit nothing is read, and so we do not come here. */
	if (!c->eof && conn_credit(c) == 0)
		c->todo |= VSOCK_DO_ASK;
	return 1;
}

/* ---- turns ---- */

static int send_control(struct vsock_conn *c, enum vsock_todo todo, uint16_t op)
{
	struct vq_chain *to = &c->d->rx[0];
	int r = pop(c->d, to);

	if (r <= 0)
		return r;
	push_packet(c, to, op, 0);
	c->todo &= ~(unsigned)todo;
	/* With both directions over, the guest has nothing to say to us but
	 * a reset: it gets one too if it says anything else. */
	if (todo == VSOCK_DO_SHUTDOWN && c->host_shut == VSOCK_SHUT_BOTH)
		conn_free(c);
	return 1;
}

/* In this order: a shutdown comes after the data, and any packet does for a
 * credit update. */
static const struct {
	enum vsock_todo todo;
	uint16_t op;
} order[] = {
	{ VSOCK_DO_REQUEST, VIRTIO_VSOCK_OP_REQUEST },
	{ VSOCK_DO_RESPONSE, VIRTIO_VSOCK_OP_RESPONSE },
	{ VSOCK_DO_DATA, VIRTIO_VSOCK_OP_RW },
	{ VSOCK_DO_SHUTDOWN, VIRTIO_VSOCK_OP_SHUTDOWN },
	{ VSOCK_DO_ASK, VIRTIO_VSOCK_OP_CREDIT_REQUEST },
	{ VSOCK_DO_CREDIT, VIRTIO_VSOCK_OP_CREDIT_UPDATE },
};

/* Send what @c has: 1, or 0 when the buffers are at an end, or -EPROTO. */
static int turn(struct vsock_conn *c)
{
	unsigned i;
	int r = 1;

	for (i = 0; r > 0 && i < sizeof(order) / sizeof(order[0]); i++) {
		if (!(c->todo & order[i].todo))
			continue;
		if (order[i].todo == VSOCK_DO_DATA)
			r = send_data(c);
		else
			r = send_control(c, order[i].todo, order[i].op);
	}
	return r;
}

/* ---- resets ---- */

void vsock_want_reset(struct vsock *d, const struct vsock_reset *r)
{
	if (d->reset_len == VSOCK_RESETS)
		return;
	d->resets[(d->reset_at + d->reset_len++) % VSOCK_RESETS] = *r;
}

void vsock_break(struct vsock_conn *c)
{
	const struct vsock_reset r = { .cid = VSOCK_HOST_CID,
				       .host_port = c->host_port,
				       .guest_port = c->guest_port,
				       .type = VIRTIO_VSOCK_TYPE_STREAM };

	vsock_want_reset(c->d, &r);
	conn_free(c);
}

static int send_resets(struct vsock *d)
{
	int r = 1;

	while (d->reset_len) {
		const struct vsock_reset *at = &d->resets[d->reset_at];
		const struct virtio_vsock_hdr h = {
			.src_cid = at->cid,
			.dst_cid = d->s.cid,
			.src_port = at->host_port,
			.dst_port = at->guest_port,
			.type = at->type,
			.op = VIRTIO_VSOCK_OP_RST,
		};

		r = pop(d, &d->rx[0]);
		if (r <= 0)
			break;
		push(d, &d->rx[0], &h);
		d->reset_at = (d->reset_at + 1) % VSOCK_RESETS;
		d->reset_len--;
	}
	return r;
}

int vsock_send(struct vsock *d)
{
	struct vsock_conn *c;
	int r;

	if (d->s.event_due || d->s.event_open)
		return 0;
	r = send_resets(d);
	while (r > 0 && d->first) {
		c = d->first;
		r = turn(c);
		if (r > 0) {
			unlist_first(d);
			conn_watch(c);
		}
	}
	/* Of connections that broke just now. */
	if (r > 0)
		r = send_resets(d);
	if (d->rx_pushed)
		virtio_signal(&d->v, VSOCK_RX);
	d->rx_pushed = false;
	return r < 0 ? r : 0;
}

/* The event as such. */
static int push_event(struct vsock *d)
{
	const struct virtio_vsock_event event = {
		.id = VIRTIO_VSOCK_EVENT_TRANSPORT_RESET
	};
	struct vq *q = &d->v.q[VSOCK_EVENT];
	struct vq_chain *to = &d->rx[0];
	int r = vq_pop(q, to), idx;

	if (r <= 0)
		return r;
	if (to->nread || to->write_len < sizeof(event))
		return virtio_rule(&d->v, "buffer of the event queue");
	idx = vq_avail_idx(q);
	if (idx < 0)
		return idx;
	/* One buffer more; two, if one event is with the driver already. */
	d->s.handled_at =
		(uint16_t)((d->s.event_open ? d->s.handled_at : idx) + 1);
	d->s.event_due = false;
	d->s.event_open = true;
	vq_write(to, 0, &event, sizeof(event));
	vq_push(q, to->head, sizeof(event));
	virtio_signal(&d->v, VSOCK_EVENT);
	return 0;
}

/* What Linux does upon this event is to end all connections, those as well that
 * were made after it was sent: it may take packets first, if it was about to look
 * for some when it was captured; and it does not say which it ended.  So no packet
 * goes out before the driver has handled the event, which it has when the event's
 * buffer is available again. */
int vsock_send_event(struct vsock *d)
{
	struct vq *q = &d->v.q[VSOCK_EVENT];
	int r = d->s.event_due ? push_event(d) : 0;

	if (r < 0 || !d->s.event_open)
		return r;
	if (vq_await(q, d->s.handled_at)) {
		d->s.event_open = false;
		virtio_serve(&d->v, VSOCK_RX);
	}
	return q->broken ? -EPROTO : 0;
}
