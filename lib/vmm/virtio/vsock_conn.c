/* SPDX-License-Identifier: MIT
 *
 * vsock: the table of connections and their clients.  See vsock.h.
 *
 * A connection is found by its host port, which contains its place in the
 * table: nothing is searched.  (Rejected: a hash of both ports, which is
 * needed only when others choose the port.)  The rest of the port counts
 * connections, so that one comes again only 2^20 connections later.
 *
 * What the guest sends goes from its memory straight to the client's socket;
 * what the socket does not take, to the connection's ring, and from there when
 * the socket can be written again.  The rings lie in one mapping without
 * reserve; the pages that a connection used are given back at its end.
 *
 * A client's socket is watched for exactly what can be done about it now
 * (conn_watch()): the loop reports what is not dealt with again and again.
 */
#include "vmm/virtio/vsock_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/str.h"

#define SLOT_BITS 10
#define GENERATION_MASK 0xfffffu
/* Far from any port that is somebody's by agreement. */
#define PORT_BASE 0x40000000u

_Static_assert(VSOCK_CLIENTS <= 1 << SLOT_BITS, "a place fits into a port");

/* ---- the table ---- */

static unsigned slot(const struct vsock_conn *c)
{
	return (unsigned)(c - c->d->conns);
}

static uint8_t *ring(const struct vsock_conn *c)
{
	return c->d->rings + (size_t)slot(c) * VSOCK_RING;
}

static struct vsock_conn *status_channel(struct vsock *d)
{
	return &d->conns[VSOCK_CLIENTS];
}

struct vsock_conn *conn_find(struct vsock *d, uint32_t host_port,
			     uint32_t guest_port)
{
	unsigned i = host_port & ((1u << SLOT_BITS) - 1);
	struct vsock_conn *c = &d->conns[i];

	if (host_port == VSOCK_STATUS_PORT)
		c = status_channel(d);
	else if (i >= d->fresh)
		return NULL;
	if (c->phase != VSOCK_REQUESTED && c->phase != VSOCK_OPEN &&
	    c->phase != VSOCK_STATUS)
		return NULL;
	return c->host_port == host_port && c->guest_port == guest_port ? c :
									  NULL;
}

static void client_ready(struct watch *w, uint32_t events);

/* It may still stand in the list of those that wait. */
static void begin(struct vsock_conn *c, struct vsock *d, enum vsock_phase phase)
{
	*c = (struct vsock_conn){
		.w = WATCH_INIT(d->v.loop, client_ready),
		.d = d,
		.next = c->next,
		.waiting = c->waiting,
		.phase = phase,
	};
}

static bool has_room(const struct vsock *d)
{
	return d->free || d->fresh < VSOCK_CLIENTS;
}

/* A connection for the client @fd; there is room. */
static struct vsock_conn *conn_new(struct vsock *d, int fd)
{
	struct vsock_conn *c = d->free;

	if (c) {
		d->free = c->next_free;
	} else {
		c = &d->conns[d->fresh++];
		memset(c, 0, sizeof(*c));
	}
	begin(c, d, VSOCK_LINE_IN);
	c->w.fd = fd;
	c->host_port = PORT_BASE |
		       (d->s.generation++ & GENERATION_MASK) << SLOT_BITS |
		       slot(c);
	return c;
}

struct vsock_conn *conn_status(struct vsock *d, uint32_t guest_port)
{
	struct vsock_conn *c = status_channel(d);

	if (c->phase != VSOCK_FREE)
		return NULL;
	begin(c, d, VSOCK_STATUS);
	c->host_port = VSOCK_STATUS_PORT;
	c->guest_port = guest_port;
	conn_listen(d);
	return c;
}

static void tell_busy(struct vsock *d)
{
	bool busy = d->clients || d->guest_busy;

	if (busy == d->busy)
		return;
	d->busy = busy;
	if (d->spec.on_busy)
		d->spec.on_busy(d->spec.arg, busy);
}

void conn_set_busy(struct vsock *d, bool guest_busy)
{
	d->guest_busy = guest_busy;
	tell_busy(d);
}

void conn_free(struct vsock_conn *c)
{
	struct vsock *d = c->d;

	if (c->ring_used)
		madvise(ring(c), VSOCK_RING, MADV_DONTNEED);
	c->phase = VSOCK_FREE;
	c->todo = 0;
	if (c == status_channel(d)) {
		conn_set_busy(d, false);
	} else {
		loop_close(&c->w);
		c->next_free = d->free;
		d->free = c;
		d->clients--;
		d->accept_failed = false;
		tell_busy(d);
	}
	conn_listen(d);
}

void conn_free_all(struct vsock *d)
{
	struct vsock_conn *c = status_channel(d);
	unsigned i;

	/* First, so that nobody is accepted. */
	if (c->phase != VSOCK_FREE)
		conn_free(c);
	for (i = 0; i < d->fresh; i++) {
		if (d->conns[i].phase != VSOCK_FREE)
			conn_free(&d->conns[i]);
	}
	d->reset_len = 0;
}

