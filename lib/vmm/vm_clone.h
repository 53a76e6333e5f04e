/* SPDX-License-Identifier: MIT
 *
 * A running VM becomes two, by fork(2) of its monitor.
 *
 * The memory of the guest is private memory of ours, so the kernel copies what
 * is written, when it is written.  What fork(2) does not copy is made anew in
 * the child: threads, the VM and its processors in KVM, descriptors of the
 * kernel that both would share otherwise (epoll, eventfd, timers).
 */
#ifndef VMM_VM_CLONE_H
#define VMM_VM_CLONE_H

#include <sys/types.h>

struct err;
struct vm;

/* What makes the child another sandbox.  All are the child's own: made by who
 * asks for it, and taken over. */
enum vm_clone_fd {
	VM_CLONE_RESULT, /* a pipe: "ready\n", or what is wrong */
	VM_CLONE_PID,	 /* vmm.pid */
	VM_CLONE_ENDED,
	VM_CLONE_LOG,
	VM_CLONE_CONSOLE,
	VM_CLONE_CONTROL, /* listening sockets */
	VM_CLONE_VSOCK,
	VM_CLONE_SCRATCH,
	VM_CLONE_CGROUP, /* cgroup.procs of its cgroup, or /dev/null */
	VM_CLONE_FDS
};

/* Fork @vm, which stands still, on its main thread.  In the parent: the
 * child's process id, or -errno with @e filled.  In the child: 0; it must go
 * back to its main loop, which has been told to stop, and call
 * vm_clone_begin(). */
pid_t vm_clone(struct vm *vm, struct err *e);

/* In the child, on its main thread: all that vm_create() would have made and
 * fork(2) has not.  @fd are the sandbox's, in our numbers already where they
 * replace others (console, scratch, log).  The processors stand still.  0 or
 * -errno, @e filled. */
int vm_clone_begin(struct vm *vm, int vsock, struct err *e);

/* In a child: its share of the parent's VM and processors in KVM, of which
 * descriptors and mappings hold one. */
void vm_drop_kvm(struct vm *vm);

#endif
