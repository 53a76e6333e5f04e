/* SPDX-License-Identifier: MIT
 *
 * Pages that will be wanted: which of a mapping are copied beforehand, and what
 * is no list of them.
 */
#include "tests/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "vmm/pagemap.h"
#include "vmm/prefetch.h"

#define PAGE 4096
#define AREA ((size_t)2 << 20)
#define SIZE (5 * AREA)
#define PAGES (SIZE / PAGE)
#define W PREFETCH_WRITTEN

static int file = -1, list = -1, pagemap = -1;
static uint8_t *memory;

/* One that has no name. */
static int make_temp(void)
{
	char name[] = "prefetch.XXXXXX";
	int fd = mkstemp(name);

	if (fd >= 0)
		unlink(name);
	return fd;
}

/* Of each page the first byte says which it is. */
static void make_file(void)
{
	static uint8_t bytes[SIZE];
	size_t i;

	file = make_temp();
	list = make_temp();
	pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	for (i = 0; i < PAGES; i++)
		bytes[i * PAGE] = (uint8_t)(i * 7 + 1);
	if (file < 0 || list < 0 || pagemap < 0 ||
	    write(file, bytes, SIZE) != SIZE || fsync(file) < 0)
		bail("cannot make a memory file");
}

static void map(void)
{
	uint8_t *p = mmap(NULL, SIZE + AREA, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		bail("cannot map");
	memory = p + (AREA - (uintptr_t)p % AREA) % AREA;
	if (mmap(memory, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED,
		 file, 0) == MAP_FAILED)
		bail("cannot map the file");
}

static void write_list(const void *p, size_t n)
{
	if (ftruncate(list, 0) < 0 || pwrite(list, p, n, 0) != (ssize_t)n)
		bail("cannot write a list");
}

static void make_list(const struct prefetch_range *v, size_t n)
{
	struct {
		char magic[PREFETCH_MAGIC_SIZE];
		struct prefetch_range v[8];
	} text = { .magic = PREFETCH_MAGIC };

	if (n)
		memcpy(text.v, v, n * sizeof(*v));
	write_list(&text, PREFETCH_MAGIC_SIZE + n * sizeof(*v));
}

static bool is_own(size_t page)
{
	uint64_t entry = 0;
	const off_t at =
		(off_t)(((uintptr_t)memory / PAGE + page) * sizeof(entry));

	if (pread(pagemap, &entry, sizeof(entry), at) != sizeof(entry))
		bail("cannot read the page map");
	return pagemap_is_own(entry);
}

/* Of the mapping that @page is in, whether huge pages are wished for: its
 * VmFlags, proc(5). */
static bool is_huge(size_t page)
{
	const uint64_t at = (uintptr_t)(memory + page * PAGE);
	FILE *f = fopen("/proc/self/smaps", "re");
	bool in = false, huge = false;
	char line[512];

	if (!f)
		bail("cannot read smaps");
	while (fgets(line, sizeof(line), f)) {
		char *dash;
		uint64_t from = strtoull(line, &dash, 16);

		if (*dash == '-' && dash > line)
			in = at >= from && at < strtoull(dash + 1, NULL, 16);
		else if (in && strncmp(line, "VmFlags:", 8) == 0)
			huge = strstr(line, " hg");
	}
	fclose(f);
	return huge;
}

/* ---- what is done -------------------------------------------------------- */

static const struct prefetch_range some[] = {
	{ 3, 40 }, { 600, 3 | W }, { 603, 1 }, { 1535, 2 | W }, { 2047, 1 | W },
};

static bool is_listed(size_t page)
{
	return (page >= 600 && page < 603) || page == 1535 || page == 1536 ||
	       page == 2047;
}

static void copies(void)
{
	struct err e = ERR_INIT;
	size_t i, wrong = 0, other = 0;

	map();
	make_list(some, ARRAY_SIZE(some));
	is_int(prefetch(memory, SIZE, file, list, &e), 0, "a list");
	/* A huge page of the file is not said to be one, before Linux 6.11. */
	for (i = AREA / PAGE; i < PAGES; i++)
		wrong += is_own(i) != is_listed(i);
	is_int(wrong, 0, "what is written to is copied, and nothing else");
	for (i = 0; i < PAGES; i++)
		other += memory[i * PAGE] != (uint8_t)(i * 7 + 1);
	is_int(other, 0, "all of it is what the file has");
	ok(is_huge(0), "what is only read may be a huge page");
	ok(!is_huge(600) && !is_huge(1535) && !is_huge(2047),
	   "what is written to, not");
	ok(is_huge(2048), "and what is not listed may");
	munmap(memory, SIZE);
}

static void none(void)
{
	struct err e = ERR_INIT;
	size_t i, own = 0;

	map();
	make_list(NULL, 0);
	is_int(prefetch(memory, SIZE, file, list, &e), 0, "an empty list");
	/* Nothing of the one before. */
	for (i = 0; i < PAGES; i++)
		own += is_own(i);
	is_int(own, 0, "copies nothing");
	munmap(memory, SIZE);
}

/* Whether the page cache has it; what is only asked for may be on its way. */
static bool is_cached(size_t page)
{
	unsigned char in;
	bool is;

	map();
	if (mincore(memory + page * PAGE, PAGE, &in) < 0)
		bail("cannot ask what is in memory");
	is = in & 1;
	munmap(memory, SIZE);
	return is;
}

static void settles(void)
{
	struct err e = ERR_INIT;
	struct statfs fs;

	make_list(some, ARRAY_SIZE(some));
	is_int(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED), 0, "forgotten");
	/* What is nowhere else stays. */
	ok(fstatfs(file, &fs) == 0 && (fs.f_type == TMPFS_MAGIC ||
				       (!is_cached(0) && !is_cached(2048))),
	   "it is not in the page cache");
	is_int(prefetch_settle(SIZE, file, list, &e), 0, "settled");
	ok(is_cached(0), "it is where it is read");
	is_int(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED), 0, "forgotten");
	map();
	is_int(prefetch(memory, SIZE, file, list, &e), 0, "a list when cold");
	munmap(memory, SIZE);
	ok(is_cached(0) && is_cached(600) && is_cached(1536) && is_cached(2047),
	   "all that was mapped is in the page cache");
}

