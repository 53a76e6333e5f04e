/* SPDX-License-Identifier: MIT
 *
 * ACPI tables: see acpi.h.  By ACPI 6.3; the layout in memory is
 *
 *	RSDP -> XSDT -> FADT -> DSDT
 *		     -> MADT
 *
 * Hardware-reduced ACPI: no fixed hardware but three ports (sleep control and
 * status, reset), hence no FACS, no power management timer, no SCI.  The
 * processors stand in the MADT only: as objects in the DSDT they would bring
 * power states, which a virtual processor has none of.  Persistent memory is a
 * virtio device, so there is no NFIT.
 *
 * Written here and not taken from a compiled DSDT: the number of devices
 * varies, and a table to be patched would need offsets kept beside it.
 */
#include "vmm/acpi.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "vmm/aml.h"
#include "vmm/boot.h"
#include "vmm/mem.h"

#define packed __attribute__((packed))

#define OEM_ID "ISOKIT"
#define OEM_TABLE "ISOKIT  "
#define CREATOR "ISOK"

/* 5.2.3.2 */
struct gas {
	uint8_t space; /* 1: ports */
	uint8_t bits;
	uint8_t offset;
	uint8_t access; /* 1: bytes */
	uint64_t address;
} packed;

/* 5.2.6 */
struct header {
	char signature[4];
	uint32_t length;
	uint8_t revision;
	uint8_t checksum; /* the sum of all bytes is zero */
	char oem_id[6];
	char oem_table[8];
	uint32_t oem_revision;
	char creator[4];
	uint32_t creator_revision;
} packed;

/* 5.2.5.3 */
struct rsdp {
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t checksum_all;
	uint8_t reserved[3];
} packed;

struct xsdt {
	struct header h;
	uint64_t entry[2];
} packed;

/* 5.2.9; what hardware-reduced ACPI ignores stands together as legacy. */
struct fadt {
	struct header h;
	uint32_t facs;
	uint32_t dsdt;
	uint8_t reserved;
	uint8_t profile;
	uint8_t legacy[63];
	uint16_t boot_arch;
	uint8_t reserved2;
	uint32_t flags;
	struct gas reset;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor;
	uint64_t x_facs;
	uint64_t x_dsdt;
	struct gas x_legacy[8];
	struct gas sleep_control;
	struct gas sleep_status;
	char hypervisor[8];
} packed;

#define FADT_PROFILE_SERVER 4 /* "enterprise server": no sleep states */
#define FADT_NO_VGA (1 << 2)  /* IAPC_BOOT_ARCH; 8042 is bit 1 */
#define FADT_NO_RTC (1 << 5)
#define FADT_WBINVD (1U << 0)
#define FADT_C1 (1U << 2)
#define FADT_NO_POWER_BUTTON (1U << 4) /* as fixed hardware */
#define FADT_NO_SLEEP_BUTTON (1U << 5)
#define FADT_RESET (1U << 10)
#define FADT_HEADLESS (1U << 12)
#define FADT_HW_REDUCED (1U << 20)

/* 5.2.12 */
struct madt {
	struct header h;
	uint32_t lapic;
	uint32_t flags; /* bit 0, two 8259s: no */
} packed;

struct madt_lapic {
	uint8_t type; /* 0 */
	uint8_t length;
	uint8_t uid;
	uint8_t id;
	uint32_t flags;
} packed;

struct madt_ioapic {
	uint8_t type; /* 1 */
	uint8_t length;
	uint8_t id;
	uint8_t reserved;
	uint32_t address;
	uint32_t gsi_base;
} packed;

#define MADT_ENABLED 1

static_assert(sizeof(struct gas) == 12, "5.2.3.2");
static_assert(sizeof(struct header) == 36, "5.2.6");
static_assert(sizeof(struct rsdp) == 36, "5.2.5.3");
static_assert(sizeof(struct fadt) == 276, "5.2.9");
static_assert(offsetof(struct fadt, flags) == 112, "5.2.9");
static_assert(offsetof(struct fadt, x_dsdt) == 140, "5.2.9");
static_assert(offsetof(struct fadt, sleep_control) == 244, "5.2.9");
static_assert(sizeof(struct madt_lapic) == 8, "5.2.12.2");
static_assert(sizeof(struct madt_ioapic) == 12, "5.2.12.3");
static_assert(LAYOUT_VCPUS_MAX < 255, "larger APIC ids take other entries");

