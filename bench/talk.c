/* SPDX-License-Identifier: MIT
 *
 * Asks bench/peer.c in a guest to move bytes.
 *
 * usage: talk WHERE OP BYTES BLOCK [TIMES]
 *
 * WHERE is the monitor's unix socket, or the CID of a guest with vhost-vsock;
 * OP one of enum peer_op.  Prints the nanoseconds from the request to the end
 * of it, on a connection that stands already, for TIMES (1) of them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
/* After sys/socket.h, which it wants. */
#include <linux/vm_sockets.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/sock.h"
#include "bench/peer.h"

#define PATIENCE_S 60

static struct err e = ERR_INIT;
static char block[PEER_BLOCK_MAX];

static void must(int r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "talk: %s: %s\n", what,
		*e.text ? e.text : strerror(errno));
	exit(1);
}

static int open_vsock(uint32_t cid)
{
	const struct sockaddr_vm sa = {
		.svm_family = AF_VSOCK,
		.svm_cid = cid,
		.svm_port = PEER_PORT,
	};
	/* Two seconds, otherwise. */
	const struct timeval patience = { .tv_sec = PATIENCE_S };
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	must(fd, "vsock");
	must(setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &patience,
			sizeof(patience)),
	     "timeout");
	must(connect(fd, (const struct sockaddr *)&sa, sizeof(sa)), "connect");
	return fd;
}

static int open_unix(const char *path)
{
	int fd = sock_connect(path, &e);
	char c = 0;

	must(fd, path);
	must(dprintf(fd, "CONNECT %d\n", PEER_PORT), path);
	/* "OK" and a number: no byte more than that. */
	while (c != '\n')
		must(read(fd, &c, 1) == 1 ? 0 : -1, "no peer in the guest");
	return fd;
}

static void send_bytes(int fd, uint64_t left, size_t size)
{
	while (left > 0) {
		size_t n = left < size ? left : size;

		must(io_write_full(fd, block, n), "send");
		left -= n;
	}
}

static void receive(int fd, uint64_t left, size_t size)
{
	while (left > 0) {
		ssize_t n = read(fd, block, left < size ? left : size);

		must(n > 0 ? 0 : -1, "receive");
		left -= (uint64_t)n;
	}
}

static uint64_t once(int fd, const struct peer_request *q)
{
	uint64_t from = clock_now();

	must(io_write_full(fd, q, sizeof(*q)), "send");
	if (q->op == PEER_SINK)
		send_bytes(fd, q->bytes, q->block);
	receive(fd, q->op == PEER_SOURCE ? q->bytes : 1, q->block);
	return clock_now() - from;
}

int main(int argc, char **argv)
{
	struct peer_request q = { 0 };
	unsigned long i, times;
	int fd;

	if (argc < 5)
		return 2;
	q.op = (uint8_t)argv[2][0];
	q.bytes = strtoull(argv[3], NULL, 10);
	q.block = (uint32_t)strtoul(argv[4], NULL, 10);
	times = argc > 5 ? strtoul(argv[5], NULL, 10) : 1;
	if (q.block == 0 || q.block > sizeof(block))
		return 2;
	fd = strchr(argv[1], '/') ?
		     open_unix(argv[1]) :
		     open_vsock((uint32_t)strtoul(argv[1], NULL, 10));
	for (i = 0; i < times; i++)
		printf("%llu\n", (unsigned long long)once(fd, &q));
	close(fd);
	return 0;
}
