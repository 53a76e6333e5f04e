/* SPDX-License-Identifier: MIT
 *
 * The agent's ports: bytes to and from what listens in the guest.
 */
#include "tests/tap.h"

#include <netinet/in.h>
#include <stdio.h>

#include "tests/unit/agent_peer.h"

#define BIG (5U << 20)

/* A socket that listens at 127.0.0.1, or ::1, and its port; -1 and 0: none. */
static int listen_at(int family, uint32_t *port)
{
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6,
				   .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct sockaddr_in v4 = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr *sa = family == AF_INET ? (struct sockaddr *)&v4 :
						  (struct sockaddr *)&v6;
	socklen_t n = family == AF_INET ? sizeof(v4) : sizeof(v6);
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, sa, n) < 0 || listen(fd, 8) < 0 ||
	    getsockname(fd, sa, &n) < 0) {
		fd_close(&fd);
		*port = 0;
		return -1;
	}
	*port = ntohs(family == AF_INET ? v4.sin_port : v6.sin6_port);
	return fd;
}

/* A server in a process of its own, which serves one connection. */
static pid_t serve(int listener, void (*fn)(int fd))
{
	pid_t pid = fork();

	if (pid == 0) {
		fn(accept(listener, NULL, NULL));
		_exit(0);
	}
	close(listener);
	return pid;
}

static struct run *connect_port(struct peer *p, uint32_t port)
{
	struct wire_request x = WIRE_REQUEST_INIT;

	x.op = WIRE_OP_PORT;
	x.port = port;
	return run_exec(p, &x);
}

static void server_ended(pid_t pid, const char *what)
{
	int status = -1;

	waitpid(pid, &status, 0);
	is_int(status, 0, what);
}

/* ---- servers ---- */

static void copy(int fd)
{
	static uint8_t bytes[65536];
	ssize_t n;

	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		io_write_full(fd, bytes, (size_t)n);
	close(fd);
}

/* Speaks only when it has heard everything. */
static void count(int fd)
{
	static uint8_t bytes[65536];
	size_t sum = 0;
	ssize_t n;

	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		sum += (size_t)n;
	dprintf(fd, "%zu", sum);
}

/* Says all it has to say, and then listens. */
static void speak_first(int fd)
{
	uint8_t byte;
	int n = 0;

	io_write_full(fd, "first", 5);
	shutdown(fd, SHUT_WR);
	while (read(fd, &byte, 1) == 1)
		n++;
	_exit(n == 4 ? 0 : 1);
}

static void until_closed(int fd)
{
	uint8_t byte;

	io_write_full(fd, "x", 1);
	_exit(read(fd, &byte, 1) <= 0 ? 0 : 1);
}

