/* SPDX-License-Identifier: MIT
 *
 * Pseudo-terminals.
 */
#ifndef AGENT_PTY_H
#define AGENT_PTY_H

#include <sys/types.h>

struct err;
struct wire_winsize;

/* A new one of that size: the descriptors of both its ends.  0, or -errno with
 * @e filled. */
int pty_open(int *master, int *slave, const struct wire_winsize *w,
	     struct err *e);

/* The new size.  Of either end. */
void pty_resize(int fd, const struct wire_winsize *w);

/* The process group in the foreground; 0: none. */
pid_t pty_foreground(int master);

#endif
