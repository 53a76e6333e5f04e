/* SPDX-License-Identifier: MIT
 *
 * Having all commands of a sandbox stand still, for as long as one holds on:
 * iso-agent(7), "Standing still".
 */
#ifndef SANDBOX_QUIESCE_H
#define SANDBOX_QUIESCE_H

#include <stdint.h>

struct box;
struct err;
struct wire_stream;

struct quiesce {
	int conn;	       /* owned; -1: nothing is held */
	struct wire_stream *s; /* owned */
};

#define QUIESCE_INIT                  \
	{                             \
		.conn = -1, .s = NULL \
	}
#define quiesce_auto __attribute__((cleanup(quiesce_end)))

/* Have them stand still, all of them, waiting until @deadline (clock_now()).
 * 0; or -errno with @e filled, and nothing is held: -EAGAIN when the sandbox is
 * not set up, -ETIMEDOUT when one of them is in a system call that does not
 * end, or another has them stand still already. */
int quiesce_begin(struct quiesce *q, const struct box *b, uint64_t deadline,
		  struct err *e);

/* Let them go on, unless this machine has become the copy of another since.  At
 * once; the guest does not say when it has done so.  May be called at any time
 * after QUIESCE_INIT, any number of times. */
void quiesce_end(struct quiesce *q);

#endif
