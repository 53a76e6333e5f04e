/* SPDX-License-Identifier: MIT
 *
 * virtio network device on a tap: virtio 1.2, 5.1.  Checksums and segmentation
 * are left to whoever is better at them (the tap's vnet header is the device's
 * header).
 */
#ifndef VMM_VIRTIO_NET_H
#define VMM_VIRTIO_NET_H

#include "vmm/virtio/virtio.h"

/* The largest packet with its header: 64 KiB of IP, Ethernet, VLAN, vnet. */
#define NET_FRAME_MAX (65536 + 14 + 4 + 12)

struct net_spec {
	int tap; /* borrowed; opened with IFF_TAP, IFF_NO_PI, IFF_VNET_HDR */
	uint8_t mac[6]; /* all zeros: the guest makes one up */
};

struct net {
	struct virtio v;
	struct watch tap;
	struct vq_chain chain, first; /* the one at hand, a packet's first */
	/* A packet from the tap that waits for buffers; 0: none.  Not saved: a
	 * network may lose one. */
	size_t pending;
	uint8_t frame[NET_FRAME_MAX];
	uint64_t rx_packets, tx_packets, tx_dropped;
};

/* 0 or -errno, @e filled. */
int net_init(struct net *d, const struct net_spec *s, const struct mem *mem,
	     struct loop *loop, struct err *e);
void net_free(struct net *d);

/* Its section of the state file: see vmm/state.h. */
struct state_io;
void net_state_io(struct net *d, struct state_io *io);

#endif
