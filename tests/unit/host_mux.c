/* SPDX-License-Identifier: MIT
 *
 * The multiplexer between clients and the one agent, with both ends in this
 * process: everything happens in spin(), which ends when nothing moves.
 */
#include "tests/tap.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/sock.h"
#include "host/mux.h"
#include "tests/unit/scratch.h"
#include "wire/msg.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

/* A client's or the agent's end of a connection. */
struct end {
	int fd;
	struct wire_reader in;
};

static struct mux mux;
static struct end agent;
static struct err lost; /* of mux_serve */

static void spin(void)
{
	struct pollfd pf[MUX_POLL_MAX];
	size_t n = mux_want(&mux, pf);

	while (!lost.num && poll(pf, n, 0) > 0) {
		if (mux_serve(&mux, pf, n, &lost) < 0)
			return;
		n = mux_want(&mux, pf);
	}
}

static void say(struct end *end, enum wire_type type, uint8_t channel,
		uint32_t stream, const void *p, size_t n)
{
	buf_auto struct buf b = BUF_INIT;

	wire_put(&b, type, channel, stream, p, n);
	if (io_write_full(end->fd, b.data, b.len) < 0)
		diag("could not send type %d", type);
	spin();
}

static void say_u32(struct end *end, enum wire_type type, uint8_t channel,
		    uint32_t stream, uint32_t v)
{
	uint8_t p[4];

	wire_set32(p, v);
	say(end, type, channel, stream, p, 4);
}

static void say_hello(struct end *end)
{
	buf_auto struct buf b = BUF_INIT;

	wire_put_hello(&b, "test");
	io_write_full(end->fd, b.data, b.len);
	spin();
}

/* The next frame that has arrived; false: none; @closed: never any more. */
static bool hear(struct end *end, struct wire_frame *f, bool *closed)
{
	int n;

	*closed = false;
	while (wire_next(&end->in, f, NULL) == 0) {
		n = wire_read(&end->in, end->fd);
		if (n <= 0) {
			*closed = n != -EAGAIN;
			return false;
		}
	}
	return true;
}

static void expect(struct end *end, enum wire_type type, uint8_t channel,
		   uint32_t stream, const char *text, const char *what)
{
	struct wire_frame f;
	bool closed;

	if (!ok(hear(end, &f, &closed) && f.type == type &&
			f.channel == channel && f.stream == stream &&
			(!text || (f.len == strlen(text) &&
				   memcmp(f.data, text, f.len) == 0)),
		"%s", what))
		diag("type %u channel %u stream %u length %u", f.type,
		     f.channel, f.stream, f.len);
}

static void expect_nothing(struct end *end, const char *what)
{
	struct wire_frame f;
	bool closed;

	ok(!hear(end, &f, &closed) && !closed, "%s", what);
}

/* ERROR with @text in it, then the end. */
static void expect_error(struct end *end, const char *text)
{
	struct err e = ERR_INIT;
	struct wire_frame f = { 0 };
	bool closed = false;

	if (hear(end, &f, &closed) && f.type == WIRE_ERROR)
		wire_get_error(&f, &e);
	has_str(e.text, text, "told why");
	ok(!hear(end, &f, &closed) && closed, "and closed");
	close(end->fd);
}

static void end_init(struct end *end, int fd, enum wire_side from)
{
	if (fd < 0)
		bail("no connection");
	end->fd = fd;
	fd_nonblock(fd, true);
	wire_reader_init(&end->in, from);
}

static void join(struct end *end)
{
	end_init(end, sock_connect("sock", NULL), WIRE_AGENT);
	say_hello(end);
}

/* A mux whose agent has not said anything yet. */
static void start(void)
{
	struct err e = ERR_INIT;
	int s[2];

	lost = (struct err)ERR_INIT;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) < 0)
		bail("no socket");
	mux_init(&mux, s[0], sock_listen("sock", &e));
	end_init(&agent, s[1], WIRE_CLIENT);
	spin();
	expect(&agent, WIRE_HELLO, 0, 0, NULL, "the agent is greeted");
}

static void start_ready(void)
{
	start();
	say_hello(&agent);
}

static void stop(void)
{
	struct err why = { .num = ESHUTDOWN, .text = "over" };

	mux_close(&mux, &why);
	close(agent.fd);
}

static void join_ready(struct end *end)
{
	join(end);
	expect(end, WIRE_HELLO, 0, 0, NULL, "a client is greeted");
}

/* ---- tests ---- */

