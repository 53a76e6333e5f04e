/* SPDX-License-Identifier: MIT
 *
 * The vsock device: see vsock.h.  Here are the packets of the guest, and the
 * device as a whole.
 *
 * What a packet of the guest's can be wrong in, and what that costs:
 *
 *	the device	the chain has writable parts, or is shorter than a
 *			header or than the header says: no driver that works
 *			makes these
 *	nothing		it comes from a CID that is not the guest's: there is
 *			nobody to answer
 *	a reset		it is not for the host, not of a stream, not of a known
 *			connection
 *	the connection	the operation is unknown or not for now, more data than
 *			the credit or a packet allows, data after the end
 *
 * A fwd_cnt that cannot be is ignored: an older one is normal, because a
 * driver's threads may overtake each other; a newer one could only harm the
 * guest itself.
 */
#include "vmm/virtio/vsock_internal.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <string.h>
#include <sys/mman.h>

#include "base/err.h"
#include "base/fd.h"
#include "vmm/state.h"

/* ---- the status channel ---- */

/* False when there is one already. */
static bool open_status(struct vsock *d, const struct virtio_vsock_hdr *h)
{
	struct vsock_conn *c = conn_status(d, h->src_port);

	if (!c)
		return false;
	c->peer_alloc = h->buf_alloc;
	vsock_want(c, VSOCK_DO_RESPONSE);
	return true;
}

/* The last letter counts; but work that came and went within a packet was
 * work. */
static void hear_status(struct vsock_conn *c, uint32_t len)
{
	struct vsock *d = c->d;
	unsigned i,
		n = vq_slice(d->tx.iov, d->tx.nread, VSOCK_HEADER, len, d->iov);
	bool busy = d->guest_busy, was = false;
	const volatile uint8_t *p;
	size_t k;

	for (i = 0; i < n; i++) {
		p = d->iov[i].iov_base;
		for (k = 0; k < d->iov[i].iov_len; k++) {
			uint8_t b = p[k];

			if (b == 'B' || b == 'I')
				busy = b == 'B';
			was |= b == 'B';
		}
	}
	c->received += len;
	c->fwd += len;
	vsock_credit(c);
	if (was)
		conn_set_busy(d, true);
	conn_set_busy(d, busy);
}

/* ---- packets of connections ---- */

static void refuse(struct vsock *d, const struct virtio_vsock_hdr *h)
{
	const struct vsock_reset r = { .cid = h->dst_cid,
				       .host_port = h->dst_port,
				       .guest_port = h->src_port,
				       .type = h->type };

	if (h->op != VIRTIO_VSOCK_OP_RST)
		vsock_want_reset(d, &r);
}

static void note_credit(struct vsock_conn *c, const struct virtio_vsock_hdr *h)
{
	c->peer_alloc = h->buf_alloc;
	if (c->sent - h->fwd_cnt <= c->sent - c->peer_fwd)
		c->peer_fwd = h->fwd_cnt;
}

static void hear_data(struct vsock_conn *c, uint32_t len)
{
	if (len > VSOCK_PACKET_MAX ||
	    len > VSOCK_RING - (c->received - c->fwd) ||
	    (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND))
		vsock_break(c);
	else if (c->phase == VSOCK_STATUS)
		hear_status(c, len);
	else
		conn_give(c, len);
}

static void hear_reset(struct vsock_conn *c)
{
	if (c->phase == VSOCK_OPEN)
		conn_drain(c);
	else
		conn_free(c);
}

static void hear_shutdown(struct vsock_conn *c, uint32_t flags)
{
	const struct vsock_reset r = { .cid = VSOCK_HOST_CID,
				       .host_port = c->host_port,
				       .guest_port = c->guest_port,
				       .type = VIRTIO_VSOCK_TYPE_STREAM };

	c->guest_shut |= flags & VSOCK_SHUT_BOTH;
	if (c->guest_shut == VSOCK_SHUT_BOTH || c->phase == VSOCK_STATUS) {
		/* The guest keeps its end until it hears this (5.10.6.5); it
		 * need not wait for the client. */
		vsock_want_reset(c->d, &r);
		hear_reset(c);
	} else {
		conn_guest_shut(c);
	}
}