/* ---- watching ---- */

uint32_t conn_credit(const struct vsock_conn *c)
{
	/* A driver may take room back (buf_alloc), but not so that this were
	 * negative. */
	uint32_t flying = c->sent - c->peer_fwd;

	return flying < c->peer_alloc ? c->peer_alloc - flying : 0;
}

static uint32_t wanted(const struct vsock_conn *c)
{
	uint32_t events = 0;

	if (c->phase == VSOCK_LINE_IN)
		return EPOLLIN;
	if (c->phase == VSOCK_REQUESTED)
		return EPOLLHUP;
	if (c->ring_len)
		events |= EPOLLOUT;
	if (c->phase == VSOCK_DRAINING)
		return events;
	if (!c->eof && !(c->todo & VSOCK_DO_DATA) && conn_credit(c))
		events |= EPOLLIN;
	/* That it has gone is known without asking, but not twice. */
	if (!events && !c->hup)
		events = EPOLLHUP;
	return events;
}

void conn_watch(struct vsock_conn *c)
{
	if (c->phase == VSOCK_FREE || c->w.fd < 0)
		return;
	/* A client that cannot be watched cannot be served. */
	if (loop_arm(&c->w, wanted(c)) < 0)
		vsock_break(c);
}

/* ---- from the guest to the client ---- */

/* The client takes no more: what it did not take counts as taken. */
void conn_host_shut(struct vsock_conn *c, uint32_t flags)
{
	if (flags & VIRTIO_VSOCK_SHUTDOWN_RCV) {
		c->fwd += c->ring_len;
		c->ring_len = c->ring_at = 0;
	}
	if ((c->host_shut & flags) == flags)
		return;
	c->host_shut |= flags;
	vsock_want(c, VSOCK_DO_SHUTDOWN);
}

/* Up to all of these bytes to the client: how many it took. */
static size_t send_some(struct vsock_conn *c, struct iovec *iov, unsigned n)
{
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = n };
	ssize_t sent = sendmsg(c->w.fd, &m, MSG_NOSIGNAL);

	if (sent < 0 && errno != EAGAIN && errno != EINTR)
		conn_host_shut(c, VIRTIO_VSOCK_SHUTDOWN_RCV);
	if (sent < 0)
		return 0;
	c->fwd += (uint32_t)sent;
	return (size_t)sent;
}

/* Bytes of d->tx from @off on to the end of the ring. */
static void ring_put(struct vsock_conn *c, uint64_t off, uint32_t n)
{
	uint32_t at = (c->ring_at + c->ring_len) % VSOCK_RING;
	uint32_t part = VSOCK_RING - at < n ? VSOCK_RING - at : n;

	vq_read(&c->d->tx, off, ring(c) + at, part);
	vq_read(&c->d->tx, off + part, ring(c), n - part);
	c->ring_len += n;
	c->ring_used = true;
}

void conn_give(struct vsock_conn *c, uint32_t len)
{
	struct vsock *d = c->d;
	uint32_t done = 0;
	unsigned n;

	c->received += len;
	if (c->ring_len == 0 && !(c->host_shut & VIRTIO_VSOCK_SHUTDOWN_RCV)) {
		n = vq_slice(d->tx.iov, d->tx.nread, VSOCK_HEADER, len, d->iov);
		done = (uint32_t)send_some(c, d->iov, n);
	}
	if (c->host_shut & VIRTIO_VSOCK_SHUTDOWN_RCV)
		c->fwd += len - done;
	else if (done < len)
		ring_put(c, VSOCK_HEADER + done, len - done);
	vsock_credit(c);
}

static void drained(struct vsock_conn *c)
{
	c->ring_at = 0;
	if (c->phase == VSOCK_DRAINING)
		conn_free(c);
	else if (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND)
		shutdown(c->w.fd, SHUT_WR);
}

static void flush(struct vsock_conn *c)
{
	uint32_t part = VSOCK_RING - c->ring_at;
	struct iovec iov[2];
	size_t n;

	if (part > c->ring_len)
		part = c->ring_len;
	iov[0] = (struct iovec){ ring(c) + c->ring_at, part };
	iov[1] = (struct iovec){ ring(c), c->ring_len - part };
	n = send_some(c, iov, 2);
	if (c->ring_len) {
		c->ring_at = (c->ring_at + (uint32_t)n) % VSOCK_RING;
		c->ring_len -= (uint32_t)n;
	}
	vsock_credit(c);
	if (c->ring_len == 0)
		drained(c);
}

void conn_guest_shut(struct vsock_conn *c)
{
	if (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV) {
		c->eof = true;
		c->todo &= ~(unsigned)VSOCK_DO_DATA;
		/* It need not be told that nothing comes, unless this ends
		 * the connection. */
		if (c->host_shut)
			conn_host_shut(c, VIRTIO_VSOCK_SHUTDOWN_SEND);
		c->host_shut |= VIRTIO_VSOCK_SHUTDOWN_SEND;
		shutdown(c->w.fd, SHUT_RD);
	}
	if (c->ring_len == 0)
		drained(c);
}

