/* SPDX-License-Identifier: MIT
 *
 * virtio network device: see net.h.
 *
 * Received packets are read into a buffer of ours first: how many of the
 * guest's (mergeable, 5.1.6.4) buffers one needs is known only when it is
 * there, and a packet must never be half given.  Packets to send go to the tap
 * straight from the guest's buffers.  The price is one copy on one way.
 */
#include "vmm/virtio/net.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "vmm/state.h"

enum { Q_RX, Q_TX, Q_COUNT };

#define HEADER sizeof(struct virtio_net_hdr_v1)
#define BIT(n) (1ULL << (n))
/* Packets that are handled before others have their turn. */
#define BATCH 256

static_assert(HEADER == 12, "virtio 1.2, 5.1.6");

/* ---- to the guest ---- */

/* Give the packet in d->frame to the guest: 1, 0 when buffers are missing, or
 * -EPROTO. */
static int deliver(struct net *d)
{
	struct vq *q = &d->v.q[Q_RX];
	const struct vq_state before = q->s;
	struct {
		uint16_t head;
		uint32_t len;
	} used[VQ_MAX];
	bool merge = virtio_has(&d->v, VIRTIO_NET_F_MRG_RXBUF);
	unsigned i, n = 0;
	uint16_t count;
	size_t done = 0;
	int r;

	while (done < d->pending) {
		r = n < VQ_MAX ? vq_pop(q, &d->chain) : 0;
		if (r < 0)
			return r;
		if (r == 0 || (n && !merge)) {
			q->s = before;
			return n && !merge ?
				       virtio_rule(&d->v, "receive "
							  "buffer too small") :
				       0;
		}
		if (d->chain.nread || d->chain.write_len < HEADER)
			return virtio_rule(&d->v,
					   "receive buffer without room");
		if (n == 0)
			d->first = d->chain;
		used[n].head = d->chain.head;
		used[n].len = (uint32_t)vq_write(&d->chain, 0, d->frame + done,
						 d->pending - done);
		done += used[n++].len;
	}
	count = (uint16_t)n;
	vq_write(&d->first, offsetof(struct virtio_net_hdr_v1, num_buffers),
		 &count, sizeof(count));
	for (i = 0; i < n; i++)
		vq_push(q, used[i].head, used[i].len);
	d->pending = 0;
	d->rx_packets++;
	return 1;
}

/* Read one from the tap if none waits.  False: there is none. */
static bool next_packet(struct net *d)
{
	ssize_t n;

	if (d->pending)
		return true;
	n = read(d->tap.fd, d->frame, sizeof(d->frame));
	if (n < (ssize_t)HEADER)
		return false;
	d->pending = (size_t)n;
	return true;
}

static int receive(struct net *d)
{
	int i, r = 1;

	for (i = 0; r > 0 && i < BATCH && next_packet(d); i++)
		r = deliver(d);
	if (i)
		virtio_signal(&d->v, Q_RX);
	/* No buffers: the tap is not looked at until the driver has put some
	 * there, which it says. */
	loop_arm(&d->tap, r == 0 ? 0 : EPOLLIN);
	return r < 0 ? r : 0;
}

static void tap_ready(struct watch *w, uint32_t events)
{
	struct net *d = container_of(w, struct net, tap);

	pthread_mutex_lock(&d->v.lock);
	/* A tap whose interface was removed says so without end. */
	if (virtio_live(&d->v) && d->v.q[Q_RX].s.ready && !(events & EPOLLERR))
		virtio_serve(&d->v, Q_RX);
	else
		loop_arm(&d->tap, 0);
	pthread_mutex_unlock(&d->v.lock);
}

/* ---- from the guest ---- */

