/* SPDX-License-Identifier: MIT
 *
 * Peers that break the agent's protocol are told so and dropped, with all that
 * they started; the agent lives on and serves the next one.
 */
#include "tests/tap.h"

#include "base/sock.h"
#include "tests/unit/agent_peer.h"

/* One that listens, and stays for all the tests. */
static pid_t agent;

static struct peer *join(bool greet)
{
	struct err e = ERR_INIT;
	struct peer *p = peer_on(sock_connect("sock", &e), 0);

	if (greet)
		peer_greet(p);
	return p;
}

/* The agent says ERROR with @text in it, closes, and means it. */
static void expect_dropped(struct peer *p, const char *text)
{
	char what[200];

	peer_until(p, false);
	snprintf(what, sizeof(what), "told: %s", text);
	has_str(p->broken ? p->error.text : "(closed)", text, what);
	ok(p->closed && p->after_error == 0 && p->error.num == EPROTO,
	   "and dropped");
	peer_free(p);
}

static void expect_service(const char *what)
{
	struct peer *p = join(true);
	struct run *r = run_sh(p, "echo well");

	run_wait(p, r);
	is_str(run_text(r, 0), "well\n", what);
	peer_free(p);
}

/* ---- what the table of frames excludes ---- */

struct bad {
	enum wire_type type;
	uint8_t channel;
	uint32_t stream;
	size_t len;
	const char *text;
};

static void bad_frames(void)
{
	static const struct bad t[] = {
		{ 0, 0, 0, 0, "unknown type" },
		{ 6, 0, 0, 0, "unknown type" },
		{ 255, 0, 0, 0, "unknown type" },
		{ WIRE_ERROR, 0, 0, 4, "type from the wrong side" },
		{ WIRE_STARTED, 0, 1, 4, "type from the wrong side" },
		{ WIRE_EXIT, 0, 1, 32, "type from the wrong side" },
		{ WIRE_FAILED, 0, 1, 4, "type from the wrong side" },
		{ WIRE_PING, 0, 1, 0, "wrong stream" },
		{ WIRE_OPEN, 0, 0, 10, "wrong stream" },
		{ WIRE_PING, 1, 0, 0, "wrong channel" },
		{ WIRE_OPEN, 2, 1, 10, "wrong channel" },
		{ WIRE_DATA, 3, 1, 10, "wrong channel" },
		{ WIRE_PING, 0, 0, 65, "wrong length" },
		{ WIRE_DATA, 0, 1, 0, "wrong length" },
		{ WIRE_EOF, 0, 1, 1, "wrong length" },
		{ WIRE_CREDIT, 1, 1, 3, "wrong length" },
		{ WIRE_SHUTDOWN, 0, 0, 1, "wrong length" },
		{ WIRE_RESET, 0, 1, 4, "wrong length" },
	};
	static const uint8_t zeros[128];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(t); i++) {
		struct peer *p = join(true);

		peer_put(p, t[i].type, t[i].channel, t[i].stream, zeros,
			 t[i].len);
		expect_dropped(p, t[i].text);
	}
}

static void too_long(void)
{
	uint8_t h[WIRE_HEADER];
	struct peer *p = join(true);

	wire_header(h, WIRE_DATA, 0, 1, WIRE_PAYLOAD_MAX + 1);
	buf_add(&p->send, h, sizeof(h));
	/* Not one byte of the payload is waited for. */
	expect_dropped(p, "wrong length (type 19, channel 0, stream 1, length "
			  "32769)");
}

/* ---- greetings ---- */

static void greetings(void)
{
	struct peer *p = join(false);

	peer_put(p, WIRE_PING, 0, 0, NULL, 0);
	expect_dropped(p, "type 2 before HELLO");
	p = join(false);
	peer_put(p, WIRE_HELLO, 0, 0, "who are you?", 12);
	expect_dropped(p, "not an agent's HELLO");
	p = join(false);
	peer_put(p, WIRE_HELLO, 0, 0, "isoa\2\0\0\0", 8);
	expect_dropped(p, "protocol version 2 at the other end, 1 here");
	p = join(true);
	wire_put_hello(&p->send, "again");
	expect_dropped(p, "second HELLO");
	p = join(false);
	buf_puts(&p->send, "GET / HTTP/1.1\r\nHost: agent\r\n\r\n");
	expect_dropped(p, "protocol broken");
}

