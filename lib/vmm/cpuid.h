/* SPDX-License-Identifier: MIT
 *
 * What cpuid says in the guest.
 */
#ifndef VMM_CPUID_H
#define VMM_CPUID_H

#include <stdint.h>

struct kvm_cpuid2;

/* Make of what KVM can do (kvm_dev_cpuid()) what processor @id of @n is told:
 * its own APIC number, a socket of @n cores without hyper-threads, the
 * TSC-deadline timer, no nested virtualization.  @c has room for @room
 * entries, which KVM_CPUID_ROOM of kvm_dev_cpuid() are. */
void cpuid_for(struct kvm_cpuid2 *c, uint32_t room, unsigned id, unsigned n);

#endif
