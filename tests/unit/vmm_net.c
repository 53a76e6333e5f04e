/* SPDX-License-Identifier: MIT
 *
 * The network device, driven in this process; a pair of sockets is the tap.
 */
#include "tests/tap.h"

#include "base/fd.h"
#include "tests/unit/driver.h"
#include "vmm/virtio/net.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_net.h>
#include <sys/socket.h>

#define NUM 64
#define HEADER 12
#define MERGE (1ULL << VIRTIO_NET_F_MRG_RXBUF)

enum { RX, TX };

static struct net net;
static struct driver d;
static struct loop loop;
static int wire; /* the other end of the tap */

static void begin_with(uint64_t features, const struct net_spec *s)
{
	struct net_spec spec = s ? *s : (struct net_spec){ .tap = -1 };
	int pair[2];

	memset(&d, 0, sizeof(d));
	driver_ram(&d, 1 << 20, 65536);
	if (loop_init(&loop) < 0 ||
	    socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) < 0)
		bail("no sockets");
	spec.tap = pair[0];
	wire = pair[1];
	fd_nonblock(wire, true);
	if (net_init(&net, &spec, &d.m, NULL, NULL) < 0)
		bail("net_init");
	close(pair[0]);
	/* Notifications are synchronous; the tap's are on this loop. */
	net.tap.loop = &loop;
	driver_up(&d, &net.v, features, NUM);
}

static void begin(uint64_t features)
{
	begin_with(features, NULL);
}

static void end(void)
{
	net_free(&net);
	loop_free(&loop);
	close(wire);
	driver_ram_free(&d);
}

/* What the loop would do, as often as it would. */
static unsigned turn_loop(void)
{
	struct epoll_event ev;
	unsigned n = 0;

	while (n < 1000 && epoll_wait(loop.epoll, &ev, 1, 0) == 1) {
		net.tap.ready(&net.tap, ev.events);
		n++;
	}
	return n;
}

/* ---- to the wire ---- */

static bool send_bufs(const struct driver_buf *b, unsigned n)
{
	driver_add(&d, TX, b, n);
	driver_kick(&d, TX);
	return driver_used(&d, TX, NULL) >= 0;
}

static bool send_len(uint32_t n)
{
	struct driver_buf b = { driver_alloc(&d, n, 1), n, false };

	return send_bufs(&b, 1);
}

static ssize_t on_wire(void)
{
	static uint8_t data[1 << 17];

	return recv(wire, data, sizeof(data), 0);
}

static void test_send(void)
{
	struct driver_buf b[3] = { { 0, 12, false },
				   { 0, 1, false },
				   { 0, 99, false } };
	unsigned i;

	begin(0);
	ok(send_len(HEADER + 60), "a packet is sent");
	is_int(on_wire(), HEADER + 60, "and is on the wire");
	for (i = 0; i < 3; i++)
		b[i].gpa = driver_alloc(&d, b[i].len, 1);
	ok(send_bufs(b, 3), "one of parts");
	is_int(on_wire(), 112, "is one packet");
	is_int(net.tx_packets, 2, "both are counted");
	ok(send_len(HEADER), "one without anything in it");
	is_int(on_wire(), HEADER, "is for the tap to judge");
	end();
}

static void test_send_rules(void)
{
	static const uint32_t bad[] = { 1, HEADER - 1, NET_FRAME_MAX + 1,
					1 << 20 };
	struct driver_buf b = { 0, 0, false };
	unsigned i;

	begin(0);
	for (i = 0; i < 4; i++) {
		b.len = bad[i];
		ok(!send_bufs(&b, 1) && driver_needs_reset(&d),
		   "a packet of %u bytes", bad[i]);
		is_int(on_wire(), -1, "is not sent");
		driver_up(&d, &net.v, 0, NUM);
	}
	b = (struct driver_buf){ 0, 100, true };
	ok(!send_bufs(&b, 1) && driver_needs_reset(&d),
	   "nor one that is for us to write");
	driver_up(&d, &net.v, 0, NUM);
	ok(send_len(HEADER + 60), "a reset helps");
	end();
}

/* The wire takes no more: packets are lost, and nobody waits. */
static void test_full(void)
{
	unsigned i;

	begin(0);
	d.next = 0;
	for (i = 0; i < 1000 && !net.tx_dropped; i++) {
		d.next = 65536;
		if (!send_len(1000))
			break;
	}
	ok(net.tx_dropped == 1 && !driver_needs_reset(&d),
	   "a packet that the wire has no room for is lost");
	end();
}

/* ---- from the wire ---- */

static uint64_t give(unsigned n, uint32_t len)
{
	uint64_t at = driver_alloc(&d, (uint64_t)n * len, 1);
	struct driver_buf b = { at, len, true };

	for (; n; n--, b.gpa += len)
		driver_add(&d, RX, &b, 1);
	driver_kick(&d, RX);
	return at;
}

