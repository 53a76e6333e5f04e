/* SPDX-License-Identifier: MIT
 *
 * The disk: virtio 1.2, 5.2.  Argument "scratch" or "root": the serial number
 * of the one to be tested; the second is read-only.
 */
#include "virtio.h"

#define NUM 16
#define SECTOR 512u
#define ROOM (64 * SECTOR)
#define F_RO (1ULL << 5)
#define F_FLUSH (1ULL << 9)
#define F_DISCARD (1ULL << 13)
#define F_ZEROES (1ULL << 14)

enum {
	T_IN = 0,
	T_OUT = 1,
	T_FLUSH = 4,
	T_ID = 8,
	T_DISCARD = 11,
	T_ZEROES = 13
};
enum { S_OK = 0, S_ERROR = 1, S_UNSUPPORTED = 2, S_NONE = 0x77 };

static struct device d;
static uint64_t features, capacity; /* in sectors */
static struct {
	uint32_t type, reserved;
	uint64_t sector;
} * header;
static uint8_t *area, *status;
static uint32_t length; /* of the last answer */

/* A request with @n bytes at @p; its status. */
static unsigned ask(uint32_t type, uint64_t sector, void *p, uint32_t n)
{
	uint16_t in = type == T_IN || type == T_ID ? DESC_WRITE : 0;
	struct buffer b[3] = { { header, sizeof(*header), 0 }, { p, n, in } };

	header->type = type;
	header->sector = sector;
	*status = S_NONE;
	b[n ? 2 : 1] = (struct buffer){ status, 1, DESC_WRITE };
	length = request(&d, 0, b, n ? 3 : 2);
	return *status;
}

static bool has_serial(const char *want)
{
	unsigned i = 0;

	memset(area, 0xa5, 32);
	if (ask(T_ID, 0, area, 20) != S_OK)
		return false;
	while (want[i] && area[i] == (uint8_t)want[i])
		i++;
	return !want[i] && area[i] == 0 && area[20] == 0xa5;
}

static void find(const char *serial)
{
	unsigned n;

	for (n = 0; device_find(&d, ID_BLK, n); n++) {
		features = device_offers(&d) &
			   (F_FLUSH | F_DISCARD | F_ZEROES | F_RO);
		device_up(&d, features, NUM);
		if (has_serial(serial))
			return;
		set_reg(&d, REG_STATUS, 0);
	}
	give_up("there is no such disk");
}

/* ---- reading and writing ---- */

static void fill(uint8_t *p, uint32_t n, uint8_t seed)
{
	uint32_t i;

	for (i = 0; i < n; i += 4)
		*(uint32_t *)(void *)(p + i) = (i + seed) * 2654435761u;
}

static void test_data(void)
{
	uint8_t *back = area + 8 * SECTOR;

	fill(area, 8 * SECTOR, 1);
	is(ask(T_OUT, 16, area, 8 * SECTOR), S_OK, "8 sectors are written");
	is(length, 1, "of which the guest's memory has the status");
	is(ask(T_FLUSH, 0, NULL, 0), S_OK, "flushed");
	memset(back, 0, 8 * SECTOR);
	is(ask(T_IN, 16, back, 8 * SECTOR), S_OK, "and read");
	is(length, 8 * SECTOR + 1, "as many");
	ok(memcmp(area, back, 8 * SECTOR) == 0, "the same");
	is(ask(T_OUT, capacity - 1, area, SECTOR), S_OK, "the last sector");
	is(ask(T_OUT, 0, area, SECTOR), S_OK, "the first one");
}

/* What lies outside, by a little or by all that 64 bits have. */
static void test_ends(uint32_t type)
{
	const struct {
		uint64_t sector;
		uint32_t sectors;
		const char *what;
	} bad[] = {
		{ capacity, 1, "a sector behind the last" },
		{ capacity - 1, 2, "two at the last" },
		{ capacity + 1, 1, "one further" },
		{ UINT64_MAX, 1, "sector 2^64-1" },
		{ UINT64_MAX, 2, "two of them" },
		{ UINT64_MAX / SECTOR, 1, "whose byte is beyond 2^63" },
		{ UINT64_MAX / SECTOR + 1, 1, "whose byte is 0 in 64 bits" },
		{ 1ULL << 55, 1, "sector 2^55" },
		{ 1ULL << 63, 1, "sector 2^63" },
	};
	unsigned i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		is(ask(type, bad[i].sector, area, bad[i].sectors * SECTOR),
		   S_ERROR, bad[i].what);
	is(ask(type, 0, area, SECTOR - 1), S_ERROR, "a sector less a byte");
	is(ask(type, 0, area, 1), S_ERROR, "a byte");
	is(ask(type, 0, area, SECTOR + 1), S_ERROR, "a sector and a byte");
	is(ask(type, capacity, NULL, 0), S_OK, "nothing at the end");
	is(ask(type, capacity + 1, NULL, 0), S_ERROR, "nothing behind it");
}

