/* SPDX-License-Identifier: MIT
 *
 * A guest and clients for tests of the vsock device: packets go through rings
 * in memory, clients are sockets of this process, and settle() serves the
 * device's loop until nothing is left to do.  All of it happens in this
 * thread, so nothing is waited for.
 */
#ifndef TESTS_VSOCK_GUEST_H
#define TESTS_VSOCK_GUEST_H

#include "tests/tap.h"
#include "tests/unit/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_vsock.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/loop.h"
#include "vmm/virtio/vsock.h"

#define CID 3
#define PORT 1024 /* the guest's, which it listens on */
#define RX 0
#define TX 1
#define EVENT 2
#define HEADER sizeof(struct virtio_vsock_hdr)
#define BUFFER (HEADER + 4096)
#define PACKET 65536

struct packet {
	struct virtio_vsock_hdr h;
	uint8_t data[PACKET];
};

/* The guest's end of a connection. */
struct end {
	uint32_t host_port, guest_port;
	uint32_t buf_alloc; /* what it says in all it sends */
	uint32_t fwd;
	uint32_t sent;
	uint32_t peer_alloc, peer_fwd; /* what it last heard */
};

static struct vsock vs;
static struct driver dr;
static struct loop lp;
static struct sockaddr_un where;
static socklen_t where_len;
static uint64_t tx_header, tx_data;
static unsigned busy_calls;
static bool busy;
static bool keep_buffers; /* what was received is not given back */
static struct packet pkt; /* the last one received */
static uint8_t block[1 << 20];

static inline void on_busy(void *arg, bool now)
{
	(void)arg;
	busy_calls++;
	busy = now;
}

/* ---- the loop ---- */

static inline void settle(void)
{
	struct epoll_event ev;
	struct watch *w;
	unsigned n = 0;

	while (epoll_wait(lp.epoll, &ev, 1, 0) == 1) {
		w = ev.data.ptr;
		w->ready(w, ev.events);
		if (++n > 100000)
			bail("the loop does not come to rest");
	}
}

/* ---- coming and going ---- */

static inline int listen_somewhere(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* The kernel finds a name. */
	where.sun_family = AF_UNIX;
	where_len = sizeof(where);
	if (fd < 0 ||
	    bind(fd, (struct sockaddr *)&where, sizeof(sa_family_t)) < 0 ||
	    getsockname(fd, (struct sockaddr *)&where, &where_len) < 0 ||
	    listen(fd, 4096) < 0)
		bail("no socket: %s", strerror(errno));
	return fd;
}

static inline void add_buffers(unsigned n)
{
	while (n--) {
		struct driver_buf b = { driver_alloc(&dr, BUFFER, 8), BUFFER,
					true };

		if (driver_add(&dr, RX, &b, 1) < 0)
			bail("no descriptor");
	}
	driver_kick(&dr, RX);
	settle();
}

/* A fresh device with @buffers to receive into. */
static inline void up(unsigned buffers)
{
	struct vsock_spec s = { .cid = CID, .on_busy = on_busy };
	struct err e = ERR_INIT;

	dr = (struct driver){ 0 };
	driver_ram(&dr, 4 << 20, 0);
	busy = false;
	busy_calls = 0;
	keep_buffers = false;
	s.listen = listen_somewhere();
	if (loop_init(&lp) < 0 || vsock_init(&vs, &s, &dr.m, &lp, &e) < 0)
		bail("no device: %s", e.text);
	driver_up(&dr, &vs.v, ~0ULL, 256);
	tx_header = driver_alloc(&dr, HEADER, 8);
	tx_data = driver_alloc(&dr, PACKET, 8);
	add_buffers(buffers);
}

static inline void down(void)
{
	vsock_free(&vs);
	loop_free(&lp);
	driver_ram_free(&dr);
}

/* ---- packets ---- */

/* Send this, whatever it is: @chain bytes behind the header in the chain. */
static inline void send_raw(const struct virtio_vsock_hdr *h, const void *data,
			    uint32_t chain)
{
	struct driver_buf b[2] = { { tx_header, HEADER, false },
				   { tx_data, chain, false } };

	memcpy(driver_ptr(&dr, tx_header), h, HEADER);
	if (chain)
		memcpy(driver_ptr(&dr, tx_data), data, chain);
	if (driver_add(&dr, TX, b, chain ? 2 : 1) < 0)
		bail("the transmit queue is full");
	driver_kick(&dr, TX);
	settle();
	while (driver_used(&dr, TX, NULL) >= 0)
		;
}

static inline struct virtio_vsock_hdr header(const struct end *g, uint16_t op,
					     uint32_t len)
{
	return (struct virtio_vsock_hdr){ .src_cid = CID,
					  .dst_cid = VSOCK_HOST_CID,
					  .src_port = g->guest_port,
					  .dst_port = g->host_port,
					  .len = len,
					  .type = VIRTIO_VSOCK_TYPE_STREAM,
					  .op = op,
					  .buf_alloc = g->buf_alloc,
					  .fwd_cnt = g->fwd };
}

static inline void send_op(const struct end *g, uint16_t op, uint32_t flags)
{
	struct virtio_vsock_hdr h = header(g, op, 0);

	h.flags = flags;
	send_raw(&h, NULL, 0);
}

static inline void send_data(struct end *g, const void *p, uint32_t len)
{
	struct virtio_vsock_hdr h = header(g, VIRTIO_VSOCK_OP_RW, len);

	g->sent += len;
	send_raw(&h, p, len);
}

