/* SPDX-License-Identifier: MIT
 *
 * The entropy device, driven in this process.
 */
#include "tests/tap.h"

#include "tests/unit/driver.h"
#include "vmm/virtio/rng.h"

static struct rng rng;
static struct driver d;

static void begin(void)
{
	memset(&d, 0, sizeof(d));
	driver_ram(&d, 1 << 20, 65536);
	rng_init(&rng, &d.m, NULL, NULL);
	driver_up(&d, &rng.v, ~0ULL, 64);
}

static void end(void)
{
	rng_free(&rng);
	driver_ram_free(&d);
}

/* Ask for @n bytes at @gpa; how many came. */
static uint32_t ask(uint64_t gpa, uint32_t n)
{
	struct driver_buf b = { gpa, n, true };
	uint32_t len = UINT32_MAX;

	driver_add(&d, 0, &b, 1);
	driver_kick(&d, 0);
	return driver_used(&d, 0, &len) < 0 ? UINT32_MAX : len;
}

static void test_what_it_is(void)
{
	begin();
	is_int(driver_read(&d, VIRTIO_MMIO_DEVICE_ID), 4, "it is of kind 4");
	is_int(driver_offered(&d), DRIVER_COMMON, "without special features");
	is_int(driver_config(&d, 0, 4), 0, "and without configuration");
	end();
}

static void test_bytes(void)
{
	uint8_t first[32], *p;
	uint64_t at;

	begin();
	at = driver_alloc(&d, 8192, 1);
	p = driver_ptr(&d, at);
	is_int(ask(at, 32), 32, "as many as asked for");
	ok(driver_interrupts(&d) & DRIVER_INT_VRING, "with an interrupt");
	is_int(p[32], 0xa5, "and no more");
	memcpy(first, p, 32);
	ask(at, 32);
	ok(memcmp(first, p, 32) != 0, "other ones each time");
	is_int(ask(at, 8192), 4096, "at most a page");
	is_int(p[4096], 0xa5, "and no more");
	is_int(ask(LAYOUT_HIGH + 65535, 1), 1, "the last byte of memory");
	is_int(ask(0, 1 << 20), 4096, "into all of memory");
	end();
}

static void test_scattered(void)
{
	struct driver_buf b[8];
	uint32_t len = 0;
	uint8_t *p;
	unsigned i, touched = 0;

	begin();
	for (i = 0; i < 8; i++)
		b[i] = (struct driver_buf){ driver_alloc(&d, 4, 4), 3, true };
	driver_add_indirect(&d, 0, b, 8, driver_alloc(&d, 128, 16));
	driver_kick(&d, 0);
	driver_used(&d, 0, &len);
	is_int(len, 24, "into buffers of an indirect table");
	for (i = 0; i < 8; i++) {
		p = driver_ptr(&d, b[i].gpa);
		touched += p[3] != 0xa5;
	}
	is_int(touched, 0, "and nothing between them");
	end();
}

/* Others have their turn: the loop comes back, which there is none of here. */
static void test_batch(void)
{
	struct driver_buf b = { 0, 16, true };
	unsigned i, n = 0;

	begin();
	b.gpa = driver_alloc(&d, 16, 1);
	for (i = 0; i < 64; i++)
		driver_add(&d, 0, &b, 1);
	driver_kick(&d, 0);
	while (driver_used(&d, 0, NULL) >= 0)
		n++;
	is_int(n, 32, "32 requests a turn");
	driver_kick(&d, 0);
	while (driver_used(&d, 0, NULL) >= 0)
		n++;
	is_int(n, 64, "the others in the next");
	end();
}

static void test_rules(void)
{
	struct driver_buf b[2] = { { 0, 16, false }, { 16, 16, true } };

	begin();
	driver_add(&d, 0, b, 2);
	driver_kick(&d, 0);
	ok(driver_needs_reset(&d), "a readable buffer breaks it");
	is_str(rng.v.rule, "readable buffer for entropy", "by name");
	is_int(driver_used(&d, 0, NULL), -1, "nothing comes back");
	driver_up(&d, &rng.v, ~0ULL, 64);
	is_int(ask(driver_alloc(&d, 8, 1), 8), 8, "a reset helps");
	end();
}

int main(void)
{
	test_what_it_is();
	test_bytes();
	test_scattered();
	test_batch();
	test_rules();
	return tap_done();
}
