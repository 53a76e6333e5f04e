/* SPDX-License-Identifier: MIT
 *
 * The guest's RAM: see mem.h.
 *
 * One range of addresses for both parts, so that a snapshot is one file; and
 * one mapping, but where that file has holes, so that what fork(2) copies is few
 * memory areas.  A mapping a part would
 * have made guard pages between them possible; but no pointer ever moves from
 * one part to the other, because mem_at() gives none that spans them.
 */
#include "vmm/mem.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "vmm/kvm.h"

#define HUGE_PAGE ((uint64_t)2 << 20)

/* At an address that is a multiple of a huge page: only then can the kernel
 * use any. */
static uint8_t *map_aligned(uint64_t size)
{
	uint8_t *p = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint8_t *at;

	if (p == MAP_FAILED)
		return NULL;
	at = p + (HUGE_PAGE - (uintptr_t)p % HUGE_PAGE) % HUGE_PAGE;
	if (at != p)
		munmap(p, (size_t)(at - p));
	munmap(at + size, HUGE_PAGE - (size_t)(at - p));
	return at;
}

static int check_size(uint64_t size, struct err *e)
{
	if (size < LAYOUT_RAM_MIN || size > LAYOUT_RAM_MAX || size % HUGE_PAGE)
		return err_set(e, EINVAL,
			       "memory of %llu bytes: it must be a multiple of "
			       "2 MiB from 32 MiB to 64 GiB",
			       (unsigned long long)size);
	return 0;
}

int mem_create(struct mem *m, uint64_t size, struct err *e)
{
	int r = check_size(size, e);

	if (r < 0)
		return r;
	m->host = map_aligned(size);
	if (!m->host)
		return err_sys(e, errno, "cannot map %llu MiB of memory",
			       (unsigned long long)(size >> 20));
	m->size = size;
	m->low = size < LAYOUT_HOLE ? size : LAYOUT_HOLE;
	m->file = -1;
	/* A wish: without huge pages it is slower, not wrong. */
	madvise(m->host, size, MADV_HUGEPAGE);
	return 0;
}

/* What of the file is a hole for 2 MiB is zeros of nobody's: of the file they
 * would be in the page cache first, and be copied from there. */
static int map_holes(const struct mem *m, int file)
{
	uint64_t at = 0, data, from, to;

	while (at < m->size) {
		off_t next = lseek(file, (off_t)at, SEEK_DATA);

		/* ENXIO: none.  A file system that cannot tell has only data. */
		if (next < 0 && errno != ENXIO)
			return 0;
		data = next < 0 || (uint64_t)next > m->size ? m->size :
							      (uint64_t)next;
		from = at;
		to = data / HUGE_PAGE * HUGE_PAGE;
		if (to > from &&
		    mmap(m->host + from, to - from, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED |
				 MAP_NORESERVE,
			 -1, 0) == MAP_FAILED)
			return -errno;
		if (to > from)
			madvise(m->host + from, to - from, MADV_NOHUGEPAGE);
		at = to + HUGE_PAGE;
	}
	return 0;
}

int mem_create_from(struct mem *m, uint64_t size, int file, struct err *e)
{
	struct stat st;
	int r = mem_create(m, size, e);

	if (r < 0)
		return r;
	if (fstat(file, &st) < 0 || (uint64_t)st.st_size != size)
		return err_set(e, EBADMSG,
			       "the memory file has %lld bytes, not %llu",
			       (long long)st.st_size, (unsigned long long)size);
	/* In the place that is aligned already. */
	if (mmap(m->host, size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, file,
		 0) == MAP_FAILED)
		return err_sys(e, errno, "cannot map the memory file");
	r = map_holes(m, file);
	if (r < 0)
		return err_sys(e, -r, "cannot map the memory file's holes");
	m->file = file;
	return 0;
}

void mem_free_ram(struct mem *m)
{
	if (m->host)
		munmap(m->host, m->size);
	m->host = NULL;
	m->size = m->low = 0;
}

int mem_attach(const struct mem *m, struct kvm_vm *vm, struct err *e)
{
	int r = kvm_vm_set_memory(vm, 0, 0, m->host, m->low, e);

	if (r == 0 && m->size > m->low)
		r = kvm_vm_set_memory(vm, 1, LAYOUT_HIGH, m->host + m->low,
				      m->size - m->low, e);
	return r;
}

/* @len bytes at @off of a part of @size bytes, without any sum that could
 * overflow. */
static bool inside(uint64_t off, uint64_t len, uint64_t size)
{
	return off < size && len <= size - off;
}

void *mem_at(const struct mem *m, uint64_t gpa, uint64_t len)
{
	if (inside(gpa, len, m->low))
		return m->host + gpa;
	if (gpa >= LAYOUT_HIGH &&
	    inside(gpa - LAYOUT_HIGH, len, m->size - m->low))
		return m->host + m->low + (gpa - LAYOUT_HIGH);
	return NULL;
}

void mem_show(struct mem *m, uint64_t gpa, const void *host, uint64_t size)
{
	m->rom = host;
	m->rom_at = gpa;
	m->rom_size = size;
}

const void *mem_at_ro(const struct mem *m, uint64_t gpa, uint64_t len)
{
	const void *p = mem_at(m, gpa, len);

	if (!p && gpa >= m->rom_at && inside(gpa - m->rom_at, len, m->rom_size))
		p = m->rom + (gpa - m->rom_at);
	return p;
}

uint64_t mem_end(const struct mem *m)
{
	uint64_t end = LAYOUT_HIGH + (m->size - m->low);

	return (end + LAYOUT_GIB - 1) / LAYOUT_GIB * LAYOUT_GIB;
}
