/* SPDX-License-Identifier: MIT
 *
 * Guest RAM: which addresses are in it, to the byte.
 */
#include "tests/tap.h"

#include <sys/mman.h>

#include "base/err.h"
#include "vmm/mem.h"

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
	return tap_done();
}
