/* SPDX-License-Identifier: MIT
 *
 * Pages that will be wanted: see prefetch.h.
 *
 * A page of a private mapping that the guest first reads and then writes to
 * costs three exits: one that maps the file's page, one that copies it, and one
 * more because that copy invalidated what KVM was about to map.  To copy it
 * beforehand costs a third of one, and no exit remains but the one that maps it.
 *
 * A page that is only read costs one exit, and that is KVM's.  But where none of
 * 2 MiB is written to, as in the guest kernel's code, the page cache can have a
 * huge page and KVM maps all of it at once.  File systems with large folios (XFS)
 * make one where they read for a mapping that asks for it; so what was written
 * has to leave the cache and come back, which prefetch_settle() sees to.
 * (KVM_PRE_FAULT_MEMORY of Linux 6.11 could map the rest.)
 *
 * Measured in the emulated host, exits for pages until the first command has
 * ended: 2571; 1718 with copies made beforehand; 968 with huge pages as well.
 *
 * Who copies beside others was rejected: while the guest runs already, it takes its
 * time from the guest's first instructions, and both wait for one lock; while KVM
 * makes the VM, what the two processors then have to tell one another costs more
 * than is won (emulated, medians of 40: the machine made after 59 ms, not 54).
 * Nor does it pay to copy what lies between two ranges, for fewer calls.
 */
#include "vmm/prefetch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/err.h"
#include "vmm/layout.h"

#define HEAD PREFETCH_MAGIC_SIZE
#define ENTRY sizeof(struct prefetch_range)

/* The list that was read; a monitor makes one machine. */
static struct {
	struct prefetch_range v[PREFETCH_RANGES_MAX];
	size_t n;
} wanted;

static uint64_t start_of(const struct prefetch_range *r)
{
	return (uint64_t)r->first * LAYOUT_PAGE;
}

static uint64_t size_of(const struct prefetch_range *r)
{
	return (uint64_t)(r->pages & ~PREFETCH_WRITTEN) * LAYOUT_PAGE;
}

/* ---- the file ----------------------------------------------------------- */

static int read_list(int fd, struct err *e)
{
	char magic[HEAD];
	struct iovec v[2] = { { magic, HEAD }, { wanted.v, sizeof(wanted.v) } };
	ssize_t n = preadv(fd, v, 2, 0);
	struct stat st;

	if (n < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "cannot read the prefetch list");
	if (n < HEAD || memcmp(magic, PREFETCH_MAGIC, HEAD) != 0)
		return err_set(e, EBADMSG,
			       "the prefetch list does not begin with '%s'",
			       PREFETCH_MAGIC);
	wanted.n = ((size_t)n - HEAD) / ENTRY;
	if (n != st.st_size || wanted.n * ENTRY + HEAD != (size_t)n)
		return err_set(e, EBADMSG,
			       "the prefetch list has %lld bytes: it must be "
			       "%d and a multiple of %zu, at most %d times",
			       (long long)st.st_size, HEAD, ENTRY,
			       PREFETCH_RANGES_MAX);
	return 0;
}

/* Each behind the one before, and all of them inside. */
static int check_list(uint64_t size, struct err *e)
{
	uint64_t end = 0;
	size_t i;

	for (i = 0; i < wanted.n; i++) {
		const struct prefetch_range *r = &wanted.v[i];

		if (start_of(r) < end || !size_of(r) ||
		    start_of(r) + size_of(r) > size)
			return err_set(e, EBADMSG,
				       "prefetch list, range %zu: %u pages "
				       "from %u on, of %llu; the one before "
				       "ends at %llu",
				       i, r->pages & ~PREFETCH_WRITTEN,
				       r->first,
				       (unsigned long long)(size / LAYOUT_PAGE),
				       (unsigned long long)(end / LAYOUT_PAGE));
		end = start_of(r) + size_of(r);
	}
	return 0;
}

/* ---- huge pages --------------------------------------------------------- */

#define HUGE_PAGE ((uint64_t)2 << 20)
#define HUGE_MAX (LAYOUT_RAM_MAX / HUGE_PAGE)

/* Of each 2 MiB, whether any of it is read, or written to. */
static struct {
	bool is_read, is_written;
} area[HUGE_MAX];

/* Not wanted by what the list was made of. */
static bool is_idle(uint64_t i)
{
	return !area[i].is_read && !area[i].is_written;
}

static bool is_quiet(uint64_t i)
{
	return area[i].is_read && !area[i].is_written;
}