static int send_packets(struct net *d)
{
	struct vq *q = &d->v.q[Q_TX];
	unsigned left = BATCH;
	int r;

	while ((r = vq_pop(q, &d->chain)) > 0) {
		if (d->chain.nwrite || d->chain.read_len < HEADER ||
		    d->chain.read_len > NET_FRAME_MAX)
			return virtio_rule(&d->v, "packet of no possible size");
		/* A tap that is full, or a packet it refuses: lost, as on any
		 * wire. */
		if (writev(d->tap.fd, d->chain.iov, (int)d->chain.nread) < 0)
			d->tx_dropped++;
		else
			d->tx_packets++;
		vq_push(q, d->chain.head, 0);
		virtio_signal(&d->v, Q_TX);
		if (--left == 0)
			return 1;
	}
	return r;
}

static int net_queue(struct virtio *v, unsigned q)
{
	struct net *d = container_of(v, struct net, v);

	return q == Q_TX ? send_packets(d) : receive(d);
}

/* ---- coming and going ---- */

static void set_offload(struct net *d)
{
	unsigned long flags = 0;

	if (virtio_has(&d->v, VIRTIO_NET_F_GUEST_CSUM))
		flags |= TUN_F_CSUM;
	if (virtio_has(&d->v, VIRTIO_NET_F_GUEST_TSO4))
		flags |= TUN_F_TSO4;
	if (virtio_has(&d->v, VIRTIO_NET_F_GUEST_TSO6))
		flags |= TUN_F_TSO6;
	ioctl(d->tap.fd, TUNSETOFFLOAD, flags);
}

static void activate(struct virtio *v)
{
	struct net *d = container_of(v, struct net, v);

	set_offload(d);
	loop_arm(&d->tap, EPOLLIN);
}

static void reset(struct virtio *v)
{
	struct net *d = container_of(v, struct net, v);

	loop_arm(&d->tap, 0);
	d->pending = 0;
}

#define FEATURES                                                       \
	(BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) |       \
	 BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) |   \
	 BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) | \
	 BIT(VIRTIO_NET_F_MRG_RXBUF))

static const struct virtio_ops net_ops = {
	.name = "net",
	.id = VIRTIO_ID_NET,
	.features = FEATURES,
	.queues = Q_COUNT,
	.config_size = 6,
	.activate = activate,
	.reset = reset,
	.queue = net_queue,
};

static const struct virtio_ops net_mac_ops = {
	.name = "net",
	.id = VIRTIO_ID_NET,
	.features = FEATURES | BIT(VIRTIO_NET_F_MAC),
	.queues = Q_COUNT,
	.config_size = 6,
	.activate = activate,
	.reset = reset,
	.queue = net_queue,
};

int net_init(struct net *d, const struct net_spec *s, const struct mem *mem,
	     struct loop *loop, struct err *e)
{
	static const uint8_t none[6];
	bool mac = memcmp(s->mac, none, sizeof(none)) != 0;
	int header = HEADER;
	int r = virtio_init(&d->v, mac ? &net_mac_ops : &net_ops, mem, loop, e);

	d->tap = (struct watch)WATCH_INIT(loop, tap_ready);
	if (r < 0)
		return r;
	d->pending = 0;
	d->rx_packets = d->tx_packets = d->tx_dropped = 0;
	memcpy(d->v.config, s->mac, sizeof(s->mac));
	d->tap.fd = fcntl(s->tap, F_DUPFD_CLOEXEC, 3);
	if (d->tap.fd < 0)
		return err_sys(e, errno, "cannot keep the tap");
	r = fd_nonblock(d->tap.fd, true);
	if (r == 0 && ioctl(d->tap.fd, TUNSETVNETHDRSZ, &header) < 0 &&
	    errno != ENOTTY && errno != EBADFD)
		r = -errno;
	return r < 0 ? err_sys(e, -r, "cannot use the tap") : 0;
}

void net_free(struct net *d)
{
	if (!d->v.ops)
		return;
	loop_close(&d->tap);
	virtio_free(&d->v);
}

void net_state_io(struct net *d, struct state_io *io)
{
	state_begin(io, "net", 1);
	virtio_state(&d->v, io);
	state_end(io);
	/* The tap is another one. */
	if (io->loading && !io->failed && virtio_live(&d->v))
		activate(&d->v);
}
