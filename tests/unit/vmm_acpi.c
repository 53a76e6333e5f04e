/* SPDX-License-Identifier: MIT
 *
 * The ACPI tables, found and read as a guest does; and for tests/shell/acpi.t,
 * which has iasl look at them:
 *
 *	vmm_acpi VCPUS DEVICES DIR
 *
 * writes each to DIR/SIGNATURE.dat.
 */
#include "tests/tap.h"

#include "base/err.h"
#include "tests/unit/scratch.h"
#include "vmm/acpi.h"
#include "vmm/aml.h"
#include "vmm/mem.h"

#include <errno.h>

#define AREA (LAYOUT_ACPI_END - LAYOUT_ACPI)

static struct mem ram = MEM_INIT;

static uint64_t number(uint64_t gpa, unsigned bytes)
{
	const uint8_t *p = mem_at(&ram, gpa, bytes);
	uint64_t v = 0;

	if (!p)
		bail("%#" PRIx64 " is not memory", gpa);
	memcpy(&v, p, bytes);
	return v;
}

static uint8_t sum(uint64_t gpa, uint64_t n)
{
	const uint8_t *p = mem_at(&ram, gpa, n);
	uint8_t v = 0;

	if (!p)
		bail("%#" PRIx64 " is not memory", gpa);
	while (n--)
		v = (uint8_t)(v + *p++);
	return v;
}

static bool signed_as(uint64_t gpa, const char *signature)
{
	const void *p = mem_at(&ram, gpa, strlen(signature));

	return p && memcmp(p, signature, strlen(signature)) == 0;
}

/* Is there a whole table of that name, with the right sum, in its area? */
static bool table_good(uint64_t gpa, const char *signature)
{
	uint64_t n = number(gpa + 4, 4);

	return signed_as(gpa, signature) && gpa >= LAYOUT_ACPI && n >= 36 &&
	       gpa + n <= LAYOUT_ACPI_END && sum(gpa, n) == 0;
}

struct found {
	uint64_t fadt, madt, dsdt;
};

static struct found find(uint64_t rsdp)
{
	struct found f = { .fadt = 0 };
	uint64_t xsdt = number(rsdp + 24, 8);

	f.fadt = number(xsdt + 36, 8);
	f.madt = number(xsdt + 44, 8);
	f.dsdt = number(f.fadt + 140, 8);
	return f;
}

static struct found make(unsigned vcpus, unsigned devices)
{
	struct acpi_spec s = { .vcpus = vcpus, .devices = devices };
	struct err e = ERR_INIT;
	uint64_t rsdp;

	memset(mem_at(&ram, LAYOUT_ACPI, AREA), 0xa5, AREA);
	if (acpi_write(&ram, &s, &rsdp, &e) < 0)
		bail("%s", e.text);
	return find(rsdp);
}

/* ---- tests ---- */

static void test_root(void)
{
	struct acpi_spec s = { .vcpus = 2, .devices = 3 };
	uint64_t rsdp = 0, xsdt;

	is_int(acpi_write(&ram, &s, &rsdp, NULL), 0, "tables are written");
	ok(rsdp == LAYOUT_ACPI && rsdp % 16 == 0,
	   "the root is found by BIOSes");
	ok(signed_as(rsdp, "RSD PTR "), "and is one");
	is_int(number(rsdp + 15, 1), 2, "of ACPI 2 and later");
	is_int(number(rsdp + 20, 4), 36, "of that size");
	ok(sum(rsdp, 20) == 0 && sum(rsdp, 36) == 0, "both sums are right");
	xsdt = number(rsdp + 24, 8);
	ok(table_good(xsdt, "XSDT"), "it leads to the XSDT");
	is_int(number(xsdt + 4, 4), 36 + 2 * 8, "which names two tables");
}

