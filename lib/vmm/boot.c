/* SPDX-License-Identifier: MIT
 *
 * From files to a guest that can be entered: see boot.h.
 *
 * The kernel goes where its program headers say, the initramfs to the very end
 * of the memory below the hole, as far from the kernel as can be: it is
 * unpacked and freed before anything else grows up to there.
 *
 * Everything is read into the guest's memory.  To map the files there instead
 * would save the copy, but break the one mapping that RAM is (see mem.c), and
 * with it the huge pages, for what a restored sandbox never does.
 */
#include "vmm/boot.h"

#include <assert.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "vmm/elf.h"
#include "vmm/mem.h"

#define START_MAGIC 0x336ec578U /* "xEn3", bit 7 of the E set */
#define START_VERSION 1

struct start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t nr_modules;
	uint64_t modlist_paddr;
	uint64_t cmdline_paddr;
	uint64_t rsdp_paddr;
	uint64_t memmap_paddr;
	uint32_t memmap_entries;
	uint32_t reserved;
};

struct start_module {
	uint64_t paddr;
	uint64_t size;
	uint64_t cmdline_paddr;
	uint64_t reserved;
};

/* The numbers of E820. */
enum { MAP_RAM = 1, MAP_RESERVED = 2 };

struct start_map {
	uint64_t addr;
	uint64_t size;
	uint32_t type;
	uint32_t reserved;
};

/* What stands at LAYOUT_START_INFO. */
struct start_page {
	struct start_info info;
	struct start_module module;
	struct start_map map[4];
};

static_assert(sizeof(struct start_info) == 56, "start_info.h");
static_assert(sizeof(struct start_module) == 32, "start_info.h");
static_assert(sizeof(struct start_map) == 24, "start_info.h");
static_assert(LAYOUT_START_INFO + sizeof(struct start_page) <= LAYOUT_CMDLINE,
	      "the command line comes after it");
static_assert(BOOT_RESET_VECTOR + 16 == LAYOUT_ACPI_END, "in reserved memory");
static_assert(BOOT_CMDLINE_MAX <= LAYOUT_CMDLINE_MAX, "there is room for it");

static uint64_t page_up(uint64_t n)
{
	return (n + LAYOUT_PAGE - 1) / LAYOUT_PAGE * LAYOUT_PAGE;
}

static unsigned long long mib_up(uint64_t n)
{
	return (n + LAYOUT_MIB - 1) / LAYOUT_MIB;
}

/* ---- where things go ---- */

/* The size of the initramfs into @out->initramfs_size. */
static int measure_initramfs(const struct boot_spec *s, const char *name,
			     struct boot_entry *out, struct err *e)
{
	struct stat st;

	if (s->initramfs < 0)
		return 0;
	if (fstat(s->initramfs, &st) < 0)
		return err_sys(e, errno, "cannot read %s", name);
	if (!S_ISREG(st.st_mode) || st.st_size <= 0)
		return err_set(e, ENOTSUP,
			       "%s is not a file with something in it", name);
	out->initramfs_size = (uint64_t)st.st_size;
	return 0;
}

static int too_small(const struct mem *m, const struct elf *x, uint64_t need,
		     const struct boot_entry *out, struct err *e)
{
	err_set(e, ENOSPC,
		"%s takes memory up to %llu MiB and the initramfs %llu MiB "
		"more, but below the hole there are %llu MiB",
		x->name, mib_up(x->end), mib_up(out->initramfs_size),
		(unsigned long long)(m->low / LAYOUT_MIB));
	if (need > LAYOUT_HOLE)
		return err_fix(e, "no memory size makes room: that must end "
				  "below 3 GiB");
	return err_fix(e,
		       "give the virtual machine more than %llu MiB of memory",
		       (mib_up(need) + 1) / 2 * 2);
}

static int place(const struct mem *m, const struct elf *x,
		 struct boot_entry *out, struct err *e)
{
	uint64_t need;

	if (x->start < LAYOUT_KERNEL)
		return err_set(e, ENOTSUP,
			       "%s is to be loaded at %#llx, expected %#llx or "
			       "above",
			       x->name, (unsigned long long)x->start,
			       (unsigned long long)LAYOUT_KERNEL);
	/* Each alone first: then the sum cannot overflow. */
	if (x->end > LAYOUT_HOLE || out->initramfs_size > LAYOUT_HOLE)
		return too_small(m, x, UINT64_MAX, out, e);
	need = page_up(x->end) + page_up(out->initramfs_size);
	if (need > m->low)
		return too_small(m, x, need, out, e);
	out->entry = x->entry;
	out->kernel_end = x->end;
	if (out->initramfs_size)
		out->initramfs = m->low - page_up(out->initramfs_size);
	return 0;
}

/* ---- contents ---- */

/* @n bytes of the file at @offset to @gpa, which place() found to be RAM;
 * looked at again here, where the pointer is made. */
