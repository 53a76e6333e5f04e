/* SPDX-License-Identifier: MIT
 *
 * The balloon: virtio 1.2, 5.5.  With the argument "wait" it does what it is
 * asked for from outside.
 */
#include "virtio.h"

#define NUM 8
#define PAGE 4096u
#define PAGES 64
#define F_REPORT (1ULL << 5)

enum { Q_INFLATE, Q_DEFLATE, Q_REPORT };

static struct device d;
static uint32_t *list;
static uint8_t *pages;	/* PAGES of them */
static uint8_t *victim; /* and one more */

static bool all_are(const uint8_t *p, uint32_t n, uint32_t word)
{
	uint32_t i;

	for (i = 0; i < n; i += 4) {
		if (*(const uint32_t *)(const void *)(p + i) != word)
			return false;
	}
	return true;
}

static void give(unsigned q, uint32_t first, uint32_t n)
{
	struct buffer b = { list, 4 * n, 0 };
	uint32_t i;

	for (i = 0; i < n; i++)
		list[i] = first + i;
	request(&d, q, &b, 1);
}

static void test_inflate(void)
{
	memset(pages, 0x5a, PAGES * PAGE);
	give(Q_INFLATE, addr(pages) / PAGE + 1, PAGES - 2);
	ok(all_are(pages + PAGE, (PAGES - 2) * PAGE, 0),
	   "pages that are given up are zeros");
	ok(all_are(pages, PAGE, 0x5a5a5a5a) &&
		   all_are(pages + (PAGES - 1) * PAGE, PAGE, 0x5a5a5a5a),
	   "those next to them are not");
	give(Q_DEFLATE, addr(pages) / PAGE + 1, PAGES - 2);
	memset(pages, 0x11, PAGES * PAGE);
	ok(all_are(pages, PAGES * PAGE, 0x11111111), "they can be had again");
	give(Q_INFLATE, ram_low / PAGE - 1, 1);
	ok(true, "the last page of memory");
}

static void test_report(void)
{
	struct buffer b = { pages + PAGE, 2 * PAGE, DESC_WRITE };

	memset(pages, 0x5a, 4 * PAGE);
	request(&d, Q_REPORT, &b, 1);
	ok(all_are(pages + PAGE, 2 * PAGE, 0) &&
		   all_are(pages, PAGE, 0x5a5a5a5a) &&
		   all_are(pages + 3 * PAGE, PAGE, 0x5a5a5a5a),
	   "pages that are reported free are zeros, and no others");
	memset(pages, 0x5a, 4 * PAGE);
	b = (struct buffer){ pages + 1, 3 * PAGE, DESC_WRITE };
	request(&d, Q_REPORT, &b, 1);
	ok(all_are(pages, PAGE, 0x5a5a5a5a) &&
		   all_are(pages + PAGE, 2 * PAGE, 0) &&
		   all_are(pages + 3 * PAGE, PAGE, 0x5a5a5a5a),
	   "of a range that is not of pages, the whole ones");
	memset(pages, 0x5a, PAGE);
	b = (struct buffer){ pages + 8, PAGE - 16, DESC_WRITE };
	request(&d, Q_REPORT, &b, 1);
	ok(all_are(pages, PAGE, 0x5a5a5a5a), "none if there are none");
}

static void bad_page(uint32_t pfn, const char *what)
{
	list[0] = pfn;
	put_desc(&d, Q_INFLATE, 0, addr(list), 4, 0, 0);
	make_available(&d, Q_INFLATE, 0);
	refuses(&d, Q_INFLATE, F_REPORT, NUM, what);
}

static void test_rules(void)
{
	bad_page(ram_low / PAGE, "the page behind memory");
	bad_page((uint32_t)(LAYOUT_HOLE / PAGE), "a page of the hole");
	bad_page((uint32_t)(LAYOUT_HIGH / PAGE), "a page that is no RAM");
	bad_page(UINT32_MAX, "page 2^32-1");
	list[0] = addr(pages) / PAGE;
	list[1] = UINT32_MAX;
	list[2] = 0;
	put_desc(&d, Q_INFLATE, 0, addr(list), 12, 0, 0);
	make_available(&d, Q_INFLATE, 0);
	refuses(&d, Q_INFLATE, F_REPORT, NUM, "a good one before a bad one");
	put_desc(&d, Q_REPORT, 0, addr(pages), PAGE, 0, 0);
	make_available(&d, Q_REPORT, 0);
	refuses(&d, Q_REPORT, F_REPORT, NUM, "a report of a readable page");
}

