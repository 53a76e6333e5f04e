/* SPDX-License-Identifier: MIT
 *
 * What every program of the suite does alike: reads its option table, prints
 * errors in one grammar, and ends with one of three codes.
 */
#ifndef BIN_TOOL_H
#define BIN_TOOL_H

#include "base/opt.h"

struct err;

enum {
	EXIT_DONE = 0,
	EXIT_FAILED = 1, /* it failed, or the answer is no */
	EXIT_WRONG = 2,	 /* wrong usage */
};

/* Parse the command line and run the command: the whole of main(). */
int tool_main(const struct opt_prog *p, int argc, char **argv);

/* "prog: text", and "prog: try: fix" below it, to standard error. */
void tool_warn(const struct err *e);

/* The same, and EXIT_FAILED to return with. */
int tool_fail(const struct err *e);

/* "prog: ..." to standard error, for talk that is no error. */
void tool_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Flush standard output; EXIT_FAILED with a message if it could not all be
 * written (a full disk is not success), else @code. */
int tool_done(int code);

/* Undo what tool_main() did to signals, before becoming another program. */
void tool_restore_signals(void);

/* $ISO_ROOT, or the default, as an absolute path.  Lives as long as the
 * process. */
const char *tool_root(void);

#endif
