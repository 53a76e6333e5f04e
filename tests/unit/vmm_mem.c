/* SPDX-License-Identifier: MIT
 *
 * Guest RAM: which addresses are in it, to the byte.
 */
#include "tests/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "vmm/mem.h"
#include "vmm/pagemap.h"

#define U32 0xffffffffULL
#define U64 UINT64_MAX
#define GIB LAYOUT_GIB

/* Never touched, so any numbers do. */
static uint8_t *base = (uint8_t *)0x100000000000ULL;

static void at(const struct mem *m, uint64_t gpa, uint64_t len, int64_t want)
{
	const uint8_t *p = mem_at(m, gpa, len);
	int64_t got = p ? p - m->host : -1;

	if (!ok(got == want, "%#" PRIx64 " + %#" PRIx64 " of %" PRIu64 " MiB",
		gpa, len, m->size >> 20))
		diag("at %" PRId64 ", expected %" PRId64, got, want);
}

static void both_parts(void)
{
	const struct mem m = { .host = base, .size = 5 * GIB, .low = 3 * GIB };

	at(&m, 0, 0, 0);
	at(&m, 0, 1, 0);
	at(&m, 0, 3 * GIB, 0);
	at(&m, 0, 3 * GIB + 1, -1);
	at(&m, 0, U32, -1);
	at(&m, 0, 1ULL << 32, -1);
	at(&m, 0, U64, -1);
	at(&m, 1, 3 * GIB - 1, 1);
	at(&m, 1, 3 * GIB, -1);
	at(&m, 1, U64, -1);
	at(&m, LAYOUT_HOLE - 1, 1, LAYOUT_HOLE - 1);
	at(&m, LAYOUT_HOLE - 1, 0, LAYOUT_HOLE - 1);
	at(&m, LAYOUT_HOLE - 1, 2, -1);
	at(&m, LAYOUT_HOLE, 0, -1);
	at(&m, LAYOUT_HOLE, 1, -1);
	at(&m, LAYOUT_MMIO, 4, -1);
	at(&m, U32, 1, -1);
	at(&m, U32, 2, -1);
	at(&m, LAYOUT_HIGH, 0, 3 * GIB);
	at(&m, LAYOUT_HIGH, 1, 3 * GIB);
	at(&m, LAYOUT_HIGH, 2 * GIB, 3 * GIB);
	at(&m, LAYOUT_HIGH, 2 * GIB + 1, -1);
	at(&m, LAYOUT_HIGH, U32, -1);
	at(&m, LAYOUT_HIGH, U64, -1);
	at(&m, 6 * GIB - 1, 1, 5 * GIB - 1);
	at(&m, 6 * GIB - 1, 2, -1);
	at(&m, 6 * GIB, 0, -1);
	at(&m, 6 * GIB, 1, -1);
	at(&m, U64, 0, -1);
	at(&m, U64, 1, -1);
	at(&m, U64, U64, -1);
	at(&m, U64 - 4095, 4096, -1);
	at(&m, 1ULL << 63, 1ULL << 63, -1);
}

static void low_part(void)
{
	const struct mem m = { .host = base, .size = 4096, .low = 4096 };

	at(&m, 0, 4096, 0);
	at(&m, 4095, 1, 4095);
	at(&m, 4095, 2, -1);
	at(&m, 4096, 0, -1);
	at(&m, LAYOUT_HIGH, 0, -1);
	at(&m, LAYOUT_HIGH, 1, -1);
}

static void no_ram(void)
{
	const struct mem m = MEM_INIT;

	at(&m, 0, 0, -1);
	at(&m, 0, 1, -1);
	at(&m, LAYOUT_HIGH, 0, -1);
}

/* ---- making it ---- */

static void size(uint64_t bytes, bool good)
{
	mem_ram_auto struct mem m = MEM_INIT;
	struct err e = ERR_INIT;
	int r = mem_create(&m, bytes, &e);

	ok(r == (good ? 0 : -EINVAL), "%" PRIu64 " bytes are %s", bytes,
	   good ? "made" : "refused");
	if (good) {
		ok((uintptr_t)m.host % (2 << 20) == 0, "at a huge page");
		ok(m.size == bytes && m.host[0] == 0 && m.host[bytes - 1] == 0,
		   "zeros from the first to the last");
	} else {
		has_str(e.text, "must be a multiple of 2 MiB", "it says why");
	}
}

static void sizes(void)
{
	size(0, false);
	size(LAYOUT_RAM_MIN - 1, false);
	size(LAYOUT_RAM_MIN - (2 << 20), false);
	size(LAYOUT_RAM_MIN, true);
	size(LAYOUT_RAM_MIN + 4096, false);
	size(LAYOUT_RAM_MIN + (2 << 20), true);
	size(LAYOUT_RAM_MAX, true);
	size(LAYOUT_RAM_MAX + (2 << 20), false);
	size(U64, false);
	size(U64 - (2 << 20) + 1, false);
}

