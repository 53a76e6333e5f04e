/* SPDX-License-Identifier: MIT
 *
 * KVM's part of the state file: see kvm_state.h.
 *
 * The order of setting a processor is KVM's: cpuid first, for it decides what
 * the rest may be; sregs before the local interrupt controller, whose base they
 * have; that before the MSRs, among which is the deadline of its timer; the
 * activity (MP) state last.
 *
 * XCR0 and the XSAVE area are saved where KVM has them.  A KVM without (some
 * processors are run with XSAVE off) has the FPU's own state.
 *
 * A time stamp counter that is behind its guest's deadline is what makes timers
 * late by the age of the snapshot; TSC and kvm-clock are set back to what they
 * were, so that for the guest no time has passed.  Its wall clock is the
 * agent's to set.
 */
#include "vmm/kvm_state.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/fd.h"

#define MSR_TSC 0x10
#define MSR_TSC_DEADLINE 0x6e0

/* One KVM call each way: get when saving, set when loading. */
static void get(struct state_io *io, int fd, unsigned long request, void *arg,
		const char *what)
{
	if (!io->loading && !io->failed && ioctl(fd, request, arg) < 0)
		state_refuse(io, "KVM does not give %s: %s", what,
			     strerror(errno));
}

static void set(struct state_io *io, int fd, unsigned long request, void *arg,
		const char *what)
{
	if (io->loading && !io->failed && ioctl(fd, request, arg) < 0)
		state_refuse(io, "KVM does not take %s: %s", what,
			     strerror(errno));
}

int msr_list_get(const struct kvm_dev *k, struct msr_list *l, struct err *e)
{
	union {
		struct {
			__u32 nmsrs;
			__u32 indices[KVM_MSRS_MAX];
		} head;
		uint8_t bytes[4 + 4 * KVM_MSRS_MAX];
	} list = { .head.nmsrs = KVM_MSRS_MAX };

	if (ioctl(k->fd, KVM_GET_MSR_INDEX_LIST, &list) < 0)
		return err_sys(e, errno, "cannot list KVM's registers");
	l->n = list.head.nmsrs;
	memcpy(l->index, list.head.indices, l->n * sizeof(l->index[0]));
	return 0;
}

/* ---- the machine ---- */

static void irqchip(struct kvm_vm *vm, struct state_io *io, uint32_t id)
{
	struct kvm_irqchip chip = { .chip_id = id };

	/* The architecture's registers as KVM lays them out (its ABI). */
	get(io, vm->fd, KVM_GET_IRQCHIP, &chip, "an interrupt controller");
	state_bytes(io, &chip.chip, sizeof(chip.chip));
	set(io, vm->fd, KVM_SET_IRQCHIP, &chip, "an interrupt controller");
}

static void vm_clock(struct kvm_vm *vm, struct state_io *io)
{
	struct kvm_clock_data clock = { 0 };
	__u64 now;

	get(io, vm->fd, KVM_GET_CLOCK, &clock, "its clock");
	now = clock.clock;
	state_u64(io, (uint64_t *)&now);
	clock = (struct kvm_clock_data){ .clock = now };
	set(io, vm->fd, KVM_SET_CLOCK, &clock, "its clock");
}

void kvm_vm_state(struct kvm_vm *vm, struct state_io *io)
{
	state_begin(io, "kvm", 1);
	irqchip(vm, io, KVM_IRQCHIP_PIC_MASTER);
	irqchip(vm, io, KVM_IRQCHIP_PIC_SLAVE);
	irqchip(vm, io, KVM_IRQCHIP_IOAPIC);
	vm_clock(vm, io);
	state_end(io);
}

/* ---- a processor ---- */

/* KVM's numbers are "unsigned long long", which uint64_t is not. */
#define U64(io, x) state_u64(io, (uint64_t *)&(x))

static void general(struct kvm_vcpu *c, struct state_io *io)
{
	struct kvm_regs r = { 0 };

	get(io, c->fd, KVM_GET_REGS, &r, "the registers");
	U64(io, r.rax);
	U64(io, r.rbx);
	U64(io, r.rcx);
	U64(io, r.rdx);
	U64(io, r.rsi);
	U64(io, r.rdi);
	U64(io, r.rsp);
	U64(io, r.rbp);
	U64(io, r.r8);
	U64(io, r.r9);
	U64(io, r.r10);
	U64(io, r.r11);
	U64(io, r.r12);
	U64(io, r.r13);
	U64(io, r.r14);
	U64(io, r.r15);
	U64(io, r.rip);
	U64(io, r.rflags);
	set(io, c->fd, KVM_SET_REGS, &r, "the registers");
}

