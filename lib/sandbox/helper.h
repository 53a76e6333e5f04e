/* SPDX-License-Identifier: MIT
 *
 * Programs of the suite that another one runs, and where they are.
 */
#ifndef SANDBOX_HELPER_H
#define SANDBOX_HELPER_H

struct buf;
struct err;

/* The path of @name beside the program that runs: build/bin, or bin where it
 * is installed; on the heap, NULL: out of memory. */
char *helper_path(const char *name);

/* The path of @name among the programs that people do not type:
 * build/libexec, or lib/isokit where it is installed; NULL: not there. */
char *helper_libexec(const char *name);

/* Run @argv, whose first word is a @helper_path(), to its end, with what it
 * prints into @out and its talk to our standard error.  0; -EREMOTEIO when it
 * failed and has said why; another -errno, @e filled. */
int helper_run(const char *const *argv, struct buf *out, struct err *e);

#endif
