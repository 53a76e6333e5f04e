/* SPDX-License-Identifier: MIT
 *
 * The vsock device: virtio 1.2, 5.10, stream sockets only, bridged to a unix
 * socket by Firecracker's convention.
 *
 * A client of the host connects to the unix socket and sends
 * "CONNECT <port>\n"; when the guest has accepted on that port it gets
 * "OK <host port>\n", and the rest is the guest's stream.  A client whom the
 * guest refuses, or whose line is not that, finds its connection closed.
 *
 * The guest may open one connection only, the status channel: to CID 2, port
 * VSOCK_STATUS_PORT.  Clients are accepted while it is open; before that they
 * wait in the socket's backlog, so a client that connects early is served as
 * soon as the guest can serve it, and nobody polls.  On it the guest sends 'B'
 * when it has work to do that no client waits for, 'I' when it has none.
 */
#ifndef VMM_VIRTIO_VSOCK_H
#define VMM_VIRTIO_VSOCK_H

#include "vmm/virtio/virtio.h"

#define VSOCK_HOST_CID 2
#define VSOCK_GUEST_CID_MIN 3
#define VSOCK_STATUS_PORT 1024

/* Clients at a time; more wait in the backlog.  Each is a descriptor, of which
 * the process must be allowed as many and some. */
#define VSOCK_CLIENTS 1024
/* Bytes from the guest that a client has not taken yet, each connection: what
 * Linux gives its own vsock sockets. */
#define VSOCK_RING (256u << 10)
/* Chains that one read from a client is spread over: Linux's buffers are of
 * 4 KiB, so 64 KiB. */
#define VSOCK_BATCH 16
#define VSOCK_IOV 1024 /* the most that readv(2) takes */
/* Refusals to ports that are no connection of ours, waiting for a buffer of
 * the guest's.  A driver that has none for so many gets no more of them. */
#define VSOCK_RESETS 1024
#define VSOCK_LINE 32 /* longer than "CONNECT 4294967295\n" */

struct vsock_spec {
	int listen;   /* listening SOCK_STREAM unix socket; the device's own
			 once vsock_init() has succeeded */
	uint64_t cid; /* the guest's: VSOCK_GUEST_CID_MIN to 2^32 - 2 */
	/* Called when it changes whether a client is connected or the guest
	 * has said 'B'; it begins as false.  With the device's lock held, on
	 * the loop's thread, or a vCPU's when the guest resets the device. */
	void (*on_busy)(void *arg, bool busy);
	void *arg;
};

/* What a snapshot has of the device.  Connections do not survive one: the
 * guest is told so by an event. */
struct vsock_state {
	uint64_t cid;
	/* Counts connections, to make host ports that were not used lately:
	 * the guest may still have something to say on those. */
	uint32_t generation;
	bool event_due; /* TRANSPORT_RESET waits for a buffer */
	/* The driver has not handled it: see vsock_send_event(). */
	bool event_open;
	uint16_t handled_at; /* of the event queue's available counter */
};

enum vsock_phase {
	VSOCK_FREE,	 /* zero: memory that was never used is free */
	VSOCK_LINE_IN,	 /* the client's CONNECT is not complete */
	VSOCK_REQUESTED, /* the guest has not answered */
	VSOCK_OPEN,
	VSOCK_DRAINING, /* over for the guest; the client has still to read */
	VSOCK_STATUS,	/* the status channel; it has no client */
};

struct vsock_conn {
	struct watch w; /* the client */
	struct vsock *d;
	struct vsock_conn *next;      /* in the list of those that wait */
	struct vsock_conn *next_free; /* in the list of the free ones */
	enum vsock_phase phase;
	uint32_t host_port, guest_port;
	/* 5.10.6.3; all four wrap around. */
	uint32_t peer_alloc, peer_fwd; /* the guest's buf_alloc and fwd_cnt */
	uint32_t sent;		       /* bytes to the guest */
	uint32_t received;	       /* bytes from the guest, */
	uint32_t fwd;		       /* those that the client has taken, */
	uint32_t fwd_told;	       /* and of how many the guest knows */
	/* Data from the guest, in d->rings. */
	uint32_t ring_at, ring_len;
	bool ring_used; /* since the connection was made */
	unsigned todo;	/* packets that wait for a buffer: see vsock_rx.c */
	bool waiting;	/* in the list */
	bool eof;	/* nothing more comes from the client */
	bool hup;	/* the client has gone */
	uint32_t host_shut, guest_shut; /* VIRTIO_VSOCK_SHUTDOWN_* */
	char line[VSOCK_LINE];
	unsigned line_len;
};

/* A reset that is due to nobody we know. */
struct vsock_reset {
	uint64_t cid; /* to seem to come from */
	uint32_t host_port, guest_port;
	uint16_t type;
};

struct vsock {
	struct virtio v;
	struct vsock_state s;
	struct vsock_spec spec;
	struct watch listen;
	bool accept_failed; /* for want of descriptors or memory */
	bool guest_busy, busy;
	unsigned clients;
	uint8_t *rings;		 /* owned mapping, VSOCK_RING a client */
	struct vsock_conn *free; /* those that were used and are not now */
	unsigned fresh;		 /* from here on none was ever used */
	struct vsock_conn *first, **last; /* that wait for buffers */
	unsigned reset_at, reset_len;
	bool rx_pushed; /* since the last interrupt */
	struct vq_chain tx;
	struct vq_chain rx[VSOCK_BATCH];
	struct iovec iov[VSOCK_IOV];
	struct vsock_reset resets[VSOCK_RESETS];
	struct vsock_conn conns[VSOCK_CLIENTS + 1]; /* last: the status
						       channel */
};

/* Set up @d after reset, working on @loop (which there must be).  0 or
 * -errno; spec->listen is still the caller's if it fails. */
int vsock_init(struct vsock *d, const struct vsock_spec *s,
	       const struct mem *mem, struct loop *loop, struct err *e);
/* Also one that was never made: all zeros. */
void vsock_free(struct vsock *d);

/* Close every client's connection and tell the guest that all connections are
 * gone (5.10.6.7); its driver closes them and its listeners stay.  The status
 * channel is closed too, so clients wait until the guest opens it again.
 * Takes the lock. */
void vsock_reset_connections(struct vsock *d);

/* In a child of fork(2), on a loop that is new: the listening socket is @listen
 * from now on, the guest's address @cid, or another that is not its parent's,
 * and connections are reset as above. */
void vsock_renew(struct vsock *d, int listen, uint64_t cid);

/* Its section of the state file: see vmm/state.h. */
struct state_io;
void vsock_state_io(struct vsock *d, struct state_io *io);

#endif
