/* SPDX-License-Identifier: MIT
 *
 * Hostile clients of the multiplexer, with the real agent behind it: whatever
 * they do, the agent finds nothing wrong with what comes from the multiplexer,
 * and both are empty in the end.
 */
#include "tests/fuzz/agent.h"

#include "base/sock.h"
#include "host/mux.h"

#define CLIENTS 3

struct input {
	const uint8_t *p;
	size_t n;
};

static struct mux mux;
static int clients[CLIENTS];

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static uint8_t take8(struct input *in)
{
	uint8_t v = in->n ? *in->p : 0;

	in->p += in->n != 0;
	in->n -= in->n != 0;
	return v;
}

static uint16_t take16(struct input *in)
{
	uint8_t low = take8(in);

	return (uint16_t)(low | take8(in) << 8);
}

static void send_bytes(int fd, const uint8_t *p, size_t n)
{
	(void)!send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void send_frame(int fd, struct input *in)
{
	static uint8_t frame[WIRE_HEADER + WIRE_PAYLOAD_MAX];
	uint8_t type = take8(in);
	uint8_t channel = take8(in);
	uint8_t stream = take8(in);
	size_t len = take16(in) % (WIRE_PAYLOAD_MAX + 1);
	size_t given = len < in->n ? len : in->n;

	/* Switching the machine off is what it says, and no attack. */
	if (type == WIRE_SHUTDOWN)
		return;
	if (type == WIRE_DATA)
		given = 0;
	memset(frame + WIRE_HEADER, 0, len);
	memcpy(frame + WIRE_HEADER, in->p, given);
	in->p += given;
	in->n -= given;
	wire_header(frame, type, channel, stream, len);
	send_bytes(fd, frame, WIRE_HEADER + len);
}

static void send_hello(int fd)
{
	buf_auto struct buf b = BUF_INIT;

	wire_put_hello(&b, "fuzz");
	send_bytes(fd, b.data, b.len);
}

static void send_open(int fd, struct input *in)
{
	const char *argv[] = { "x", NULL };
	struct wire_request x = WIRE_REQUEST_INIT;
	buf_auto struct buf b = BUF_INIT, out = BUF_INIT;
	uint8_t stream = take8(in);

	x.argv = argv;
	x.argc = 1;
	x.tty = stream & 0x80;
	wire_request_encode(&b, &x, NULL);
	wire_put_open(&out, stream & 0x7f, &b);
	send_bytes(fd, out.data, out.len);
}

/* One turn; true when something happened. */
static bool mux_step(void)
{
	struct pollfd pf[MUX_POLL_MAX];
	struct err e = ERR_INIT;
	size_t n = mux_want(&mux, pf);

	if (poll(pf, n, 0) <= 0)
		return false;
	/* The agent never has a reason to go away. */
	must(mux_serve(&mux, pf, n, &e) == 0);
	return true;
}

static void settle(void)
{
	bool moved = true;

	while (moved) {
		stream_reap();
		moved = loop_step();
		moved = mux_step() || moved;
	}
}

static void client_join(int *fd, const char *name)
{
	fd_close(fd);
	*fd = sock_connect(name, NULL);
	must(*fd >= 0);
	mux_step();
}

static void step(struct input *in, const char *name)
{
	static uint8_t bytes[65536];
	uint8_t op = take8(in);
	int *c = &clients[(op >> 4) % CLIENTS];
	uint8_t k;

	switch (op % 11) {
	case 0:
	case 1:
	case 2:
		send_frame(*c, in);
		break;
	case 3:
		send_open(*c, in);
		break;
	case 4:
		send_hello(*c);
		break;
	case 5:
		k = take8(in);
		puppet_act(k % 8, k >> 4, take16(in));
		break;
	case 6:
		(void)!recv(*c, bytes, (size_t)take8(in) * 256, MSG_DONTWAIT);
		break;
	case 7:
		loop_step();
		break;
	case 8:
		stream_reap();
		break;
	case 9:
		mux_step();
		break;
	case 10:
		client_join(c, name);
		break;
	}
}

static void start(const char *name)
{
	int s[2], i;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, s) < 0)
		abort();
	mux_init(&mux, s[0], sock_listen(name, NULL));
	must(mux.listen >= 0 && conn_open(s[1]) == 0);
	settle();
	for (i = 0; i < CLIENTS; i++) {
		clients[i] = -1;
		client_join(&clients[i], name);
		if (i)
			send_hello(clients[i]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct err why = { .num = EIO, .text = "over" };
	static uint8_t bytes[65536];
	struct input in = { p, n };
	static char name[64];
	size_t i;

	signal(SIGPIPE, SIG_IGN);
	if (!name[0])
		snprintf(name, sizeof(name), "/tmp/isokit-fuzz-mux.%d",
			 getpid());
	start(name);
	while (in.n)
		step(&in, name);
	settle();
	for (i = 0; i < CLIENTS; i++) {
		while (recv(clients[i], bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
			settle();
		close(clients[i]);
	}
	settle();
	for (i = 0; i < MUX_CLIENTS_MAX; i++)
		must(!mux.clients[i]);
	for (i = 0; i < MUX_SLOTS; i++)
		must(mux.slots[i].id == 0);
	mux_close(&mux, &why);
	unlink(name);
	agent_check_empty();
	return 0;
}
