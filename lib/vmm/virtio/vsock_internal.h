/* SPDX-License-Identifier: MIT
 *
 * What the files of the vsock device have in common: vsock.c (packets of the
 * guest, set-up), vsock_conn.c (the table of connections, and their clients),
 * vsock_rx.c (packets to the guest).  All of it with d->v.lock held.
 */
#ifndef VMM_VIRTIO_VSOCK_INTERNAL_H
#define VMM_VIRTIO_VSOCK_INTERNAL_H

#include <linux/virtio_vsock.h>

#include "vmm/virtio/vsock.h"

#define VSOCK_HEADER sizeof(struct virtio_vsock_hdr)
/* The most data in one packet, either way: Linux's limit too. */
#define VSOCK_PACKET_MAX (64u << 10)
#define VSOCK_SHUT_BOTH (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)

enum vsock_queue { VSOCK_RX, VSOCK_TX, VSOCK_EVENT, VSOCK_QUEUES };

/* What a connection has to send: at most one packet of each kind waits, which
 * is what bounds them. */
enum vsock_todo {
	VSOCK_DO_REQUEST = 1,
	VSOCK_DO_RESPONSE = 2,
	VSOCK_DO_CREDIT = 4,
	VSOCK_DO_ASK = 8,
	VSOCK_DO_SHUTDOWN = 16, /* with host_shut */
	VSOCK_DO_DATA = 32,	/* the client can be read from */
};

/* ---- vsock_conn.c ---- */

/* The connection of two ports, or NULL. */
struct vsock_conn *conn_find(struct vsock *d, uint32_t host_port,
			     uint32_t guest_port);
/* Start the status channel; NULL if there is one already. */
struct vsock_conn *conn_status(struct vsock *d, uint32_t guest_port);
/* Forget @c and close its client.  The guest is told nothing. */
void conn_free(struct vsock_conn *c);
/* The same with all of them. */
void conn_free_all(struct vsock *d);
/* The guest has no part in @c any more: give the client what it has sent. */
void conn_drain(struct vsock_conn *c);
/* Watch for what @c waits for now. */
void conn_watch(struct vsock_conn *c);
/* Bytes that the guest has room for. */
uint32_t conn_credit(const struct vsock_conn *c);

/* The guest has accepted: tell the client.  False when it cannot be told. */
bool conn_opened(struct vsock_conn *c);
/* @len bytes for the client, after the header of d->tx.  There is room. */
void conn_give(struct vsock_conn *c, uint32_t len);
/* The guest will not send, or not receive, any more (VIRTIO_VSOCK_SHUTDOWN_*,
 * not both). */
void conn_guest_shut(struct vsock_conn *c);
/* No more is to be said by (SEND) or to (RCV) the client. */
void conn_host_shut(struct vsock_conn *c, uint32_t flags);

/* Accept clients if that can be. */
void conn_listen(struct vsock *d);
/* The listening socket's handler. */
void conn_accept(struct watch *w, uint32_t events);
/* What the guest says of itself on the status channel. */
void conn_set_busy(struct vsock *d, bool guest_busy);

/* ---- vsock_rx.c ---- */

/* Have @todo sent when vsock_send() is next called. */
void vsock_want(struct vsock_conn *c, enum vsock_todo todo);
/* The guest has given up room: tell it when it is worth a packet. */
void vsock_credit(struct vsock_conn *c);
/* Have a reset sent, to ports that need not be a connection's. */
void vsock_want_reset(struct vsock *d, const struct vsock_reset *r);
/* Break the connection off: a reset for the guest, the end for the client. */
void vsock_break(struct vsock_conn *c);
/* Send what waits, as far as the guest has buffers.  0 or -EPROTO. */
int vsock_send(struct vsock *d);
/* Send an event that is due.  0 or -EPROTO. */
int vsock_send_event(struct vsock *d);

#endif