static void greetings(void)
{
	struct end c;

	start();
	join(&c);
	expect_nothing(&c, "no greeting before the agent's");
	say_hello(&agent);
	expect(&c, WIRE_HELLO, 0, 0, NULL, "then there is one");
	say(&c, WIRE_PING, 0, 0, "me", 2);
	expect(&c, WIRE_PONG, 0, 0, "me", "a ping is answered here");
	say(&agent, WIRE_PING, 0, 0, "you", 3);
	expect(&agent, WIRE_PONG, 0, 0, "you", "from either side");
	say(&c, WIRE_PONG, 0, 0, "", 0);
	expect_nothing(&agent, "and goes no further");
	stop();
	expect_error(&c, "over");
}

static void numbers(void)
{
	struct end a, b;
	struct wire_exit x = { .code = 3 };
	buf_auto struct buf exit = BUF_INIT;

	start_ready();
	join_ready(&a);
	join_ready(&b);
	say(&a, WIRE_OPEN, WIRE_OPEN_MORE, 1, "one", 3);
	say(&b, WIRE_OPEN, 0, 1, "two", 3);
	say(&a, WIRE_OPEN, 0, 1, "more", 4);
	expect(&agent, WIRE_OPEN, 1, 1, "one", "a stream of one client");
	expect(&agent, WIRE_OPEN, 0, 2, "two", "of the same number of another");
	expect(&agent, WIRE_OPEN, 0, 1, "more", "the rest of the first");
	say_u32(&agent, WIRE_STARTED, 0, 2, 77);
	say(&agent, WIRE_DATA, 1, 1, "out", 3);
	say(&agent, WIRE_DATA, 2, 2, "err", 3);
	expect(&b, WIRE_STARTED, 0, 1, NULL, "each gets its own");
	expect(&b, WIRE_DATA, 2, 1, "err", "under its number");
	expect(&a, WIRE_DATA, 1, 1, "out", "on its channel");
	say(&b, WIRE_DATA, 0, 1, "in", 2);
	expect(&agent, WIRE_DATA, 0, 2, "in", "the other way too");
	wire_put_exit(&exit, 1, &x);
	say(&agent, WIRE_EXIT, 0, 1, exit.data + WIRE_HEADER, 32);
	expect(&a, WIRE_EXIT, 0, 1, NULL, "an end");
	say(&a, WIRE_DATA, 0, 1, "late", 4);
	say(&a, WIRE_OPEN, 0, 1, "late", 4);
	expect_nothing(&agent, "after which nothing goes through");
	say(&a, WIRE_OPEN, 0, 9, "next", 4);
	expect(&agent, WIRE_OPEN, 0, 3, "next", "numbers only rise");
	stop();
	close(a.fd);
	close(b.fd);
}

static void leaving(void)
{
	struct end a, b;

	start_ready();
	join_ready(&a);
	join_ready(&b);
	say(&a, WIRE_OPEN, 0, 1, "x", 1);
	say(&b, WIRE_OPEN, 0, 1, "x", 1);
	say(&a, WIRE_OPEN, 0, 2, "x", 1);
	expect(&agent, WIRE_OPEN, 0, 1, NULL, "three");
	expect(&agent, WIRE_OPEN, 0, 2, NULL, "streams");
	expect(&agent, WIRE_OPEN, 0, 3, NULL, "open");
	close(a.fd);
	spin();
	expect(&agent, WIRE_RESET, 0, 1, NULL, "a client that goes away");
	expect(&agent, WIRE_RESET, 0, 3, NULL, "has its streams reset");
	expect_nothing(&agent, "and not those of others");
	say(&agent, WIRE_DATA, 1, 1, "late", 4);
	say(&agent, WIRE_FAILED, 0, 1, "\2\0\0\0none", 8);
	expect_nothing(&b, "what comes for it goes nowhere");
	stop();
	close(b.fd);
}

struct bad {
	enum wire_type type;
	uint8_t channel;
	uint32_t stream, v;
	size_t len;
	const char *text;
};