static void parts(uint64_t bytes, uint64_t low, uint64_t end)
{
	mem_ram_auto struct mem m = MEM_INIT;
	struct err e = ERR_INIT;

	is_int(mem_create(&m, bytes, &e), 0, "RAM");
	diag("of %" PRIu64 " MiB", bytes >> 20);
	is_int(m.low, low, "has so much below the hole");
	is_int(mem_end(&m), end, "and devices may be from here on");
	mem_free_ram(&m);
	ok(!m.host && !mem_at(&m, 0, 1), "and is gone");
	mem_free_ram(&m);
}

/* ---- from a file ---- */

#define FILE_SIZE ((uint64_t)40 << 20)

/* Where it has data: both ends, one page in the middle of 2 MiB, the last page
 * of some and the first of others. */
static const uint64_t data[] = { 0, (10 << 20) + 12288, (16 << 20) - 4096,
				 20 << 20, FILE_SIZE - 4096 };

static int make_file(void)
{
	static const uint8_t page[4096] = { 1, [4095] = 2 };
	const char *dir = getenv("TMPDIR");
	char name[4096];
	size_t i;
	int fd;

	snprintf(name, sizeof(name), "%s/mem.XXXXXX", dir ? dir : "/tmp");
	fd = mkstemp(name);
	if (fd < 0 || unlink(name) < 0 || ftruncate(fd, FILE_SIZE) < 0)
		bail("cannot make a file");
	for (i = 0; i < ARRAY_SIZE(data); i++) {
		if (pwrite(fd, page, 4096, (off_t)data[i]) != 4096)
			bail("cannot write a file");
	}
	return fd;
}

static bool has_data(uint64_t page)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(data); i++) {
		if (data[i] == page)
			return true;
	}
	return false;
}

/* Pages of @m that are not what the file has. */
static uint64_t differing(const struct mem *m)
{
	uint64_t at, n = 0;

	for (at = 0; at < m->size; at += 4096) {
		bool is = has_data(at);

		n += m->host[at] != (is ? 1 : 0) ||
		     m->host[at + 4095] != (is ? 2 : 0);
	}
	return n;
}

/* Whether what was read there came from the file. */
static bool is_of_file(const struct mem *m, uint64_t at)
{
	fd_auto int map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry;

	if (pread(map, &entry, sizeof(entry),
		  (off_t)((uintptr_t)(m->host + at) / 4096 * sizeof(entry))) !=
	    sizeof(entry))
		bail("cannot read the page map");
	return !pagemap_is_own(entry);
}

static void from_file(void)
{
	mem_ram_auto struct mem m = MEM_INIT;
	fd_auto int file = make_file();
	struct err e = ERR_INIT;
	uint8_t byte = 9;

	is_int(mem_create_from(&m, FILE_SIZE, file, &e), 0, "RAM of a file");
	is_int(differing(&m), 0, "each page is what the file has");
	ok(is_of_file(&m, 0) && is_of_file(&m, (10 << 20) + 4096) &&
		   is_of_file(&m, (15 << 20)) && is_of_file(&m, 20 << 20) &&
		   is_of_file(&m, FILE_SIZE - 8192),
	   "2 MiB with data in them are the file's");
	ok(!is_of_file(&m, 2 << 20) && !is_of_file(&m, (10 << 20) - 4096) &&
		   !is_of_file(&m, (14 << 20) - 4096) &&
		   !is_of_file(&m, 18 << 20) && !is_of_file(&m, 36 << 20),
	   "without, they are ours");
	memset(m.host, byte, m.size);
	ok(pread(file, &byte, 1, 0) == 1 && byte == 1 &&
		   pread(file, &byte, 1, 2 << 20) == 1 && byte == 0,
	   "and what is written stays ours");
	mem_free_ram(&m);
	is_int(mem_create_from(&m, FILE_SIZE + (2 << 20), file, &e), -EBADMSG,
	       "a file of another size is refused");
	has_str(e.text, "41943040 bytes, not 44040192", "it says why");
}

static void from_holes(void)
{
	mem_ram_auto struct mem m = MEM_INIT;
	fd_auto int file = make_file();
	struct err e = ERR_INIT;

	if (ftruncate(file, 0) < 0 || ftruncate(file, FILE_SIZE) < 0)
		bail("cannot truncate a file");
	is_int(mem_create_from(&m, FILE_SIZE, file, &e), 0,
	       "a file of nothing but holes");
	ok(!m.host[0] && !m.host[FILE_SIZE - 1] && !is_of_file(&m, 0) &&
		   !is_of_file(&m, FILE_SIZE - 4096),
	   "is zeros of ours");
}

int main(void)
{
	both_parts();
	low_part();
	no_ram();
	sizes();
	parts(LAYOUT_RAM_MIN, LAYOUT_RAM_MIN, 4 * GIB);
	parts(3 * GIB, 3 * GIB, 4 * GIB);
	parts(3 * GIB + (2 << 20), 3 * GIB, 5 * GIB);
	parts(4 * GIB, 3 * GIB, 5 * GIB);
	parts(64 * GIB, 3 * GIB, 65 * GIB);
	from_file();
	from_holes();
	return tap_done();
}
