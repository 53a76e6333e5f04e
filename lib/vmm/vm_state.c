/* SPDX-License-Identifier: MIT
 *
 * A virtual machine as its state file: see vm_state.h.
 *
 *	machine		what both sides must have in common
 *	kvm		interrupt controllers, clock
 *	vcpu		for each processor
 *	serial
 *	blk, pmem, ...	for each device, in the order of their addresses
 *
 * The order is fixed, and part of the format.
 */
#include "vmm/vm_state.h"

#include "vmm/kvm_state.h"
#include "vmm/state.h"
#include "vmm/vm.h"

uint8_t vm_state_buf[STATE_MAX];

/* Changes with layout.h and with what devices there are, in which order. */
#define MACHINE_VERSION 1

static void machine(struct vm *vm, struct state_io *io)
{
	state_begin(io, "machine", MACHINE_VERSION);
	state_same(io, vm->cpus.n, "the number of processors");
	state_same(io, vm->mem.size, "the size of memory");
	state_same(io, vm->ndevs, "the number of devices");
	state_same(io, vm->cpus.model,
		   "the processor model (a hash of what cpuid says)");
	state_end(io);
}

static void devices(struct vm *vm, struct state_io *io)
{
	if (vm->pmem.v.ops)
		pmem_state_io(&vm->pmem, io);
	if (vm->root_blk.v.ops)
		blk_state_io(&vm->root_blk, io);
	if (vm->scratch.v.ops)
		blk_state_io(&vm->scratch, io);
	if (vm->vsock.v.ops)
		vsock_state_io(&vm->vsock, io);
	rng_state_io(&vm->rng, io);
	balloon_state_io(&vm->balloon, io);
	if (vm->net.v.ops)
		net_state_io(&vm->net, io);
}

static void kvm_part(struct vm *vm, struct state_io *io)
{
	unsigned i;

	kvm_vm_state(&vm->kvm, io);
	for (i = 0; i < vm->cpus.n; i++)
		kvm_vcpu_state(&vm->cpus.v[i].k, i, &vm->cpus.msrs, io);
}

static void everything(struct vm *vm, struct state_io *io)
{
	machine(vm, io);
	kvm_part(vm, io);
	serial_state_io(&vm->serial, io);
	devices(vm, io);
}

static ssize_t save(struct vm *vm, void (*what)(struct vm *, struct state_io *),
		    void *buf, size_t n, struct err *e)
{
	struct state_io io;
	int r;

	state_save(&io, buf, n);
	what(vm, &io);
	r = state_done(&io, e);
	return r < 0 ? r : (ssize_t)io.at;
}

static int load(struct vm *vm, void (*what)(struct vm *, struct state_io *),
		const void *buf, size_t n, struct err *e)
{
	struct state_io io;
	unsigned i;
	int r;

	state_load(&io, buf, n);
	what(vm, &io);
	r = state_done(&io, e);
	for (i = 0; r == 0 && i < vm->cpus.n; i++)
		kvm_vcpu_stood_still(&vm->cpus.v[i].k);
	return r;
}

ssize_t vm_state_save(struct vm *vm, void *buf, size_t n, struct err *e)
{
	return save(vm, everything, buf, n, e);
}

int vm_state_load(struct vm *vm, const void *buf, size_t n, struct err *e)
{
	return load(vm, everything, buf, n, e);
}

ssize_t vm_state_save_kvm(struct vm *vm, void *buf, size_t n, struct err *e)
{
	return save(vm, kvm_part, buf, n, e);
}

int vm_state_load_kvm(struct vm *vm, const void *buf, size_t n, struct err *e)
{
	return load(vm, kvm_part, buf, n, e);
}
