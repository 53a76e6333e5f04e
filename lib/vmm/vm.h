/* SPDX-License-Identifier: MIT
 *
 * A virtual machine: memory, processors, devices, and the loops that serve
 * them.  It knows of descriptors only: who opened what, and why it may, is the
 * business of the program around it.
 *
 *	main thread	loop: vsock, net, rng, balloon, control, idle timer
 *	disk thread	disk_loop: blk, which may wait for the disk
 *	vCPU threads	the guest, and its accesses to registers
 */
#ifndef VMM_VM_H
#define VMM_VM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "vmm/kvm.h"
#include "vmm/layout.h"
#include "vmm/log.h"
#include "vmm/mem.h"
#include "vmm/serial.h"
#include "vmm/vcpu.h"
#include "vmm/virtio/balloon.h"
#include "vmm/virtio/blk.h"
#include "vmm/virtio/net.h"
#include "vmm/virtio/pmem.h"
#include "vmm/virtio/rng.h"
#include "vmm/virtio/vsock.h"
#include "vmm/vm_clone.h"

struct err;

/* Why a VM ended. */
enum vm_end {
	VM_RUNNING,
	VM_POWER_OFF,  /* the guest's wish */
	VM_RESET,      /* the guest's wish, or its panic */
	VM_IDLE,       /* the idle timer */
	VM_QUIT,       /* asked for from outside */
	VM_HIBERNATED, /* all of it is in files */
	VM_ERROR,      /* what no guest should do, or KVM could not */
};

/* "power-off", "reset", ...: the words that are written to "ended". */
const char *vm_end_name(enum vm_end end);

enum vm_thread {
	VM_THREAD_MAIN,
	VM_THREAD_DISK,
	VM_THREAD_VCPU,
};

/* Descriptors are borrowed, and must stay open until vm_free(), but for those
 * that only vm_create() needs; -1: none. */
struct vm_spec {
	unsigned vcpus;
	uint64_t memory; /* bytes */
	const char *cmdline;
	int kvm;	 /* the open KVM device; for vm_create() */
	int kernel;	 /* uncompressed, with a PVH entry; for vm_create() */
	int initramfs;	 /* or -1; for vm_create() */
	int rootfs;	 /* EROFS image for the pmem device, or -1 */
	bool rootfs_blk; /* for a read-only disk instead */
	int scratch;	 /* raw disk image, or -1 */
	int vsock;	 /* listening socket, or -1: no such device */
	int tap;	 /* or -1 */
	int console;	 /* the serial port's output, or -1 */
	int log;	 /* or -1 */
	uint64_t cid;	 /* the guest's vsock address */
	uint64_t idle_s; /* end after that long without use; 0: never */
	/* Instead of a kernel, what a snapshot has. */
	int memory_file;   /* or -1; for vm_create() */
	int prefetch;	   /* a list for it: prefetch.h; or -1 */
	const void *state; /* borrowed; read by vm_create() */
	size_t state_len;
};

#define VM_SPEC_INIT                                                    \
	{                                                               \
		.kvm = -1, .kernel = -1, .initramfs = -1, .rootfs = -1, \
		.scratch = -1, .vsock = -1, .tap = -1, .console = -1,   \
		.log = -1, .cid = 3, .memory_file = -1, .prefetch = -1  \
	}

struct vm {
	struct vmm_log log;
	struct kvm_dev dev;
	struct kvm_vm kvm;
	struct mem mem;
	struct loop loop, disk_loop;
	struct vcpus cpus;
	struct serial serial;
	bool has_serial;
	int serial_irq; /* owned eventfd */

	struct pmem pmem;
	struct blk root_blk, scratch;
	struct vsock vsock;
	struct rng rng;
	struct balloon balloon;
	struct net net;
	/* Those of them that there are, in the order of their addresses. */
	struct virtio *devs[LAYOUT_DEVICES_MAX];
	unsigned ndevs;

	pthread_t disk_thread;
	bool disk_started;
	struct watch disk_stop; /* eventfd: the disk thread is to end */

	struct watch idle; /* timerfd */
	uint64_t idle_s;
	bool busy;

	/* Called on every new thread before it does anything for the guest: to
	 * confine it.  NULL: nothing. */
	int (*on_thread)(enum vm_thread t, struct err *e);
	bool confined; /* the main thread is */

	/* We are a child of fork(2), and these are for it: see vm_clone.h. */
	bool cloned;
	int clone_fd[VM_CLONE_FDS];
	uint64_t clone_cid;

	struct watch ended; /* eventfd */
	pthread_mutex_t end_lock;
	enum vm_end end;
	char end_text[LOG_LINE];
};

/* Make everything, load the kernel, start the threads, which wait.  @vm is all
 * zeros: to write them here would make pages of them.  On failure -errno, @e
 * filled; @vm holds what was made, for vm_free(). */
int vm_create(struct vm *vm, const struct vm_spec *s, struct err *e);
int vm_start_threads(struct vm *vm, struct err *e);

/* KVM's part of it: the VM, its processors, memory and devices as they are in
 * @vm.  0 or -errno, @e filled. */
int vm_make_kvm(struct vm *vm, struct err *e);

/* Serve the devices until the end: see vm->end; or in a child of vm_clone(),
 * at once: see vm->cloned.  The guest runs when vm_resume() is called. */
int vm_run(struct vm *vm, struct err *e);

/* Processors and the disk stand still; and go on.  Main thread only. */
void vm_pause(struct vm *vm);
void vm_resume(struct vm *vm);

/* The VM ends, for this reason; the first one counts.  Any thread. */
void vm_end(struct vm *vm, enum vm_end end, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

void vm_free(struct vm *vm);

#endif
