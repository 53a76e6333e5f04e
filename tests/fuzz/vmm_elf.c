/* SPDX-License-Identifier: MIT
 *
 * libFuzzer: a kernel image.  The input is loaded as a whole into a small
 * guest's memory, and looked at as notes.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "vmm/boot.h"
#include "vmm/elf.h"
#include "vmm/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct mem ram = MEM_INIT;

/* A kernel that was taken has its entry in memory, above what is ours. */
static void check(const struct boot_entry *at)
{
	if (at->entry < LAYOUT_KERNEL || at->entry >= at->kernel_end ||
	    at->kernel_end > ram.low)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	struct boot_spec s = BOOT_SPEC_INIT;
	struct err e = ERR_INIT;
	struct boot_entry at;
	uint32_t entry = 0;

	if (fd < 0) {
		fd = memfd_create("kernel", MFD_CLOEXEC);
		if (fd < 0 || mem_create(&ram, LAYOUT_RAM_MIN, NULL) < 0)
			abort();
	}
	if (ftruncate(fd, 0) < 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
		abort();
	s.kernel = fd;
	if (boot_load(&ram, &s, &at, &e) == 0)
		check(&at);
	else if (e.num == 0 || e.text[0] == '\0')
		abort();
	if (elf_pvh_entry(data, size, 4, &entry) == 0 && entry == 0)
		abort();
	elf_pvh_entry(data, size, 8, &entry);
	return 0;
}
