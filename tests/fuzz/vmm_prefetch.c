/* SPDX-License-Identifier: MIT
 *
 * libFuzzer: a list of pages to prefetch, applied to a small memory.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "vmm/prefetch.h"

#define AREA ((size_t)2 << 20)
#define SIZE (2 * AREA)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *memory;
static int file = -1, list = -1;

static void begin(void)
{
	uint8_t *p = mmap(NULL, SIZE + AREA, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	file = memfd_create("memory", MFD_CLOEXEC);
	list = memfd_create("list", MFD_CLOEXEC);
	if (p == MAP_FAILED || file < 0 || list < 0 ||
	    ftruncate(file, SIZE) < 0)
		abort();
	memory = p + (AREA - (uintptr_t)p % AREA) % AREA;
}

/* With the magic before it: what is behind is to be looked at. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	int r;

	if (!memory)
		begin();
	if (mmap(memory, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED,
		 file, 0) == MAP_FAILED ||
	    ftruncate(list, 0) < 0 ||
	    pwrite(list, PREFETCH_MAGIC, PREFETCH_MAGIC_SIZE, 0) < 0 ||
	    pwrite(list, data, size, PREFETCH_MAGIC_SIZE) != (ssize_t)size)
		abort();
	r = prefetch(memory, SIZE, file, list, &e);
	if (r < 0 && (r != -EBADMSG || e.text[0] == '\0'))
		abort();
	return 0;
}
