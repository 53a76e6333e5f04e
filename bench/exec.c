/* SPDX-License-Identifier: MIT
 *
 * What the agent costs: a command started through it over a socket, against
 * the same command started by ourselves, in turns, so that both see the same
 * machine.  No virtual machine: this is the part that one adds to.
 *
 * usage: exec AGENT [COMMAND...]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/proc.h"
#include "wire/msg.h"

#define ROUNDS 500

static struct err e = ERR_INIT;
static struct wire_reader in;
static const char *const default_command[] = { "/bin/true", NULL };

static void must(int r)
{
	if (r >= 0)
		return;
	fprintf(stderr, "exec: %s\n", e.text);
	exit(1);
}

static void floor_once(const char *const *argv)
{
	struct proc p = PROC_INIT;
	struct proc_spec s = PROC_SPEC_INIT;
	int status;

	s.argv = argv;
	must(proc_spawn(&p, &s, &e));
	must(proc_wait(&p, &status, &e));
}

/* Until the EXIT of the stream, or the first frame of any for stream 0. */
static void await(int conn, uint32_t stream)
{
	struct wire_frame f;
	int r;

	for (;;) {
		while ((r = wire_next(&in, &f, &e)) > 0) {
			if (f.type == WIRE_FAILED)
				exit(1);
			if (!stream || f.type == WIRE_EXIT)
				return;
		}
		must(r);
		if (wire_read(&in, conn) <= 0)
			exit(1);
	}
}

static void agent_once(int conn, const struct buf *request, uint32_t stream)
{
	buf_auto struct buf out = BUF_INIT;

	must(wire_put_open(&out, stream, request));
	must(io_write_full(conn, out.data, out.len));
	await(conn, stream);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void print(const char *what, uint64_t *ns)
{
	static const size_t percentile[] = { 50, 90, 99 };
	size_t i, at;

	qsort(ns, ROUNDS, sizeof(*ns), by_value);
	printf("%-40s", what);
	for (i = 0; i < 3; i++) {
		at = ROUNDS * percentile[i] / 100;
		printf(" %8.3f", (double)ns[at] / 1e6);
	}
	putchar('\n');
}

static void measure(int conn, const char *const *argv)
{
	static uint64_t floor_ns[ROUNDS], agent_ns[ROUNDS];
	buf_auto struct buf request = BUF_INIT;
	struct wire_request x = WIRE_REQUEST_INIT;
	uint32_t i;

	x.argv = (const char **)(uintptr_t)argv;
	while (argv[x.argc])
		x.argc++;
	must(wire_request_encode(&request, &x, &e));
	for (i = 0; i < ROUNDS; i++) {
		uint64_t t0 = clock_now(), t1;

		floor_once(argv);
		t1 = clock_now();
		agent_once(conn, &request, i + 1);
		floor_ns[i] = t1 - t0;
		agent_ns[i] = clock_now() - t1;
	}
	print("start and wait, directly (the floor)", floor_ns);
	print("the same through the agent", agent_ns);
}

int main(int argc, char **argv)
{
	const char *agent[] = { argc > 1 ? argv[1] : "", "--serve", "3", NULL };
	buf_auto struct buf hello = BUF_INIT;
	proc_auto struct proc p = PROC_INIT;
	struct proc_spec s = PROC_SPEC_INIT;
	int sv[2];

	if (argc < 2 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return 2;
	s.argv = agent;
	s.err = STDERR_FILENO;
	s.keep = &sv[1];
	s.nkeep = 1;
	must(proc_spawn(&p, &s, &e));
	close(sv[1]);
	wire_reader_init(&in, WIRE_AGENT);
	must(wire_put_hello(&hello, "bench"));
	must(io_write_full(sv[0], hello.data, hello.len));
	await(sv[0], 0);
	measure(sv[0],
		argc > 2 ? (const char *const *)argv + 2 : default_command);
	return 0;
}