static void segment(struct state_io *io, struct kvm_segment *s)
{
	U64(io, s->base);
	state_u32(io, &s->limit);
	state_u16(io, &s->selector);
	state_u8(io, &s->type);
	state_u8(io, &s->present);
	state_u8(io, &s->dpl);
	state_u8(io, &s->db);
	state_u8(io, &s->s);
	state_u8(io, &s->l);
	state_u8(io, &s->g);
	state_u8(io, &s->avl);
	state_u8(io, &s->unusable);
}

static void table(struct state_io *io, struct kvm_dtable *t)
{
	U64(io, t->base);
	state_u16(io, &t->limit);
}

static void special(struct kvm_vcpu *c, struct state_io *io)
{
	struct kvm_sregs s = { 0 };
	size_t i;

	get(io, c->fd, KVM_GET_SREGS, &s, "the segments");
	segment(io, &s.cs);
	segment(io, &s.ds);
	segment(io, &s.es);
	segment(io, &s.fs);
	segment(io, &s.gs);
	segment(io, &s.ss);
	segment(io, &s.tr);
	segment(io, &s.ldt);
	table(io, &s.gdt);
	table(io, &s.idt);
	U64(io, s.cr0);
	U64(io, s.cr2);
	U64(io, s.cr3);
	U64(io, s.cr4);
	U64(io, s.cr8);
	U64(io, s.efer);
	U64(io, s.apic_base);
	for (i = 0; i < ARRAY_SIZE(s.interrupt_bitmap); i++)
		U64(io, s.interrupt_bitmap[i]);
	set(io, c->fd, KVM_SET_SREGS, &s, "the segments");
}

static void float_unit(struct kvm_vcpu *c, struct state_io *io)
{
	struct kvm_fpu f = { 0 };
	struct kvm_xsave x = { 0 };
	struct kvm_xcrs r = { 0 };
	bool have = !io->loading && !io->failed &&
		    ioctl(c->fd, KVM_GET_XCRS, &r) == 0 && r.nr_xcrs == 1;

	state_bool(io, &have);
	if (have) {
		U64(io, r.xcrs[0].value);
		r.nr_xcrs = 1;
		set(io, c->fd, KVM_SET_XCRS, &r, "XCR0");
		get(io, c->fd, KVM_GET_XSAVE, &x, "the XSAVE area");
		state_bytes(io, x.region, sizeof(x.region));
		set(io, c->fd, KVM_SET_XSAVE, &x, "the XSAVE area");
		return;
	}
	get(io, c->fd, KVM_GET_FPU, &f, "the FPU");
	state_bytes(io, &f, offsetof(struct kvm_fpu, pad2));
	set(io, c->fd, KVM_SET_FPU, &f, "the FPU");
}

static void local_apic(struct kvm_vcpu *c, struct state_io *io)
{
	struct kvm_lapic_state a = { 0 };

	get(io, c->fd, KVM_GET_LAPIC, &a, "the local interrupt controller");
	state_bytes(io, a.regs, sizeof(a.regs));
	set(io, c->fd, KVM_SET_LAPIC, &a, "the local interrupt controller");
}

struct msrs {
	struct kvm_msrs head;
	struct kvm_msr_entry entry[KVM_MSRS_MAX];
};

/* As many at a time as KVM takes: it stops at the first that it does not have,
 * and which those are differs between processors. */
static void get_msrs(struct kvm_vcpu *c, const uint32_t *index, uint32_t n,
		     uint64_t *value, bool *have)
{
	struct msrs m;
	uint32_t i, j;
	int got;

	for (i = 0; i < n; i += (uint32_t)got + 1) {
		m.head = (struct kvm_msrs){ .nmsrs = n - i };
		for (j = i; j < n; j++)
			m.entry[j - i] =
				(struct kvm_msr_entry){ .index = index[j] };
		got = ioctl(c->fd, KVM_GET_MSRS, &m);
		if (got < 0)
			got = 0;
		for (j = 0; j < (uint32_t)got; j++) {
			value[i + j] = m.entry[j].data;
			have[i + j] = true;
		}
		if (i + j < n)
			have[i + j] = false;
	}
}

static void set_msrs(struct kvm_vcpu *c, struct state_io *io,
		     const struct msrs *m)
{
	int n;

	if (io->failed || m->head.nmsrs == 0)
		return;
	n = ioctl(c->fd, KVM_SET_MSRS, m);
	if (n < (int)m->head.nmsrs)
		state_refuse(io, "KVM does not take register 0x%x = 0x%llx",
			     m->entry[n < 0 ? 0 : n].index,
			     (unsigned long long)m->entry[n < 0 ? 0 : n].data);
}

