/* SPDX-License-Identifier: MIT
 *
 * The network device: virtio 1.2, 5.1.  The test outside answers a packet of
 * type 0x88b5 (for experiments) with the same one.
 */
#include "virtio.h"

#define NUM 16
#define HEADER 12
#define FRAME 1514
#define TYPE_AT 12
#define F_MRG (1ULL << 15)

enum { RX, TX };

static struct device d;
static uint8_t *in, *out; /* NUM buffers of 2048; one */

static void give_buffers(uint32_t n)
{
	unsigned k;

	for (k = 0; k < NUM; k++) {
		put_desc(&d, RX, k, addr(in) + 2048 * k, n, DESC_WRITE, 0);
		make_available(&d, RX, (uint16_t)k);
	}
	kick(&d, RX);
}

static void make(uint32_t n)
{
	static const uint8_t mac[6] = { 2, 'i', 's', 'o', 0, 1 };
	uint32_t i;

	memset(out, 0, HEADER);
	memset(out + HEADER, 0xff, 6);
	memcpy(out + HEADER + 6, mac, 6);
	out[HEADER + TYPE_AT] = 0x88;
	out[HEADER + TYPE_AT + 1] = 0xb5;
	for (i = TYPE_AT + 2; i < n; i++)
		out[HEADER + i] = (uint8_t)i;
}

static void send(uint32_t n)
{
	struct buffer b = { out, HEADER + n, 0 };

	request(&d, TX, &b, 1);
}

/* The next packet of our kind; the host's own chatter is not of interest.
 * Buffers are given back at once, for what was in them is not looked at any
 * more when the next one comes. */
static const uint8_t *receive(uint32_t *len)
{
	for (;;) {
		uint32_t k = wait_used(&d, RX, len);
		uint8_t *p = in + 2048 * k;

		make_available(&d, RX, (uint16_t)k);
		if (*len >= HEADER + 14 && p[HEADER + TYPE_AT] == 0x88 &&
		    p[HEADER + TYPE_AT + 1] == 0xb5)
			return p;
	}
}

static void test_echo(uint32_t n, const char *what)
{
	uint32_t len;
	const uint8_t *p;

	make(n);
	send(n);
	p = receive(&len);
	ok(len == HEADER + n &&
		   memcmp(p + HEADER + 14, out + HEADER + 14, n - 14) == 0 &&
		   p[10] == 1 && p[11] == 0,
	   what);
}

static void bad_packet(uint64_t at, uint32_t n, uint16_t flags,
		       const char *what)
{
	put_desc(&d, TX, 0, at, n, flags, 0);
	make_available(&d, TX, 0);
	refuses(&d, TX, 0, NUM, what);
}

static void test_rules(void)
{
	make(60);
	bad_packet(addr(out), HEADER - 1, 0, "a packet without its header");
	bad_packet(addr(out), 1, 0, "a packet of a byte");
	bad_packet(addr(out), HEADER + 60, DESC_WRITE, "one to be written");
	bad_packet(0x100000, 1 << 20, 0, "a packet of a MiB");
	bad_packet(0, ram_low, 0, "a packet of all memory");
}

/* Buffers that a packet does not go into: what comes has them looked at. */
static void bad_receive(uint32_t n, uint16_t flags, const char *what)
{
	unsigned k;

	for (k = 0; k < NUM; k++) {
		put_desc(&d, RX, k, addr(in), n, flags, 0);
		make_available(&d, RX, (uint16_t)k);
	}
	kick(&d, RX);
	make(60);
	put_desc(&d, TX, 0, addr(out), HEADER + 60, 0, 0);
	make_available(&d, TX, 0);
	kick(&d, TX);
	wait_broken(&d);
	refused_rules++;
	ok(!came_back(&d, RX), what);
	device_up(&d, 0, NUM);
}

static void test_receive_rules(void)
{
	bad_receive(11, DESC_WRITE, "a buffer without room for the header");
	bad_receive(2048, 0, "a buffer to be read from");
	bad_receive(16, DESC_WRITE, "a buffer that is too small");
}

/* Packets that lie about what is to be done with them are the tap's to
 * refuse; nothing of ours minds. */
static void test_headers(void)
{
	unsigned i;

	for (i = 0; i < 256; i++) {
		make(60);
		memset(out, (int)i, HEADER);
		send(60);
	}
	make(14);
	send(14);
	send(0);
	send(1);
	ok(!device_broken(&d), "headers of all kinds, and packets of nothing");
}

void guest(const char *args)
{
	(void)args;
	if (!device_find(&d, ID_NET, 0))
		give_up("there is no network device");
	in = alloc(NUM * 2048, 4096);
	out = alloc(65536 + 4096, 4096);
	is(d.queues, 2, "two queues");
	device_up(&d, 0, NUM);
	give_buffers(2048);
	test_echo(60, "a small packet and its answer");
	test_echo(FRAME, "a large one");
	device_up(&d, F_MRG, NUM);
	give_buffers(2048);
	test_echo(60, "the same with buffers that are merged");
	test_headers();
	device_up(&d, 0, NUM);
	test_rules();
	test_receive_rules();
	give_buffers(2048);
	test_echo(100, "it works after all of that");
	tell("refused", refused_rules);
}
