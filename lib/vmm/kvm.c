/* SPDX-License-Identifier: MIT
 *
 * The kernel's side of a virtual machine: see kvm.h.
 *
 * The ioctls are called from here directly, one line each.  A generic wrapper
 * that names the ioctl in its error was tried and rejected: people need to read
 * what could not be done, not which number was refused.
 */
#include "vmm/kvm.h"

#include "base/err.h"
#include "base/fd.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

/* Intel processors without "unrestricted guest" need three pages and one more
 * of guest-physical space for their own use: below 4 GiB, under the BIOS area,
 * where no RAM and no device of ours is.  Others ignore the setting. */
#define IDENTITY_MAP_ADDR 0xfffbc000ULL
#define TSS_ADDR 0xfffbd000UL

#define CR0_PE 0x01
#define CR0_ET 0x10
#define KSIGSET_SIZE 8 /* bytes of the kernel's sigset_t: 64 signals */

#define RFLAGS_ONE 0x02 /* the bit that is always set */

/* Make sure that it is what it is called. */
static int probe(struct kvm_dev *k, int fd, const char *path, struct err *e)
{
	int size;

	k->api = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (k->api < 0)
		return err_set(e, ENOTTY, "%s is not a KVM device", path);
	if (k->api != KVM_API_VERSION)
		return err_set(
			e, EPROTO,
			"%s speaks version %d of the KVM interface, not %d",
			path, k->api, KVM_API_VERSION);
	size = ioctl(fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < (int)sizeof(struct kvm_run))
		return err_set(e, EPROTO,
			       "%s shares %d bytes a processor, "
			       "fewer than the %zu expected",
			       path, size, sizeof(struct kvm_run));
	k->run_size = (size_t)size;
	return 0;
}

int kvm_dev_open(struct kvm_dev *k, const char *path, struct err *e)
{
	fd_auto int fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int r;

	if (fd < 0)
		return err_sys(e, errno, "cannot open %s", path);
	r = probe(k, fd, path, e);
	if (r == 0)
		k->fd = fd_steal(&fd);
	return r;
}

int kvm_dev_take(struct kvm_dev *k, int fd, struct err *e)
{
	fd_auto int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	int r;

	if (own < 0)
		return err_sys(e, errno, "cannot keep the KVM device");
	r = probe(k, own, "the KVM device", e);
	if (r == 0)
		k->fd = fd_steal(&own);
	return r;
}

void kvm_dev_close(struct kvm_dev *k)
{
	fd_close(&k->fd);
}

int kvm_dev_cap(const struct kvm_dev *k, int cap)
{
	int answer = ioctl(k->fd, KVM_CHECK_EXTENSION, cap);

	return answer < 0 ? 0 : answer;
}

int kvm_dev_cpuid(const struct kvm_dev *k, struct kvm_cpuid2 **out,
		  struct err *e)
{
	mem_auto struct kvm_cpuid2 *c = NULL;

	c = calloc(1, sizeof(*c) + KVM_CPUID_ROOM * sizeof(c->entries[0]));
	if (!c)
		return err_sys(e, ENOMEM, "cannot hold the CPUID table");
	c->nent = KVM_CPUID_ROOM;
	if (ioctl(k->fd, KVM_GET_SUPPORTED_CPUID, c) < 0)
		return err_sys(e, errno, "cannot ask KVM for its CPUID table");
	*out = ptr_steal(&c);
	return 0;
}

int kvm_vm_create(struct kvm_vm *vm, const struct kvm_dev *k, struct err *e)
{
	uint64_t identity = IDENTITY_MAP_ADDR;
	fd_auto int fd = -1;

	/* A signal at the wrong moment makes this one fail with EINTR. */
	do {
		fd = ioctl(k->fd, KVM_CREATE_VM, 0UL);
	} while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return err_sys(e, errno, "cannot create a virtual machine");
	if (ioctl(fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0)
		return err_sys(e, errno, "cannot set the identity map");
	if (ioctl(fd, KVM_SET_TSS_ADDR, TSS_ADDR) < 0)
		return err_sys(e, errno, "cannot set the task segment");
	vm->fd = fd_steal(&fd);
	return 0;
}

void kvm_vm_close(struct kvm_vm *vm)
{
	fd_close(&vm->fd);
}

int kvm_vm_add_irqchip(struct kvm_vm *vm, struct err *e)
{
	if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return err_sys(e, errno, "cannot create the interrupt chips");
	return 0;
}

static int set_memory(struct kvm_vm *vm,
		      const struct kvm_userspace_memory_region *r,
		      struct err *e)
{
	if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, r) < 0)
		return err_sys(e, errno,
			       "cannot give the guest %llu bytes at 0x%llx",
			       (unsigned long long)r->memory_size,
			       (unsigned long long)r->guest_phys_addr);
	return 0;
}

int kvm_vm_set_memory(struct kvm_vm *vm, uint32_t slot, uint64_t gpa,
		      void *host, size_t size, struct err *e)
{
	const struct kvm_userspace_memory_region r = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)host,
	};

	return set_memory(vm, &r, e);
}

int kvm_vm_set_memory_ro(struct kvm_vm *vm, uint32_t slot, uint64_t gpa,
			 void *host, size_t size, struct err *e)
{
	const struct kvm_userspace_memory_region r = {
		.slot = slot,
		.flags = KVM_MEM_READONLY,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)host,
	};

	return set_memory(vm, &r, e);
}