static void save_msrs(struct kvm_vcpu *c, const struct msr_list *l,
		      struct state_io *io)
{
	uint64_t value[KVM_MSRS_MAX];
	bool have[KVM_MSRS_MAX];
	uint32_t i, n = 0;

	get_msrs(c, l->index, l->n, value, have);
	for (i = 0; i < l->n; i++)
		n += have[i];
	state_u32(io, &n);
	for (i = 0; i < l->n; i++) {
		uint32_t index = l->index[i];

		if (!have[i])
			continue;
		state_u32(io, &index);
		state_u64(io, &value[i]);
	}
}

/* A register that this KVM does not take, but that is 0, is none.  The deadline
 * counts in the TSC, which must be set by then: it comes last. */
static void load_msrs(struct kvm_vcpu *c, struct state_io *io)
{
	uint32_t index[KVM_MSRS_MAX], i, n;
	uint64_t value[KVM_MSRS_MAX], old[KVM_MSRS_MAX];
	bool have[KVM_MSRS_MAX];
	struct msrs m = { .head.nmsrs = 0 };
	struct kvm_msr_entry deadline = { 0 };

	state_u32(io, &n);
	if (n > KVM_MSRS_MAX)
		state_refuse(io, "%u registers; %u are the limit", n,
			     KVM_MSRS_MAX);
	for (i = 0; i < n && !io->failed; i++) {
		state_u32(io, &index[i]);
		state_u64(io, &value[i]);
	}
	if (io->failed)
		return;
	get_msrs(c, index, n, old, have);
	for (i = 0; i < n; i++) {
		struct kvm_msr_entry e = { .index = index[i],
					   .data = value[i] };

		if (index[i] == MSR_TSC_DEADLINE)
			deadline = e;
		else if (!have[i] || old[i] != value[i])
			m.entry[m.head.nmsrs++] = e;
	}
	if (deadline.index)
		m.entry[m.head.nmsrs++] = deadline;
	set_msrs(c, io, &m);
}

static void msrs(struct kvm_vcpu *c, const struct msr_list *l,
		 struct state_io *io)
{
	if (io->loading)
		load_msrs(c, io);
	else
		save_msrs(c, l, io);
}

static void events(struct kvm_vcpu *c, struct state_io *io)
{
	struct kvm_vcpu_events v = { 0 };
	struct kvm_debugregs d = { 0 };
	size_t i;

	get(io, c->fd, KVM_GET_VCPU_EVENTS, &v, "pending events");
	state_bytes(io, &v, offsetof(struct kvm_vcpu_events, reserved));
	state_u8(io, &v.exception_has_payload);
	U64(io, v.exception_payload);
	set(io, c->fd, KVM_SET_VCPU_EVENTS, &v, "pending events");
	get(io, c->fd, KVM_GET_DEBUGREGS, &d, "the debug registers");
	for (i = 0; i < ARRAY_SIZE(d.db); i++)
		U64(io, d.db[i]);
	U64(io, d.dr6);
	U64(io, d.dr7);
	set(io, c->fd, KVM_SET_DEBUGREGS, &d, "the debug registers");
}

static void activity(struct kvm_vcpu *c, struct state_io *io)
{
	struct kvm_mp_state m = { 0 };

	get(io, c->fd, KVM_GET_MP_STATE, &m, "its activity");
	state_u32(io, &m.mp_state);
	set(io, c->fd, KVM_SET_MP_STATE, &m, "its activity");
}

static void frequency(struct kvm_vcpu *c, struct state_io *io)
{
	int khz = io->failed ? 0 : ioctl(c->fd, KVM_GET_TSC_KHZ, 0);
	uint32_t have = khz < 0 ? 0 : (uint32_t)khz, want = have;

	state_u32(io, &want);
	if (io->loading && want && want != have &&
	    ioctl(c->fd, KVM_SET_TSC_KHZ, (unsigned long)want) < 0)
		state_refuse(io,
			     "a time stamp counter of %u kHz; this processor's "
			     "has %u and cannot be scaled",
			     want, have);
}

void kvm_vcpu_state(struct kvm_vcpu *c, uint32_t id, const struct msr_list *l,
		    struct state_io *io)
{
	state_begin(io, "vcpu", 1);
	state_same(io, id, "its number");
	frequency(c, io);
	special(c, io);
	float_unit(c, io);
	general(c, io);
	local_apic(c, io);
	msrs(c, l, io);
	events(c, io);
	activity(c, io);
	state_end(io);
}

void kvm_vcpu_stood_still(struct kvm_vcpu *c)
{
	/* EINVAL: the guest does not use kvm-clock (yet). */
	(void)ioctl(c->fd, KVM_KVMCLOCK_CTRL, 0);
}
