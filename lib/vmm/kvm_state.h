/* SPDX-License-Identifier: MIT
 *
 * What KVM has of a virtual machine, in its state file: interrupt controllers
 * and clock, and of each processor its registers.
 */
#ifndef VMM_KVM_STATE_H
#define VMM_KVM_STATE_H

#include "vmm/kvm.h"
#include "vmm/state.h"

/* The numbers of the model-specific registers that this KVM can save: asked
 * once, kept for every save. */
#define KVM_MSRS_MAX 512

struct msr_list {
	uint32_t n;
	uint32_t index[KVM_MSRS_MAX];
};

/* 0 or -errno, @e filled. */
int msr_list_get(const struct kvm_dev *k, struct msr_list *l, struct err *e);

/* The sections "kvm" and, for each processor, "vcpu".  Processors stand still.
 * Loading: into a VM that was made with interrupt controllers, before its
 * processors have run.  Errors are in @io. */
void kvm_vm_state(struct kvm_vm *vm, struct state_io *io);
void kvm_vcpu_state(struct kvm_vcpu *c, uint32_t id, const struct msr_list *l,
		    struct state_io *io);

/* Tell the guest's clock that it stood still, so that no watchdog of the guest
 * takes it for a hang.  Ignored where it uses another clock. */
void kvm_vcpu_stood_still(struct kvm_vcpu *c);

#endif
