/* SPDX-License-Identifier: MIT
 *
 * The vsock device: what connections carry, with credit and buffers that are at
 * an end, and many of them at once.
 */
#include "tests/unit/vsock_guest.h"

#include <sys/resource.h>

/* ---- data ---- */

static void counters_near_wrap(void)
{
	struct vsock_conn *c = &vs.conns[0];

	c->sent = c->peer_fwd = 0xffff8000;
	c->received = c->fwd = c->fwd_told = 0xfffe0000;
}

/* Take all of what the guest is sent of stream @seed: bytes, or -1. */
static ssize_t take(struct end *g, uint32_t seed, uint64_t at)
{
	ssize_t n = 0;

	while (receive(&pkt)) {
		hear(g, &pkt);
		if (pkt.h.op != VIRTIO_VSOCK_OP_RW)
			continue;
		if (!is_stream(pkt.data, pkt.h.len, seed, at + (uint64_t)n))
			return -1;
		n += pkt.h.len;
		g->fwd += pkt.h.len;
	}
	return n;
}

static void to_the_guest(void)
{
	uint64_t at = 0, total = 3 << 20;
	struct end g;
	ssize_t n;
	int fd;

	up(20);
	open_status();
	fd = join(&g, 100000);
	counters_near_wrap();
	g.fwd = 0xffff8000;
	send_op(&g, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
	while (at < total) {
		fill(block, 50000, 1, at);
		if (send(fd, block, 50000, 0) != 50000)
			break;
		n = take(&g, 1, at);
		if (n != 50000)
			break;
		at += 50000;
		send_op(&g, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
	}
	ok(at >= total, "3 MiB to the guest, the counters wrapping around");
	close(fd);
	down();
}

static void from_the_guest(void)
{
	uint64_t at = 0, got = 0;
	uint32_t room;
	struct end g;
	ssize_t n;
	int fd;

	up(20);
	open_status();
	fd = join(&g, 100000);
	counters_near_wrap();
	g.sent = g.peer_fwd = 0xfffe0000;
	while (got < 8 << 20) {
		room = g.peer_alloc - (g.sent - g.peer_fwd);
		while (room) {
			uint32_t len = room < 60001 ? room : 60001;

			fill(block, len, 2, at);
			send_data(&g, block, len);
			at += len;
			room -= len;
		}
		n = recv(fd, block, 77777, 0);
		if (n <= 0 || !is_stream(block, (size_t)n, 2, got))
			break;
		got += (uint64_t)n;
		while (receive(&pkt))
			hear(&g, &pkt);
	}
	ok(got >= 8 << 20, "8 MiB from the guest, with its credit used up");
	ok(vs.conns[0].ring_used, "through the ring");
	close(fd);
	down();
}

static void credit_of_the_guest(void)
{
	struct end g;
	int fd;

	up(20);
	open_status();
	fd = join(&g, 65536);
	exhaust(&g);
	is_int(vs.conns[0].ring_len, VSOCK_RING, "all of the credit is used");
	send_op(&g, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 0);
	ok(expect(&g, &pkt, VIRTIO_VSOCK_OP_CREDIT_UPDATE) &&
		   g.sent - g.peer_fwd == VSOCK_RING,
	   "the guest hears so when it asks");
	ok(silent(),
	   "and the loop is at rest with a client that takes nothing");
	send_data(&g, "x", 1);
	ok(expect(&g, &pkt, VIRTIO_VSOCK_OP_RST), "one byte more is a reset");
	while (recv(fd, block, sizeof(block), 0) > 0)
		;
	ok(closed(fd) && vs.clients == 0, "and the client's end");
	close(fd);
	down();
}

static void credit_of_the_host(void)
{
	struct end g;
	int fd;

	up(20);
	open_status();
	fd = join(&g, 1000);
	fill(block, 5000, 3, 0);
	send(fd, block, 5000, 0);
	settle();
	ok(expect(&g, &pkt, VIRTIO_VSOCK_OP_RW) && pkt.h.len == 1000,
	   "no more than the guest has room for");
	ok(expect(&g, &pkt, VIRTIO_VSOCK_OP_CREDIT_REQUEST) && silent(),
	   "then it is asked for credit, once");
	g.fwd = 5000000;
	send_op(&g, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
	ok(silent(), "a count of what was never sent is no credit");
	g.fwd = 400;
	send_op(&g, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
	ok(expect(&g, &pkt, VIRTIO_VSOCK_OP_RW) && pkt.h.len == 400,
	   "400 bytes of room, 400 bytes");
	ok(expect(&g, &pkt, VIRTIO_VSOCK_OP_CREDIT_REQUEST), "asked again");
	g.buf_alloc = 999; /* of which 1000 are used */
	send_op(&g, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
	ok(silent(), "room may be taken back");
	g.buf_alloc = 1u << 31;
	send_op(&g, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
	is_int(take(&g, 3, 1400), 3600, "and given, with the rest sent then");
	g.buf_alloc = 1000;
	g.fwd = 5000;
	send_op(&g, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
	g.fwd = 0;
	send_op(&g, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
	send(fd, block, 1000, 0);
	ok(expect(&g, &pkt, VIRTIO_VSOCK_OP_RW) && pkt.h.len == 1000,
	   "an older count that comes later is not heard");
	close(fd);
	down();
}

/* ---- the ring ---- */

/* Pages of ours that there are. */
static unsigned resident(void *at, size_t size)
{
	static unsigned char there[VSOCK_RING / 4096];
	unsigned i, n = 0;

	if (mincore(at, size, there) < 0)
		bail("mincore: %s", strerror(errno));
	for (i = 0; i < size / 4096; i++)
		n += there[i] & 1;
	return n;
}

static void end_behind_the_ring(void)
{
	struct end g;
	size_t got = 0;
	ssize_t n;
	int fd, how;

	up(20);
	open_status();
	for (how = 0; how < 3; how++) {
		fd = join(&g, 65536);
		exhaust(&g);
		got = 0;
		if (how == 2)
			send_op(&g, VIRTIO_VSOCK_OP_RST, 0);
		else
			send_op(&g, VIRTIO_VSOCK_OP_SHUTDOWN, how ? 3 : 2);
		ok(how == 1 ? expect(&g, &pkt, VIRTIO_VSOCK_OP_RST) : silent(),
		   "%s with a full ring",
		   how == 0 ? "an end" :
		   how == 1 ? "a close" :
			      "a reset");
		ok(vs.clients == 1 && resident(vs.rings, VSOCK_RING) > 0,
		   "the client is still there");
		while ((n = recv(fd, block, sizeof(block), 0)) > 0) {
			got += (size_t)n;
			settle();
		}
		ok(n == 0 && got == g.sent, "it gets all of it, then the end");
		close(fd);
		while (receive(&pkt))
			;
		ok(vs.clients == 0 && resident(vs.rings, VSOCK_RING) == 0,
		   "and nothing is left");
	}
	down();
}

static void client_gone_with_full_ring(void)
{
	struct end g;
	int fd;

	up(20);
	open_status();
	fd = join(&g, 0); /* no room: what the client has sent stays */
	send(fd, "unread", 6, 0);
	exhaust(&g);
	close(fd);
	ok(expect(&g, &pkt, VIRTIO_VSOCK_OP_SHUTDOWN) && silent(),
	   "a client that goes without reading is reported");
	is_int(vs.clients, 1, "what it sent waits for credit");
	send_op(&g, VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_SHUTDOWN_RCV);
	ok(expect(&g, &pkt, VIRTIO_VSOCK_OP_SHUTDOWN) && pkt.h.flags == 3 &&
		   silent() && vs.clients == 0,
	   "unless the guest does not want it");
	down();
}

/* ---- no buffers ---- */

static void no_buffers(void)
{
	enum { N = 5 };
	struct end g[N], s = { VSOCK_STATUS_PORT, 5000, 65536, 0, 0, 0, 0 };
	int fd[N], i, good = 0;

	up(0);
	send_op(&s, VIRTIO_VSOCK_OP_REQUEST, 0);
	for (i = 0; i < N; i++)
		fd[i] = client("CONNECT 1024\n");
	ok(silent(), "without buffers nothing is sent");
	keep_buffers = true;
	add_buffers(1);
	ok(expect(&s, &pkt, VIRTIO_VSOCK_OP_RESPONSE) && silent(),
	   "with one, the first packet");
	add_buffers(N);
	for (i = 0; i < N; i++)
		good += requested(&g[i], 65536);
	is_int(good, N, "with more, the others, in turn");
	for (i = good = 0; i < N; i++) {
		send_op(&g[i], VIRTIO_VSOCK_OP_RESPONSE, 0);
		good += told_ok(fd[i], &g[i]);
		fill(block, 9000, (uint32_t)i, 0);
		send(fd[i], block, 9000, 0);
		send_op(&g[i], VIRTIO_VSOCK_OP_CREDIT_REQUEST, 0);
	}
	ok(good == N && silent(), "data waits in the sockets");
	for (i = 0; i < N; i++)
		shutdown(fd[i], SHUT_WR);
	add_buffers(1);
	ok(receive(&pkt) && pkt.h.len == 4096, "one buffer, one packet");
	keep_buffers = false;
	add_buffers(3);
	for (good = 0; receive(&pkt);)
		good += pkt.h.op == VIRTIO_VSOCK_OP_SHUTDOWN;
	is_int(good, N, "in the end everybody has had all and the end");
	for (i = 0; i < N; i++)
		close(fd[i]);
	down();
}

static void many_resets(void)
{
	struct end g = { 4000, 0, 0, 0, 0, 0, 0 };
	unsigned i;

	up(0);
	for (i = 0; i < VSOCK_RESETS + 100; i++) {
		g.guest_port = i;
		send_op(&g, VIRTIO_VSOCK_OP_RW, 0);
	}
	is_int(vs.reset_len, VSOCK_RESETS, "resets that wait are bounded");
	add_buffers(10);
	for (i = 0; receive(&pkt) && pkt.h.dst_port == i; i++)
		;
	is_int(i, VSOCK_RESETS, "and sent in order when they can be");
	down();
}

/* ---- many ---- */

static void interleaved(void)
{
	enum { N = 100, EACH = 30000 };
	static struct end g[N];
	static int fd[N];
	static uint32_t out[N], in[N], back[N];
	unsigned i, turns = 0, good = 0;
	ssize_t n;

	up(40);
	open_status();
	for (i = 0; i < N; i++)
		fd[i] = join(&g[i], 3000);
	for (i = 0; good < N && turns < 100 * N * EACH / 100; turns++) {
		i = (i * 7 + 13) % N;
		if (turns % 3 == 0)
			i = turns % N;
		n = 1 + (turns * 31) % 700;
		if (out[i] + n > EACH)
			n = EACH - out[i];
		fill(block, (size_t)n, i, out[i]);
		if (n && send(fd[i], block, (size_t)n, 0) == n)
			out[i] += (uint32_t)n;
		settle();
		while (receive(&pkt)) {
			unsigned k;

			for (k = 0; k < N; k++) {
				if (g[k].host_port == pkt.h.src_port)
					break;
			}
			if (k == N)
				bail("whose packet?");
			hear(&g[k], &pkt);
			if (pkt.h.op != VIRTIO_VSOCK_OP_RW)
				continue;
			if (!is_stream(pkt.data, pkt.h.len, k, in[k]))
				bail("stream %u is wrong at %u", k, in[k]);
			in[k] += pkt.h.len;
			g[k].fwd += pkt.h.len;
			send_data(&g[k], pkt.data, pkt.h.len);
		}
		n = recv(fd[i], block, sizeof(block), 0);
		if (n > 0 && !is_stream(block, (size_t)n, i, back[i]))
			bail("stream %u came back wrong at %u", i, back[i]);
		back[i] += n > 0 ? (uint32_t)n : 0;
		good += n > 0 && back[i] == EACH;
	}
	is_int(good, N, "100 connections at once, each there and back");
	for (i = 0; i < N; i++)
		close(fd[i]);
	while (receive(&pkt))
		;
	is_int(vs.clients, 0, "and all gone");
	down();
}

static void full_table(void)
{
	static int fd[VSOCK_CLIENTS + 2];
	struct rlimit l;
	struct end g;
	unsigned i;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_max < 4096) {
		skip("a full table", "4096 descriptors are not allowed");
		return;
	}
	l.rlim_cur = l.rlim_max < 8192 ? l.rlim_max : 8192;
	setrlimit(RLIMIT_NOFILE, &l);
	up(20);
	open_status();
	for (i = 0; i < VSOCK_CLIENTS + 2; i++)
		fd[i] = client("CONNECT 9\n");
	is_int(vs.clients, VSOCK_CLIENTS, "as many clients as there is room");
	for (i = 0; requested(&g, 0); i++)
		;
	is_int(i, VSOCK_CLIENTS, "the guest hears of all");
	close(fd[5]);
	ok(receive(&pkt) && pkt.h.op == VIRTIO_VSOCK_OP_RST &&
		   requested(&g, 0) && silent(),
	   "when one goes, one of those that wait is served");
	for (i = 0; i < VSOCK_CLIENTS + 2; i++) {
		if (i != 5)
			close(fd[i]);
	}
	settle();
	is_int(vs.clients, 0, "all go");
	down();
}

int main(void)
{
	int fds = count_fds();

	to_the_guest();
	from_the_guest();
	credit_of_the_guest();
	credit_of_the_host();
	end_behind_the_ring();
	client_gone_with_full_ring();
	no_buffers();
	many_resets();
	interleaved();
	full_table();
	is_int(count_fds(), fds, "no descriptor was left open");
	return tap_done();
}
