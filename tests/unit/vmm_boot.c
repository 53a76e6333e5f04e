/* SPDX-License-Identifier: MIT
 *
 * Kernels, made by hand, and what of them comes to the guest's memory.
 */
#include "tests/tap.h"

#include "base/err.h"
#include "base/fd.h"
#include "tests/unit/scratch.h"
#include "vmm/boot.h"
#include "vmm/elf.h"
#include "vmm/mem.h"

#include <errno.h>
#include <sys/mman.h>

#define MIB (1ULL << 20)

/* A small kernel: what a test changes before it is written. */
struct image {
	Elf64_Ehdr eh;
	Elf64_Phdr ph[4]; /* code, data, notes, a gap for tests */
	struct {
		Elf64_Nhdr other;
		char other_name[4], other_desc[8];
		Elf64_Nhdr h;
		char name[4];
		uint64_t desc;
	} __attribute__((packed)) note;
	uint8_t code[32];
	uint8_t data[16];
};

#define CODE (2 * MIB)
#define DATA (3 * MIB)
#define ENTRY (CODE + 16)

static struct image image_new(void)
{
	struct image k = { .eh = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2,
						ELFMAG3, ELFCLASS64,
						ELFDATA2LSB, EV_CURRENT },
				   .e_type = ET_EXEC,
				   .e_machine = EM_X86_64,
				   .e_phoff = offsetof(struct image, ph),
				   .e_phentsize = sizeof(Elf64_Phdr),
				   .e_phnum = 3 } };

	k.ph[0] = (Elf64_Phdr){ .p_type = PT_LOAD,
				.p_offset = offsetof(struct image, code),
				.p_vaddr = 0xffffffff81000000,
				.p_paddr = CODE,
				.p_filesz = sizeof(k.code),
				.p_memsz = sizeof(k.code) };
	k.ph[1] = (Elf64_Phdr){ .p_type = PT_LOAD,
				.p_offset = offsetof(struct image, data),
				.p_paddr = DATA,
				.p_filesz = sizeof(k.data),
				.p_memsz = MIB };
	k.ph[2] = (Elf64_Phdr){ .p_type = PT_NOTE,
				.p_offset = offsetof(struct image, note),
				.p_filesz = sizeof(k.note),
				.p_align = 4 };
	k.note.other = (Elf64_Nhdr){ 4, 5, 18 };
	memcpy(k.note.other_name, "GNU", 4);
	k.note.h = (Elf64_Nhdr){ 4, 8, 18 };
	memcpy(k.note.name, "Xen", 4);
	k.note.desc = ENTRY;
	memset(k.code, 0xc0, sizeof(k.code));
	memset(k.data, 0xda, sizeof(k.data));
	return k;
}

static int file_with(const void *p, size_t n)
{
	int fd = memfd_create("kernel", MFD_CLOEXEC);

	if (fd < 0 || write(fd, p, n) != (ssize_t)n)
		bail("cannot make a file");
	return fd;
}

static struct mem ram = MEM_INIT;
static struct boot_entry at;
static struct err err;

static void fresh_memory(uint64_t size)
{
	mem_free_ram(&ram);
	if (mem_create(&ram, size, NULL) < 0)
		bail("no memory");
}

/* boot_load() of the first @n bytes of @k, the initramfs of @initramfs bytes
 * (0: none). */
static int load(const struct image *k, size_t n, size_t initramfs,
		const char *cmdline)
{
	fd_auto int kernel = file_with(k, n);
	fd_auto int rd = initramfs ? file_with("", 0) : -1;
	struct boot_spec s = { .kernel = kernel,
			       .initramfs = rd,
			       .kernel_name = "K",
			       .initramfs_name = "I",
			       .cmdline = cmdline,
			       .rsdp = 0xe0000 };

	if (rd >= 0 && (ftruncate(rd, (off_t)initramfs) < 0 ||
			pwrite(rd, "begin", 5, 0) != 5 ||
			pwrite(rd, "end", 3, (off_t)initramfs - 3) != 3))
		bail("cannot make an initramfs");
	err = (struct err)ERR_INIT;
	return boot_load(&ram, &s, &at, &err);
}

static int load_whole(const struct image *k)
{
	return load(k, sizeof(*k), 0, NULL);
}

static bool all(uint64_t gpa, size_t n, uint8_t v)
{
	const uint8_t *p = mem_at(&ram, gpa, n);

	if (!p)
		return false;
	while (n--)
		if (*p++ != v)
			return false;
	return true;
}

