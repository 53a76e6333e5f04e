/* SPDX-License-Identifier: MIT
 *
 * Commands of other users, started in two steps.
 *
 * The agent waits for a process that it starts to have executed its program
 * (vfork).  A process that is the user's already can be stopped by the user
 * just then, by kill(-1, SIGSTOP), and the agent would wait for ever.  So what
 * the agent starts is itself, still as root; that changes user and directory
 * and executes the command, and only itself can be stopped.
 */
#ifndef AGENT_AS_H
#define AGENT_AS_H

#include <stdbool.h>

#include "base/proc.h"

struct err;

/* What the agent is started with to become somebody. */
struct as {
	const char **argv; /* owned */
	char uid[12], gid[12];
	char *groups; /* owned */
};

#define as_auto __attribute__((cleanup(as_free)))

/* Fill @a for the command @argv as @cred in @cwd.  Its third descriptor is
 * where it says what failed.  0 or -ENOMEM. */
int as_make(struct as *a, const char *const *argv, const struct proc_cred *cred,
	    const char *cwd, struct err *e);
void as_free(struct as *a);

/* The other side: "iso-agent as UID GID GROUPS CWD COMMAND...".  Returns only
 * when it fails, with an exit status. */
int as_main(int argc, char **argv);

/* Whether the command of which @fd is the other end of that descriptor could
 * not be run: @e is filled.  It has ended. */
bool as_failed(int fd, struct err *e);

#endif