/* The agent would drop us for any of these, and with us all the others. */
static void breaches(void)
{
	static const struct bad t[] = {
		{ WIRE_OPEN, 0, 1, 0, 1, "stream 1 opened twice" },
		{ WIRE_DATA, 1, 1, 0, 1, "data on channel 1 of stream 1" },
		{ WIRE_DATA, 0, 5, 0, 1, "stream 5, which is not open" },
		{ WIRE_EOF, 0, 2, 0, 0, "stream 2, which is not open" },
		{ WIRE_CREDIT, 0, 1, 1, 4, "credit for standard input" },
		{ WIRE_CREDIT, 1, 1, 1, 4, "exceeds the window" },
		{ WIRE_CREDIT, 2, 1, ~0U, 4, "exceeds the window" },
		{ WIRE_HELLO, 0, 0, 0, 8, "second HELLO" },
		{ WIRE_EXIT, 0, 1, 0, 32, "type from the wrong side" },
	};
	uint8_t data[64];
	struct end a, b;
	size_t i;

	start_ready();
	join_ready(&b);
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		uint32_t id = (uint32_t)(2 * i + 1);

		memset(data, 0, sizeof(data));
		wire_set32(data, t[i].v);
		join_ready(&a);
		say(&a, WIRE_OPEN, 0, 1, "x", 1);
		say(&a, WIRE_OPEN, WIRE_OPEN_MORE, 2, "x", 1);
		expect(&agent, WIRE_OPEN, 0, id, NULL, "a stream");
		expect(&agent, WIRE_OPEN, 1, id + 1, NULL, "half another");
		say(&a, t[i].type, t[i].channel, t[i].stream, data, t[i].len);
		expect(&agent, WIRE_RESET, 0, id, NULL, "a breach resets");
		expect(&agent, WIRE_RESET, 0, id + 1, NULL, "all of them");
		expect_nothing(&agent, "and is not passed on");
		expect_error(&a, t[i].text);
	}
	say(&b, WIRE_OPEN, 0, 1, "fine", 4);
	expect(&agent, WIRE_OPEN, 0, 2 * ARRAY_SIZE(t) + 1, "fine",
	       "others do not notice");
	ok(!lost.num, "nor does the agent");
	stop();
	close(b.fd);
}

/* A frame of @n bytes on its way to the agent and, if it may be, there. */
static void pass(struct end *c, uint8_t channel, size_t n)
{
	static const uint8_t data[WIRE_PAYLOAD_MAX];
	struct wire_frame f;
	bool closed;

	say(c, WIRE_DATA, channel, 1, data, n);
	hear(&agent, &f, &closed);
}

static void windows(void)
{
	struct wire_frame f;
	struct end c;
	bool closed;
	size_t i;

	start_ready();
	join_ready(&c);
	say(&c, WIRE_OPEN, 0, 1, "x", 1);
	hear(&agent, &f, &closed);
	for (i = 0; i < WIRE_WINDOW; i += WIRE_PAYLOAD_MAX)
		pass(&c, WIRE_STDIN, WIRE_PAYLOAD_MAX);
	say_u32(&agent, WIRE_CREDIT, WIRE_STDIN, 1, 5);
	expect(&c, WIRE_CREDIT, 0, 1, NULL, "credit");
	pass(&c, WIRE_STDIN, 5);
	expect_nothing(&c, "a window and what was credited is no breach");
	say(&agent, WIRE_DATA, WIRE_STDOUT, 1, "12345", 5);
	expect(&c, WIRE_DATA, WIRE_STDOUT, 1, "12345", "five the other way");
	say_u32(&c, WIRE_CREDIT, WIRE_STDOUT, 1, 5);
	expect(&agent, WIRE_CREDIT, WIRE_STDOUT, 1, NULL, "and their credit");
	say(&c, WIRE_DATA, WIRE_STDIN, 1, "x", 1);
	expect(&agent, WIRE_RESET, 0, 1, NULL, "one more byte is");
	expect_error(&c, "past its window");
	stop();
}

static void after_eof(void)
{
	struct wire_frame f;
	struct end c;
	bool closed;

	start_ready();
	join_ready(&c);
	say(&c, WIRE_OPEN, 0, 1, "x", 1);
	hear(&agent, &f, &closed);
	say(&c, WIRE_EOF, WIRE_STDIN, 1, NULL, 0);
	expect(&agent, WIRE_EOF, WIRE_STDIN, 1, NULL, "the end of input");
	say(&c, WIRE_DATA, WIRE_STDIN, 1, "x", 1);
	expect(&agent, WIRE_RESET, 0, 1, NULL, "has nothing behind it");
	expect_error(&c, "data on channel 0 of stream 1");
	stop();
}

static void shutting_down(void)
{
	struct end a, b;

	start_ready();
	join_ready(&a);
	join_ready(&b);
	say(&a, WIRE_SHUTDOWN, 0, 0, NULL, 0);
	say(&b, WIRE_SHUTDOWN, 0, 0, NULL, 0);
	expect(&agent, WIRE_SHUTDOWN, 0, 0, NULL, "off");
	expect_nothing(&agent, "once");
	stop();
	expect_error(&a, "over");
	expect_error(&b, "over");
}