static void fill_areas(uint64_t size)
{
	uint64_t at, end;
	size_t i;

	/* No more of it than is used: it is memory of each sandbox. */
	memset(area, 0, size / HUGE_PAGE * sizeof(area[0]));
	for (i = 0; i < wanted.n; i++) {
		const struct prefetch_range *r = &wanted.v[i];

		end = start_of(r) + size_of(r);
		for (at = start_of(r) / HUGE_PAGE; at * HUGE_PAGE < end; at++) {
			if (r->pages & PREFETCH_WRITTEN)
				area[at].is_written = true;
			else
				area[at].is_read = true;
		}
	}
}

/* Map them, by their first pages; if they are not in the page cache they are read
 * here. */
static void map_huge(uint8_t *memory, uint64_t size)
{
	uint64_t i;

	for (i = 0; i < size / HUGE_PAGE; i++) {
		uint8_t *p = memory + i * HUGE_PAGE;

		if (is_quiet(i) && madvise(p, HUGE_PAGE, MADV_HUGEPAGE) == 0)
			madvise(p, LAYOUT_PAGE, MADV_POPULATE_READ);
	}
}

/* What else the guest uses it uses by the MiB, and holes can be huge pages at
 * once; but not where a first command takes one page here and one there, or each
 * sandbox would begin with tens of MiB. */
static void allow_huge(uint8_t *memory, uint64_t size)
{
	const uint64_t n = size / HUGE_PAGE;
	uint64_t i, end;

	for (i = 0; i < n; i = end + 1) {
		for (end = i; end < n && is_idle(end); end++)
			;
		if (end > i)
			madvise(memory + i * HUGE_PAGE, (end - i) * HUGE_PAGE,
				MADV_HUGEPAGE);
	}
}

/* ---- small ones --------------------------------------------------------- */

/* Whether the first page of it would have to be read. */
static bool is_cold(int file, const struct prefetch_range *r)
{
	char byte;
	struct iovec v = { &byte, 1 };

	return preadv2(file, &v, 1, (off_t)start_of(r), RWF_NOWAIT) < 0 &&
	       errno == EAGAIN;
}

/* Holes are not read: see mem_create_from(). */
static bool has_data(int file, uint64_t at, uint64_t end)
{
	off_t data = lseek(file, (off_t)at, SEEK_DATA);

	return data >= 0 ? (uint64_t)data < end : errno != ENXIO;
}

/* Of one range: what is not to be a huge page. */
static void ask_for(int file, uint64_t at, uint64_t end)
{
	uint64_t next;

	for (; at < end; at = next) {
		next = (at / HUGE_PAGE + 1) * HUGE_PAGE;
		next = next < end ? next : end;
		if (!is_quiet(at / HUGE_PAGE) && has_data(file, at, next))
			posix_fadvise(file, (off_t)at, (off_t)(next - at),
				      POSIX_FADV_WILLNEED);
	}
}

/* All that will be wanted is asked for before the first of it is waited for.  One
 * question is asked, of what is wanted first, so that what is there already
 * costs nothing. */
static void ask_for_all(int file)
{
	size_t i;

	if (!wanted.n || !is_cold(file, &wanted.v[0]))
		return;
	for (i = 0; i < wanted.n; i++)
		ask_for(file, start_of(&wanted.v[i]),
			start_of(&wanted.v[i]) + size_of(&wanted.v[i]));
}

/* All but the copies. */
static int map_all(uint8_t *memory, uint64_t size, int file, int list,
		   struct err *e)
{
	int r = read_list(list, e);

	if (r == 0 && (size > LAYOUT_RAM_MAX || size % HUGE_PAGE))
		r = err_set(e, EBADMSG, "a memory file of %llu bytes",
			    (unsigned long long)size);
	if (r == 0)
		r = check_list(size, e);
	if (r < 0)
		return r;
	fill_areas(size);
	ask_for_all(file);
	map_huge(memory, size);
	allow_huge(memory, size);
	return 0;
}

int prefetch(uint8_t *memory, uint64_t size, int file, int list, struct err *e)
{
	int r = map_all(memory, size, file, list, e);
	size_t i;

	for (i = 0; r == 0 && i < wanted.n; i++) {
		if (wanted.v[i].pages & PREFETCH_WRITTEN)
			madvise(memory + start_of(&wanted.v[i]),
				size_of(&wanted.v[i]), MADV_POPULATE_WRITE);
	}
	return r;
}

int prefetch_settle(uint64_t size, int file, int list, struct err *e)
{
	const uint64_t room = size + HUGE_PAGE;
	uint8_t *p =
		mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *at;
	int r;

	if (p == MAP_FAILED)
		return err_sys(e, errno, "cannot map a memory file");
	at = p + (HUGE_PAGE - (uintptr_t)p % HUGE_PAGE) % HUGE_PAGE;
	posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
	if (mmap(at, size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, file,
		 0) == MAP_FAILED)
		r = err_sys(e, errno, "cannot map a memory file");
	else
		r = map_all(at, size, file, list, e);
	munmap(p, room);
	return r;
}