/* ---- tables in general ---- */

/* The byte that makes the sum of @n bytes at @p zero. */
static uint8_t checksum(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint8_t sum = 0;

	while (n--)
		sum = (uint8_t)(sum + *b++);
	return (uint8_t)-sum;
}

static void header_init(struct header *h, const char *signature,
			uint8_t revision)
{
	memcpy(h->signature, signature, sizeof(h->signature));
	h->revision = revision;
	memcpy(h->oem_id, OEM_ID, sizeof(h->oem_id));
	memcpy(h->oem_table, OEM_TABLE, sizeof(h->oem_table));
	h->oem_revision = 1;
	memcpy(h->creator, CREATOR, sizeof(h->creator));
	h->creator_revision = 1;
}

/* The guest's address of what is added next, aligned for those who like it. */
static uint64_t table_begin(struct aml *a)
{
	while (a->len % 16)
		aml_byte(a, 0);
	return LAYOUT_ACPI + a->len;
}

/* All of the table that was begun at @gpa is there: fill in its length and
 * checksum. */
static void table_end(struct aml *a, uint64_t gpa)
{
	size_t at = gpa - LAYOUT_ACPI;
	uint32_t n = (uint32_t)(a->len - at);
	uint8_t *t = a->data + at;

	if (a->full)
		return;
	memcpy(t + offsetof(struct header, length), &n, sizeof(n));
	t[offsetof(struct header, checksum)] = 0;
	t[offsetof(struct header, checksum)] = checksum(t, n);
}

static uint64_t table_add(struct aml *a, const void *p, size_t n)
{
	uint64_t gpa = table_begin(a);

	aml_bytes(a, p, n);
	table_end(a, gpa);
	return gpa;
}

/* ---- DSDT ---- */

/* SLP_TYP for the only state there is besides running: off. */
static void add_sleep(struct aml *a)
{
	size_t p;

	aml_name(a, "_S5_");
	p = aml_begin(a, AML_PACKAGE);
	aml_byte(a, 4);
	aml_number(a, LAYOUT_SLEEP_S5);
	aml_number(a, 0);
	aml_number(a, 0);
	aml_number(a, 0);
	aml_end(a, p);
}

static void add_serial(struct aml *a)
{
	size_t d = aml_begin(a, AML_DEVICE);
	struct aml_crs c;

	aml_path(a, "COM1");
	aml_name(a, "_HID");
	aml_eisaid(a, "PNP0501"); /* 16550A */
	aml_name(a, "_UID");
	aml_number(a, 0);
	c = aml_crs_begin(a);
	aml_crs_ports(a, LAYOUT_PORT_SERIAL, 8);
	aml_crs_edge(a, LAYOUT_GSI_SERIAL);
	aml_crs_end(a, c);
	aml_end(a, d);
}

/* "LNRO0005" is what Linux's virtio_mmio driver, QEMU and others agreed on. */
static void add_virtio(struct aml *a, unsigned i)
{
	size_t d = aml_begin(a, AML_DEVICE);
	struct aml_crs c;
	char name[5];

	snprintf(name, sizeof(name), "VR%02u", i % 100);
	aml_path(a, name);
	aml_name(a, "_HID");
	aml_string(a, "LNRO0005");
	aml_name(a, "_UID");
	aml_number(a, i);
	c = aml_crs_begin(a);
	aml_crs_memory(a, (uint32_t)(LAYOUT_MMIO + i * LAYOUT_MMIO_STRIDE),
		       LAYOUT_MMIO_STRIDE);
	aml_crs_edge(a, LAYOUT_GSI + i);
	aml_crs_end(a, c);
	aml_end(a, d);
}

static uint64_t add_dsdt(struct aml *a, const struct acpi_spec *s)
{
	uint64_t gpa = table_begin(a);
	struct header h = { .length = 0 };
	size_t scope;
	unsigned i;

	header_init(&h, "DSDT", 2); /* from 2 on, numbers have 64 bits */
	aml_bytes(a, &h, sizeof(h));
	add_sleep(a);
	scope = aml_begin(a, AML_SCOPE);
	aml_path(a, "_SB_");
	add_serial(a);
	for (i = 0; i < s->devices; i++)
		add_virtio(a, i);
	aml_end(a, scope);
	table_end(a, gpa);
	return gpa;
}

