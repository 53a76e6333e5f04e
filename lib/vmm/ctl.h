/* SPDX-License-Identifier: MIT
 *
 * The control socket of a running VM: SOCK_SEQPACKET, one request a packet,
 * one answer to each.
 *
 *	stats		a JSON object: vcpus, memory, exits of each processor,
 *			bytes given back, rules broken
 *	pause, resume	"ok"; who paused and leaves without resuming has
 *			resumed
 *	fork CID	with the descriptors of enum vm_clone_fd: "ok PID"; the
 *			VM must be paused.  The child's guest gets the vsock
 *			address CID, or another that is not its parent's.  The
 *			child says on the first of them how it went, and stands
 *			still until it is resumed
 *	snapshot [shared]
 *			with the descriptors of enum snap_fd: "ok PID"; the VM
 *			must be paused.  A child writes the files while the VM
 *			may run on, see snap_start().  "shared": the memory file
 *			is a copy of the one that the VM was restored from
 *	hibernate [shared]
 *			with a state file, a memory file and the monitor's own
 *			page map: "ok BYTES" and the VM ends; it must be paused
 *	balloon PAGES	"ok"; the guest is asked to give up so many
 *	quit		"ok", then the VM ends
 *
 * Anything else is answered by "error: " and why.  Who may connect is the
 * business of the socket's file mode.
 */
#ifndef VMM_CTL_H
#define VMM_CTL_H

#include <stdbool.h>

#include "base/loop.h"

struct err;
struct vm;

#define CTL_CLIENTS_MAX 16
#define CTL_PACKET_MAX 4096

struct ctl;

/* Descriptors that a request may bring. */
#define CTL_FDS_MAX 16

struct ctl_client {
	struct watch w;
	struct ctl *ctl;
	bool paused; /* the VM stands still by its wish */
};

struct ctl {
	struct watch listen;
	struct vm *vm; /* borrowed */
	unsigned n;
	struct ctl_client clients[CTL_CLIENTS_MAX];
};

/* Serve @vm's control socket @listen, which becomes ours, on the VM's main
 * loop.  0 or -errno, @e filled. */
int ctl_init(struct ctl *c, struct vm *vm, int listen, struct err *e);

/* In a child of fork(2): its own socket, and nobody connected. */
int ctl_renew(struct ctl *c, int listen, struct err *e);
void ctl_free(struct ctl *c);

#endif
