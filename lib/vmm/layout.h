/* SPDX-License-Identifier: MIT
 *
 * Where things are in the guest's physical memory and among its ports.  Fixed
 * for good: snapshots depend on it.
 *
 *	0x00000000  RAM; the first MiB below 0x9f000 only
 *	0x00001000  start info and memory map of the PVH entry, command line
 *	0x000e0000  ACPI tables (reserved, up to 0x000fffff)
 *	0x00100000  RAM: kernel, initramfs at the end of the low part
 *	0xc0000000  the hole: what RAM there is beyond goes above 4 GiB
 *	0xd0000000  virtio-mmio devices, a page each
 *	0xfec00000  I/O interrupt controller
 *	0xfee00000  local interrupt controllers
 *	0x100000000 the rest of RAM
 *	then, at the next GiB, persistent memory devices, each at a GiB
 */
#ifndef VMM_LAYOUT_H
#define VMM_LAYOUT_H

#define LAYOUT_PAGE 0x1000ULL
#define LAYOUT_MIB 0x100000ULL
#define LAYOUT_GIB 0x40000000ULL

#define LAYOUT_START_INFO 0x1000ULL /* PVH start info, modules, memory map */
#define LAYOUT_CMDLINE 0x2000ULL
#define LAYOUT_CMDLINE_MAX 0x1000ULL /* with the NUL */
#define LAYOUT_LOW_END 0x9f000ULL
#define LAYOUT_ACPI 0xe0000ULL
#define LAYOUT_ACPI_END 0x100000ULL
#define LAYOUT_KERNEL 0x100000ULL

#define LAYOUT_HOLE 0xc0000000ULL
#define LAYOUT_HIGH 0x100000000ULL
#define LAYOUT_MMIO 0xd0000000ULL
#define LAYOUT_MMIO_STRIDE 0x1000ULL
#define LAYOUT_IOAPIC 0xfec00000ULL
#define LAYOUT_LAPIC 0xfee00000ULL

/* Guest RAM: from what a cloud kernel boots in to what is worth testing. */
#define LAYOUT_RAM_MIN (32 * LAYOUT_MIB)
#define LAYOUT_RAM_MAX (64 * LAYOUT_GIB)
#define LAYOUT_VCPUS_MAX 32

/* Devices: number i has the page LAYOUT_MMIO + i * LAYOUT_MMIO_STRIDE and the
 * interrupt LAYOUT_GSI + i; the I/O interrupt controller has 24, the first
 * five are what old hardware would use. */
#define LAYOUT_DEVICES_MAX 16
#define LAYOUT_GSI 5
#define LAYOUT_GSI_SERIAL 4

#define LAYOUT_PORT_SERIAL 0x3f8 /* to 0x3ff */
#define LAYOUT_PORT_SLEEP 0x600	 /* ACPI sleep control register */
#define LAYOUT_PORT_SLEEP_STATUS 0x601
#define LAYOUT_PORT_RESET 0x602 /* ACPI reset register */
#define LAYOUT_RESET_VALUE 0x01
#define LAYOUT_SLEEP_S5 5	 /* SLP_TYP of \_S5 */
#define LAYOUT_SLEEP_ENABLE 0x20 /* SLP_EN */

#endif