void conn_drain(struct vsock_conn *c)
{
	c->todo = 0;
	if (c->ring_len == 0) {
		conn_free(c);
		return;
	}
	c->phase = VSOCK_DRAINING;
	conn_watch(c);
}

bool conn_opened(struct vsock_conn *c)
{
	char text[sizeof("OK 4294967295\n")];
	int n = snprintf(text, sizeof(text), "OK %u\n", c->host_port);

	c->phase = VSOCK_OPEN;
	/* Nothing was sent before: a socket without room for it has none. */
	return send(c->w.fd, text, (size_t)n, MSG_NOSIGNAL) == n;
}

/* ---- from the client ---- */

/* Its line is complete: ask the guest. */
static void request(struct vsock_conn *c)
{
	struct str s = { c->line, c->line_len - 1 };
	uint64_t port;

	if (!str_starts(s, STR("CONNECT "))) {
		conn_free(c);
		return;
	}
	s.p += sizeof("CONNECT ") - 1;
	s.len -= sizeof("CONNECT ") - 1;
	/* The last number means any port (5.10.4). */
	if (str_u64(s, 0, UINT32_MAX - 1, &port, "port", NULL) < 0) {
		conn_free(c);
		return;
	}
	c->guest_port = (uint32_t)port;
	c->phase = VSOCK_REQUESTED;
	vsock_want(c, VSOCK_DO_REQUEST);
}

/* What follows the line is the guest's: it stays in the socket. */
static void read_line(struct vsock_conn *c)
{
	char *at = c->line + c->line_len, *end;
	ssize_t n = recv(c->w.fd, at, VSOCK_LINE - c->line_len, MSG_PEEK);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		conn_free(c);
		return;
	}
	end = memchr(at, '\n', (size_t)n);
	if (end)
		n = end + 1 - at;
	n = recv(c->w.fd, at, (size_t)n, 0);
	c->line_len += n > 0 ? (unsigned)n : 0;
	if (end)
		request(c);
	else if (c->line_len == VSOCK_LINE)
		conn_free(c);
}

/* The client has closed its socket, or it failed. */
static void gone(struct vsock_conn *c)
{
	c->hup = true;
	if (c->phase == VSOCK_OPEN)
		conn_host_shut(c, VIRTIO_VSOCK_SHUTDOWN_RCV);
	else if (c->phase == VSOCK_DRAINING || (c->todo & VSOCK_DO_REQUEST))
		conn_free(c); /* of which the guest knows nothing */
	else
		vsock_break(c);
}

static void serve(struct vsock_conn *c, uint32_t events)
{
	if (c->phase == VSOCK_LINE_IN) {
		read_line(c);
		return;
	}
	if (c->ring_len && (events & EPOLLOUT))
		flush(c);
	if (c->phase == VSOCK_FREE)
		return;
	if (c->phase == VSOCK_OPEN && !c->eof && (events & EPOLLIN))
		vsock_want(c, VSOCK_DO_DATA);
	if (events & (EPOLLHUP | EPOLLERR))
		gone(c);
}

static void client_ready(struct watch *w, uint32_t events)
{
	struct vsock_conn *c = container_of(w, struct vsock_conn, w);
	struct vsock *d = c->d;

	pthread_mutex_lock(&d->v.lock);
	if (!virtio_live(&d->v)) {
		conn_free_all(d);
	} else if (c->phase != VSOCK_FREE) {
		/* It may have been freed since the event; never has it been
		 * taken again, which is this thread's to do. */
		serve(c, events);
		virtio_serve(&d->v, VSOCK_RX);
		conn_watch(c);
	}
	pthread_mutex_unlock(&d->v.lock);
}

/* ---- accepting ---- */

static bool accepting(struct vsock *d)
{
	return status_channel(d)->phase == VSOCK_STATUS && has_room(d);
}

/* After a failure only the next client's coming is reported: the one that
 * could not be accepted would be without end. */
void conn_listen(struct vsock *d)
{
	uint32_t events = EPOLLIN | (d->accept_failed ? EPOLLET : 0);

	loop_arm(&d->listen, accepting(d) ? events : 0);
}

static void accept_one(struct vsock *d)
{
	int fd =
		accept4(d->listen.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct vsock_conn *c;

	d->accept_failed = fd < 0 && errno != EAGAIN && errno != EINTR &&
			   errno != ECONNABORTED;
	if (fd < 0)
		return;
	c = conn_new(d, fd);
	d->clients++;
	tell_busy(d);
	/* Its line is there already, mostly. */
	read_line(c);
	virtio_serve(&d->v, VSOCK_RX);
	conn_watch(c);
}

void conn_accept(struct watch *w, uint32_t events)
{
	struct vsock *d = container_of(w, struct vsock, listen);

	(void)events;
	pthread_mutex_lock(&d->v.lock);
	if (!virtio_live(&d->v))
		conn_free_all(d);
	else if (accepting(d))
		accept_one(d);
	conn_listen(d);
	pthread_mutex_unlock(&d->v.lock);
}
