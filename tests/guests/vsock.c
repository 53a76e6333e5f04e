/* SPDX-License-Identifier: MIT
 *
 * The vsock device: virtio 1.2, 5.10; the guest's side of it, good and bad.
 * It is made for a test outside that connects two clients one after the other
 * and sends "hello" on each: the first one is echoed and closed, the second
 * one's connection is lost in a reset of the device.
 */
#include "virtio.h"

#define NUM 8
#define HEADER 44
#define BUFFER 4096
#define HOST 2
#define STATUS_PORT 1024
#define MY_PORT 5000

enum { RX, TX, EVENT };
enum {
	OP_REQUEST = 1,
	OP_RESPONSE,
	OP_RST,
	OP_SHUTDOWN,
	OP_RW,
	OP_CREDIT_UPDATE,
	OP_CREDIT_REQUEST
};

struct packet {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, alloc, fwd;
	uint8_t data[BUFFER];
} __attribute__((packed));

static struct device d;
static struct packet *in[NUM], *out;
static uint32_t cid;

/* ---- packets ---- */

static void give_buffer(unsigned k)
{
	put_desc(&d, RX, k, addr(in[k]), HEADER + BUFFER, DESC_WRITE, 0);
	make_available(&d, RX, (uint16_t)k);
	kick(&d, RX);
}

static int had; /* the buffer that was looked at last; -1: none */

static void up(void)
{
	unsigned k;

	had = -1;
	device_up(&d, 0, NUM);
	for (k = 0; k < NUM; k++)
		give_buffer(k);
}

/* The next packet that comes: valid until the next call. */
static const struct packet *receive(void)
{
	uint32_t len;

	if (had >= 0)
		give_buffer((unsigned)had);
	had = (int)wait_used(&d, RX, &len);
	if (len < HEADER || len != HEADER + in[had]->len)
		give_up("a packet that is not as long as it says");
	return in[had];
}

static void make(uint16_t op, uint32_t from, uint32_t to, uint32_t len)
{
	memset(out, 0, HEADER);
	out->src_cid = cid;
	out->dst_cid = HOST;
	out->src_port = from;
	out->dst_port = to;
	out->len = len;
	out->type = 1;
	out->op = op;
	out->alloc = 65536;
}

static void send_made(void)
{
	struct buffer b = { out, HEADER + out->len, 0 };

	request(&d, TX, &b, 1);
}

static void send(uint16_t op, uint32_t from, uint32_t to, uint32_t len)
{
	make(op, from, to, len);
	send_made();
}

/* A client that came while something else was waited for. */
static uint32_t early;

static const struct packet *receive_answer(void)
{
	const struct packet *p = receive();

	if (p->op == OP_REQUEST && !early) {
		early = p->src_port;
		p = receive();
	}
	return p;
}

/* The answer to what was just sent is a reset. */
static void is_reset(const char *what)
{
	const struct packet *p = receive_answer();

	ok(p->op == OP_RST && p->dst_port == out->src_port &&
		   p->src_port == out->dst_port && p->dst_cid == cid,
	   what);
}

/* ---- tests ---- */

static void test_strangers(void)
{
	send(OP_RW, MY_PORT, 77, 0);
	is_reset("data of no connection");
	send(OP_REQUEST, MY_PORT, 1025, 0);
	is_reset("a connection to a port that is not the status channel's");
	send(OP_REQUEST, UINT32_MAX, UINT32_MAX, 0);
	is_reset("a connection from and to port 2^32-1");
	make(OP_REQUEST, MY_PORT, STATUS_PORT, 0);
	out->dst_cid = 1;
	send_made();
	is_reset("to a CID that is not the host's");
	make(OP_REQUEST, MY_PORT, STATUS_PORT, 0);
	out->type = 2;
	send_made();
	is_reset("of a type that is not stream");
	send(99, MY_PORT, 77, 0);
	is_reset("an operation that is unknown");
	make(OP_REQUEST, MY_PORT, STATUS_PORT, 0);
	out->src_cid = cid + 1;
	send_made();
	send(OP_RST, MY_PORT, 77, 0);
	send(OP_RW, MY_PORT, 78, 0);
	is_reset("a stranger's packet and a reset are answered by nothing");
}

static void open_status(void)
{
	send(OP_REQUEST, MY_PORT, STATUS_PORT, 0);
	is(receive()->op, OP_RESPONSE, "the status channel opens");
	send(OP_REQUEST, MY_PORT + 1, STATUS_PORT, 0);
	is_reset("once");
	out->data[0] = 'B';
	out->data[1] = 'I';
	send(OP_RW, MY_PORT, STATUS_PORT, 2);
}

