/* SPDX-License-Identifier: MIT
 *
 * The processes of an emulated host: QEMU and its two file servers.
 */
#ifndef HOST_MACHINE_H
#define HOST_MACHINE_H

#include "base/proc.h"

struct emu_config;
struct err;

/* One for the machine's root, one for what is shared. */
enum { FS_ROOT, FS_SHARE, FS_N };

struct machine {
	struct proc qemu;
	struct proc fs[FS_N];
};

#define MACHINE_INIT                                              \
	{                                                         \
		.qemu = PROC_INIT, .fs = { PROC_INIT, PROC_INIT } \
	}

/* Start them in @dir, where emu_view() has made "root" and "share".  They die
 * with the calling thread.  *@agent and *@console become our ends of the
 * agent's port and of the serial port.  0 or -errno with @e filled; what was
 * started is then for machine_end(). */
int machine_start(struct machine *m, const struct emu_config *c,
		  const char *dir, int *agent, int *console, struct err *e);

/* Kill and reap what is there. */
void machine_end(struct machine *m);

#endif