/* ---- what is no list ----------------------------------------------------- */

static void refused(const char *what, const char *text)
{
	struct err e = ERR_INIT;
	size_t i, own = 0;
	int r;

	map();
	r = prefetch(memory, SIZE, file, list, &e);
	for (i = 0; i < PAGES; i++)
		own += is_own(i);
	ok(r == -EBADMSG && own == 0, "%s is refused, and nothing done", what);
	has_str(e.text, text, "it says why");
	munmap(memory, SIZE);
}

static void bad_range(uint32_t first, uint32_t pages, const char *what)
{
	const struct prefetch_range v[] = { { 8, 8 | W }, { first, pages } };

	make_list(v, 2);
	refused(what, "prefetch list, range 1");
}

static void bad_ranges(void)
{
	bad_range(20, 0, "a range of nothing");
	bad_range(20, W, "a written range of nothing");
	bad_range(15, 4, "one that overlaps");
	bad_range(4, 2, "one out of order");
	bad_range(PAGES - 1, 2, "one past the end");
	bad_range(PAGES, 1 | W, "one behind the end");
	bad_range(UINT32_MAX, UINT32_MAX, "the largest numbers");
	bad_range(16, W - 1, "the most pages");
}

static void bad_files(void)
{
	static char big[PREFETCH_MAGIC_SIZE +
			(PREFETCH_RANGES_MAX + 1) *
				sizeof(struct prefetch_range)] = PREFETCH_MAGIC;

	write_list("", 0);
	refused("nothing", "does not begin with 'iso-pre1'");
	write_list("iso-pre", 7);
	refused("a short one", "does not begin with 'iso-pre1'");
	write_list("iso-pre2", 8);
	refused("another format", "does not begin with 'iso-pre1'");
	write_list("iso-pre1\1\0\0\0\1\0\0", 15);
	refused("half a range", "has 15 bytes");
	write_list(big, sizeof(big));
	refused("one too long", "has 32784 bytes");
}

/* By what a file says of itself. */
static void bad_sizes(void)
{
	static const uint64_t sizes[] = { ((uint64_t)64 << 30) + AREA,
					  SIZE + PAGE };
	struct err e = ERR_INIT;
	size_t i;

	make_list(NULL, 0);
	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		is_int(prefetch_settle(sizes[i], file, list, &e), -EBADMSG,
		       "a size that no machine has is refused");
}

int main(void)
{
	const char *dir = getenv("TMPDIR");

	if (chdir(dir ? dir : "/tmp") < 0)
		bail("cannot go to the directory for files");
	make_file();
	copies();
	none();
	settles();
	bad_ranges();
	bad_files();
	bad_sizes();
	return tap_done();
}
