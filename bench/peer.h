/* SPDX-License-Identifier: MIT
 *
 * What bench/peer.c, in a guest, does when bench/talk.c, outside, asks it to:
 * one struct in the byte order of x86, and for all but PEER_SOURCE one byte
 * back when it is done.
 */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <stddef.h>
#include <stdint.h>

#define PEER_PORT 1024 /* of vsock, where the agent would be */

enum peer_op {
	PEER_SINK = 'i',	 /* @bytes are sent to it */
	PEER_SOURCE = 'o',	 /* it sends @bytes */
	PEER_READ = 'r',	 /* from the disk's start on */
	PEER_WRITE = 'w',	 /* with an fsync at the end */
	PEER_RANDOM_READ = 'R',	 /* the same blocks every time, in any order */
	PEER_RANDOM_WRITE = 'W', /* with an fsync at the end */
};

struct peer_request {
	uint8_t op;
	uint8_t zero[3];
	uint32_t block; /* bytes a read or write, at most PEER_BLOCK_MAX */
	uint64_t bytes;
};

#define PEER_BLOCK_MAX ((size_t)1 << 20)

#endif
