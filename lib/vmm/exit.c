/* SPDX-License-Identifier: MIT
 *
 * Exits: see exit.h.
 *
 * Both address spaces are decoded by comparison, not through a table of
 * registered ranges: there are three things at ports and one array of devices
 * at addresses, all fixed by layout.h.
 *
 * What is not there answers as an empty bus does: reads are all ones, writes
 * are lost.  That is no error of the guest's: Linux probes.
 */
#include "vmm/exit.h"

#include <string.h>

#include "vmm/layout.h"
#include "vmm/log.h"
#include "vmm/serial.h"
#include "vmm/vcpu.h"
#include "vmm/virtio/virtio.h"
#include "vmm/vm.h"

/* ---- ports ---- */

/* ACPI 6.4, 4.8.3.7: SLP_TYP in bits 2 to 4, SLP_EN starts the transition. */
static void write_sleep(struct vm *vm, uint8_t v)
{
	if (!(v & LAYOUT_SLEEP_ENABLE))
		return;
	if (((v >> 2) & 7) == LAYOUT_SLEEP_S5)
		vm_end(vm, VM_POWER_OFF, "the guest powered off");
	else
		vmm_log(&vm->log,
			"the guest asks for sleep state %d, which "
			"there is not",
			(v >> 2) & 7);
}

static void write_port(struct vcpu *c, uint16_t port, uint8_t v)
{
	struct vm *vm = c->vm;

	if (port == LAYOUT_PORT_SLEEP)
		write_sleep(vm, v);
	else if (port == LAYOUT_PORT_RESET && v == LAYOUT_RESET_VALUE)
		vm_end(vm, VM_RESET, "the guest asked for a reset");
}

static bool is_serial(uint16_t port)
{
	return port >= LAYOUT_PORT_SERIAL && port < LAYOUT_PORT_SERIAL + 8;
}

/* One item of an access, of 1, 2 or 4 bytes. */
static void port_item(struct vcpu *c, uint16_t port, uint8_t *data,
		      unsigned size, bool out)
{
	struct vm *vm = c->vm;

	if (is_serial(port) && out)
		serial_write(&vm->serial, port - LAYOUT_PORT_SERIAL, data,
			     size);
	else if (is_serial(port))
		serial_read(&vm->serial, port - LAYOUT_PORT_SERIAL, data, size);
	else if (out)
		write_port(c, port, *data);
	else if (port == LAYOUT_PORT_SLEEP_STATUS || port == LAYOUT_PORT_SLEEP)
		memset(data, 0, size);
	else
		memset(data, 0xff, size);
}

static void serve_io(struct vcpu *c)
{
	struct kvm_run *run = c->k.run;
	uint8_t *data = kvm_io_data(run);
	uint32_t i;

	for (i = 0; i < run->io.count; i++)
		port_item(c, run->io.port, data + (size_t)i * run->io.size,
			  run->io.size, run->io.direction == KVM_EXIT_IO_OUT);
}

/* ---- addresses ---- */

void exit_mmio(struct vm *vm, uint64_t gpa, void *data, uint32_t len,
	       int is_write)
{
	uint64_t at = gpa - LAYOUT_MMIO;
	uint64_t i = at / LAYOUT_MMIO_STRIDE;

	if (gpa >= LAYOUT_MMIO && i < vm->ndevs) {
		at %= LAYOUT_MMIO_STRIDE;
		if (is_write)
			virtio_mmio_write(vm->devs[i], at, data, len);
		else
			virtio_mmio_read(vm->devs[i], at, data, len);
	} else if (!is_write) {
		memset(data, 0xff, len);
	}
}

/* ---- ends ---- */

static const char *reason_text(uint32_t reason)
{
	switch (reason) {
	case KVM_EXIT_SHUTDOWN:
		return "triple fault";
	case KVM_EXIT_INTERNAL_ERROR:
		return "KVM internal error";
	case KVM_EXIT_FAIL_ENTRY:
		return "entry failed";
	case KVM_EXIT_SYSTEM_EVENT:
		return "system event";
	default:
		return "unknown exit";
	}
}

/* The number that says more about it. */
static unsigned long long reason_detail(const struct kvm_run *run)
{
	switch (run->exit_reason) {
	case KVM_EXIT_INTERNAL_ERROR:
		return run->internal.suberror;
	case KVM_EXIT_FAIL_ENTRY:
		return run->fail_entry.hardware_entry_failure_reason;
	case KVM_EXIT_SYSTEM_EVENT:
		return run->system_event.type;
	default:
		return 0;
	}
}

static void serve_end(struct vcpu *c)
{
	const struct kvm_run *run = c->k.run;

	vm_end(c->vm, VM_ERROR,
	       "vCPU %u: exit %u (%s, 0x%llx) at address 0x%llx", c->id,
	       run->exit_reason, reason_text(run->exit_reason),
	       reason_detail(run), (unsigned long long)kvm_vcpu_ip(&c->k));
}

void exit_serve(struct vcpu *c)
{
	struct kvm_run *run = c->k.run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		serve_io(c);
		break;
	case KVM_EXIT_MMIO:
		if (run->mmio.len <= sizeof(run->mmio.data))
			exit_mmio(c->vm, run->mmio.phys_addr, run->mmio.data,
				  run->mmio.len, run->mmio.is_write);
		break;
	case KVM_EXIT_INTR:
		break;
	default:
		serve_end(c);
		break;
	}
}
