/* SPDX-License-Identifier: MIT
 *
 * The multiplexer between clients and the one agent.
 */
#include "tests/tap.h"

#include "tests/unit/mux_ends.h"

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
	scratch_leave();
	is_int(count_fds(), fds, "no descriptor was left open");
	return tap_done();
}