int kvm_vm_irqfd(struct kvm_vm *vm, int fd, uint32_t gsi, struct err *e)
{
	const struct kvm_irqfd q = { .fd = (uint32_t)fd, .gsi = gsi };

	if (ioctl(vm->fd, KVM_IRQFD, &q) < 0)
		return err_sys(e, errno, "cannot connect interrupt %u", gsi);
	return 0;
}

int kvm_vm_ioeventfd(struct kvm_vm *vm, int fd, uint64_t gpa, uint32_t value,
		     struct err *e)
{
	const struct kvm_ioeventfd q = {
		.datamatch = value,
		.addr = gpa,
		.len = sizeof(value),
		.fd = fd,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH,
	};

	if (ioctl(vm->fd, KVM_IOEVENTFD, &q) < 0)
		return err_sys(e, errno,
			       "cannot connect the doorbell at 0x%llx",
			       (unsigned long long)gpa);
	return 0;
}

int kvm_vcpu_create(struct kvm_vcpu *c, const struct kvm_vm *vm,
		    const struct kvm_dev *k, uint32_t id, struct err *e)
{
	fd_auto int fd = ioctl(vm->fd, KVM_CREATE_VCPU, (unsigned long)id);
	void *run;

	if (fd < 0)
		return err_sys(e, errno, "cannot create virtual processor %u",
			       id);
	run = mmap(NULL, k->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		   0);
	if (run == MAP_FAILED)
		return err_sys(e, errno, "cannot map virtual processor %u", id);
	c->run = run;
	c->run_size = k->run_size;
	c->fd = fd_steal(&fd);
	return 0;
}

void kvm_vcpu_close(struct kvm_vcpu *c)
{
	if (c->run)
		munmap(c->run, c->run_size);
	c->run = NULL;
	fd_close(&c->fd);
}

int kvm_vcpu_set_cpuid(struct kvm_vcpu *c, const struct kvm_cpuid2 *cpuid,
		       struct err *e)
{
	if (ioctl(c->fd, KVM_SET_CPUID2, cpuid) < 0)
		return err_sys(e, errno, "KVM refuses the CPUID table");
	return 0;
}

/* A flat 4 GiB segment of @type (present, 32-bit, ring 0). */
static struct kvm_segment flat_segment(uint16_t selector, uint8_t type)
{
	return (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.db = 1,
		.s = 1,
		.g = 1,
	};
}

int kvm_vcpu_start_at(struct kvm_vcpu *c, uint32_t entry, uint32_t info,
		      struct err *e)
{
	struct kvm_regs r = {
		.rip = entry,
		.rbx = info,
		.rflags = RFLAGS_ONE,
	};
	struct kvm_segment data = flat_segment(0x10, 0x3);
	struct kvm_sregs s;

	if (ioctl(c->fd, KVM_GET_SREGS, &s) < 0)
		return err_sys(e, errno, "cannot read the segment registers");
	s.cs = flat_segment(0x8, 0xb);
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	/* A busy 32-bit task segment: nothing less passes the VM entry. */
	s.tr = (struct kvm_segment){ .limit = 0x67, .type = 0xb, .present = 1 };
	s.cr0 = CR0_PE | CR0_ET;
	s.cr3 = s.cr4 = s.efer = 0;
	if (ioctl(c->fd, KVM_SET_SREGS, &s) < 0)
		return err_sys(e, errno, "cannot set the segment registers");
	if (ioctl(c->fd, KVM_SET_REGS, &r) < 0)
		return err_sys(e, errno, "cannot set the registers");
	return 0;
}

int kvm_vcpu_set_msr(struct kvm_vcpu *c, uint32_t index, uint64_t value,
		     struct err *e)
{
	union {
		struct kvm_msrs head;
		uint8_t bytes[sizeof(struct kvm_msrs) +
			      sizeof(struct kvm_msr_entry)];
	} m = { .head.nmsrs = 1 };
	int r;

	m.head.entries[0].index = index;
	m.head.entries[0].data = value;
	r = ioctl(c->fd, KVM_SET_MSRS, &m);
	if (r < 0)
		return err_sys(e, errno, "cannot set register 0x%x", index);
	if (r != 1)
		return err_set(e, EINVAL, "KVM refuses register 0x%x", index);
	return 0;
}

uint64_t kvm_vcpu_ip(const struct kvm_vcpu *c)
{
	struct kvm_regs r;

	return ioctl(c->fd, KVM_GET_REGS, &r) < 0 ? 0 : r.rip;
}

int kvm_vcpu_set_sigmask(struct kvm_vcpu *c, const sigset_t *mask,
			 struct err *e)
{
	union {
		struct kvm_signal_mask head;
		uint8_t bytes[sizeof(struct kvm_signal_mask) + KSIGSET_SIZE];
	} m = { .head.len = KSIGSET_SIZE };

	static_assert(sizeof(*mask) >= KSIGSET_SIZE, "sigset_t is too short");
	if (mask)
		memcpy(m.head.sigset, mask, KSIGSET_SIZE);
	if (ioctl(c->fd, KVM_SET_SIGNAL_MASK, mask ? &m : NULL) < 0)
		return err_sys(e, errno, "cannot set the guest's signal mask");
	return 0;
}

int kvm_vcpu_run(struct kvm_vcpu *c, struct err *e)
{
	/* EAGAIN: a processor that waited for its start-up signal got it. */
	while (ioctl(c->fd, KVM_RUN, 0) < 0) {
		if (errno == EINTR)
			return -EINTR;
		if (errno == EFAULT)
			return err_set(e, EFAULT,
				       "the guest touched memory that is gone: "
				       "a file behind it was cut short");
		if (errno != EAGAIN)
			return err_sys(e, errno,
				       "cannot run the virtual processor");
	}
	return 0;
}