static uint64_t number(uint64_t gpa, unsigned bytes)
{
	const uint8_t *p = mem_at(&ram, gpa, bytes);
	uint64_t v = 0;

	if (!p)
		bail("%#" PRIx64 " is not memory", gpa);
	memcpy(&v, p, bytes);
	return v;
}

/* ---- what is loaded ---- */

static void test_kernel(void)
{
	struct image k = image_new();

	fresh_memory(64 * MIB);
	is_int(load_whole(&k), 0, "a kernel is loaded");
	is_int(at.entry, ENTRY, "its entry is the Xen note's, not another's");
	is_int(at.kernel_end, 4 * MIB, "its end is that of its memory");
	is_int(at.initramfs | at.initramfs_size, 0, "there is no initramfs");
	ok(all(CODE, 32, 0xc0) && all(DATA, 16, 0xda), "both parts are there");
	ok(all(CODE - 64, 64, 0) && all(CODE + 32, 64, 0) &&
		   all(DATA + 16, 64, 0),
	   "and nothing around them");
	k.note.h.n_descsz = 4;
	is_int(load_whole(&k), 0, "an entry of 32 bits");
	is_int(at.entry, ENTRY, "is as good");
	k.ph[3] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_paddr = 77 };
	k.eh.e_phnum = 4;
	is_int(load_whole(&k), 0, "a segment of nothing is nothing");
}

static void test_initramfs(void)
{
	struct image k = image_new();
	const char *p;

	fresh_memory(64 * MIB);
	is_int(load(&k, sizeof(k), 10000, NULL), 0, "with initramfs");
	is_int(at.initramfs, 64 * MIB - 12288, "it is at the end, on a page");
	is_int(at.initramfs_size, 10000, "of its own size");
	p = mem_at(&ram, at.initramfs, 10000);
	ok(p && memcmp(p, "begin", 5) == 0 && memcmp(p + 9997, "end", 3) == 0,
	   "and complete");
	is_int(load(&k, sizeof(k), 60 * MIB, NULL), 0,
	       "it may reach down to the kernel");
	is_int(at.initramfs, at.kernel_end, "to its end");
	is_int(load(&k, sizeof(k), 60 * MIB + 1, NULL), -ENOSPC,
	       "and not a byte further");
	is_str(err.text,
	       "K takes memory up to 4 MiB and the initramfs 61 MiB more, but "
	       "below the hole there are 64 MiB",
	       "says who wants what");
	has_str(err.fix, "66 MiB", "and how much it takes");
}

static void test_info(void)
{
	struct image k = image_new();
	uint64_t module, map, line;

	fresh_memory(64 * MIB);
	is_int(load(&k, sizeof(k), 5000, "console=ttyS0 quiet"), 0, "loaded");
	is_int(at.info, LAYOUT_START_INFO, "the start info is in its place");
	is_int(number(at.info, 4), 0x336ec578, "magic");
	is_int(number(at.info + 4, 4), 1, "version");
	is_int(number(at.info + 8, 4), 0, "flags");
	is_int(number(at.info + 12, 4), 1, "modules");
	module = number(at.info + 16, 8);
	is_int(number(module, 8), at.initramfs, "the module: where");
	is_int(number(module + 8, 8), 5000, "the module: how long");
	line = number(at.info + 24, 8);
	is_str(mem_at(&ram, line, 64), "console=ttyS0 quiet", "command line");
	is_int(number(at.info + 32, 8), 0xe0000, "ACPI");
	map = number(at.info + 40, 8);
	is_int(number(at.info + 48, 4), 3, "three ranges of memory");
	ok(number(map, 8) == 0 && number(map + 8, 8) == 0x9f000 &&
		   number(map + 16, 8) == 1,
	   "low memory");
	ok(number(map + 24, 8) == 0xe0000 && number(map + 32, 8) == 0x20000 &&
		   number(map + 40, 8) == 2,
	   "reserved for ACPI");
	ok(number(map + 48, 8) == MIB && number(map + 56, 8) == 63 * MIB &&
		   number(map + 64, 8) == 1,
	   "memory from 1 MiB to the end");
	is_int(load_whole(&k), 0, "without initramfs and command line");
	is_int(number(at.info + 12, 4), 0, "no module");
	is_str(mem_at(&ram, number(at.info + 24, 8), 1), "", "an empty line");
}

/* What runs when a guest jumps to the BIOS: in real mode, put the reset value
 * into %al, the port into %dx, and out. */
static void test_reset(void)
{
	struct image k = image_new();
	const uint8_t *p = mem_at(&ram, 0xffff0, 9);

	is_int(load_whole(&k), 0, "loaded");
	ok(p[0] == 0xba && (p[1] | p[2] << 8) == LAYOUT_PORT_RESET,
	   "the BIOS has the port");
	ok(p[3] == 0xb0 && p[4] == LAYOUT_RESET_VALUE, "the value");
	is_mem(p + 5, 4, "\xee\xf4\xeb\xfd", 4, "and resets");
}

