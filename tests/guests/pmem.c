/* SPDX-License-Identifier: MIT
 *
 * Persistent memory that cannot be written: virtio 1.2, 5.19.
 */
#include "virtio.h"

#define NUM 8
#define PART 4096

static struct device d;
static uint64_t start, size;
static uint32_t *type, *answer;
static uint8_t *area;

static uint64_t config64(unsigned off)
{
	return get32(d.at + REG_CONFIG + off) |
	       (uint64_t)get32(d.at + REG_CONFIG + off + 4) << 32;
}

static uint32_t ask(uint32_t what)
{
	struct buffer b[2] = { { type, 4, 0 }, { answer, 4, DESC_WRITE } };

	*type = what;
	*answer = 77;
	is(request(&d, 0, b, 2), 4, "an answer of 4 bytes");
	return *answer;
}

/* A word that the test outside computes too. */
static uint32_t sum(const uint8_t *p, uint32_t n)
{
	uint32_t i, s = 0;

	for (i = 0; i < n; i++)
		s = s * 31 + p[i];
	return s;
}

static void test_memory(void)
{
	far_read(start, area, PART);
	tell("first", sum(area, PART));
	far_read(start + size - PART, area + PART, PART);
	tell("last", sum(area + PART, PART));
	memset(area + PART, 0xee, PART);
	far_write(start, area + PART, 64);
	far_write(start + size - 8, area + PART, 8);
	far_read(start, area + PART, PART);
	ok(memcmp(area, area + PART, PART) == 0, "it cannot be written");
	far_read(start + size, area, 8);
	is(*(uint32_t *)(void *)area, UINT32_MAX, "nothing is behind it");
}

static void test_requests(void)
{
	is(ask(0), 0, "flushed");
	is(ask(1), 1, "a request that is unknown fails");
	is(ask(UINT32_MAX), 1, "so does 2^32-1");
}

/* A request at @at, of which nothing is known but that its type is not 0. */
static void put_request(uint64_t at)
{
	put_desc(&d, 0, 0, at, 4, DESC_NEXT, 1);
	put_desc(&d, 0, 1, addr(answer), 4, DESC_WRITE, 0);
	make_available(&d, 0, 0);
}

/* A device may read from it, as disks do, to the byte; it is no place to write
 * to, nor for rings. */
static void test_as_buffer(void)
{
	*answer = 77;
	put_request(start);
	kick(&d, 0);
	wait_used(&d, 0, NULL);
	is(*answer, 1, "a request out of it");
	put_request(start + size - 4);
	kick(&d, 0);
	wait_used(&d, 0, NULL);
	is(*answer, 0, "and out of its end");
	put_request(start + size - 3);
	refuses(&d, 0, 0, NUM, "across its end");
	put_request(start + size);
	refuses(&d, 0, 0, NUM, "from behind it");
	put_request(start - 2);
	refuses(&d, 0, 0, NUM, "across its beginning");
	put_desc(&d, 0, 0, addr(type), 4, DESC_NEXT, 1);
	put_desc(&d, 0, 1, start, 4, DESC_WRITE, 0);
	make_available(&d, 0, 0);
	refuses(&d, 0, 0, NUM, "an answer into it");
	device_negotiate(&d, F_VERSION_1);
	ok(!queue_ready_at(&d, 0, NUM, start, addr(d.q[0].avail),
			   addr(d.q[0].used)) &&
		   device_broken(&d),
	   "a ring in it");
	refused_rules++;
	device_up(&d, 0, NUM);
}

static void test_rules(void)
{
	put_desc(&d, 0, 0, addr(type), 4, 0, 0);
	make_available(&d, 0, 0);
	refuses(&d, 0, 0, NUM, "a request without an answer");
	put_desc(&d, 0, 0, addr(type), 3, DESC_NEXT, 1);
	put_desc(&d, 0, 1, addr(answer), 4, DESC_WRITE, 0);
	make_available(&d, 0, 0);
	refuses(&d, 0, 0, NUM, "a request of 3 bytes");
	put_desc(&d, 0, 0, addr(type), 4, DESC_NEXT, 1);
	put_desc(&d, 0, 1, addr(answer), 3, DESC_WRITE, 0);
	make_available(&d, 0, 0);
	refuses(&d, 0, 0, NUM, "an answer of 3 bytes");
}

static void test_config(void)
{
	set_reg(&d, REG_CONFIG, 0);
	set_reg(&d, REG_CONFIG + 8, UINT32_MAX);
	ok(config64(0) == start && config64(8) == size,
	   "its place cannot be changed");
}

void guest(const char *args)
{
	(void)args;
	type = alloc(4, 4);
	answer = alloc(4, 4);
	area = alloc(2 * PART, 4096);
	if (!device_find(&d, ID_PMEM, 0))
		give_up("there is no persistent memory");
	device_up(&d, 0, NUM);
	start = config64(0);
	size = config64(8);
	ok(start >= LAYOUT_HIGH && (uint32_t)start % 0x200000 == 0,
	   "it begins at a multiple of 2 MiB behind memory");
	tell("size", size);
	test_memory();
	test_requests();
	test_as_buffer();
	test_rules();
	test_config();
	is(ask(0), 0, "it works after all of that");
	tell("refused", refused_rules);
}
