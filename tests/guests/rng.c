/* SPDX-License-Identifier: MIT
 *
 * The entropy device: virtio 1.2, 5.4.
 */
#include "virtio.h"

#define NUM 8
#define ROOM 6144

static struct device d;
static uint8_t *area;

/* Bytes of @n that the device has written over 0xa5, roughly: some of what it
 * writes is that by chance. */
static uint32_t written(uint32_t n)
{
	uint32_t i;

	for (i = n; i > 0 && area[i - 1] == 0xa5; i--)
		;
	return i;
}

static uint32_t ask(uint32_t n)
{
	struct buffer b = { area, n, DESC_WRITE };

	memset(area, 0xa5, ROOM);
	return request(&d, 0, &b, 1);
}

static void test_sizes(void)
{
	uint8_t first[64];

	is(ask(1), 1, "a byte");
	is(ask(64), 64, "64 bytes");
	ok(written(ROOM) <= 64 && written(ROOM) > 48, "and no more");
	memcpy(first, area, 64);
	ask(64);
	ok(memcmp(first, area, 64) != 0, "other ones the next time");
	is(ask(4096), 4096, "a page");
	is(ask(ROOM), 4096, "no more than a page at a time");
	ok(written(ROOM) <= 4096, "nor is more written");
}

/* Every place of memory that there is, the last byte included. */
static void test_edges(void)
{
	volatile uint8_t *last = (volatile uint8_t *)(ram_low - 4);
	uint32_t len, tries;
	bool changed = false;

	for (tries = 0; tries < 64 && !changed; tries++) {
		last[3] = 0;
		put_desc(&d, 0, 0, ram_low - 1, 1, DESC_WRITE, 0);
		make_available(&d, 0, 0);
		kick(&d, 0);
		wait_used(&d, 0, &len);
		changed = last[3] != 0;
	}
	ok(len == 1 && changed, "the last byte of memory");
	put_desc(&d, 0, 0, 0, ram_low, DESC_WRITE, 0);
	make_available(&d, 0, 0);
	kick(&d, 0);
	wait_used(&d, 0, &len);
	is(len, 4096, "all of memory as one buffer");
}

static void test_scattered(void)
{
	unsigned i;
	uint32_t len;

	memset(area, 0xa5, ROOM);
	for (i = 0; i < NUM; i++)
		put_desc(&d, 0, i, addr(area) + 16 * i, 1,
			 DESC_WRITE | (i < NUM - 1 ? DESC_NEXT : 0),
			 (uint16_t)(i + 1));
	make_available(&d, 0, 0);
	kick(&d, 0);
	wait_used(&d, 0, &len);
	is(len, NUM, "as many buffers as the ring has entries");
	for (i = 0; i < 16 * NUM; i++) {
		if (i % 16 && area[i] != 0xa5)
			break;
	}
	is(i, 16 * NUM, "and nothing between them");
}

static void test_rules(void)
{
	put_desc(&d, 0, 0, addr(area), 16, DESC_NEXT, 1);
	put_desc(&d, 0, 1, addr(area), 16, DESC_WRITE, 0);
	make_available(&d, 0, 0);
	refuses(&d, 0, 0, NUM, "a readable buffer for entropy");
	put_desc(&d, 0, 0, addr(area), 16, 0, 0);
	make_available(&d, 0, 0);
	refuses(&d, 0, 0, NUM, "nothing but a readable buffer");
	is(ask(8), 8, "it works after all of that");
}

/* Requests that are there when the device is reset are not answered later. */
static void test_reset(void)
{
	unsigned round, i;
	bool quiet = true;

	for (round = 0; round < 8; round++) {
		for (i = 0; i < NUM; i++) {
			put_desc(&d, 0, i, addr(area), 4096, DESC_WRITE, 0);
			make_available(&d, 0, (uint16_t)i);
		}
		kick(&d, 0);
		set_reg(&d, REG_STATUS, 0);
		memset(area, 0xa5, ROOM);
		quiet &= written(ROOM) == 0;
		device_up(&d, 0, NUM);
		quiet &= !came_back(&d, 0) && written(ROOM) == 0;
	}
	ok(quiet, "a reset in mid-request: memory is left alone from then on");
	is(ask(8), 8, "and it works");
}

void guest(const char *args)
{
	(void)args;
	if (!device_find(&d, ID_RNG, 0))
		give_up("there is no entropy device");
	area = alloc(ROOM, 4096);
	is(d.queues, 1, "one queue");
	device_up(&d, 0, NUM);
	test_sizes();
	test_scattered();
	test_edges();
	test_rules();
	test_reset();
	tell("refused", refused_rules);
}