/* ---- what only makes sense at times ---- */

static void wrong_moments(void)
{
	struct peer *p = join(true);

	peer_put(p, WIRE_DATA, WIRE_STDIN, 7, "x", 1);
	expect_dropped(p, "type 19 on stream 7, which is not open");
	p = join(true);
	peer_put(p, WIRE_OPEN, WIRE_OPEN_MORE, 1, "x", 1);
	peer_put(p, WIRE_EOF, WIRE_STDIN, 1, NULL, 0);
	expect_dropped(p, "type 20 on stream 1, which is not open");
	p = join(true);
	run_sh(p, "exec sleep 1000");
	peer_put(p, WIRE_OPEN, 0, 1, "x", 1);
	expect_dropped(p, "stream 1 opened twice");
}

static void wrong_data(void)
{
	struct peer *p = join(true);
	struct run *r = run_sh(p, "exec sleep 1000");

	peer_put(p, WIRE_DATA, WIRE_STDOUT, r->id, "x", 1);
	expect_dropped(p, "data on channel 1 of stream 1");
	/* As long as what came before the EOF stands in the agent. */
	p = join(true);
	r = run_sh(p, "exec sleep 1000");
	while (r->in_credit) {
		peer_put(p, WIRE_DATA, WIRE_STDIN, r->id, p->in.data,
			 WIRE_PAYLOAD_MAX);
		r->in_credit -= WIRE_PAYLOAD_MAX;
	}
	peer_put(p, WIRE_EOF, WIRE_STDIN, r->id, NULL, 0);
	peer_put(p, WIRE_DATA, WIRE_STDIN, r->id, "x", 1);
	expect_dropped(p, "data on channel 0 of stream 1");
}

static void overruns(void)
{
	struct peer *p = join(true);
	struct run *r = run_sh(p, "exec sleep 1000");
	size_t i;

	for (i = 0; i < WIRE_WINDOW; i += WIRE_PAYLOAD_MAX)
		peer_put(p, WIRE_DATA, WIRE_STDIN, r->id, p->in.data,
			 WIRE_PAYLOAD_MAX);
	peer_sync(p);
	ok(!p->broken, "a whole window is no breach");
	peer_put(p, WIRE_DATA, WIRE_STDIN, r->id, "xyz", 3);
	expect_dropped(p, "stream 1 sent 3 bytes past its window");
	p = join(true);
	r = run_sh(p, "exec sleep 1000");
	peer_put_u32(p, WIRE_CREDIT, WIRE_STDOUT, r->id, 1);
	expect_dropped(p, "credit of 1 on stream 1 exceeds the window");
	p = join(true);
	r = run_sh(p, "exec sleep 1000");
	peer_put_u32(p, WIRE_CREDIT, WIRE_STDERR, r->id, 0xffffffff);
	expect_dropped(p, "credit of 4294967295 on stream 1 exceeds");
	p = join(true);
	r = run_sh(p, "exec sleep 1000");
	peer_put_u32(p, WIRE_CREDIT, WIRE_STDIN, r->id, 1);
	expect_dropped(p, "credit for standard input");
}

/* ---- what is none ---- */

/* Frames that cross the end of a stream, and pieces of a request that was
 * refused meanwhile, though others were opened since. */
static void no_breaches(void)
{
	static const uint8_t piece[WIRE_PAYLOAD_MAX];
	struct peer *p = join(true);
	struct run *big, *r = run_sh(p, "exit 0");
	size_t i;

	run_wait(p, r);
	peer_put(p, WIRE_DATA, WIRE_STDIN, r->id, "x", 1);
	peer_put(p, WIRE_EOF, WIRE_STDIN, r->id, NULL, 0);
	peer_put_u32(p, WIRE_CREDIT, WIRE_STDOUT, r->id, 5);
	peer_put_u32(p, WIRE_SIGNAL, 0, r->id, SIGTERM);
	peer_put(p, WIRE_WINSIZE, 0, r->id, "abcdefgh", 8);
	peer_put(p, WIRE_RESET, 0, r->id, NULL, 0);
	big = run_new(p);
	peer_put(p, WIRE_OPEN, WIRE_OPEN_MORE, big->id, piece, 1000);
	r = run_sh(p, "exit 6");
	for (i = 0; i < WIRE_REQUEST_MAX + 100000; i += sizeof(piece))
		peer_put(p, WIRE_OPEN, WIRE_OPEN_MORE, big->id, piece,
			 sizeof(piece));
	peer_put(p, WIRE_OPEN, 0, big->id, piece, 1);
	peer_sync(p);
	run_wait(p, r);
	is_exit(r, false, 6, "late frames are no breach");
	ok(big->failed && big->why.num == E2BIG && big->after_end == 0,
	   "a request is refused once, however much of it follows");
	peer_free(p);
}

