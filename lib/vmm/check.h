/* SPDX-License-Identifier: MIT
 *
 * Can this machine run our virtual machines?  Found out by running one.
 */
#ifndef VMM_CHECK_H
#define VMM_CHECK_H

#include "vmm/tiny.h"

enum check_verdict {
	CHECK_ABLE,    /* hardware virtualization, and a guest ran well */
	CHECK_ABSENT,  /* no KVM at the path */
	CHECK_DENIED,  /* not for this user */
	CHECK_BUSY,    /* another hypervisor holds the processor */
	CHECK_LACKING, /* KVM, but without something that we need */
	CHECK_FOREIGN, /* a software KVM, for kernels made for it */
	CHECK_FAULTY,  /* hardware virtualization that a guest fails on */
	CHECK_VERDICTS
};

/* What the processor under us says of itself. */
struct check_cpu {
	char vendor[13]; /* "GenuineIntel" */
	char model[49];	 /* "" when it has no name */
	bool vmx;	 /* Intel VT-x offered */
	bool svm;	 /* AMD-V offered */
	bool guest;	 /* we are in a virtual machine ourselves */
};

struct check {
	enum check_verdict verdict;
	char reason[256]; /* one line, no full stop */
	char remedy[256]; /* one line, or "" when there is nothing to do */
	struct check_cpu cpu;
	int api;		/* KVM interface version; 0: not reached */
	bool ran;		/* whether run is filled */
	struct tiny_result run; /* of the test guest */
	uint64_t total_ns;	/* what the whole check took */
};

/* Look at the KVM device at @path (NULL: /dev/kvm), and run the test guest on
 * it.  Takes some 10 ms, and in the worst case (a guest that hangs) the five
 * seconds it is given.  0 with a verdict in *@c; -errno with @e filled when the
 * question could not be answered (no memory, no descriptors). */
int check_kvm(struct check *c, const char *path, struct err *e);

/* One word for scripts: "able", "absent", ... */
const char *check_verdict_name(enum check_verdict v);

/* What the test guest does in step @step, 1 to STEP_LAST. */
const char *check_step_name(unsigned int step);

#endif
