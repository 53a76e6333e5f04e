/* SPDX-License-Identifier: MIT
 *
 * What programs that run a command for somebody else end with: the command's
 * own exit status, or what env(1), timeout(1) and shells have for the rest.
 */
#ifndef BIN_RAN_H
#define BIN_RAN_H

#include "wire/client.h"

struct err;

enum {
	RAN_TIMEOUT = 124,
	RAN_FAILED = 125,	  /* this program, not the command */
	RAN_NOT_EXECUTABLE = 126, /* it is there and cannot be run */
	RAN_NOT_FOUND = 127,
	RAN_SIGNALED = 128, /* and the signal's number */
};

/* Print @e; @code. */
int ran_fail(const struct err *e, int code);

/* The code for a command that could not be started because of @num. */
int ran_code_of(int num);

/* The code for how it ended; prints @e where it is filled. */
int ran_code(enum wire_outcome outcome, const struct wire_exit *ended,
	     const struct err *e);

/* Ask for a terminal of the size of the one on standard input. */
void ran_tty(struct wire_request *x);

#endif