/* ---- what becomes of the rest ---- */

static void all_killed(void)
{
	int life = life_watch("life");
	struct peer *good = join(true), *p = join(true);
	struct run *r, *other = run_sh(good, "echo; exec cat");

	r = run_sh(p, "exec 9>life; trap '' TERM HUP; yes & echo ready; "
		      "wait; wait");
	r->drop = true;
	peer_until(good, other->got[0]);
	peer_until(p, r->got[0] > 10000);
	peer_put(p, WIRE_PING, 9, 9, NULL, 0);
	expect_dropped(p, "wrong stream");
	ok(life_ended(life), "what it had started is killed");
	run_input(other, "mine", 4);
	run_wait(good, other);
	is_str(run_text(other, 0), "\nmine", "what others started is not");
	peer_free(good);
}

/* The last words do not fit into the socket, and nobody reads them. */
static void deaf(void)
{
	struct peer *p = join(true);
	int life = life_watch("life");
	struct run *r = run_sh(p, "exec 9>life; yes");

	r->hold = true;
	peer_until(p, r->got[0]);
	peer_put(p, WIRE_PING, 9, 9, NULL, 0);
	while (p->send.len > p->sent)
		peer_flush(p);
	ok(life_ended(life), "a peer that does not listen is dropped as well");
	peer_free(p);
}

/* There is more to be sent than the peer takes, and commands would add to it:
 * still nothing comes behind the ERROR. */
static void last_word(void)
{
	int s[2], small = 4096;
	struct peer *p;
	struct run *r[3];
	size_t i;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) < 0)
		bail("no socket");
	setsockopt(s[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	p = peer_on(s[0], agent_start("--serve", s[1]));
	close(s[1]);
	peer_greet(p);

	for (i = 0; i < ARRAY_SIZE(r); i++) {
		r[i] = run_sh(p, "exec cat /dev/zero");
		r[i]->hold = r[i]->drop = true;
	}
	p->bite = 4096;
	peer_until(p, r[0]->started && r[1]->started && r[2]->started);
	peer_put(p, WIRE_PING, 9, 9, NULL, 0);
	expect_dropped(p, "wrong stream");
}

static void half_frames(void)
{
	struct peer *p = join(true);

	buf_add(&p->send, "\1\0\2", 3);
	peer_flush(p);
	peer_free(p);
	p = join(false);
	peer_free(p);
	expect_service("peers that vanish in the middle of a word");
}

static void too_many(void)
{
	enum { MANY = 300 };
	struct peer *p[MANY];
	size_t i;

	/* One more is the witness of main(). */
	for (i = 0; i < MANY - 1; i++)
		p[i] = join(true);
	p[i] = join(false);
	peer_until(p[i], false);
	ok(p[i]->closed && !p[i]->greeted, "one connection too many");
	for (i = 0; i < MANY; i++)
		peer_free(p[i]);
}

int main(void)
{
	struct err e = ERR_INIT;
	struct peer *witness;
	int listener, fds, status;
	char path[64];

	scratch_enter();
	listener = sock_listen("sock", &e);
	agent = agent_start("--listen", listener);
	snprintf(path, sizeof(path), "/proc/%d/fd", agent);
	expect_service("served");
	witness = join(true);
	fds = count_entries(path);
	bad_frames();
	too_long();
	greetings();
	wrong_moments();
	wrong_data();
	overruns();
	no_breaches();
	all_killed();
	deaf();
	last_word();
	half_frames();
	too_many();
	expect_service("after all this the agent serves on");
	/* Its turn comes after those that went before. */
	peer_sync(witness);
	is_int(waitpid(agent, &status, WNOHANG), 0, "the same one");
	is_int(count_entries(path), fds, "it has no descriptor more");
	peer_free(witness);
	kill(agent, SIGKILL);
	waitpid(agent, &status, 0);
	close(listener);
	scratch_leave();
	return tap_done();
}
