/* SPDX-License-Identifier: MIT
 *
 * The vsock device, between a guest in memory and clients on a unix socket: how
 * connections come about and end.  For what they carry see vmm_vsock_flow.c.
 */
#include "tests/unit/vsock_guest.h"

/* ---- coming together ---- */

static void configuration(void)
{
	up(16);
	is_int(driver_read(&dr, VIRTIO_MMIO_DEVICE_ID), 19, "a vsock device");
	is_int(driver_config(&dr, 0, 8), CID, "with the guest's CID");
	is_int(driver_offered(&dr) & ~DRIVER_COMMON, 0,
	       "and streams only, which is no feature");
	down();
}

static void readiness(void)
{
	struct end s, g;
	int fd;

	up(16);
	fd = client("CONNECT 77\nmore");
	ok(silent() && vs.clients == 0 && !busy,
	   "a client waits until the status channel is open");
	s = open_status();
	ok(requested(&g, 65536), "then the guest hears of it");
	is_int(g.guest_port, 77, "with the port it named");
	ok(quiet(fd), "it is told nothing before the guest answers");
	send_op(&g, VIRTIO_VSOCK_OP_RESPONSE, 0);
	ok(told_ok(fd, &g), "and OK with the host's port afterwards");
	ok(expect(&g, &pkt, VIRTIO_VSOCK_OP_RW) && pkt.h.len == 4 &&
		   memcmp(pkt.data, "more", 4) == 0,
	   "what came behind its line is the guest's");
	send_op(&s, VIRTIO_VSOCK_OP_RST, 0);
	close(client("CONNECT 77\n"));
	ok(silent(), "without a status channel nobody is accepted any more");
	close(fd);
	down();
}

static void lines(void)
{
	static const char *const bad[] = { "CONNECT\n",
					   "CONNECT \n",
					   "CONNECT 1x\n",
					   "connect 1\n",
					   "CONNECT -1\n",
					   "CONNECT 4294967295\n",
					   "CONNECT 99999999999\n",
					   "\n",
					   "CONNECT 00000000000000000000000001",
					   "GET / HTTP/1.1\r\nHost: x\r\n" };
	struct end g;
	unsigned i;
	int fd;

	up(16);
	open_status();
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		fd = client(bad[i]);
		ok(closed(fd) && silent(), "bad line %u closes", i);
		close(fd);
	}
	fd = client("CONN");
	ok(quiet(fd) && send(fd, "ECT 429496", 10, 0) == 10 && quiet(fd) &&
		   send(fd, "7294\n", 5, 0) == 5 && requested(&g, 1),
	   "a line may come in pieces");
	is_int(g.guest_port, 4294967294, "up to the last port");
	close(fd);
	settle();
	ok(expect(&g, &pkt, VIRTIO_VSOCK_OP_RST), "a client that gives up");
	fd = client("CONN");
	close(fd);
	settle();
	is_int(vs.clients, 0, "at any time");
	down();
}

static void business(void)
{
	struct end s;
	int a, b;

	up(16);
	s = open_status();
	ok(!busy && busy_calls == 0, "idle at first");
	send_data(&s, "xB", 2);
	ok(busy && busy_calls == 1, "busy when the guest says so");
	a = client("CON");
	b = client("CON");
	send_data(&s, "I", 1);
	close(a);
	settle();
	ok(busy && busy_calls == 1, "a client is business too");
	close(b);
	settle();
	ok(!busy && busy_calls == 2, "the last one's end is its end");
	send_data(&s, "BI", 2);
	ok(!busy && busy_calls == 4, "short work counts");
	send_data(&s, "B", 1);
	send_op(&s, VIRTIO_VSOCK_OP_SHUTDOWN, 3);
	ok(expect(&s, &pkt, VIRTIO_VSOCK_OP_RST) && !busy,
	   "a status channel that ends says idle");
	s = open_status();
	send_data(&s, "B", 1);
	driver_reset(&dr);
	ok(!busy, "so does a reset of the device");
	down();
}

/* ---- ends ---- */

