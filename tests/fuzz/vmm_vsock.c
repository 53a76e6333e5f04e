/* SPDX-License-Identifier: MIT
 *
 * The vsock device between a hostile guest and hostile clients.  Besides what
 * any driver can do (tests/fuzz/virtio.h), the guest can send a packet with the
 * ports of a connection that there is, which no mutation would ever guess.
 *
 * After each step the loop is served until it rests, which it must; then the
 * device's books are checked.
 */
#include "tests/fuzz/virtio.h"

#include <errno.h>
#include <linux/virtio_vsock.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fd.h"
#include "base/loop.h"
#include "vmm/virtio/vsock.h"

#define CLIENTS 8
#define STEPS_MAX 20000 /* of the loop, until it rests */

static struct vsock vs;
static struct driver *dr;
static struct loop lp;
static int fds[CLIENTS];
static struct sockaddr_un where;
static socklen_t where_len;
static bool busy;

static void on_busy(void *arg, bool now)
{
	(void)arg;
	fuzz_must(now != busy);
	busy = now;
}

/* ---- clients ---- */

static void new_client(unsigned i, struct fuzz_bytes *b)
{
	unsigned port = (unsigned)fuzz_int(b, 1);
	char line[32];
	int n;

	fd_close(&fds[i]);
	fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	fuzz_must(connect(fds[i], (struct sockaddr *)&where, where_len) == 0);
	n = snprintf(line, sizeof(line), "CONNECT %u\n", port);
	if (port)
		(void)!send(fds[i], line, (size_t)n, MSG_NOSIGNAL);
}

static void client_sends(int fd, struct fuzz_bytes *b)
{
	static uint8_t data[65536];
	size_t n = fuzz_int(b, 2);

	/* Much of nothing, or little of something. */
	if (n < 256)
		fuzz_copy(b, data, n);
	(void)!send(fd, data, n, MSG_NOSIGNAL);
}

static void client_takes(int fd, struct fuzz_bytes *b)
{
	static uint8_t data[65536];

	(void)!recv(fd, data, fuzz_int(b, 2), 0);
}

/* ---- packets that make sense ---- */

static void run_loop(void)
{
	struct epoll_event ev;
	struct watch *w;
	unsigned n = 0;

	while (epoll_wait(lp.epoll, &ev, 1, 0) == 1) {
		w = ev.data.ptr;
		w->ready(w, ev.events);
		fuzz_must(++n < STEPS_MAX);
	}
}

static const struct vsock_conn *the_conn(unsigned i)
{
	static const struct vsock_conn none;
	const struct vsock_conn *c = &vs.conns[i % CLIENTS];

	if (i >= 128)
		c = &vs.conns[VSOCK_CLIENTS];
	else if (i % CLIENTS >= vs.fresh)
		c = &none;
	return c;
}

/* From the guest's end of @c. */
static struct virtio_vsock_hdr header(const struct vsock_conn *c, uint16_t op)
{
	return (struct virtio_vsock_hdr){ .src_cid = vs.s.cid,
					  .dst_cid = VSOCK_HOST_CID,
					  .src_port = c->guest_port,
					  .dst_port = c->host_port,
					  .type = VIRTIO_VSOCK_TYPE_STREAM,
					  .op = op,
					  .buf_alloc = 1u << 20,
					  .fwd_cnt = c->sent };
}

static void send_packet(const struct virtio_vsock_hdr *h)
{
	struct driver_buf bufs[2] = { { 0x1e00, sizeof(*h), false },
				      { LAYOUT_HIGH, h->len, false } };

	if (dr->q[1].num == 0)
		return;
	memcpy(dr->m.host + 0x1e00, h, sizeof(*h));
	driver_add(dr, 1, bufs, h->len ? 2 : 1);
	driver_kick(dr, 1);
	run_loop();
	while (dr->q[1].num && driver_used(dr, 1, NULL) >= 0)
		;
}

static void guest_sends(struct fuzz_bytes *b)
{
	const struct vsock_conn *c = the_conn((unsigned)fuzz_int(b, 1));
	unsigned op = (unsigned)fuzz_int(b, 1);
	struct virtio_vsock_hdr h = header(c, op & 15);

	h.flags = op >> 4 & 3;
	if (op & 0x40)
		h.len = 255 * (uint32_t)fuzz_int(b, 1);
	if (op & 0x80) {
		h.buf_alloc = (uint32_t)fuzz_int(b, 2);
		h.fwd_cnt -= (uint32_t)fuzz_int(b, 2);
	}
	/* What is sent may be the letters of the status channel. */
	fuzz_copy(b, dr->m.host + FUZZ_LOW, 2);
	send_packet(&h);
}

/* Buffers as a good driver has them. */
static void guest_receives(unsigned n)
{
	struct driver_buf buf = { LAYOUT_HIGH + 0x1000, 4096, true };

	if (dr->q[0].num == 0)
		return;
	while (driver_used(dr, 0, NULL) >= 0)
		;
	while (n-- && driver_add(dr, 0, &buf, 1) >= 0)
		;
	driver_kick(dr, 0);
}

