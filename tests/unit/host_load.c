/* SPDX-License-Identifier: MIT
 *
 * The multiplexer under pressure: ends that are slow, or deaf, or too many.
 */
#include "tests/tap.h"

#include "tests/unit/mux_ends.h"

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
	slow_agent();
	deaf_client();
	too_many();
	scratch_leave();
	is_int(count_fds(), fds, "no descriptor was left open");
	return tap_done();
}