static void test_fadt(void)
{
	struct found f = make(1, 1);

	ok(table_good(f.fadt, "FACP"), "FADT");
	is_int(number(f.fadt + 4, 4), 276, "of revision 6");
	is_int(number(f.fadt + 112, 4) >> 20 & 1, 1, "hardware-reduced");
	is_int(number(f.fadt + 109, 2) & 2, 0, "no keyboard controller");
	is_int(number(f.fadt + 109, 2) & 4, 4, "no VGA");
	is_int(number(f.fadt + 112, 4) >> 10 & 1, 1, "with reset register");
	is_int(number(f.fadt + 116, 4), 0x01000801, "a byte-wide port");
	is_int(number(f.fadt + 120, 8), LAYOUT_PORT_RESET, "at its place");
	is_int(number(f.fadt + 128, 1), LAYOUT_RESET_VALUE, "and its value");
	is_int(number(f.fadt + 244, 4), 0x01000801, "sleep control: a port");
	is_int(number(f.fadt + 248, 8), LAYOUT_PORT_SLEEP, "at its place");
	is_int(number(f.fadt + 260, 8), LAYOUT_PORT_SLEEP_STATUS,
	       "and its status");
	ok(table_good(f.dsdt, "DSDT"), "it leads to the DSDT");
}

/* The entries of the MADT. */
static void check_madt(unsigned vcpus)
{
	struct found f = make(vcpus, 0);
	uint64_t end = f.madt + number(f.madt + 4, 4), p;
	unsigned cpus = 0, ioapics = 0, wrong = 0;

	ok(table_good(f.madt, "APIC"), "MADT for %u processors", vcpus);
	is_int(number(f.madt + 36, 4), LAYOUT_LAPIC, "local controllers");
	is_int(number(f.madt + 40, 4), 0, "no 8259s");
	for (p = f.madt + 44; p < end; p += number(p + 1, 1)) {
		if (number(p + 1, 1) == 0)
			bail("an entry of no length");
		if (number(p, 2) == 0x0800) {
			if (number(p + 2, 6) != (1ULL << 16 | cpus << 8 | cpus))
				wrong++;
			cpus++;
		} else if (number(p, 2) == 0x0c01) {
			if (number(p + 2, 2) != 0 ||
			    number(p + 4, 8) != LAYOUT_IOAPIC)
				wrong++;
			ioapics++;
		} else {
			wrong++;
		}
	}
	ok(p == end, "it ends where the last entry does");
	ok(cpus == vcpus && ioapics == 1 && !wrong,
	   "%u processors, %u I/O controllers, %u wrong", cpus, ioapics, wrong);
}

/* How often the bytes are in the DSDT. */
static unsigned count(const struct found *f, const void *what, size_t n)
{
	uint64_t size = number(f->dsdt + 4, 4);
	const uint8_t *p = mem_at(&ram, f->dsdt, size);
	unsigned c = 0;
	uint64_t i;

	for (i = 0; i + n <= size; i++)
		c += memcmp(p + i, what, n) == 0;
	return c;
}

static void check_dsdt(unsigned devices)
{
	struct found f = make(1, devices);
	unsigned i, found = 0;

	for (i = 0; i < devices; i++) {
		uint8_t crs[] = { 0x86, 9, 0, 1, 0, 0, 0, 0, 0, 0x10, 0, 0,
				  0x89, 6, 0, 3, 1, 0, 0, 0, 0, 0x79, 0 };
		uint32_t base = (uint32_t)LAYOUT_MMIO + 0x1000 * i;

		memcpy(crs + 4, &base, 4);
		crs[17] = (uint8_t)(LAYOUT_GSI + i);
		found += count(&f, crs, sizeof(crs));
	}
	ok(found == devices, "%u devices have their pages and interrupts",
	   found);
	is_int(count(&f, "LNRO0005", 9), devices, "and there is no other");
	is_int(count(&f, "\x0c\x41\xd0\x05\x01", 5), 1, "and a serial port");
}

static void test_refusals(void)
{
	struct acpi_spec s = { .vcpus = 0, .devices = 1 };
	struct mem none = MEM_INIT;
	struct err e = ERR_INIT;
	uint64_t rsdp;

	is_int(acpi_write(&ram, &s, &rsdp, &e), -EINVAL, "no processor");
	s.vcpus = LAYOUT_VCPUS_MAX + 1;
	is_int(acpi_write(&ram, &s, &rsdp, &e), -EINVAL, "too many");
	has_str(e.text, "33 virtual processors: it must be 1 to 32", "say so");
	s.vcpus = 1;
	s.devices = LAYOUT_DEVICES_MAX + 1;
	is_int(acpi_write(&ram, &s, &rsdp, &e), -EINVAL, "too many devices");
	s.devices = 0;
	is_int(acpi_write(&none, &s, &rsdp, &e), -EFAULT, "no memory");
}

