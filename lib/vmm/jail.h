/* SPDX-License-Identifier: MIT
 *
 * The jail of the virtual machine monitor: what a guest that has taken the
 * monitor over can still reach, which is nothing but its own descriptors.
 * The stages, what each is for and what it must not break, are the table of
 * contents of jail.c.
 *
 * The order of calls:
 *
 *	fd_ensure_stdio()	first thing in main()
 *	...			open everything, make the VM
 *	jail_enter()		still the only thread
 *	pthread_create()	the threads, each of which begins with
 *	  jail_kick_init()	  (virtual processors)
 *	  jail_thread()		  and says that it is done; then
 *	jail_thread(JAIL_MAIN)	main's own, last, before any guest runs
 *
 * A process forked off later has all of it already; its new threads call
 * jail_kick_init() and jail_thread() as the first ones did.
 */
#ifndef VMM_JAIL_H
#define VMM_JAIL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct err;

/* Stages of jail_enter(), in their order. */
enum jail_stage {
	JAIL_FDS,
	JAIL_USER,
	JAIL_MOUNT,
	JAIL_NET,
	JAIL_IPC,
	JAIL_ROOT,
	JAIL_IDENTITY,
	JAIL_LIMITS,
	JAIL_STAGES
};

/* Roles of threads, each with its system calls: seccomp.c has them. */
enum jail_role {
	JAIL_VCPU,
	JAIL_DISK,
	JAIL_MAIN, /* all that the others may, and more: it makes threads */
	JAIL_ROLES
};

struct jail_spec {
	uid_t uid;	    /* the sandbox's own, used and then required not */
	gid_t gid;	    /* to be 0 when we are root; else ours stay */
	const int *keep;    /* nkeep descriptors that stay open besides */
	size_t nkeep;	    /* 0 to 2; no directories; any order */
	int netns;	    /* an empty network namespace made ahead, or -1 */
	unsigned int files; /* most descriptors to be open at a time */
	uint64_t file_size; /* of the largest file written, in bytes */
	uint64_t *took;	    /* JAIL_STAGES durations in ns are put there, */
			    /* or NULL */
};

#define JAIL_SPEC_INIT       \
	{                    \
		.netns = -1, \
	}

/* Isolate the process, all but the system calls.  To be called by its only
 * thread.  0, or -errno with @e filled: the process is then somewhere between
 * and must end. */
int jail_enter(const struct jail_spec *s, struct err *e);

/* From here on the calling thread can make the system calls of its role, with
 * the arguments that are allowed; any other kills the process (SIGSYS).  For
 * good: a thread that calls it twice has what both roles allow.  0 or -errno
 * with @e filled. */
int jail_thread(enum jail_role role, struct err *e);

/* How threads interrupt one another without kill(2): a timer whose signal goes
 * to one thread.  The kernel makes such a timer for threads of the same process
 * only, so there is no argument that could be a stranger's; and it is the same
 * after fork(2), when a tgkill(2) filtered by process id would still have the
 * parent's.  Timers are not inherited by fork: the child makes its own. */
struct jail_kick {
	timer_t timer;
};

/* Let jail_kick() send signal @sig to the calling thread.  0 or -errno with @e
 * filled. */
int jail_kick_init(struct jail_kick *k, int sig, struct err *e);

/* Send it; by any thread, async-signal-safe.  Kicks that come before the signal
 * was taken become one. */
void jail_kick(const struct jail_kick *k);

/* When no thread kicks any more; needed only if the process lives on. */
void jail_kick_free(struct jail_kick *k);

#endif