/* ---- the other tables ---- */

static struct gas byte_port(uint16_t port)
{
	return (struct gas){
		.space = 1, .bits = 8, .access = 1, .address = port
	};
}

static uint64_t add_fadt(struct aml *a, uint64_t dsdt)
{
	struct fadt f = {
		.profile = FADT_PROFILE_SERVER,
		.boot_arch = FADT_NO_VGA | FADT_NO_RTC,
		.flags = FADT_WBINVD | FADT_C1 | FADT_NO_POWER_BUTTON |
			 FADT_NO_SLEEP_BUTTON | FADT_RESET | FADT_HEADLESS |
			 FADT_HW_REDUCED,
		.reset = byte_port(LAYOUT_PORT_RESET),
		.reset_value = LAYOUT_RESET_VALUE,
		.minor = 3,
		.x_dsdt = dsdt,
		.sleep_control = byte_port(LAYOUT_PORT_SLEEP),
		.sleep_status = byte_port(LAYOUT_PORT_SLEEP_STATUS),
		.hypervisor = OEM_ID,
	};

	header_init(&f.h, "FACP", 6);
	return table_add(a, &f, sizeof(f));
}

static uint64_t add_madt(struct aml *a, unsigned vcpus)
{
	uint64_t gpa = table_begin(a);
	struct madt t = { .lapic = LAYOUT_LAPIC };
	struct madt_ioapic io = { .type = 1,
				  .length = sizeof(io),
				  .address = LAYOUT_IOAPIC };
	unsigned i;

	header_init(&t.h, "APIC", 5);
	aml_bytes(a, &t, sizeof(t));
	for (i = 0; i < vcpus; i++) {
		struct madt_lapic l = { .length = sizeof(l),
					.uid = (uint8_t)i,
					.id = (uint8_t)i,
					.flags = MADT_ENABLED };

		aml_bytes(a, &l, sizeof(l));
	}
	aml_bytes(a, &io, sizeof(io));
	table_end(a, gpa);
	return gpa;
}

/* ---- all of them ---- */

static void add_all(struct aml *a, const struct acpi_spec *s)
{
	struct rsdp root = { .signature = "RSD PTR ",
			     .oem_id = OEM_ID,
			     .revision = 2,
			     .length = sizeof(root) };
	struct xsdt x = { .entry = { 0 } };
	size_t at = a->len;

	/* First for its address, at the end for its contents. */
	aml_bytes(a, &root, sizeof(root));
	x.entry[0] = add_fadt(a, add_dsdt(a, s));
	x.entry[1] = add_madt(a, s->vcpus);
	header_init(&x.h, "XSDT", 1);
	root.xsdt = table_add(a, &x, sizeof(x));
	root.checksum = checksum(&root, 20);
	root.checksum_all = checksum(&root, sizeof(root));
	if (!a->full)
		memcpy(a->data + at, &root, sizeof(root));
}

int acpi_write(const struct mem *m, const struct acpi_spec *s, uint64_t *rsdp,
	       struct err *e)
{
	struct aml a = { .max = BOOT_RESET_VECTOR - LAYOUT_ACPI };

	if (s->vcpus < 1 || s->vcpus > LAYOUT_VCPUS_MAX)
		return err_set(e, EINVAL,
			       "%u virtual processors: it must be 1 to %d",
			       s->vcpus, LAYOUT_VCPUS_MAX);
	if (s->devices > LAYOUT_DEVICES_MAX)
		return err_set(e, EINVAL, "%u devices: it must be at most %d",
			       s->devices, LAYOUT_DEVICES_MAX);
	a.data = mem_at(m, LAYOUT_ACPI, a.max);
	if (!a.data)
		return err_set(e, EFAULT, "there is no memory at %#llx",
			       (unsigned long long)LAYOUT_ACPI);
	add_all(&a, s);
	if (a.full)
		return err_set(e, ENOSPC, "ACPI tables of more than %zu bytes",
			       a.max);
	*rsdp = LAYOUT_ACPI;
	return 0;
}
