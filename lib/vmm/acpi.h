/* SPDX-License-Identifier: MIT
 *
 * The ACPI tables that tell the guest what there is: processors, interrupt
 * controller, virtio-mmio devices, serial port, and how to turn it all off.
 */
#ifndef VMM_ACPI_H
#define VMM_ACPI_H

#include <stdint.h>

struct err;
struct mem;

struct acpi_spec {
	unsigned vcpus;	  /* 1 to LAYOUT_VCPUS_MAX; APIC ids are 0, 1, ... */
	unsigned devices; /* 0 to LAYOUT_DEVICES_MAX: virtio-mmio devices 0 to
			     devices - 1 of the layout */
};

/* Write the tables to LAYOUT_ACPI; *@rsdp is where the root pointer is.  0;
 * -EINVAL when @s asks for what the layout does not have, @e filled. */
int acpi_write(const struct mem *m, const struct acpi_spec *s, uint64_t *rsdp,
	       struct err *e);

#endif