/* The encodings that our tables are too small for. */
static void test_aml(void)
{
	static const struct {
		size_t body;
		const char *want;
		size_t n;
	} length[] = {
		{ 0, "\x10\x01", 2 },
		{ 62, "\x10\x3f", 2 },
		{ 63, "\x10\x41\x04", 3 },
		{ 4093, "\x10\x4f\xff", 3 },
		{ 4094, "\x10\x81\x00\x01", 4 },
		{ 65536, "\x10\x83\x00\x10", 4 },
	};
	static uint8_t space[70000];
	struct aml a = { .data = space, .max = sizeof(space) };
	size_t i, n, p;

	for (i = 0; i < sizeof(length) / sizeof(length[0]); i++) {
		a.len = 0;
		p = aml_begin(&a, AML_SCOPE);
		for (n = 0; n < length[i].body; n++)
			aml_byte(&a, 0x5a);
		aml_end(&a, p);
		ok(!a.full && a.len == length[i].n + length[i].body &&
			   memcmp(space, length[i].want, length[i].n) == 0 &&
			   (n == 0 || (space[length[i].n] == 0x5a &&
				       space[a.len - 1] == 0x5a)),
		   "a term of %zu bytes has its length before it", n);
	}
	a.len = 0;
	aml_number(&a, 1);
	aml_number(&a, 2);
	aml_number(&a, 256);
	aml_number(&a, 65536);
	aml_number(&a, 1ULL << 32);
	is_mem(space, a.len,
	       "\x01\x0a\x02\x0b\x00\x01\x0c\x00\x00\x01\x00"
	       "\x0e\x00\x00\x00\x00\x01\x00\x00\x00",
	       20, "numbers are as short as can be");
}

/* What does not fit is not half there, whatever it is. */
static void test_full(void)
{
	static uint8_t space[64];
	size_t max, spilt = 0, whole = 0;

	for (max = 0; max < 40; max++) {
		struct aml a = { .data = space, .max = max };
		struct aml_crs c;
		size_t d, i;

		memset(space, 0xa5, sizeof(space));
		d = aml_begin(&a, AML_DEVICE);
		aml_path(&a, "ABCD");
		c = aml_crs_begin(&a);
		aml_crs_edge(&a, 7);
		aml_crs_end(&a, c);
		aml_end(&a, d);
		for (i = max; i < sizeof(space); i++)
			spilt += space[i] != 0xa5;
		whole += !a.full;
	}
	is_int(spilt, 0, "nothing is written behind the end");
	/* 2 device, 1 length, 4 name; 5 _CRS, 2 buffer, 2 size, 9, 2 end */
	is_int(whole, 40 - 27, "and what fits exactly, fits");
}

/* ---- for iasl ---- */

static void dump(const char *dir, const char *name, uint64_t gpa)
{
	uint64_t n = number(gpa + 4, 4);
	char path[PATH_MAX];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s.dat", dir, name);
	f = fopen(path, "w");
	if (!f || fwrite(mem_at(&ram, gpa, n), n, 1, f) != 1 || fclose(f) != 0)
		bail("cannot write %s", path);
}

static int dump_all(char **argv)
{
	struct found f = make((unsigned)atoi(argv[1]), (unsigned)atoi(argv[2]));

	dump(argv[3], "facp", f.fadt);
	dump(argv[3], "apic", f.madt);
	dump(argv[3], "dsdt", f.dsdt);
	dump(argv[3], "xsdt", number(LAYOUT_ACPI + 24, 8));
	return 0;
}

int main(int argc, char **argv)
{
	if (mem_create(&ram, LAYOUT_RAM_MIN, NULL) < 0)
		bail("no memory");
	if (argc == 4)
		return dump_all(argv);
	test_root();
	test_fadt();
	check_madt(1);
	check_madt(LAYOUT_VCPUS_MAX);
	check_dsdt(0);
	check_dsdt(1);
	check_dsdt(LAYOUT_DEVICES_MAX);
	test_refusals();
	test_aml();
	test_full();
	mem_free_ram(&ram);
	return tap_done();
}