/* An answer to our request; nothing else can come now. */
static void hear_answer(struct vsock_conn *c, const struct virtio_vsock_hdr *h)
{
	bool never_asked = c->todo & VSOCK_DO_REQUEST;

	if (!never_asked && h->op == VIRTIO_VSOCK_OP_RST)
		conn_free(c);
	else if (never_asked || h->op != VIRTIO_VSOCK_OP_RESPONSE ||
		 !conn_opened(c))
		vsock_break(c);
}

static void hear(struct vsock_conn *c, const struct virtio_vsock_hdr *h)
{
	note_credit(c, h);
	if (c->phase == VSOCK_REQUESTED) {
		hear_answer(c, h);
		return;
	}
	switch (h->op) {
	case VIRTIO_VSOCK_OP_RW:
		hear_data(c, h->len);
		break;
	case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
		break;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		vsock_want(c, VSOCK_DO_CREDIT);
		break;
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		hear_shutdown(c, h->flags);
		break;
	case VIRTIO_VSOCK_OP_RST:
		hear_reset(c);
		break;
	default:
		vsock_break(c);
		break;
	}
}

/* The packet in d->tx: 1, or -EPROTO. */
static int packet(struct vsock *d)
{
	struct virtio_vsock_hdr h;
	struct vsock_conn *c;

	if (d->tx.nwrite)
		return virtio_rule(&d->v, "writable buffer to send from");
	if (vq_read(&d->tx, 0, &h, sizeof(h)) < sizeof(h))
		return virtio_rule(&d->v, "packet shorter than its header");
	if (h.len > d->tx.read_len - sizeof(h))
		return virtio_rule(&d->v, "packet shorter than it says");
	if (h.src_cid != d->s.cid)
		return 1;
	if (h.dst_cid != VSOCK_HOST_CID || h.type != VIRTIO_VSOCK_TYPE_STREAM) {
		refuse(d, &h);
		return 1;
	}
	c = conn_find(d, h.dst_port, h.src_port);
	if (c) {
		hear(c, &h);
		conn_watch(c);
	} else if (h.op != VIRTIO_VSOCK_OP_REQUEST ||
		   h.dst_port != VSOCK_STATUS_PORT || !open_status(d, &h)) {
		refuse(d, &h);
	}
	return 1;
}

/* As many packets as a queue holds: 1 when there may be more. */
static int take_packets(struct vsock *d)
{
	struct vq *q = &d->v.q[VSOCK_TX];
	unsigned n;
	int r = 1;

	for (n = 0; n < VQ_MAX; n++) {
		r = vq_pop(q, &d->tx);
		if (r <= 0)
			break;
		r = packet(d);
		if (r < 0)
			break;
		vq_push(q, d->tx.head, 0);
	}
	if (n)
		virtio_signal(&d->v, VSOCK_TX);
	return r;
}

/* ---- the device ---- */

static int vsock_queue(struct virtio *v, unsigned q)
{
	struct vsock *d = container_of(v, struct vsock, v);
	int r;

	if (q == VSOCK_TX)
		r = take_packets(d);
	else if (q == VSOCK_RX)
		r = vsock_send(d);
	else
		r = vsock_send_event(d);
	if (r < 0)
		conn_free_all(d);
	else if (q == VSOCK_TX)
		virtio_serve(v, VSOCK_RX);
	return r;
}

static void vsock_reset(struct virtio *v)
{
	struct vsock *d = container_of(v, struct vsock, v);

	conn_free_all(d);
	d->s.event_due = d->s.event_open = false;
}

static const struct virtio_ops vsock_ops = {
	.name = "vsock",
	.id = VIRTIO_ID_VSOCK,
	.queues = VSOCK_QUEUES,
	.config_size = sizeof(struct virtio_vsock_config),
	.reset = vsock_reset,
	.queue = vsock_queue,
};