/* Lists of odd lengths, and of none. */
static void test_lengths(void)
{
	struct buffer b = { list, 7, 0 };
	unsigned n;

	list[0] = list[1] = addr(pages) / PAGE;
	for (n = 1; n < 8; n++) {
		b.len = n;
		request(&d, Q_INFLATE, &b, 1);
	}
	ok(!device_broken(&d), "lists that end within a number");
	b.flags = DESC_WRITE;
	request(&d, Q_INFLATE, &b, 1);
	ok(!device_broken(&d), "a list that is to be written");
}

/* A list of 16 million times the same page. */
static void put_long_list(void)
{
	void *to = pages;
	uint32_t words = PAGES * PAGE / 4;
	unsigned k;

	device_up(&d, F_REPORT, 256);
	__asm__ volatile("rep stosl"
			 : "+D"(to), "+c"(words)
			 : "a"(addr(victim) / PAGE)
			 : "memory");
	for (k = 0; k < 255; k++)
		put_desc(&d, Q_INFLATE, k, addr(pages), PAGES * PAGE, DESC_NEXT,
			 (uint16_t)(k + 1));
	put_desc(&d, Q_INFLATE, 255, addr(pages), PAGES * PAGE, 0, 0);
	make_available(&d, Q_INFLATE, 0);
	kick(&d, Q_INFLATE);
}

static void test_long_list(void)
{
	put_long_list();
	wait_used(&d, Q_INFLATE, NULL);
	ok(!device_broken(&d), "a list of 16 million pages");
	put_long_list();
	set_reg(&d, REG_STATUS, 0);
	memset(victim, 0x5a, PAGE);
	device_up(&d, F_REPORT, NUM);
	ok(all_are(victim, PAGE, 0x5a5a5a5a) && !came_back(&d, Q_INFLATE),
	   "a reset in mid-request: memory is left alone from then on");
}

static uint32_t wanted(void)
{
	return get32(d.at + REG_CONFIG);
}

static void test_config(void)
{
	uint32_t before = wanted();

	put32(d.at + REG_CONFIG, before + 1);
	is(wanted(), before, "what is wanted cannot be changed");
	put32(d.at + REG_CONFIG + 4, 5);
	is(get32(d.at + REG_CONFIG + 4), 5, "what there is can");
	*(volatile uint16_t *)(d.at + REG_CONFIG + 2) = 0xffff;
	is(wanted(), before, "nor a half of it");
	put32(d.at + REG_CONFIG + 8, UINT32_MAX);
	is(get32(d.at + REG_CONFIG + 8), 0, "there is no more of it");
	put32(d.at + REG_CONFIG + 4, 0);
}

/* Who is outside asks for pages: give them up. */
static void serve(void)
{
	uint32_t want;

	while ((want = wanted()) == 0)
		sleep();
	if (want > PAGES)
		give_up("that many there are not");
	give(Q_INFLATE, addr(pages) / PAGE, want);
	put32(d.at + REG_CONFIG + 4, want);
	tell("given up", want);
}

void guest(const char *args)
{
	if (!device_find(&d, ID_BALLOON, 0))
		give_up("there is no balloon");
	list = alloc(PAGE, 4);
	pages = alloc(PAGES * PAGE, PAGE);
	victim = alloc(PAGE, PAGE);
	is(d.queues, 3, "three queues");
	device_up(&d, F_REPORT, NUM);
	if (strcmp(args, "wait") == 0) {
		serve();
		return;
	}
	test_inflate();
	test_report();
	test_lengths();
	test_rules();
	test_config();
	test_long_list();
	give(Q_INFLATE, addr(pages) / PAGE, 1);
	ok(!device_broken(&d), "it works after all of that");
	tell("refused", refused_rules);
}
