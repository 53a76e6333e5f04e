/* SPDX-License-Identifier: MIT
 *
 * The balloon, driven in this process.
 */
#include "tests/tap.h"

#include "tests/unit/driver.h"
#include "vmm/virtio/balloon.h"

#define PAGE 4096
#define PAGES 64

enum { INFLATE, DEFLATE, REPORT };

static struct balloon balloon;
static struct driver d;
static uint64_t list, area; /* page numbers; PAGES pages */

static void begin(void)
{
	memset(&d, 0, sizeof(d));
	driver_ram(&d, 1 << 20, 65536);
	balloon_init(&balloon, &d.m, NULL, NULL);
	driver_up(&d, &balloon.v, ~0ULL, 64);
	list = driver_alloc(&d, 65536, PAGE);
	area = driver_alloc(&d, PAGES * PAGE, PAGE);
}

static void end(void)
{
	balloon_free(&balloon);
	driver_ram_free(&d);
}

static bool request(unsigned q, uint64_t gpa, uint32_t n, bool write)
{
	struct driver_buf b = { gpa, n, write };

	driver_add(&d, q, &b, 1);
	driver_kick(&d, q);
	return driver_used(&d, q, NULL) >= 0;
}

static bool give(unsigned q, uint32_t first, unsigned n)
{
	uint32_t *pfn = driver_ptr(&d, list);
	unsigned i;

	for (i = 0; i < n; i++)
		pfn[i] = first + i;
	return request(q, list, 4 * n, false);
}

/* Pages of the area that are zeros, a bit each. */
static uint64_t zeros(void)
{
	static const uint8_t none[PAGE];
	uint64_t bits = 0;
	unsigned i;

	for (i = 0; i < PAGES; i++) {
		if (memcmp(driver_ptr(&d, area + i * PAGE), none, PAGE) == 0)
			bits |= 1ULL << i;
	}
	return bits;
}

static void test_inflate(void)
{
	begin();
	ok(give(INFLATE, (uint32_t)(area / PAGE) + 3, 4), "pages are taken");
	is_int(zeros(), 0xf << 3, "these, and no others");
	is_int(balloon.inflated, 4 * PAGE, "and counted");
	ok(give(DEFLATE, (uint32_t)(area / PAGE) + 3, 4), "given back");
	memset(driver_ptr(&d, area + 3 * PAGE), 1, 4 * PAGE);
	is_int(zeros(), 0, "to be used");
	ok(give(INFLATE, LAYOUT_HIGH / PAGE + 15, 1),
	   "the last one of high RAM");
	ok(give(INFLATE, (1 << 20) / PAGE - 1, 1), "and of low RAM");
	end();
}

static void test_odd_lists(void)
{
	uint32_t *pfn;
	unsigned n;
	bool good = true;

	begin();
	pfn = driver_ptr(&d, list);
	pfn[0] = (uint32_t)(area / PAGE);
	pfn[1] = UINT32_MAX;
	for (n = 1; n < 8; n++)
		good &= request(INFLATE, list, n, false);
	ok(good, "lists that end within a number");
	is_int(zeros(), 1, "have the numbers that are whole");
	ok(request(INFLATE, list, 8, true), "a list that is for us to write");
	is_int(balloon.inflated, 4 * PAGE, "is empty");
	end();
}

/* Two runs and a single one, backwards. */
static void test_order(void)
{
	static const uint32_t order[] = { 9, 8, 20, 21, 22, 1, 2, 40 };
	uint32_t *pfn;
	unsigned i;

	begin();
	pfn = driver_ptr(&d, list);
	for (i = 0; i < 8; i++)
		pfn[i] = (uint32_t)(area / PAGE) + order[i];
	request(INFLATE, list, sizeof(order), false);
	is_int(zeros(), 1ULL << 9 | 1 << 8 | 7 << 20 | 3 << 1 | 1ULL << 40,
	       "pages in any order");
	end();
}