static void come(size_t n)
{
	uint8_t data[70000];
	size_t i;

	for (i = 0; i < n; i++)
		data[i] = i < HEADER ? 0 : (uint8_t)(i * 7);
	send(wire, data, n, 0);
}

static uint16_t count_at(uint64_t gpa)
{
	uint16_t n;

	memcpy(&n, (uint8_t *)driver_ptr(&d, gpa) + 10, 2);
	return n;
}

static void test_receive(void)
{
	uint64_t at;
	uint32_t len = 0;

	begin(0);
	at = give(4, 2048);
	come(HEADER + 100);
	turn_loop();
	ok(driver_used(&d, RX, &len) >= 0, "a packet comes");
	is_int(len, HEADER + 100, "as a whole");
	is_int(count_at(at), 1, "in one buffer");
	is_int(((uint8_t *)driver_ptr(&d, at))[50], (uint8_t)(50 * 7),
	       "as it was");
	ok(driver_interrupts(&d) & DRIVER_INT_VRING, "with an interrupt");
	come(HEADER - 1);
	come(HEADER + 50);
	turn_loop();
	ok(driver_used(&d, RX, &len) >= 0 && len == HEADER + 50,
	   "what has no header is none");
	end();
}

/* No buffers: it waits, and the loop is not kept busy by it. */
static void test_wait(void)
{
	uint32_t len = 0;

	begin(0);
	come(HEADER + 100);
	come(HEADER + 101);
	ok(turn_loop() <= 1, "packets that nobody wants are not looked at");
	give(1, 2048);
	ok(driver_used(&d, RX, &len) >= 0 && len == HEADER + 100,
	   "the first comes when there is a buffer");
	ok(turn_loop() <= 1, "the second waits");
	give(1, 2048);
	turn_loop();
	ok(driver_used(&d, RX, &len) >= 0 && len == HEADER + 101,
	   "for its own");
	end();
}

static void test_merge(void)
{
	uint64_t at;
	uint32_t len = 0, sum = 0;
	unsigned n = 0;
	uint8_t *p;

	begin(MERGE);
	at = give(2, 1000);
	come(HEADER + 3000);
	ok(turn_loop() < 3, "too few buffers");
	is_int(driver_used(&d, RX, NULL), -1, "nothing comes");
	give(2, 1000);
	turn_loop();
	while (driver_used(&d, RX, &len) >= 0) {
		sum += len;
		n++;
	}
	is_int(n, 4, "a packet in four buffers");
	is_int(sum, HEADER + 3000, "as a whole");
	is_int(count_at(at), 4, "whose number is in the first");
	p = driver_ptr(&d, at);
	is_int(p[2500], (uint8_t)(2500 * 7), "and it is what it was");
	end();
}

static void test_receive_rules(void)
{
	struct driver_buf b = { 4096, 2048, false };

	begin(0);
	give(2, 50);
	come(HEADER + 100);
	turn_loop();
	ok(driver_needs_reset(&d), "a buffer that is too small");
	is_str(net.v.rule, "receive buffer too small", "by name");
	driver_up(&d, &net.v, MERGE, NUM);
	give(2, HEADER - 1);
	come(HEADER + 100);
	turn_loop();
	ok(driver_needs_reset(&d), "one that is too small for a header");
	driver_up(&d, &net.v, 0, NUM);
	driver_add(&d, RX, &b, 1);
	driver_kick(&d, RX);
	come(HEADER + 100);
	turn_loop();
	ok(driver_needs_reset(&d), "one to be read from");
	driver_up(&d, &net.v, 0, NUM);
	give(1, 2048);
	come(HEADER + 100);
	turn_loop();
	ok(driver_used(&d, RX, NULL) >= 0, "a reset helps");
	end();
}

/* What waited belongs to the driver that was. */
static void test_reset(void)
{
	begin(0);
	come(HEADER + 100);
	turn_loop();
	driver_reset(&d);
	is_int(turn_loop(), 0, "after a reset the wire is not looked at");
	driver_up(&d, &net.v, 0, NUM);
	give(1, 2048);
	turn_loop();
	is_int(driver_used(&d, RX, NULL), -1, "and what waited is lost");
	end();
}

static void test_mac(void)
{
	const struct net_spec s = { .mac = { 2, 3, 4, 5, 6, 7 } };

	begin(0);
	ok(!(driver_offered(&d) >> VIRTIO_NET_F_MAC & 1), "no address");
	end();
	begin_with(0, &s);
	ok(driver_offered(&d) >> VIRTIO_NET_F_MAC & 1, "an address");
	is_int(driver_config(&d, 0, 4), 0x05040302, "is in the configuration");
	is_int(driver_config(&d, 4, 2), 0x0706, "as a whole");
	end();
}

int main(void)
{
	test_send();
	test_send_rules();
	test_full();
	test_receive();
	test_wait();
	test_merge();
	test_receive_rules();
	test_reset();
	test_mac();
	return tap_done();
}