void vsock_reset_connections(struct vsock *d)
{
	pthread_mutex_lock(&d->v.lock);
	conn_free_all(d);
	if (virtio_live(&d->v)) {
		d->s.event_due = true;
		virtio_serve(&d->v, VSOCK_EVENT);
	}
	pthread_mutex_unlock(&d->v.lock);
}

/* The guest's address becomes @cid, or another one if it is @was: by that a
 * guest sees that it is a copy, and nothing else tells it. */
static void take_cid(struct vsock *d, uint64_t cid, uint64_t was)
{
	if (cid == was)
		cid = cid > VSOCK_GUEST_CID_MIN ? cid - 1 : cid + 1;
	d->s.cid = cid;
	memcpy(d->v.config, &d->s.cid, sizeof(d->s.cid));
}

void vsock_renew(struct vsock *d, int listen, uint64_t cid)
{
	pthread_mutex_lock(&d->v.lock);
	take_cid(d, cid, d->s.cid);
	fd_close(&d->listen.fd);
	d->listen.fd = listen;
	d->listen.armed = 0;
	pthread_mutex_unlock(&d->v.lock);
	vsock_reset_connections(d);
}

static int map_rings(struct vsock *d, struct err *e)
{
	const size_t size = (size_t)VSOCK_CLIENTS * VSOCK_RING;
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return err_sys(e, errno, "cannot map %zu MiB for vsock",
			       size >> 20);
	/* A huge page would be those of eight connections. */
	madvise(p, size, MADV_NOHUGEPAGE);
	d->rings = p;
	return 0;
}

int vsock_init(struct vsock *d, const struct vsock_spec *s,
	       const struct mem *mem, struct loop *loop, struct err *e)
{
	int r;

	if (s->cid < VSOCK_GUEST_CID_MIN || s->cid >= UINT32_MAX)
		return err_set(e, EINVAL,
			       "vsock CID %llu: it must be from %d to %u",
			       (unsigned long long)s->cid, VSOCK_GUEST_CID_MIN,
			       UINT32_MAX - 1);
	memset(d, 0, offsetof(struct vsock, tx));
	memset(&d->conns[VSOCK_CLIENTS], 0, sizeof(d->conns[0]));
	d->conns[VSOCK_CLIENTS].d = d;
	r = virtio_init(&d->v, &vsock_ops, mem, loop, e);
	d->listen = (struct watch)WATCH_INIT(loop, conn_accept);
	if (r == 0)
		r = map_rings(d, e);
	if (r == 0) {
		r = fd_nonblock(s->listen, true);
		if (r < 0)
			err_sys(e, -r, "socket of vsock");
	}
	if (r < 0) {
		vsock_free(d);
		return r;
	}
	d->spec = *s;
	d->listen.fd = s->listen;
	d->last = &d->first;
	d->s.cid = s->cid;
	memcpy(d->v.config, &d->s.cid, sizeof(d->s.cid));
	return 0;
}

void vsock_free(struct vsock *d)
{
	if (!d->v.ops)
		return;
	d->spec.on_busy = NULL;
	conn_free_all(d);
	loop_close(&d->listen);
	if (d->rings)
		munmap(d->rings, (size_t)VSOCK_CLIENTS * VSOCK_RING);
	d->rings = NULL;
	virtio_free(&d->v);
}

void vsock_state_io(struct vsock *d, struct state_io *io)
{
	uint64_t was = d->s.cid;

	state_begin(io, "vsock", 3);
	state_u64(io, &was);
	state_u32(io, &d->s.generation);
	state_bool(io, &d->s.event_due);
	state_bool(io, &d->s.event_open);
	state_u16(io, &d->s.handled_at);
	virtio_state(&d->v, io);
	state_end(io);
	/* Which has overwritten what the driver reads. */
	if (io->loading)
		take_cid(d, d->s.cid, was);
}
