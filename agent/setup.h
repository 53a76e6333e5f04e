/* SPDX-License-Identifier: MIT
 *
 * Which machine this is: its identity, and what its image says of commands.
 *
 * A sandbox boots, or is restored, or is the copy of another, and each time a
 * request of WIRE_OP_SETUP follows.  What it says of identity is put in force;
 * what it says of commands (environment, user, directory) is kept and holds
 * where a later request says nothing.
 */
#ifndef AGENT_SETUP_H
#define AGENT_SETUP_H

#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;
struct wire_request;

/* From now on this machine is ours: no other request is served before a setup
 * has succeeded, and setups change it.  Without that they are only kept. */
void setup_require(void);

/* 0, or -EAGAIN with @e filled when there must be one and was none. */
int setup_check(struct err *e);

/* This is another machine than was set up: the same must be done again. */
void setup_forget(void);

/* Put a setup in force: @x, whose bytes are the @n at @p.  As often as one
 * comes: what has succeeded is not undone when a later step fails, but is done
 * again.  Commands that are frozen go on when all have succeeded, and not
 * before.  0 or -errno with @e filled. */
int setup_apply(const struct wire_request *x, const uint8_t *p, size_t n,
		struct err *e);

/* The last one that succeeded; NULL: none did.  Valid until the next. */
const struct wire_request *setup_last(void);

/* Names only, neither clock nor entropy: the host name, /etc/machine-id, the
 * boot ID, and the files that say who is who. */
int setup_identity(const struct wire_request *x, struct err *e);

/* Append /etc/hosts as it is to be on machine @name to @b, of the @n bytes that
 * it has: every line but ours stays. */
void setup_hosts(struct buf *b, const char *text, size_t n, const char *name);

#endif