static void test_large(void)
{
	struct image k = image_new();
	uint64_t map;

	fresh_memory(4096 * MIB);
	is_int(load(&k, sizeof(k), 4096, NULL), 0, "4 GiB of memory");
	is_int(at.initramfs, 0xc0000000 - 4096,
	       "the initramfs ends at the hole");
	map = number(at.info + 40, 8);
	is_int(number(at.info + 48, 4), 4, "four ranges of memory");
	ok(number(map + 56, 8) == 3071 * MIB, "one up to the hole");
	ok(number(map + 72, 8) == 4096 * MIB &&
		   number(map + 80, 8) == 1024 * MIB &&
		   number(map + 88, 8) == 1,
	   "one from 4 GiB");
	fresh_memory(64 * MIB);
}

static void test_cmdline(void)
{
	char line[BOOT_CMDLINE_MAX + 1];
	struct image k = image_new();

	memset(line, 'x', sizeof(line));
	line[BOOT_CMDLINE_MAX - 1] = '\0';
	is_int(load(&k, sizeof(k), 0, line), 0, "the longest command line");
	line[BOOT_CMDLINE_MAX - 1] = 'x';
	line[BOOT_CMDLINE_MAX] = '\0';
	is_int(load(&k, sizeof(k), 0, line), -E2BIG, "one byte more");
	has_str(err.text, "2048 bytes, expected at most 2047", "says so");
}

/* ---- what is not ---- */

