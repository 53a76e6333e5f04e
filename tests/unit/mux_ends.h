/* SPDX-License-Identifier: MIT
 *
 * The multiplexer with both its ends in one process: everything happens in
 * spin(), which ends when nothing moves.
 */
#ifndef TESTS_UNIT_MUX_ENDS_H
#define TESTS_UNIT_MUX_ENDS_H

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/sock.h"
#include "host/mux.h"
#include "tests/unit/scratch.h"
#include "wire/msg.h"

/* A client's or the agent's end of a connection. */
struct end {
	int fd;
	struct wire_reader in;
};

static struct mux mux;
static struct end agent;
static struct err lost; /* of mux_serve */

static inline void spin(void)
{
	struct pollfd pf[MUX_POLL_MAX];
	size_t n = mux_want(&mux, pf);

	while (!lost.num && poll(pf, n, 0) > 0) {
		if (mux_serve(&mux, pf, n, &lost) < 0)
			return;
		n = mux_want(&mux, pf);
	}
}

static inline void say(struct end *end, enum wire_type type, uint8_t channel,
		       uint32_t stream, const void *p, size_t n)
{
	buf_auto struct buf b = BUF_INIT;

	wire_put(&b, type, channel, stream, p, n);
	if (io_write_full(end->fd, b.data, b.len) < 0)
		diag("could not send type %d", type);
	spin();
}

static inline void say_u32(struct end *end, enum wire_type type,
			   uint8_t channel, uint32_t stream, uint32_t v)
{
	uint8_t p[4];

	wire_set32(p, v);
	say(end, type, channel, stream, p, 4);
}

static inline void say_hello(struct end *end)
{
	buf_auto struct buf b = BUF_INIT;

	wire_put_hello(&b, "test");
	io_write_full(end->fd, b.data, b.len);
	spin();
}

/* The next frame that has arrived; false: none; @closed: never any more. */
static inline bool hear(struct end *end, struct wire_frame *f, bool *closed)
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

static inline void expect(struct end *end, enum wire_type type, uint8_t channel,
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

static inline void expect_nothing(struct end *end, const char *what)
{
	struct wire_frame f;
	bool closed;

	ok(!hear(end, &f, &closed) && !closed, "%s", what);
}

/* ERROR with @text in it, then the end. */
static inline void expect_error(struct end *end, const char *text)
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

static inline void end_init(struct end *end, int fd, enum wire_side from)
{
	if (fd < 0)
		bail("no connection");
	end->fd = fd;
	fd_nonblock(fd, true);
	wire_reader_init(&end->in, from);
}

static inline void join(struct end *end)
{
	end_init(end, sock_connect("sock", NULL), WIRE_AGENT);
	say_hello(end);
}

/* A mux whose agent has not said anything yet. */
static inline void start(void)
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

static inline void start_ready(void)
{
	start();
	say_hello(&agent);
}

static inline void stop(void)
{
	struct err why = { .num = ESHUTDOWN, .text = "over" };

	mux_close(&mux, &why);
	close(agent.fd);
}

static inline void join_ready(struct end *end)
{
	join(end);
	expect(end, WIRE_HELLO, 0, 0, NULL, "a client is greeted");
}

#endif