/* Up to the point where client @i is connected, as far as that can be. */
static void join(unsigned i, struct fuzz_bytes *b)
{
	uint8_t up[] = { 3, 0, 0, 0, 0 }, port[] = { 1 };
	struct fuzz_bytes how = { up, sizeof(up) }, line = { port, 1 };
	struct vsock_conn status = { .host_port = VSOCK_STATUS_PORT };
	struct virtio_vsock_hdr h;
	unsigned k;

	if (!virtio_live(&vs.v))
		fuzz_up(dr, &how);
	guest_receives(16);
	h = header(&status, VIRTIO_VSOCK_OP_REQUEST);
	if (the_conn(128)->phase == VSOCK_FREE)
		send_packet(&h);
	new_client(i, &line);
	run_loop();
	for (k = 0; k < CLIENTS; k++) {
		h = header(the_conn(k), VIRTIO_VSOCK_OP_RESPONSE);
		if (the_conn(k)->phase == VSOCK_REQUESTED)
			send_packet(&h);
	}
	guest_receives((unsigned)fuzz_int(b, 1));
}

static void event(struct virtio *v, struct fuzz_bytes *b)
{
	unsigned what = (unsigned)fuzz_int(b, 1), i = what / 10 % CLIENTS;

	(void)v;
	switch (what % 10) {
	case 0:
		new_client(i, b);
		break;
	case 1:
		client_sends(fds[i], b);
		break;
	case 2:
		client_takes(fds[i], b);
		break;
	case 3:
		shutdown(fds[i], SHUT_WR);
		break;
	case 4:
		shutdown(fds[i], SHUT_RD);
		break;
	case 5:
		fd_close(&fds[i]);
		break;
	case 6:
		if (i == 0)
			vsock_reset_connections(&vs);
		break;
	case 7:
		guest_receives((unsigned)fuzz_int(b, 1));
		break;
	case 8:
		join(i, b);
		break;
	default:
		guest_sends(b);
		break;
	}
}

/* ---- the books ---- */

static void check_conn(const struct vsock_conn *c)
{
	bool has_client = c->phase != VSOCK_FREE && c->phase != VSOCK_STATUS;

	fuzz_must(has_client == (c->w.fd >= 0));
	fuzz_must(c->ring_len <= VSOCK_RING && c->ring_at < VSOCK_RING);
	fuzz_must(c->phase == VSOCK_FREE ||
		  c->received - c->fwd == c->ring_len);
	fuzz_must(c->phase != VSOCK_FREE || (c->todo == 0 && c->w.armed == 0));
	fuzz_must(!c->todo || c->waiting);
	/* Whatever the guest says of it, we know what is under way. */
	fuzz_must(c->sent - c->peer_fwd <= 1u << 31);
}

static void check(struct driver *d)
{
	const struct vsock_conn *c;
	unsigned i, n;

	(void)d;
	run_loop();
	for (i = n = 0; i < vs.fresh; i++) {
		check_conn(&vs.conns[i]);
		n += vs.conns[i].phase != VSOCK_FREE;
	}
	fuzz_must(vs.clients == n);
	fuzz_must(busy == (n || vs.guest_busy) && busy == vs.busy);
	fuzz_must(vs.reset_len <= VSOCK_RESETS);
	fuzz_must(vs.conns[VSOCK_CLIENTS].phase != VSOCK_FREE ||
		  !vs.guest_busy);
	for (c = vs.first, n = 0; c; c = c->next) {
		fuzz_must(c->waiting && ++n <= VSOCK_CLIENTS + 1);
		fuzz_must(c->next || vs.last == &c->next);
	}
}

static void start(void)
{
	struct vsock_spec s = { .cid = 3, .on_busy = on_busy };
	unsigned i;

	for (i = 0; i < CLIENTS; i++)
		fds[i] = -1;
	busy = false;
	s.listen = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	where.sun_family = AF_UNIX;
	where_len = sizeof(where);
	/* Of a name that the kernel finds. */
	fuzz_must(bind(s.listen, (struct sockaddr *)&where,
		       sizeof(sa_family_t)) == 0 &&
		  getsockname(s.listen, (struct sockaddr *)&where,
			      &where_len) == 0 &&
		  listen(s.listen, 4096) == 0 && loop_init(&lp) == 0);
	fuzz_must(vsock_init(&vs, &s, &dr->m, &lp, NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const struct fuzz_calls calls = { event, check };
	unsigned i;

	dr = fuzz_ram();
	start();
	fuzz_virtio(dr, &vs.v, &calls, p, n);
	for (i = 0; i < CLIENTS; i++)
		fd_close(&fds[i]);
	vsock_free(&vs);
	loop_free(&lp);
	return 0;
}
