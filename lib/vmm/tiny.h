/* SPDX-License-Identifier: MIT
 *
 * Runs a tiny guest (guests/abi.h) to its end, within a time limit: for the
 * check, the demo, and tests of KVM and of our devices.
 */
#ifndef VMM_TINY_H
#define VMM_TINY_H

#include "vmm/kvm.h"

#include "vmm/guests/abi.h"

/* The guests that are linked in; see the Makefile for which program has which.
 * An image ends where its _end begins. */
extern const uint8_t guest_check[], guest_check_end[];
extern const uint8_t guest_hello[], guest_hello_end[];

/* A virtual machine with one processor, about to enter the guest. */
struct tiny {
	struct kvm_vm vm;
	struct kvm_vcpu cpu;
	uint8_t *ram; /* owned mapping of GUEST_RAM bytes */
};

#define TINY_INIT                                                    \
	{                                                            \
		.vm = KVM_VM_INIT, .cpu = KVM_VCPU_INIT, .ram = NULL \
	}
#define tiny_auto __attribute__((cleanup(tiny_free)))

/* How a run ended. */
enum tiny_end {
	TINY_EXITED,   /* by itself: see code, one of GUEST_EXIT_* */
	TINY_HUNG,     /* not within the limit */
	TINY_SHUTDOWN, /* triple fault */
	TINY_INTERNAL, /* KVM gave up on it */
	TINY_REFUSED,  /* KVM_RUN failed: see err */
	TINY_STRAY,    /* an exit that no tiny guest should cause */
};

struct tiny_result {
	enum tiny_end end;
	uint8_t code;
	uint8_t step;	   /* the last one that began; 0: none */
	uint32_t reason;   /* KVM_EXIT_* of the last exit */
	uint32_t suberror; /* TINY_INTERNAL: KVM_INTERNAL_ERROR_* */
	int err;	   /* TINY_REFUSED: errno */
	uint32_t exits;	   /* how often the guest came out */
	uint64_t first_ns; /* from the first KVM_RUN to the first exit */
	uint64_t total_ns; /* to the end */
	char text[256];	   /* what it printed, NUL-terminated, cut off there */
	size_t text_len;
};

/* Make the machine and load the @size bytes of @image.  On failure, -errno
 * with @e filled, @t holds what was made so far, for tiny_free(). */
int tiny_create(struct tiny *t, const struct kvm_dev *k, const uint8_t *image,
		size_t size, struct err *e);
void tiny_free(struct tiny *t);

/* Run the guest, @limit_ns nanoseconds at most.  What the guest does, however
 * bad, is a result: 0.  -errno with @e filled when the limit could not be set.
 * Uses SIGRTMAX of the calling thread, which is blocked meanwhile; its handler,
 * if there is one, is not called. */
int tiny_run(struct tiny *t, uint64_t limit_ns, struct tiny_result *r,
	     struct err *e);

/* The end in words: "hung", "KVM internal error 1". */
const char *tiny_end_text(const struct tiny_result *r, char text[static 64]);

#endif
