/* SPDX-License-Identifier: MIT
 *
 * A virtual machine as its state file: see vmm/state.h.
 */
#ifndef VMM_VM_STATE_H
#define VMM_VM_STATE_H

#include <stddef.h>
#include <sys/types.h>

#include "vmm/state.h"

struct err;
struct vm;

/* Room for one, as nothing is allocated while a VM runs.  Main thread only. */
extern uint8_t vm_state_buf[STATE_MAX];

/* Write the state of @vm, which stands still, to @buf.  The bytes written, or
 * -errno with @e filled. */
ssize_t vm_state_save(struct vm *vm, void *buf, size_t n, struct err *e);

/* Give @vm, which was made by the same specification and has not run, the
 * state in @buf; its memory is the caller's business.  0, or -EBADMSG with @e
 * filled when the state is damaged, or not one for this machine: then @vm is
 * good for nothing but vm_free(). */
int vm_state_load(struct vm *vm, const void *buf, size_t n, struct err *e);

/* The same of KVM's part alone: interrupt controllers, clock, processors. */
ssize_t vm_state_save_kvm(struct vm *vm, void *buf, size_t n, struct err *e);
int vm_state_load_kvm(struct vm *vm, const void *buf, size_t n, struct err *e);

#endif