static void break_it(int fd)
{
	const struct linger now = { 1, 0 };
	uint8_t byte;

	/* Not before it is known to have been accepted. */
	if (read(fd, &byte, 1) != 1)
		_exit(1);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

static void flood(int fd)
{
	static const uint8_t zeros[65536];

	signal(SIGPIPE, SIG_IGN);
	while (io_write_full(fd, zeros, sizeof(zeros)) == 0)
		;
}

/* ---- tests ---- */

static void both_ways(struct peer *p)
{
	mem_auto uint8_t *data = malloc(BIG);
	uint32_t x = 1, port;
	struct run *r;
	pid_t pid;
	size_t i;

	for (i = 0; i < BIG; i++) {
		x = x * 1664525 + 1013904223;
		data[i] = (uint8_t)(x >> 24);
	}
	pid = serve(listen_at(AF_INET, &port), copy);
	r = connect_port(p, port);
	run_input(r, data, BIG);
	run_wait(p, r);
	ok(r->started && r->eof[0] && !r->eof[1], "started, one end");
	is_mem(r->out[0].data, r->out[0].len, data, BIG, "5 MB each way");
	is_exit(r, false, 0, "and the end");
	server_ended(pid, "of the server too");
}

static void half_closed(struct peer *p)
{
	uint32_t port;
	struct run *r;
	pid_t pid = serve(listen_at(AF_INET, &port), count);

	r = connect_port(p, port);
	run_input(r, "12345", 5);
	run_wait(p, r);
	is_str(run_text(r, 0), "5", "the server speaks after our end");
	server_ended(pid, "it has ended");
	pid = serve(listen_at(AF_INET, &port), speak_first);
	r = connect_port(p, port);
	peer_until(p, r->eof[0]);
	is_str(run_text(r, 0), "first", "the server has nothing more to say");
	ok(!r->exited, "but to hear");
	run_input(r, "four", 4);
	run_wait(p, r);
	is_exit(r, false, 0, "both have ended");
	server_ended(pid, "it has heard all");
}

static void refused(struct peer *p)
{
	uint32_t port;
	int fd = listen_at(AF_INET, &port);
	struct run *r;

	close(fd);
	r = connect_port(p, port);
	run_input(r, "early", 5);
	run_wait(p, r);
	ok(r->failed && r->why.num == ECONNREFUSED && !r->started,
	   "nobody listens");
	has_str(r->why.text, "cannot connect to port", "which is said");
	peer_sync(p);
	is_int(r->after_end, 0, "once");
}

static void second_address(struct peer *p)
{
	uint32_t port;
	int fd = listen_at(AF_INET6, &port);
	struct run *r;
	pid_t pid;

	if (fd < 0) {
		diag("no ::1 here");
		return;
	}
	pid = serve(fd, count);
	r = connect_port(p, port);
	run_input(r, "123", 3);
	run_wait(p, r);
	is_str(run_text(r, 0), "3", "what listens at ::1 is found");
	server_ended(pid, "it has ended");
}

static void ends(struct peer *p)
{
	uint32_t port;
	struct run *r;
	pid_t pid = serve(listen_at(AF_INET, &port), until_closed);

	r = connect_port(p, port);
	peer_until(p, r->got[0]);
	peer_put(p, WIRE_RESET, 0, r->id, NULL, 0);
	run_wait(p, r);
	ok(r->exited && !r->eof[0], "RESET");
	server_ended(pid, "closes the connection");
	pid = serve(listen_at(AF_INET, &port), break_it);
	r = connect_port(p, port);
	peer_put(p, WIRE_DATA, WIRE_STDIN, r->id, "x", 1);
	run_wait(p, r);
	ok(r->exited && r->eof[0], "a connection that the server breaks");
	server_ended(pid, "ends");
	pid = serve(listen_at(AF_INET, &port), flood);
	r = connect_port(p, port);
	r->hold = r->drop = true;
	peer_until(p, r->got[0] == WIRE_WINDOW);
	peer_sync(p);
	is_int(r->got[0], WIRE_WINDOW, "a flood stops at the window");
	peer_put(p, WIRE_EOF, WIRE_STDOUT, r->id, NULL, 0);
	run_input(r, NULL, 0);
	run_wait(p, r);
	is_exit(r, false, 0, "nothing wanted, nothing to say");
	server_ended(pid, "is the end");
}

/* The server takes nothing; nor does the agent then. */
static void stalled(struct peer *p)
{
	static const uint8_t data[16 << 20];
	uint32_t port;
	int fd = listen_at(AF_INET, &port);
	struct run *r = connect_port(p, port);

	run_input(r, data, sizeof(data));
	peer_until(p, r->in_credit == 0);
	peer_sync(p);
	ok(r->in_left > 0, "a server that does not read stops us");
	peer_put(p, WIRE_RESET, 0, r->id, NULL, 0);
	r->in_left = 0;
	r->in_end = false;
	run_wait(p, r);
	ok(r->exited, "until RESET");
	close(fd);
}

static void peer_gone(void)
{
	uint32_t port;
	/* First, so that it has no copy of the peer's socket. */
	pid_t pid = serve(listen_at(AF_INET, &port), until_closed);
	struct peer *p = peer_start();
	struct run *r = connect_port(p, port);

	peer_until(p, r->got[0]);
	peer_free(p);
	server_ended(pid, "with its peer the connection is gone");
}

int main(void)
{
	int fds = count_fds(), of_agent;
	struct peer *p = peer_start();
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd", p->agent);
	of_agent = count_entries(path);
	both_ways(p);
	half_closed(p);
	refused(p);
	second_address(p);
	ends(p);
	stalled(p);
	peer_sync(p);
	is_int(count_entries(path), of_agent, "the agent has let go of all");
	ok(!p->broken, "none of this is a breach");
	peer_free(p);
	peer_gone();
	is_int(count_fds(), fds, "no descriptor was left open");
	return tap_done();
}