/* All of memory in one request: more than the disk has. */
static void test_huge(void)
{
	is(ask(T_IN, 0, (void *)0x1000, (ram_low - 0x1000)), S_ERROR,
	   "a read of all memory");
	is(ask(T_OUT, 0, (void *)0x1000, (ram_low - 0x1000)), S_ERROR,
	   "and a write");
}

/* ---- other requests ---- */

static void test_id(void)
{
	unsigned n;
	bool good = true;

	for (n = 1; n <= 20; n++) {
		memset(area, 0xa5, 32);
		good &= ask(T_ID, 0, area, n) == S_OK && area[n] == 0xa5;
	}
	ok(good, "the serial number into too little room");
	is(ask(T_ID, 0, area, 4096), S_OK, "and into too much");
	is(ask(T_ID, UINT64_MAX, NULL, 0), S_OK, "and into none");
	is(ask(99, 0, area, SECTOR), S_UNSUPPORTED, "a type that is unknown");
	is(ask(UINT32_MAX, 0, area, SECTOR), S_UNSUPPORTED, "type 2^32-1");
}

struct range {
	uint64_t sector;
	uint32_t sectors, flags;
};

static unsigned ask_range(uint32_t type, uint64_t sector, uint32_t n,
			  uint32_t flags)
{
	struct range *r = (void *)area;

	*r = (struct range){ sector, n, flags };
	return ask(type, 0, r, sizeof(*r));
}

static void test_ranges(uint32_t type)
{
	is(ask_range(type, 8, 8, 0), S_OK, "a range");
	is(ask_range(type, capacity - 1, 1, 0), S_OK, "the last sector");
	is(ask_range(type, 0, 0, 0), S_OK, "an empty one");
	is(ask_range(type, capacity, 1, 0), S_ERROR, "behind the last");
	is(ask_range(type, capacity - 1, 2, 0), S_ERROR, "across the end");
	is(ask_range(type, 0, UINT32_MAX, 0), S_ERROR, "2^32-1 sectors");
	is(ask_range(type, UINT64_MAX, 1, 0), S_ERROR, "at 2^64-1");
	is(ask_range(type, UINT64_MAX - 1, UINT32_MAX, 0), S_ERROR,
	   "around the end of 64 bits");
	is(ask_range(type, 0, 1, 0xfffffffe), S_UNSUPPORTED, "unknown flags");
	is(ask(type, 0, area, 15), S_ERROR, "15 bytes of range");
	is(ask(type, 0, NULL, 0), S_ERROR, "none");
	is(ask(type, 0, area, 16 * 17), S_ERROR, "17 of them");
}

static void test_zeroed(void)
{
	fill(area, 8 * SECTOR, 7);
	ask(T_OUT, 64, area, 8 * SECTOR);
	is(ask_range(T_ZEROES, 66, 2, 1), S_OK, "two sectors are zeroed");
	ask(T_IN, 64, area + 8 * SECTOR, 8 * SECTOR);
	fill(area, 8 * SECTOR, 7);
	memset(area + 2 * SECTOR, 0, 2 * SECTOR);
	ok(memcmp(area, area + 8 * SECTOR, 8 * SECTOR) == 0,
	   "these, and no others");
}

/* ---- rules ---- */

