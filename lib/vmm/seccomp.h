/* SPDX-License-Identifier: MIT
 *
 * The system calls of each thread of the monitor, and the filter program made
 * of them.
 *
 * When a monitor was killed by SIGSYS, the kernel's log has a line "audit:
 * type=1326 ... syscall=NUMBER" about it: which call it was.
 */
#ifndef VMM_SECCOMP_H
#define VMM_SECCOMP_H

#include <linux/filter.h>
#include <stddef.h>

#include "vmm/jail.h"

struct err;

/* Instructions of the longest filter, with room to grow; the kernel takes
 * 4096. */
#define SECCOMP_MAX 512

/* Write the filter of @role to @out.  The number of its instructions, or
 * -ENOSPC, -EINVAL for a table that cannot be expressed: mistakes of ours that
 * the unit test finds. */
int seccomp_build(enum jail_role role,
		  struct sock_filter out[static SECCOMP_MAX]);

/* Put it on the calling thread, for ever.  PR_SET_NO_NEW_PRIVS must be set.
 * 0 or -errno with @e filled. */
int seccomp_install(enum jail_role role, struct err *e);

#endif
