/* SPDX-License-Identifier: MIT
 *
 * A hostile peer of the agent.  An input is a list of steps: bytes and frames
 * that the peer sends, what the commands do, when the agent has its turn, and
 * how much of its answer is read.  What the agent says is held against the
 * protocol.
 */
#include "tests/fuzz/agent.h"

#define STREAMS 8 /* numbers of which account is kept */

struct input {
	const uint8_t *p;
	size_t n;
};

/* What the agent may still say on a stream. */
struct account {
	bool started, ended, reset;
	bool eof[3];
	uint64_t may[3]; /* bytes of each channel */
};

static struct account accounts[STREAMS];
static struct wire_reader reader;
static bool hello, dropped;
static bool clean; /* all that the peer sent were whole frames */
static int peer;

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

/* ---- what the peer says ---- */

static void send_bytes(const uint8_t *p, size_t n)
{
	ssize_t sent = send(peer, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);

	clean = clean && sent == (ssize_t)n;
}

static void send_frame(struct input *in)
{
	static uint8_t frame[WIRE_HEADER + WIRE_PAYLOAD_MAX];
	uint8_t type = take8(in);
	uint8_t channel = take8(in);
	uint8_t stream = take8(in);
	size_t len = take16(in) % (WIRE_PAYLOAD_MAX + 1);
	size_t given = len < in->n ? len : in->n;
	uint32_t v = 0;

	if (type == WIRE_DATA) /* no matter what */
		given = 0;
	memset(frame + WIRE_HEADER, 0, len);
	memcpy(frame + WIRE_HEADER, in->p, given);
	in->p += given;
	in->n -= given;
	wire_header(frame, type, channel, stream, len);
	if (type == WIRE_CREDIT && len == 4)
		v = wire_get32(frame + WIRE_HEADER);
	if (stream < STREAMS && (channel == 1 || channel == 2))
		accounts[stream].may[channel] += v;
	send_bytes(frame, WIRE_HEADER + len);
}

static void send_hello(void)
{
	buf_auto struct buf b = BUF_INIT;

	wire_put_hello(&b, "fuzz");
	send_bytes(b.data, b.len);
}

/* A request, so that streams come easily. */
static void send_open(struct input *in)
{
	const char *argv[] = { "x", NULL };
	struct wire_request x = WIRE_REQUEST_INIT;
	buf_auto struct buf b = BUF_INIT, out = BUF_INIT;
	uint8_t stream = take8(in);

	x.argv = argv;
	x.argc = 1;
	x.tty = stream & 0x80;
	x.flags = stream & 0x40 ? WIRE_FLAG_DETACH : 0;
	wire_request_encode(&b, &x, NULL);
	wire_put_open(&out, stream & 0x3f, &b);
	send_bytes(out.data, out.len);
}

/* ---- what the agent says ---- */

static void heard_data(struct account *a, const struct wire_frame *f)
{
	must(f->channel != WIRE_STDIN && !a->eof[f->channel]);
	must(f->len <= a->may[f->channel]);
	a->may[f->channel] -= f->len;
}

static void heard(const struct wire_frame *f)
{
	struct account *a = &accounts[f->stream % STREAMS];

	must(!dropped && (hello || f->type == WIRE_HELLO));
	if (f->type == WIRE_HELLO) {
		must(!hello);
		hello = true;
	} else if (f->type == WIRE_ERROR) {
		dropped = true;
	}
	if (f->stream == 0 || f->stream >= STREAMS)
		return;
	must(!a->ended);
	if (f->type == WIRE_STARTED) {
		must(!a->started);
		a->started = true;
	} else if (f->type == WIRE_FAILED) {
		must(!a->started);
		a->ended = true;
	} else {
		must(a->started);
	}
	if (f->type == WIRE_DATA) {
		heard_data(a, f);
	} else if (f->type == WIRE_EOF) {
		must(!a->eof[f->channel]);
		a->eof[f->channel] = true;
	} else if (f->type == WIRE_EXIT) {
		a->ended = true;
	}
}

static void receive(size_t n)
{
	static uint8_t bytes[65536];
	struct wire_frame f;
	ssize_t got;
	int r;

	/* So many that they fit behind the rest of a frame. */
	if (n > 32768)
		n = 32768;
	got = recv(peer, bytes, n, MSG_DONTWAIT);
	if (got > 0)
		must(wire_feed(&reader, bytes, (size_t)got) == (size_t)got);
	while ((r = wire_next(&reader, &f, NULL)) > 0)
		heard(&f);
	must(r == 0);
}

/* ---- steps ---- */

static void step(struct input *in)
{
	uint8_t op = take8(in);
	uint8_t k;
	size_t n;

	switch (op % 10) {
	case 0:
		n = take8(in) < in->n ? in->p[-1] : in->n;
		send_bytes(in->p, n);
		clean = clean && n == 0;
		in->p += n;
		in->n -= n;
		break;
	case 1:
	case 2:
	case 3:
		send_frame(in);
		break;
	case 4:
		send_open(in);
		break;
	case 5:
		send_hello();
		break;
	case 6:
		k = take8(in);
		puppet_act(k % 8, k >> 4, take16(in));
		break;
	case 7:
		receive((size_t)take8(in) * 256);
		break;
	case 8:
		loop_step();
		break;
	case 9:
		stream_reap();
		break;
	}
}

static void start(void)
{
	size_t i;
	int s[2];

	signal(SIGPIPE, SIG_IGN);
	memset(accounts, 0, sizeof(accounts));
	for (i = 0; i < STREAMS; i++)
		accounts[i].may[1] = accounts[i].may[2] = WIRE_WINDOW;
	hello = dropped = false;
	clean = true;
	wire_reader_init(&reader, WIRE_AGENT);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, s) < 0)
		abort();
	peer = s[0];
	must(conn_open(s[1]) == 0);
}

static void settle(void)
{
	int i;

	for (i = 0; i < 64; i++) {
		agent_settle();
		receive(32768);
	}
}

/* Whatever went before, a RESET has its EXIT. */
static void check_reset(void)
{
	uint8_t h[WIRE_HEADER];
	uint32_t i;

	for (i = 1; i < STREAMS; i++) {
		if (!accounts[i].started || accounts[i].ended)
			continue;
		wire_header(h, WIRE_RESET, 0, i, 0);
		send_bytes(h, sizeof(h));
		settle();
		must(accounts[i].ended || dropped || !clean);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct input in = { p, n };

	start();
	while (in.n)
		step(&in);
	/* Everything that is to come comes, and is as it must be. */
	settle();
	check_reset();
	must(!conns ||
	     conns->out.len - conns->out_off <= CONN_OUT_HIGH + 65536 * 64);
	close(peer);
	agent_check_empty();
	return 0;
}