/* Buffers of the wrong direction: data where the other side is to write. */
static void test_directions(void)
{
	struct buffer b[3] = { { header, sizeof(*header), 0 },
			       { area, SECTOR, 0 },
			       { status, 1, DESC_WRITE } };

	memset(area, 0xa5, SECTOR);
	header->type = T_IN;
	header->sector = 16;
	*status = S_NONE;
	request(&d, 0, b, 3);
	ok(*status == S_OK && area[0] == 0xa5 && area[SECTOR - 1] == 0xa5,
	   "a read into what may only be read writes nothing there");
	b[1].flags = DESC_WRITE;
	header->type = T_OUT;
	*status = S_NONE;
	request(&d, 0, b, 3);
	ok(*status == S_OK || *status == S_ERROR,
	   "a write out of what may only be written");
	put_desc(&d, 0, 0, addr(header), 16, 0, 0);
	make_available(&d, 0, 0);
	refuses(&d, 0, features, NUM, "a request without a status");
	put_desc(&d, 0, 0, addr(status), 1, DESC_WRITE, 0);
	make_available(&d, 0, 0);
	refuses(&d, 0, features, NUM, "a request without a header");
	put_desc(&d, 0, 0, addr(header), 15, DESC_NEXT, 1);
	put_desc(&d, 0, 1, addr(status), 1, DESC_WRITE, 0);
	make_available(&d, 0, 0);
	refuses(&d, 0, features, NUM, "a header of 15 bytes");
	if (!(features & F_RO))
		is(ask(T_OUT, 16, area, SECTOR), S_OK, "it works after that");
}

/* A header of sixteen parts, and the status behind data in one buffer. */
static void test_framing(void)
{
	unsigned i;

	device_up(&d, features, 32);
	header->type = T_IN;
	header->sector = 0;
	memset(area, 0xa5, 2 * SECTOR);
	for (i = 0; i < 16; i++)
		put_desc(&d, 0, i, addr(header) + i, 1, DESC_NEXT,
			 (uint16_t)(i + 1));
	put_desc(&d, 0, 16, addr(area), SECTOR + 1, DESC_WRITE, 0);
	make_available(&d, 0, 0);
	kick(&d, 0);
	wait_used(&d, 0, &length);
	ok(length == SECTOR + 1 && area[SECTOR] == S_OK &&
		   area[SECTOR + 1] == 0xa5,
	   "any framing will do");
	device_up(&d, features, NUM);
}

/* ---- a reset in mid-request ---- */

static void test_reset(void)
{
	unsigned round, i;
	bool quiet = true;

	for (round = 0; round < 8; round++) {
		header->type = T_IN;
		header->sector = 0;
		for (i = 0; i < NUM; i++)
			make_available(&d, 0, 0);
		put_desc(&d, 0, 0, addr(header), 16, DESC_NEXT, 1);
		put_desc(&d, 0, 1, addr(area), ROOM, DESC_NEXT | DESC_WRITE, 2);
		put_desc(&d, 0, 2, addr(status), 1, DESC_WRITE, 0);
		kick(&d, 0);
		set_reg(&d, REG_STATUS, 0);
		memset(area, 0xa5, ROOM);
		*status = S_NONE;
		device_up(&d, features, NUM);
		for (i = 0; i < ROOM; i += 4)
			quiet &= *(uint32_t *)(void *)(area + i) == 0xa5a5a5a5;
		quiet &= *status == S_NONE && !came_back(&d, 0);
	}
	ok(quiet, "a reset in mid-request: memory is left alone from then on");
	is(ask(T_IN, 0, area, SECTOR), S_OK, "and it works");
}

static void test_writable(void)
{
	test_data();
	test_ends(T_OUT);
	test_huge();
	test_ranges(T_DISCARD);
	test_ranges(T_ZEROES);
	test_zeroed();
}

static void test_read_only(void)
{
	fill(area, SECTOR, 3);
	is(ask(T_OUT, 0, area, SECTOR), S_ERROR, "it cannot be written");
	is(ask(T_FLUSH, 0, NULL, 0), S_OK, "flushing it is no error");
	is(ask_range(T_DISCARD, 0, 1, 0), S_UNSUPPORTED, "nor discarded");
	is(ask_range(T_ZEROES, 0, 1, 0), S_UNSUPPORTED, "nor zeroed");
}

void guest(const char *args)
{
	header = alloc(sizeof(*header), 16);
	status = alloc(4, 4);
	area = alloc(ROOM + 4096, 4096);
	find(args);
	capacity = get32(d.at + REG_CONFIG) |
		   (uint64_t)get32(d.at + REG_CONFIG + 4) << 32;
	tell("sectors", capacity);
	if (features & F_RO)
		test_read_only();
	else
		test_writable();
	test_ends(T_IN);
	test_id();
	test_framing();
	test_directions();
	test_reset();
	tell("refused", refused_rules);
}