/* A client that connects to port 52 and says hello: its port. */
static uint32_t accept(void)
{
	const struct packet *p;
	uint32_t port = early;

	if (!port) {
		/* There may be resets left of one who was flooded. */
		while ((p = receive())->op == OP_RST)
			;
		ok(p->op == OP_REQUEST && p->dst_port == 52, "a client");
		port = p->src_port;
	}
	early = 0;
	send(OP_RESPONSE, 52, port, 0);
	p = receive();
	ok(p->op == OP_RW && p->len == 5 && p->src_port == port &&
		   memcmp(p->data, "hello", 5) == 0,
	   "what a client says");
	return port;
}

static void echo_client(void)
{
	uint32_t port = accept();

	memcpy(out->data, "HELLO", 5);
	send(OP_RW, 52, port, 5);
	send(OP_CREDIT_REQUEST, 52, port, 0);
	is(receive()->op, OP_CREDIT_UPDATE, "credit when asked for");
	make(OP_SHUTDOWN, 52, port, 0);
	out->flags = 3;
	send_made();
	is_reset("the connection ends");
}

/* More than there is credit for breaks the connection, not the device.  While
 * the client's socket takes some there are credit updates. */
static void flood_client(void)
{
	uint32_t port = accept(), i;
	uint16_t op = 0;

	for (i = 0; i < 1024 && op != OP_RST; i++) {
		send(OP_RW, 52, port, BUFFER);
		while (op != OP_RST && came_back(&d, RX))
			op = receive()->op;
	}
	ok(op == OP_RST, "more data than there is room for: a reset");
}

static void lost_client(void)
{
	accept();
	set_reg(&d, REG_STATUS, 0);
	ok(reg(&d, REG_STATUS) == 0, "a reset with a connection open");
	up();
}

static void bad_packet(uint32_t n, uint16_t flags, const char *what)
{
	put_desc(&d, TX, 0, addr(out), n, flags, 0);
	make_available(&d, TX, 0);
	refuses(&d, TX, 0, NUM, what);
}

static void test_rules(void)
{
	make(OP_RW, MY_PORT, 77, 0);
	bad_packet(HEADER - 1, 0, "a packet shorter than its header");
	bad_packet(1, 0, "a packet of a byte");
	out->len = 1;
	bad_packet(HEADER, 0, "a packet shorter than it says");
	out->len = UINT32_MAX;
	bad_packet(HEADER + BUFFER, 0, "a packet of 2^32-1 bytes");
	bad_packet(HEADER, DESC_WRITE, "a packet to be written");
}

/* Buffers to receive into that cannot be; what brings the device to look at
 * them is a packet to nobody. */
static void provoke(struct device *dev, unsigned i)
{
	struct buffer b = { out, HEADER, 0 };

	(void)i;
	make(OP_RW, MY_PORT, 77, 0);
	submit(dev, TX, &b, 1);
}

static void test_receive_rules(void)
{
	d.provoke = provoke;
	put_desc(&d, RX, 0, addr(in[0]), HEADER + BUFFER, 0, 0);
	make_available(&d, RX, 0);
	refuses(&d, RX, 0, NUM, "a buffer to be read from");
	put_desc(&d, RX, 0, addr(in[0]), HEADER, DESC_WRITE, 0);
	make_available(&d, RX, 0);
	refuses(&d, RX, 0, NUM, "a buffer without room for data");
	put_desc(&d, RX, 0, addr(in[0]), 1, DESC_WRITE, 0);
	make_available(&d, RX, 0);
	refuses(&d, RX, 0, NUM, "a buffer of a byte");
	d.provoke = NULL;
}

/* Resets that nobody fetches: their number has a limit. */
static void test_unfetched(void)
{
	unsigned i;

	device_up(&d, 0, NUM);
	for (i = 0; i < 2000; i++)
		send(OP_RW, i, 77, 0);
	ok(!device_broken(&d), "2000 answers that are not fetched");
}

void guest(const char *args)
{
	unsigned i;

	(void)args;
	if (!device_find(&d, ID_VSOCK, 0))
		give_up("there is no vsock device");
	for (i = 0; i < NUM; i++)
		in[i] = alloc(sizeof(*in[i]), 16);
	out = alloc(sizeof(*out), 16);
	cid = get32(d.at + REG_CONFIG);
	tell("cid", cid);
	is(d.queues, 3, "three queues");
	up();
	test_strangers();
	open_status();
	echo_client();
	flood_client();
	lost_client();
	test_strangers();
	device_up(&d, 0, NUM);
	test_rules();
	test_receive_rules();
	test_unfetched();
	up();
	test_strangers();
	tell("refused", refused_rules);
}
