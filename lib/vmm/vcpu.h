/* SPDX-License-Identifier: MIT
 *
 * Virtual processors: a thread each, which runs the guest and serves its
 * exits.
 *
 * A processor can be stopped from outside, at a point where nothing of it is
 * under way: its register state is then all there is to it.
 */
#ifndef VMM_VCPU_H
#define VMM_VCPU_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/jail.h"
#include "vmm/kvm.h"
#include "vmm/kvm_state.h"

struct err;
struct vm;

enum vcpu_want {
	VCPU_RUN,
	VCPU_STOP, /* stand still until told otherwise */
	VCPU_END,  /* the thread is to end */
};

struct vcpu {
	struct kvm_vcpu k;
	struct vm *vm; /* borrowed */
	unsigned id;
	pthread_t thread;
	struct jail_kick kick;
	bool started; /* there is a thread */
	/* Guarded by vcpus.lock: */
	bool up;	/* it can be kicked */
	bool standing;	/* it has stopped, or is no more */
	uint64_t exits; /* times the guest came out */
};

/* All of a VM's, and what they are wanted to do. */
struct vcpus {
	struct vcpu *v; /* owned */
	unsigned n;
	uint64_t model; /* a hash of all that cpuid says */
	struct msr_list msrs;
	struct kvm_cpuid2 *cpuid; /* owned: KVM's answers, once asked */
	pthread_mutex_t lock;
	pthread_cond_t changed; /* want, or somebody's standing */
	enum vcpu_want want;
};

/* Room for @n processors.  0 or -errno. */
int vcpus_init(struct vcpus *s, unsigned n, struct err *e);

/* Make the processors of @vm, which has its interrupt controllers already.
 * 0 or -errno. */
int vcpus_create(struct vcpus *s, struct vm *vm, struct err *e);

/* Start the threads; they stand still until vcpus_run().  0 or -errno. */
int vcpus_start(struct vcpus *s, struct err *e);

void vcpus_run(struct vcpus *s);

/* They are to stop as soon as they can.  Any thread. */
void vcpus_halt(struct vcpus *s);

/* Return when all stand still.  Not on a vCPU's thread. */
void vcpus_stop(struct vcpus *s);

/* End and join the threads, close the processors.  Not on a vCPU's thread. */
void vcpus_free(struct vcpus *s);

#endif
