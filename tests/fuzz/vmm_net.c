/* SPDX-License-Identifier: MIT
 *
 * libFuzzer: the network device, on a pair of sockets for a tap.  See virtio.h
 * for the input; an event is a packet from the wire (u16 its length, u8 and so
 * many bytes of its beginning), and a turn of the loop.
 */
#include <sys/socket.h>

#include "tests/fuzz/virtio.h"
#include "vmm/virtio/net.h"

static struct net net;
static struct loop loop;
static int wire;

/* What the loop would do. */
static void turn(void)
{
	struct epoll_event ev;
	unsigned n;

	for (n = 0; n < 4 && epoll_wait(loop.epoll, &ev, 1, 0) == 1; n++)
		net.tap.ready(&net.tap, ev.events);
}

static void event(struct virtio *v, struct fuzz_bytes *b)
{
	static uint8_t packet[65536];
	size_t n = fuzz_int(b, 2);

	(void)v;
	fuzz_copy(b, packet, fuzz_int(b, 1));
	send(wire, packet, n, MSG_DONTWAIT);
	turn();
}

static void check(struct driver *d)
{
	static uint8_t packet[NET_FRAME_MAX];

	(void)d;
	fuzz_must(net.pending <= sizeof(net.frame));
	/* So that there is always room for more. */
	while (recv(wire, packet, sizeof(packet), MSG_DONTWAIT) >= 0)
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const struct fuzz_calls calls = { event, check };
	struct driver *d = fuzz_ram();
	struct net_spec s = { .tap = -1 };
	int pair[2];

	fuzz_must(loop_init(&loop) == 0);
	fuzz_must(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
	s.tap = pair[0];
	wire = pair[1];
	fuzz_must(net_init(&net, &s, &d->m, NULL, NULL) == 0);
	close(pair[0]);
	net.tap.loop = &loop;
	fuzz_virtio(d, &net.v, &calls, p, n);
	net_free(&net);
	loop_free(&loop);
	close(wire);
	return 0;
}
