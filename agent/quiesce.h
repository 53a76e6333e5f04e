/* SPDX-License-Identifier: MIT
 *
 * Standing still while the machine is captured, and finding out afterwards
 * which machine this is.
 *
 *	QUIESCE   freeze -> all stand still -> STARTED ... the stream ends
 *	                                                    |           |
 *	                         the same machine: thaw <---'           |
 *	                         a copy: frozen, not set up <-----------'
 *	SETUP     all of it has succeeded -> thaw
 *
 * A copy cannot tell by its memory that it is one.  But the monitor gives each
 * machine a number of its own, its vsock CID, and when that has changed Linux
 * resets all connections, the stream's among them, and knows the new number
 * before it does.  So the end of the stream is the moment at which to compare.
 * To be told by the host whose end it is would leave a copy that the host has
 * forgotten thawed, with the identity and the random numbers of another.
 *
 * While commands are frozen none can be started: the agent waits for a process
 * that it starts to have executed its program, and in a frozen cgroup that
 * would be for ever.  So the stream's connection is the only one that is read.
 */
#ifndef AGENT_QUIESCE_H
#define AGENT_QUIESCE_H

struct err;
struct stream;

/* In a sandbox, before any command has run. */
void quiesce_init(void);

/* A request of WIRE_OP_QUIESCE: like run_start(). */
int quiesce_start(struct stream *s, struct err *e);

/* 0, or -EBUSY with @e filled when nothing can be asked for: the machine stands
 * still, or is about to. */
int quiesce_check(struct err *e);

#endif