/* One change of a number makes a kernel bad. */
#define REFUSED(member, value, num, says)                            \
	do {                                                         \
		struct image k_ = image_new();                       \
		k_.member = (value);                                 \
		is_int(load_whole(&k_), -(num), #member " " #value); \
		has_str(err.text, says, "says so");                  \
	} while (0)

static void test_headers(void)
{
	struct image k = image_new();
	size_t n;
	unsigned good = 0;

	REFUSED(eh.e_ident[0], 0, ENOTSUP, "K is not an ELF file");
	has_str(err.fix, "vmlinux", "and what it should be");
	REFUSED(eh.e_ident[EI_CLASS], ELFCLASS32, ENOTSUP, "not for 64-bit");
	REFUSED(eh.e_ident[EI_DATA], ELFDATA2MSB, ENOTSUP, "not for 64-bit");
	REFUSED(eh.e_machine, EM_AARCH64, ENOTSUP, "machine 183");
	REFUSED(eh.e_phnum, 0, EBADMSG, "0 program headers");
	REFUSED(eh.e_phnum, ELF_SEGMENTS_MAX + 1, EBADMSG, "33 program");
	REFUSED(eh.e_phentsize, 32, EBADMSG, "of 32 bytes");
	REFUSED(eh.e_phoff, UINT64_MAX, EBADMSG, "at offset 184467440737");
	REFUSED(eh.e_phoff, INT64_MAX - 4, EBADMSG, "at offset 92233720368");
	REFUSED(eh.e_phoff, 1 << 20, EBADMSG, "cut off");
	for (n = 0; n < sizeof(k); n++)
		good += load(&k, n, 0, NULL) != -EBADMSG;
	is_int(good, 0, "a file that is cut off anywhere");
	has_str(err.text, "K is cut off: it ends at", "says so");
}

static void test_segments(void)
{
	REFUSED(ph[0].p_filesz, 33, EBADMSG, "bad segment: 33 bytes");
	REFUSED(ph[0].p_memsz, UINT64_MAX, EBADMSG, "bad segment");
	REFUSED(ph[0].p_paddr, UINT64_MAX - 8, EBADMSG, "bad segment");
	REFUSED(ph[0].p_offset, UINT64_MAX - 8, EBADMSG, "bad segment");
	REFUSED(ph[1].p_offset, INT64_MAX, EBADMSG, "wants 16 bytes at");
	REFUSED(ph[1].p_offset, 1 << 20, EBADMSG, "cut off");
	REFUSED(ph[1].p_paddr, MIB - 1, ENOTSUP, "expected 0x100000");
	REFUSED(ph[1].p_paddr, 0, ENOTSUP, "to be loaded at 0");
	REFUSED(ph[1].p_paddr, 64 * MIB - 16, ENOSPC, "up to 65 MiB");
	has_str(err.fix, "66 MiB", "and how much it takes");
	REFUSED(ph[1].p_memsz, 64 * MIB, ENOSPC, "up to 67 MiB");
	REFUSED(ph[1].p_paddr, 0xd0000000, ENOSPC, "up to 3329 MiB");
	has_str(err.fix, "no memory size", "and that nothing helps");
	REFUSED(ph[1].p_paddr, 1ULL << 63, ENOSPC, "K takes memory up to");
	REFUSED(ph[0].p_type, PT_NULL, EBADMSG, "in none of its segments");
}

static void test_notes(void)
{
	struct image k = image_new();

	REFUSED(note.h.n_type, 17, ENOTSUP, "no PVH entry");
	has_str(err.fix, "CONFIG_PVH", "and what to look for");
	REFUSED(note.name[1], 'E', ENOTSUP, "no PVH entry");
	REFUSED(note.h.n_descsz, 5, EBADMSG, "damaged note");
	REFUSED(note.h.n_descsz, UINT32_MAX, EBADMSG, "damaged note");
	REFUSED(note.h.n_namesz, UINT32_MAX, EBADMSG, "damaged note");
	REFUSED(note.other.n_namesz, UINT32_MAX, EBADMSG, "damaged note");
	REFUSED(note.desc, 1ULL << 32, EBADMSG, "damaged note");
	REFUSED(note.desc, 0, EBADMSG, "damaged note");
	REFUSED(note.desc, CODE - 1, EBADMSG, "PVH entry at 0x1fffff");
	REFUSED(note.desc, CODE + 32, EBADMSG, "in none of its segments");
	REFUSED(note.desc, DATA + 16, EBADMSG, "in none of its segments");
	REFUSED(ph[2].p_filesz, ELF_NOTES_MAX + 1, EBADMSG, "65537 bytes");
	REFUSED(ph[2].p_filesz, 0, ENOTSUP, "no PVH entry");
	REFUSED(ph[2].p_type, PT_NULL, ENOTSUP, "no PVH entry");
	REFUSED(ph[2].p_offset, 1 << 20, EBADMSG, "cut off");
	k.ph[3] = k.ph[2];
	k.ph[2].p_offset = offsetof(struct image, code);
	k.ph[2].p_filesz = 8;
	k.eh.e_phnum = 4;
	is_int(load_whole(&k), 0, "the second of two note segments will do");
}

/* Padding to 8 counts from the note's beginning. */
static void test_alignment(void)
{
	static const struct {
		Elf64_Nhdr a;
		char name[6], pad[6];
		uint32_t desc, pad2;
		Elf64_Nhdr b;
		char xen[4];
		uint32_t entry;
	} notes = { .a = { 6, 4, 18 },
		    .name = "Other",
		    .b = { 4, 4, 18 },
		    .xen = "Xen",
		    .entry = 0x1234 };
	uint32_t entry = 0;

	is_int(elf_pvh_entry((const void *)&notes, sizeof(notes), 8, &entry), 0,
	       "notes padded to 8 bytes");
	is_int(entry, 0x1234, "are found");
	is_int(elf_pvh_entry((const void *)&notes, 11, 8, &entry), -ENOENT,
	       "a rest too short for a note is padding");
	is_int(elf_pvh_entry((const void *)&notes, 28, 8, &entry), -ENOENT,
	       "the last note need not be padded");
	is_int(elf_pvh_entry((const void *)&notes.b, 19, 4, &entry), -EBADMSG,
	       "a note that ends a byte too late is damaged");
}

static void test_files(void)
{
	struct boot_spec s = BOOT_SPEC_INIT;
	struct image k = image_new();
	fd_auto int kernel = file_with(&k, sizeof(k));
	fd_auto int empty = file_with("", 0);
	int p[2];

	is_int(boot_load(&ram, &s, &at, &err), -EBADF, "no kernel");
	has_str(err.text, "cannot read kernel", "says so");
	if (pipe(p) < 0)
		bail("no pipe");
	s.kernel = p[0];
	is_int(boot_load(&ram, &s, &at, NULL), -ESPIPE, "a kernel in a pipe");
	s.kernel = kernel;
	s.initramfs = p[0];
	is_int(boot_load(&ram, &s, &at, &err), -ENOTSUP,
	       "an initramfs in a pipe");
	has_str(err.text, "initramfs is not a file", "says so");
	s.initramfs = empty;
	is_int(boot_load(&ram, &s, &at, &err), -ENOTSUP, "an empty initramfs");
	close(p[0]);
	close(p[1]);
}

int main(void)
{
	test_kernel();
	test_initramfs();
	test_info();
	test_reset();
	test_large();
	test_cmdline();
	test_headers();
	test_segments();
	test_notes();
	test_alignment();
	test_files();
	mem_free_ram(&ram);
	return tap_done();
}
