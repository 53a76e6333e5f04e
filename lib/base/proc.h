/* SPDX-License-Identifier: MIT
 *
 * Starting programs without a shell.
 *
 * vfork(2) and not posix_spawn(3): what we start wants a parent-death signal,
 * a cgroup, another user or a controlling terminal, none of which posix_spawn
 * knows; and not fork(2), whose cost grows with the memory of the caller.
 * Between vfork and exec only plain system calls are made.  Descriptors that
 * are not named do not reach the child; signals are at their defaults there.
 */
#ifndef BASE_PROC_H
#define BASE_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct buf;
struct err;

struct proc {
	pid_t pid;
	int pidfd; /* readable when the process has ended */
};

#define PROC_INIT                      \
	{                              \
		.pid = -1, .pidfd = -1 \
	}
/* Ends (SIGKILL) and reaps a process that is still there. */
#define proc_auto __attribute__((cleanup(proc_end)))

struct proc_cred {
	uid_t uid;
	gid_t gid;
	const gid_t *groups; /* supplementary, borrowed */
	size_t ngroups;
};

#define PROC_NULL (-1) /* for in, out, err: /dev/null */

struct proc_spec {
	const char *const
		*argv; /* argv[0]: a path, or a name looked up in PATH */
	const char *const *envp; /* NULL: the caller's */
	const char *cwd;	 /* NULL: the caller's */
	const char *root;	 /* chroot first; NULL: the caller's */
	int in, out, err;	 /* become 0, 1, 2; PROC_NULL: /dev/null */
	const int *keep;	 /* nkeep descriptors that become 3, 4, ... */
	size_t nkeep;
	const struct proc_cred *cred; /* NULL: the caller's */
	int cgroup;	     /* descriptor of its cgroup2 directory, or -1 */
	int umask;	     /* or -1: the caller's */
	int die_with_parent; /* signal at the death of the calling thread, or 0 */
	bool session;	     /* a session of its own */
	bool ctty;	     /* with session: 0 is its controlling terminal */
};

#define PROC_SPEC_INIT                                               \
	{                                                            \
		.in = PROC_NULL, .out = PROC_NULL, .err = PROC_NULL, \
		.cgroup = -1, .umask = -1                            \
	}

/* Start a program.  0, or -errno with @e filled: a program that cannot be
 * executed is an error here, not a child that ends.  -ENOENT and -EACCES are
 * about the program itself; a directory that cannot be entered is -ENOTDIR. */
int proc_spawn(struct proc *p, const struct proc_spec *s, struct err *e);

/* Become that program: change user and directory as @s says, then execute; of
 * @s only argv, envp, cred and cwd count.  Returns only when it fails: the same
 * -errno and @e as proc_spawn(). */
int proc_become(const struct proc_spec *s, struct err *e);

/* Wait for the end and reap.  0 with *@status as of waitpid(2), or -errno. */
int proc_wait(struct proc *p, int *status, struct err *e);

/* Kill and reap if it is still there; close the pidfd. */
void proc_end(struct proc *p);

/* Run argv to its end with standard output into @out (NULL: discarded).  Its
 * standard error goes to s->err, or, when that is PROC_NULL, its last line
 * into @e when it fails.  0 when it exited with 0; -EIO with @e filled for any
 * other end. */
int proc_run(const struct proc_spec *s, struct buf *out, struct err *e);

/* Describe a wait status: "exited with 1", "was killed by signal 9
 * (Killed)". */
const char *proc_status_text(int status, char text[static 64]);

#endif