static void test_rules(void)
{
	static const uint32_t bad[] = { (1 << 20) / PAGE, LAYOUT_HOLE / PAGE,
					LAYOUT_HIGH / PAGE - 1,
					LAYOUT_HIGH / PAGE + 16, UINT32_MAX };
	unsigned i;

	begin();
	for (i = 0; i < 5; i++) {
		ok(!give(INFLATE, bad[i], 1) && driver_needs_reset(&d),
		   "page 0x%x is none", bad[i]);
		driver_up(&d, &balloon.v, ~0ULL, 64);
	}
	ok(!give(INFLATE, (1 << 20) / PAGE - 1, 2) && driver_needs_reset(&d),
	   "nor is a run that ends behind memory");
	is_str(balloon.v.rule, "page outside of memory", "by name");
	driver_up(&d, &balloon.v, ~0ULL, 64);
	ok(!request(REPORT, area, PAGE, false) && driver_needs_reset(&d),
	   "a report of a page that is not ours to write");
	end();
}

/* A list that would take minutes is taken up to a limit. */
static void test_long_list(void)
{
	struct driver_buf b[16];
	uint32_t *pfn;
	unsigned i;

	begin();
	pfn = driver_ptr(&d, list);
	for (i = 0; i < 16384; i++)
		pfn[i] = (uint32_t)(area / PAGE);
	for (i = 0; i < 16; i++)
		b[i] = (struct driver_buf){ list, 65536, false };
	driver_add(&d, INFLATE, b, 16);
	driver_kick(&d, INFLATE);
	ok(driver_used(&d, INFLATE, NULL) >= 0, "a list of 262144 pages");
	is_int(balloon.inflated, 65536LL * PAGE, "of which 65536 are taken");
	driver_add(&d, INFLATE, b, 4);
	driver_add(&d, INFLATE, b, 4);
	driver_kick(&d, INFLATE);
	ok(driver_used(&d, INFLATE, NULL) >= 0, "as many a turn");
	ok(driver_used(&d, INFLATE, NULL) < 0, "and no more");
	driver_kick(&d, INFLATE);
	ok(driver_used(&d, INFLATE, NULL) >= 0, "the others in the next");
	end();
}

static void test_report(void)
{
	begin();
	ok(request(REPORT, area + PAGE, 3 * PAGE, true), "pages are reported");
	is_int(zeros(), 7 << 1, "and taken");
	is_int(balloon.reported, 3 * PAGE, "and counted");
	ok(request(REPORT, area + 8 * PAGE + 1, 3 * PAGE, true), "odd ones");
	is_int(zeros(), 7 << 1 | 3 << 9, "as far as they are whole pages");
	ok(request(REPORT, area + 20 * PAGE + 8, PAGE - 16, true), "a part");
	is_int(zeros(), 7 << 1 | 3 << 9, "of a page is none");
	end();
}

static void test_config(void)
{
	uint32_t x = 9;
	uint64_t y;

	begin();
	balloon_set(&balloon, 1234);
	is_int(driver_config(&d, 0, 4), 1234, "what is wanted");
	ok(driver_interrupts(&d) & DRIVER_INT_CONFIG, "is told");
	is_int(driver_read(&d, VIRTIO_MMIO_CONFIG_GENERATION), 1,
	       "as a new configuration");
	virtio_mmio_write(&balloon.v, VIRTIO_MMIO_CONFIG, &x, 4);
	is_int(driver_config(&d, 0, 4), 1234, "and cannot be changed");
	virtio_mmio_write(&balloon.v, VIRTIO_MMIO_CONFIG + 2, &x, 4);
	virtio_mmio_write(&balloon.v, VIRTIO_MMIO_CONFIG + 3, &x, 1);
	is_int(driver_config(&d, 0, 4), 1234, "nor a part of it");
	virtio_mmio_write(&balloon.v, VIRTIO_MMIO_CONFIG + 4, &x, 4);
	is_int(balloon_actual(&balloon), 9, "what there is can");
	y = 77ULL << 32;
	virtio_mmio_write(&balloon.v, VIRTIO_MMIO_CONFIG, &y, 8);
	is_int(driver_config(&d, 0, 4), 1234, "both at once");
	is_int(balloon_actual(&balloon), 77, "is one of them");
	virtio_mmio_write(&balloon.v, VIRTIO_MMIO_CONFIG + 8, &x, 4);
	is_int(driver_config(&d, 8, 4), 0, "there is no more");
	end();
}

int main(void)
{
	test_inflate();
	test_odd_lists();
	test_order();
	test_rules();
	test_long_list();
	test_report();
	test_config();
	return tap_done();
}
