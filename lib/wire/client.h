/* SPDX-License-Identifier: MIT
 *
 * The client's end of one command: its standard streams, its terminal and its
 * signals, carried over a connection to an agent.
 */
#ifndef WIRE_CLIENT_H
#define WIRE_CLIENT_H

#include "wire/msg.h"

struct err;

enum wire_outcome {
	WIRE_EXITED,  /* it ran and ended: see the struct wire_exit */
	WIRE_REFUSED, /* the agent could not start it: @e says why */
	WIRE_LOST,    /* the connection ended or broke: @e says why */
	WIRE_TIMEOUT, /* it was killed at the deadline; if @e is filled, that
			 is not certain, and why */
};

/* Wait on @conn for the agent's HELLO, sending ours.  0 or -errno with @e
 * filled. */
int wire_greet(int conn, struct err *e);

/* The same, but not for longer than until clock_now() has reached @deadline:
 * then -ETIMEDOUT. */
int wire_greet_until(int conn, uint64_t deadline, struct err *e);

/* Run @x over @conn (blocking; greeted already), with 0, 1 and 2 as its
 * standard streams, until its end and its last byte.  With x->tty the
 * terminal on 0, if it is one, is raw meanwhile.  Signals that would end or
 * stop this process are passed on; @x is not changed. */
enum wire_outcome wire_run(int conn, const struct wire_request *x,
			   struct wire_exit *ended, struct err *e);

/* The same, but when clock_now() has reached @deadline (UINT64_MAX: never) the
 * command and all that it started are killed. */
enum wire_outcome wire_run_until(int conn, const struct wire_request *x,
				 uint64_t deadline, struct wire_exit *ended,
				 struct err *e);

#endif