static int load(const struct mem *m, uint64_t gpa, int fd, const char *name,
		uint64_t n, uint64_t offset, struct err *e)
{
	void *p = mem_at(m, gpa, n);

	if (!p)
		return err_set(e, EFAULT, "%s: %#llx is not memory", name,
			       (unsigned long long)gpa);
	return elf_read(fd, name, p, n, offset, e);
}

static int load_kernel(const struct mem *m, const struct elf *x, struct err *e)
{
	unsigned i;
	int r = 0;

	for (i = 0; r == 0 && i < x->segments; i++) {
		const struct elf_segment *s = &x->segment[i];

		if (s->file)
			r = load(m, s->paddr, x->fd, x->name, s->file,
				 s->offset, e);
	}
	return r;
}

static unsigned map_memory(const struct mem *m, struct start_map *map)
{
	map[0] = (struct start_map){ 0, LAYOUT_LOW_END, MAP_RAM, 0 };
	map[1] = (struct start_map){ LAYOUT_ACPI, LAYOUT_ACPI_END - LAYOUT_ACPI,
				     MAP_RESERVED, 0 };
	map[2] = (struct start_map){ LAYOUT_KERNEL, m->low - LAYOUT_KERNEL,
				     MAP_RAM, 0 };
	if (m->size == m->low)
		return 3;
	map[3] =
		(struct start_map){ LAYOUT_HIGH, m->size - m->low, MAP_RAM, 0 };
	return 4;
}

static int write_info(const struct mem *m, const struct boot_spec *s,
		      const struct boot_entry *out, struct err *e)
{
	const char *line = s->cmdline ? s->cmdline : "";
	size_t len = strlen(line) + 1;
	struct start_page page = {
		.info = { .magic = START_MAGIC,
			  .version = START_VERSION,
			  .cmdline_paddr = LAYOUT_CMDLINE,
			  .rsdp_paddr = s->rsdp,
			  .memmap_paddr = LAYOUT_START_INFO +
					  offsetof(struct start_page, map) },
	};
	void *p = mem_at(m, LAYOUT_START_INFO, sizeof(page));
	void *c = mem_at(m, LAYOUT_CMDLINE, len);

	if (!p || !c)
		return err_set(e, EFAULT, "there is no memory at %#llx",
			       (unsigned long long)LAYOUT_START_INFO);
	page.info.memmap_entries = map_memory(m, page.map);
	if (out->initramfs_size) {
		page.info.nr_modules = 1;
		page.info.modlist_paddr =
			LAYOUT_START_INFO + offsetof(struct start_page, module);
		page.module.paddr = out->initramfs;
		page.module.size = out->initramfs_size;
	}
	memcpy(p, &page, sizeof(page));
	memcpy(c, line, len);
	return 0;
}

/* All the BIOS there is: whoever jumps to it wants a reset.  Linux does, unless
 * its command line says reboot=acpi: with hardware-reduced ACPI it tries EFI
 * and, where that is missing, goes on here, in real mode; and would run zeros
 * for ever. */
static int write_reset(const struct mem *m, struct err *e)
{
	/* mov $port, %dx; mov $value, %al; out %al, (%dx); 1: hlt; jmp 1b */
	static const uint8_t code[] = { 0xba,
					LAYOUT_PORT_RESET & 0xff,
					LAYOUT_PORT_RESET >> 8,
					0xb0,
					LAYOUT_RESET_VALUE,
					0xee,
					0xf4,
					0xeb,
					0xfd };
	void *p = mem_at(m, BOOT_RESET_VECTOR, sizeof(code));

	if (!p)
		return err_set(e, EFAULT, "there is no memory at %#llx",
			       BOOT_RESET_VECTOR);
	memcpy(p, code, sizeof(code));
	return 0;
}

static int check_cmdline(const struct boot_spec *s, struct err *e)
{
	size_t n = s->cmdline ? strlen(s->cmdline) : 0;

	if (n < BOOT_CMDLINE_MAX)
		return 0;
	return err_set(e, E2BIG,
		       "the kernel's command line has %zu bytes, expected at "
		       "most %d",
		       n, BOOT_CMDLINE_MAX - 1);
}

int boot_load(const struct mem *m, const struct boot_spec *s,
	      struct boot_entry *out, struct err *e)
{
	const char *name = s->initramfs_name ? s->initramfs_name : "initramfs";
	struct elf x;
	int r;

	*out = (struct boot_entry){ .info = LAYOUT_START_INFO };
	r = check_cmdline(s, e);
	if (r == 0)
		r = elf_open(&x, s->kernel,
			     s->kernel_name ? s->kernel_name : "kernel", e);
	if (r == 0)
		r = measure_initramfs(s, name, out, e);
	if (r == 0)
		r = place(m, &x, out, e);
	if (r == 0)
		r = load_kernel(m, &x, e);
	if (r == 0 && out->initramfs_size)
		r = load(m, out->initramfs, s->initramfs, name,
			 out->initramfs_size, 0, e);
	if (r == 0)
		r = write_info(m, s, out, e);
	return r < 0 ? r : write_reset(m, e);
}
