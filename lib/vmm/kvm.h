/* SPDX-License-Identifier: MIT
 *
 * The kernel's side of a virtual machine: /dev/kvm, a VM, a virtual processor,
 * each a small struct that owns its descriptors and mappings.  Nothing above
 * this file makes a KVM ioctl.
 *
 * A VM belongs to the address space that made it: after fork(2) the child can
 * do nothing with an inherited one but close it.
 */
#ifndef VMM_KVM_H
#define VMM_KVM_H

#include <linux/kvm.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define KVM_PATH "/dev/kvm"

/* The open device. */
struct kvm_dev {
	int fd;
	int api;	 /* as the kernel says; 12 since 2007 */
	size_t run_size; /* bytes of a virtual processor's shared page(s) */
};

struct kvm_vm {
	int fd;
};

struct kvm_vcpu {
	int fd;
	struct kvm_run *run; /* owned mapping of run_size bytes */
	size_t run_size;
};

#define KVM_DEV_INIT     \
	{                \
		.fd = -1 \
	}
#define KVM_VM_INIT      \
	{                \
		.fd = -1 \
	}
#define KVM_VCPU_INIT                 \
	{                             \
		.fd = -1, .run = NULL \
	}
#define kvm_dev_auto __attribute__((cleanup(kvm_dev_close)))
#define kvm_vm_auto __attribute__((cleanup(kvm_vm_close)))
#define kvm_vcpu_auto __attribute__((cleanup(kvm_vcpu_close)))

/* Open the KVM device at @path.  0, or -errno with @e filled: that of open(2),
 * -ENOTTY when something else than KVM is there, -EPROTO when its interface
 * has another version than ours (which is in k->api). */
int kvm_dev_open(struct kvm_dev *k, const char *path, struct err *e);
/* The same with @fd, which is already open; it is duplicated. */
int kvm_dev_take(struct kvm_dev *k, int fd, struct err *e);
void kvm_dev_close(struct kvm_dev *k);

/* What KVM_CHECK_EXTENSION answers for @cap: 0 is no, more than 0 is yes or a
 * number. */
int kvm_dev_cap(const struct kvm_dev *k, int cap);

/* The CPUID leaves that this KVM can give to a guest, into *@out, which is the
 * caller's to change and to free, and has room for KVM_CPUID_ROOM in all.
 * 0 or -errno. */
#define KVM_CPUID_ROOM 256 /* the kernel's own KVM_MAX_CPUID_ENTRIES */
int kvm_dev_cpuid(const struct kvm_dev *k, struct kvm_cpuid2 **out,
		  struct err *e);

/* Make an empty VM.  0 or -errno. */
int kvm_vm_create(struct kvm_vm *vm, const struct kvm_dev *k, struct err *e);
/* The kernel keeps the VM until its virtual processors are closed, too. */
void kvm_vm_close(struct kvm_vm *vm);

/* Put the interrupt controllers into the kernel; before any virtual processor.
 *
 * Order against kvm_vm_set_memory() costs or saves milliseconds, because both
 * change tables that readers in the kernel use under SRCU.  Measured: memory
 * first, 0.1 ms for both, and 15 ms more to close a VM that lived for less than
 * that (one that lived for 50 ms closes as quickly); interrupt controllers
 * first, 8 ms for both.
 * 0 or -errno. */
int kvm_vm_add_irqchip(struct kvm_vm *vm, struct err *e);

/* Let the guest see @size bytes of our memory at @host as physical memory from
 * @gpa on, as slot number @slot.  All are multiples of the page size; the
 * memory stays the caller's and must outlive the VM.  0 or -errno. */
int kvm_vm_set_memory(struct kvm_vm *vm, uint32_t slot, uint64_t gpa,
		      void *host, size_t size, struct err *e);

/* The same, but the guest can only read it: what it writes there becomes an
 * exit (KVM_EXIT_MMIO).  @host may be mapped without PROT_WRITE. */
int kvm_vm_set_memory_ro(struct kvm_vm *vm, uint32_t slot, uint64_t gpa,
			 void *host, size_t size, struct err *e);

/* From now on, a write to the eventfd @fd is an edge on interrupt line @gsi.
 * 0 or -errno. */
int kvm_vm_irqfd(struct kvm_vm *vm, int fd, uint32_t gsi, struct err *e);

/* From now on, a write of 4 bytes with the value @value to guest-physical
 * address @gpa signals the eventfd @fd and is no exit.  0 or -errno. */
int kvm_vm_ioeventfd(struct kvm_vm *vm, int fd, uint64_t gpa, uint32_t value,
		     struct err *e);

/* Make virtual processor @id of @vm.  0 or -errno. */
int kvm_vcpu_create(struct kvm_vcpu *c, const struct kvm_vm *vm,
		    const struct kvm_dev *k, uint32_t id, struct err *e);
void kvm_vcpu_close(struct kvm_vcpu *c);

/* What cpuid will say in the guest; to be set before the first run. */
int kvm_vcpu_set_cpuid(struct kvm_vcpu *c, const struct kvm_cpuid2 *cpuid,
		       struct err *e);

/* Bring the processor into the state in which PVH kernels (and our tiny guests)
 * are entered: 32-bit protected mode, flat segments, paging and interrupts off,
 * %eip = @entry, %ebx = @info, all else 0.  0 or -errno. */
int kvm_vcpu_start_at(struct kvm_vcpu *c, uint32_t entry, uint32_t info,
		      struct err *e);

/* Set a model-specific register.  0, or -errno: also when KVM does not know
 * it. */
int kvm_vcpu_set_msr(struct kvm_vcpu *c, uint32_t index, uint64_t value,
		     struct err *e);

/* Where the processor is, for messages: its instruction pointer, or 0. */
uint64_t kvm_vcpu_ip(const struct kvm_vcpu *c);

/* The signal mask to be in force while the guest runs, and only then; NULL:
 * the thread's own.  A signal that only this mask lets through ends the run
 * (or keeps the next one from starting) without being delivered, so no handler
 * is needed and no moment exists at which it is missed.  0 or -errno. */
int kvm_vcpu_set_sigmask(struct kvm_vcpu *c, const sigset_t *mask,
			 struct err *e);

/* Run the guest until it wants something: 0, see c->run->exit_reason.  -EINTR,
 * with @e untouched, when a signal or run->immediate_exit ended the run; any
 * other -errno with @e filled. */
int kvm_vcpu_run(struct kvm_vcpu *c, struct err *e);

/* The bytes of a KVM_EXIT_IO: run->io.count items of run->io.size bytes. */
static inline uint8_t *kvm_io_data(struct kvm_run *run)
{
	return (uint8_t *)run + run->io.data_offset;
}

#endif
