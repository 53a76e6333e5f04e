/* SPDX-License-Identifier: MIT
 *
 * A child process that goes to jail and does something there.
 */
#ifndef TESTS_JAIL_CHILD_H
#define TESTS_JAIL_CHILD_H

#include "tests/tap.h"

#include "base/err.h"
#include "vmm/jail.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_UID 1879048192U
#define CHILD_GID 1879048193U
#define CHILD_FILES 64U
#define CHILD_FILE_SIZE (1U << 20)
#define CHILD_FAILED 99 /* exit status: did not get into the jail */
#define ROLE_NONE JAIL_ROLES

#define CHILD_SPEC(fds, n)                                         \
	{                                                          \
		.uid = CHILD_UID, .gid = CHILD_GID, .keep = (fds), \
		.nkeep = (n), .netns = -1, .files = CHILD_FILES,   \
		.file_size = CHILD_FILE_SIZE,                      \
	}

static inline void child_must(int r, const struct err *e)
{
	if (r >= 0)
		return;
	fprintf(stderr, "# %s\n# %s\n", e->text, e->fix);
	_exit(CHILD_FAILED);
}

/* Run @fn(@arg) in a jail with the filter of @role, or without one.  Its wait
 * status. */
static inline int child_run(const struct jail_spec *s, enum jail_role role,
			    int (*fn)(void *), void *arg)
{
	struct err e = ERR_INIT;
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		child_must(jail_enter(s, &e), &e);
		if (role != ROLE_NONE)
			child_must(jail_thread(role, &e), &e);
		_exit(fn(arg));
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		bail("no child: %s", strerror(errno));
	return status;
}

#endif