static void client_ends(void)
{
	struct end g;
	int fd;

	up(20);
	open_status();
	fd = join(&g, 65536);
	send(fd, "last", 4, 0);
	shutdown(fd, SHUT_WR);
	ok(expect(&g, &pkt, VIRTIO_VSOCK_OP_RW) && pkt.h.len == 4 &&
		   expect(&g, &pkt, VIRTIO_VSOCK_OP_SHUTDOWN) &&
		   pkt.h.flags == VIRTIO_VSOCK_SHUTDOWN_SEND && silent(),
	   "a client's last byte, then its end");
	send_data(&g, "answer", 6);
	ok(recv(fd, block, 10, 0) == 6, "it still gets what the guest sends");
	close(fd);
	ok(expect(&g, &pkt, VIRTIO_VSOCK_OP_SHUTDOWN) && pkt.h.flags == 3 &&
		   vs.clients == 0,
	   "when it closes, both directions end");
	send_op(&g, VIRTIO_VSOCK_OP_RST, 0);
	ok(silent(), "the guest's reset is the last of it");
	fd = join(&g, 65536);
	send(fd, "all", 3, 0);
	close(fd);
	ok(expect(&g, &pkt, VIRTIO_VSOCK_OP_RW) && pkt.h.len == 3 &&
		   expect(&g, &pkt, VIRTIO_VSOCK_OP_SHUTDOWN) &&
		   pkt.h.flags == 3 && silent(),
	   "one who goes at once costs two packets");
	send_data(&g, "x", 1);
	ok(expect(&g, &pkt, VIRTIO_VSOCK_OP_RST), "nobody is there any more");
	down();
}