static void losing(void)
{
	struct err why = { .num = EIO, .text = "bad luck" };
	buf_auto struct buf b = BUF_INIT;
	struct end c;

	start_ready();
	wire_put_error(&b, 0, &why);
	io_write_full(agent.fd, b.data, b.len);
	spin();
	is_int(lost.num, EIO, "the agent's last words");
	is_str(lost.text, "bad luck", "are handed on");
	stop();
	start();
	join(&c);
	close(agent.fd);
	agent.fd = -1;
	spin();
	is_int(lost.num, ECONNRESET, "an agent that vanishes");
	stop();
	expect_error(&c, "over");
	start_ready();
	io_write_full(agent.fd, "gibberish that is no frame", 26);
	spin();
	is_int(lost.num, EPROTO, "one that talks nonsense");
	stop();
}

/* ---- pressure ---- */

#define HEAVY 3 /* whose windows the mux takes without a pause */

/* Take what comes for the agent, some of it, and credit it. */
static uint64_t take_some(uint32_t taken[static HEAVY + 1])
{
	struct wire_frame f;
	uint64_t sum = 0;

	wire_read(&agent.in, agent.fd);
	while (wire_next(&agent.in, &f, NULL) > 0) {
		if (f.type != WIRE_DATA)
			continue;
		sum += f.len;
		taken[f.stream] += f.len;
		if (taken[f.stream] >= WIRE_WINDOW / 2) {
			say_u32(&agent, WIRE_CREDIT, 0, f.stream,
				taken[f.stream]);
			taken[f.stream] = 0;
		}
	}
	return sum;
}

/* Send what the window allows and the socket takes. */
static void give_some(struct end *c, size_t *window)
{
	static uint8_t frame[WIRE_HEADER + 16384];
	struct wire_frame f;
	bool closed;

	while (hear(c, &f, &closed))
		*window += f.type == WIRE_CREDIT ? wire_get32(f.data) : 0;
	wire_header(frame, WIRE_DATA, 0, 1, 16384);
	while (*window >= 16384) {
		*window -= 16384;
		if (io_write_full(c->fd, frame, sizeof(frame)) < 0)
			bail("a client's socket is full, or closed");
		spin();
	}
}

/* There is never a moment when nothing waits to be sent to the agent. */
static void slow_agent(void)
{
	uint32_t taken[HEAVY + 1] = { 0 };
	size_t i, window[HEAVY];
	struct end c[HEAVY];
	uint64_t sum = 0;

	start_ready();
	for (i = 0; i < HEAVY; i++) {
		join_ready(&c[i]);
		say(&c[i], WIRE_OPEN, 0, 1, "x", 1);
		window[i] = WIRE_WINDOW;
	}
	while (!lost.num && sum < 80000000) {
		for (i = 0; i < HEAVY; i++)
			give_some(&c[i], &window[i]);
		sum += take_some(taken);
		spin();
	}
	ok(!lost.num, "80 MB to a slow agent (%s)", lost.text);
	stop();
	for (i = 0; i < HEAVY; i++)
		close(c[i].fd);
}

/* A client that asks and never listens is not read for ever. */
static void deaf_client(void)
{
	uint8_t ping[WIRE_HEADER + 64] = { 0 };
	struct end c;
	size_t sent = 0;

	start_ready();
	join_ready(&c);
	wire_header(ping, WIRE_PING, 0, 0, 64);
	while (sent < 16000000 &&
	       send(c.fd, ping, sizeof(ping), MSG_NOSIGNAL) == sizeof(ping)) {
		sent += sizeof(ping);
		if (sent % 7200 == 0)
			spin();
	}
	ok(sent < 4000000, "a deaf client fills no memory (%zu bytes)", sent);
	stop();
	close(c.fd);
}

static void too_many(void)
{
	static struct end c[MUX_CLIENTS_MAX + 1];
	size_t i;

	start_ready();
	for (i = 0; i < MUX_CLIENTS_MAX; i++)
		join(&c[i]);
	expect(&c[MUX_CLIENTS_MAX - 1], WIRE_HELLO, 0, 0, NULL, "the last one");
	end_init(&c[i], sock_connect("sock", NULL), WIRE_AGENT);
	spin();
	expect_error(&c[i], "as many as can");
	close(c[0].fd);
	spin();
	join_ready(&c[i]);
	stop();
	for (i = 1; i <= MUX_CLIENTS_MAX; i++)
		close(c[i].fd);
}

int main(void)
{
	int fds = count_fds();

	signal(SIGPIPE, SIG_IGN);
	scratch_enter();
	greetings();
	numbers();
	leaving();
	breaches();
	windows();
	after_eof();
	shutting_down();
	losing();
	slow_agent();
	deaf_client();
	too_many();
	scratch_leave();
	is_int(count_fds(), fds, "no descriptor was left open");
	return tap_done();
}