/* The next packet; false when there is none. */
static inline bool receive(struct packet *p)
{
	struct driver_buf b = { 0, BUFFER, true };
	uint32_t len;
	int head;

	settle();
	head = driver_used(&dr, RX, &len);
	if (head < 0)
		return false;
	b.gpa = dr.q[RX].desc[head].addr;
	memcpy(p, driver_ptr(&dr, b.gpa), len);
	if (len < HEADER || p->h.len != len - HEADER)
		bail("%u bytes of a packet of %u", len, p->h.len);
	if (!keep_buffers) {
		driver_add(&dr, RX, &b, 1);
		driver_kick(&dr, RX);
	}
	return true;
}

static inline void hear(struct end *g, const struct packet *p)
{
	g->peer_alloc = p->h.buf_alloc;
	g->peer_fwd = p->h.fwd_cnt;
}

/* The next packet is @op of @g's connection. */
static inline bool expect(struct end *g, struct packet *p, uint16_t op)
{
	if (!receive(p)) {
		diag("no packet, expected op %d", op);
		return false;
	}
	hear(g, p);
	if (p->h.op != op || p->h.src_port != g->host_port ||
	    p->h.dst_port != g->guest_port || p->h.src_cid != VSOCK_HOST_CID ||
	    p->h.dst_cid != CID || p->h.type != VIRTIO_VSOCK_TYPE_STREAM) {
		diag("op %d from %" PRIu64 ":%u to %" PRIu64
		     ":%u type %d; expected op %d from %u to %u",
		     p->h.op, (uint64_t)p->h.src_cid, p->h.src_port,
		     (uint64_t)p->h.dst_cid, p->h.dst_port, p->h.type, op,
		     g->host_port, g->guest_port);
		return false;
	}
	return true;
}

static inline bool silent(void)
{
	struct packet p;

	if (!receive(&p))
		return true;
	diag("op %d from port %u to %u", p.h.op, p.h.src_port, p.h.dst_port);
	return false;
}

/* ---- connections ---- */

static inline struct end open_status(void)
{
	struct end g = { VSOCK_STATUS_PORT, 5000, 65536, 0, 0, 0, 0 };
	struct packet p;

	send_op(&g, VIRTIO_VSOCK_OP_REQUEST, 0);
	if (!expect(&g, &p, VIRTIO_VSOCK_OP_RESPONSE))
		bail("no status channel");
	return g;
}

/* A client that has said @line. */
static inline int client(const char *line)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&where, where_len) < 0)
		bail("cannot connect: %s", strerror(errno));
	if (send(fd, line, strlen(line), MSG_NOSIGNAL) != (ssize_t)strlen(line))
		bail("cannot say %s", line);
	settle();
	return fd;
}

/* The guest hears of the next client. */
static inline bool requested(struct end *g, uint32_t buf_alloc)
{
	struct packet p;

	*g = (struct end){ .buf_alloc = 0 };
	if (!receive(&p) || p.h.op != VIRTIO_VSOCK_OP_REQUEST)
		return false;
	*g = (struct end){ .host_port = p.h.src_port,
			   .guest_port = p.h.dst_port,
			   .buf_alloc = buf_alloc };
	hear(g, &p);
	return true;
}

/* The client got the line that tells it that it is connected. */
static inline bool told_ok(int fd, const struct end *g)
{
	char want[32], got[32];
	ssize_t n = snprintf(want, sizeof(want), "OK %u\n", g->host_port);

	return recv(fd, got, (size_t)n, 0) == n &&
	       memcmp(got, want, (size_t)n) == 0;
}

/* A client and the guest's end of it. */
static inline int join(struct end *g, uint32_t buf_alloc)
{
	int fd = client("CONNECT 1024\n");

	if (!requested(g, buf_alloc))
		bail("no request");
	send_op(g, VIRTIO_VSOCK_OP_RESPONSE, 0);
	if (!told_ok(fd, g))
		bail("no OK");
	return fd;
}

/* Nothing more comes from the device to this client. */
static inline bool closed(int fd)
{
	char c;
	ssize_t n;

	settle();
	n = recv(fd, &c, 1, 0);
	return n == 0 || (n < 0 && errno == ECONNRESET);
}

static inline bool quiet(int fd)
{
	char c;

	settle();
	return recv(fd, &c, 1, 0) < 0 && errno == EAGAIN;
}

/* ---- bytes ---- */

/* Byte @at of the stream number @seed. */
static inline uint8_t byte_of(uint32_t seed, uint64_t at)
{
	uint64_t x = (at + 1) * 0x9e3779b97f4a7c15ULL ^
		     (seed + 1) * 0xbf58476d1ce4e5b9ULL;

	return (uint8_t)(x >> 29 ^ x >> 53);
}

static inline void fill(uint8_t *p, size_t n, uint32_t seed, uint64_t at)
{
	size_t i;

	for (i = 0; i < n; i++)
		p[i] = byte_of(seed, at + i);
}

static inline bool is_stream(const uint8_t *p, size_t n, uint32_t seed,
			     uint64_t at)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (p[i] != byte_of(seed, at + i))
			return false;
	}
	return true;
}

/* ---- all there is ---- */

static inline void hear_all(struct end *g)
{
	while (receive(&pkt))
		hear(g, &pkt);
}

/* Send until there is no credit, even for one who asks. */
static inline void exhaust(struct end *g)
{
	uint32_t n;

	memset(block, 0, PACKET);
	hear_all(g);
	while ((n = g->peer_alloc - (g->sent - g->peer_fwd))) {
		send_data(g, block, n < PACKET ? n : PACKET);
		hear_all(g);
		if (g->sent - g->peer_fwd != g->peer_alloc)
			continue;
		send_op(g, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 0);
		hear_all(g);
	}
}

static inline int count_fds(void)
{
	int fd, n = 0;

	for (fd = 0; fd < 8192; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

#endif