static void guest_ends(void)
{
	struct end g;
	int fd;

	up(20);
	open_status();
	fd = join(&g, 65536);
	send_data(&g, "last", 4);
	send_op(&g, VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_SHUTDOWN_SEND);
	ok(recv(fd, block, 10, 0) == 4 && closed(fd),
	   "the guest's last byte, then its end");
	send(fd, "answer", 6, 0);
	ok(expect(&g, &pkt, VIRTIO_VSOCK_OP_RW) && pkt.h.len == 6,
	   "it still gets what the client sends");
	send_op(&g, VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_SHUTDOWN_RCV);
	ok(expect(&g, &pkt, VIRTIO_VSOCK_OP_RST) && vs.clients == 0 &&
		   send(fd, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE,
	   "until it ends that too");
	close(fd);
	fd = join(&g, 65536);
	send_op(&g, VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_SHUTDOWN_RCV);
	ok(send(fd, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE && silent(),
	   "a guest that takes nothing more");
	send_data(&g, "out", 3);
	ok(recv(fd, block, 10, 0) == 3, "can still send");
	close(fd);
	ok(expect(&g, &pkt, VIRTIO_VSOCK_OP_SHUTDOWN) && pkt.h.flags == 3 &&
		   vs.clients == 0,
	   "until the client goes");
	down();
}

static void ports_differ(void)
{
	struct end a, b;

	up(20);
	open_status();
	close(join(&a, 9));
	while (receive(&pkt))
		;
	close(join(&b, 9));
	ok(a.host_port != b.host_port, "a port is not used again at once");
	down();
}

/* ---- refusals ---- */

static void refused(void)
{
	struct end g;
	int fd;

	up(20);
	open_status();
	fd = client("CONNECT 1\n");
	requested(&g, 0);
	send_op(&g, VIRTIO_VSOCK_OP_RST, 0);
	ok(closed(fd) && silent(), "a refused client is closed");
	close(fd);
	fd = client("CONNECT 1\n");
	requested(&g, 0);
	send_data(&g, "x", 1);
	ok(expect(&g, &pkt, VIRTIO_VSOCK_OP_RST) && closed(fd),
	   "data before the answer");
	close(fd);
	fd = join(&g, 9);
	send_op(&g, VIRTIO_VSOCK_OP_RESPONSE, 0);
	ok(expect(&g, &pkt, VIRTIO_VSOCK_OP_RST) && closed(fd),
	   "a second answer");
	close(fd);
	fd = join(&g, 9);
	send_op(&g, 99, 0);
	ok(expect(&g, &pkt, VIRTIO_VSOCK_OP_RST) && closed(fd),
	   "an unknown operation");
	close(fd);
	fd = join(&g, 9);
	send_op(&g, VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_SHUTDOWN_SEND);
	send_data(&g, "x", 1);
	ok(expect(&g, &pkt, VIRTIO_VSOCK_OP_RST), "data after the end");
	close(fd);
	down();
}

/* The guest guesses the port of a request that it has not got. */
static void answered_too_early(void)
{
	struct end g = { .guest_port = 1 };
	int fd;

	up(1);
	keep_buffers = true;
	open_status();
	fd = client("CONNECT 1\n");
	g.host_port = vs.conns[0].host_port;
	send_op(&g, VIRTIO_VSOCK_OP_RESPONSE, 0);
	ok(closed(fd), "an answer before the request");
	add_buffers(3);
	ok(expect(&g, &pkt, VIRTIO_VSOCK_OP_RST) && silent(), "is refused");
	close(fd);
	down();
}

static void strangers(void)
{
	struct end g = { 1, 2, 3, 0, 0, 0, 0 }, s;
	struct virtio_vsock_hdr h;

	up(20);
	send_op(&g, VIRTIO_VSOCK_OP_REQUEST, 0);
	ok(expect(&g, &pkt, VIRTIO_VSOCK_OP_RST), "no port but one is open");
	g.host_port = VSOCK_STATUS_PORT;
	send_op(&g, VIRTIO_VSOCK_OP_RW, 0);
	ok(expect(&g, &pkt, VIRTIO_VSOCK_OP_RST),
	   "and that for a request only");
	s = open_status();
	send_op(&g, VIRTIO_VSOCK_OP_REQUEST, 0);
	ok(expect(&g, &pkt, VIRTIO_VSOCK_OP_RST), "of which there is one");
	send_op(&g, VIRTIO_VSOCK_OP_RST, 0);
	ok(silent(), "a reset is not answered");
	h = header(&g, VIRTIO_VSOCK_OP_REQUEST, 0);
	h.dst_cid = 7;
	send_raw(&h, NULL, 0);
	ok(receive(&pkt) && pkt.h.op == VIRTIO_VSOCK_OP_RST &&
		   pkt.h.src_cid == 7,
	   "nobody but the host is there");
	h = header(&s, VIRTIO_VSOCK_OP_RW, 0);
	h.type = 2;
	send_raw(&h, NULL, 0);
	ok(receive(&pkt) && pkt.h.op == VIRTIO_VSOCK_OP_RST && pkt.h.type == 2,
	   "a type that there is not");
	h = header(&s, VIRTIO_VSOCK_OP_RST, 0);
	h.src_cid = 4;
	send_raw(&h, NULL, 0);
	ok(silent() && vs.conns[VSOCK_CLIENTS].phase == VSOCK_STATUS,
	   "another guest's CID is not heard");
	send_op(&s, VIRTIO_VSOCK_OP_REQUEST, 0);
	ok(expect(&s, &pkt, VIRTIO_VSOCK_OP_RST), "a request twice ends it");
	ok(!driver_needs_reset(&dr), "none of this breaks the device");
	down();
}

/* ---- rules ---- */

/* The device is broken and its clients are gone; a driver that starts again
 * can go on. */
static void broken(int fd, const char *what)
{
	settle();
	ok(driver_needs_reset(&dr) && closed(fd) && vs.clients == 0 && !busy,
	   "%s breaks the device", what);
	close(fd);
	close(client("CONNECT 1\n"));
	driver_up(&dr, &vs.v, ~0ULL, 256);
	add_buffers(20);
	open_status();
	/* The one from the backlog came and went. */
	while (receive(&pkt))
		;
}

static void rules(void)
{
	struct driver_buf b = { 0, HEADER - 1, false };
	struct virtio_vsock_hdr h;
	struct end g;
	int fd;

	up(20);
	open_status();
	fd = join(&g, 9);
	b.gpa = tx_header;
	driver_add(&dr, TX, &b, 1);
	driver_kick(&dr, TX);
	broken(fd, "a packet shorter than its header");
	fd = join(&g, 9);
	h = header(&g, VIRTIO_VSOCK_OP_RW, 11);
	send_raw(&h, "0123456789", 10);
	broken(fd, "a packet shorter than it says");
	fd = join(&g, 9);
	b = (struct driver_buf){ tx_header, 100, true };
	driver_add(&dr, TX, &b, 1);
	driver_kick(&dr, TX);
	broken(fd, "something writable to send");
	fd = join(&g, 9);
	driver_avail(&dr, TX, 999);
	driver_kick(&dr, TX);
	broken(fd, "a broken ring");
	down();
}

static void rules_of_receiving(void)
{
	struct driver_buf b = { 0, HEADER, true };
	struct end g;
	int fd;

	up(3); /* the status channel's, a request's and the next one's */
	keep_buffers = true;
	open_status();
	fd = join(&g, 99);
	b.gpa = tx_header;
	driver_add(&dr, RX, &b, 1);
	send(fd, "data", 4, 0);
	ok(expect(&g, &pkt, VIRTIO_VSOCK_OP_RW), "a good buffer");
	send(fd, "data", 4, 0);
	settle();
	keep_buffers = false;
	broken(fd, "a buffer without room for data");
	fd = join(&g, 99);
	b.len = 3;
	driver_add(&dr, EVENT, &b, 1);
	vsock_reset_connections(&vs);
	broken(fd, "a small buffer for events");
	down();
}

static void transport_reset(void)
{
	struct driver_buf b = { 0, 8, true };
	struct end s, g;
	uint32_t len, *at;
	int fd, was;

	up(20);
	s = open_status();
	fd = join(&g, 9);
	send_data(&s, "B", 1);
	was = count_fds();
	vsock_reset_connections(&vs);
	ok(closed(fd) && count_fds() == was - 1 && !busy && silent(),
	   "a transport reset closes the clients");
	b.gpa = driver_alloc(&dr, 8, 8);
	at = driver_ptr(&dr, b.gpa);
	ok(vs.s.event_due, "its event waits for a buffer");
	driver_add(&dr, EVENT, &b, 1);
	driver_add(&dr, EVENT, &b, 1);
	driver_kick(&dr, EVENT);
	settle();
	ok(driver_used(&dr, EVENT, &len) >= 0 && len == 4 && *at == 0,
	   "and comes");
	send_data(&g, "x", 1);
	/* Linux would end a new connection as well. */
	ok(silent(), "nothing else does before the driver has handled it");
	vsock_reset_connections(&vs);
	settle();
	ok(driver_used(&dr, EVENT, &len) >= 0, "another one comes");
	driver_add(&dr, EVENT, &b, 1);
	driver_kick(&dr, EVENT);
	settle();
	ok(vs.s.event_open, "and has to be handled as well");
	driver_add(&dr, EVENT, &b, 1);
	driver_kick(&dr, EVENT);
	settle();
	ok(!vs.s.event_open, "which it has when it gives the buffer back");
	send_data(&g, "x", 1);
	ok(expect(&g, &pkt, VIRTIO_VSOCK_OP_RST),
	   "old connections are unknown");
	close(fd);
	open_status();
	fd = join(&s, 9);
	ok(s.host_port != g.host_port, "new ones have other ports");
	close(fd);
	down();
}

/* The kernel has no memory to watch another client. */
static void unwatched(void)
{
	int real, fds, fd;
	struct end g;

	up(16);
	open_status();
	settle();
	fds = count_fds();
	real = lp.epoll;
	lp.epoll = open("/dev/null", O_RDONLY | O_CLOEXEC);
	fd = client("CONNECT 1024\n");
	vs.listen.ready(&vs.listen, EPOLLIN);
	fd_close(&lp.epoll);
	lp.epoll = real;
	ok(closed(fd) && vs.clients == 0 && !busy,
	   "a client that cannot be watched is sent away");
	close(fd);
	is_int(count_fds(), fds, "and takes no descriptor");
	keep_buffers = true; /* what would have the device look again */
	ok(requested(&g, 9) && expect(&g, &pkt, VIRTIO_VSOCK_OP_RST),
	   "the guest, which was asked, hears so too");
	keep_buffers = false;
	fd = join(&g, 9);
	ok(fd >= 0, "the next is served");
	close(fd);
	down();
}

static void bad_spec(void)
{
	struct vsock_spec s = { .listen = -1, .cid = 2 };
	struct err e = ERR_INIT;

	loop_init(&lp);
	is_int(vsock_init(&vs, &s, &dr.m, &lp, &e), -EINVAL, "the host's CID");
	is_str(e.text, "vsock CID 2: it must be from 3 to 4294967294", "said");
	s.cid = 3;
	is_int(vsock_init(&vs, &s, &dr.m, &lp, &e), -EBADF, "no socket");
	loop_free(&lp);
}

int main(void)
{
	int fds = count_fds();

	configuration();
	readiness();
	lines();
	business();
	client_ends();
	guest_ends();
	ports_differ();
	refused();
	answered_too_early();
	strangers();
	rules();
	rules_of_receiving();
	transport_reset();
	unwatched();
	bad_spec();
	is_int(count_fds(), fds, "no descriptor was left open");
	return tap_done();
}
