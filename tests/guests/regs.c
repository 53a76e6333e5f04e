/* SPDX-License-Identifier: MIT
 *
 * The registers that all virtio devices have: virtio 1.2, 4.2.2.  Every device
 * that there is gets every value in every register.
 */
#include "virtio.h"

static struct device d;

static void test_constants(void)
{
	is(reg(&d, REG_VERSION), 2, "version 2");
	set_reg(&d, REG_MAGIC, 0);
	set_reg(&d, REG_VERSION, 0);
	set_reg(&d, REG_DEVICE_ID, 0);
	ok(reg(&d, REG_MAGIC) == 0x74726976 && reg(&d, REG_VERSION) == 2 &&
		   reg(&d, REG_DEVICE_ID) != 0,
	   "constants cannot be written");
	ok(reg(&d, REG_SHM_LEN) == UINT32_MAX &&
		   reg(&d, REG_SHM_LEN + 12) == UINT32_MAX,
	   "no shared memory");
	is(reg(&d, REG_NOTIFY), 0, "what is to be written reads as zero");
}

static void test_widths(void)
{
	ok(*(volatile uint8_t *)d.at == 0 && *(volatile uint16_t *)d.at == 0 &&
		   get32(d.at + 1) == 0 && get32(d.at + 2) == 0,
	   "registers are read in words");
	set_reg(&d, REG_STATUS, STATUS_ACKNOWLEDGE);
	*(volatile uint8_t *)(d.at + REG_STATUS) = 0;
	*(volatile uint16_t *)(d.at + REG_STATUS) = 0;
	put32(d.at + REG_STATUS - 2, 0);
	is(reg(&d, REG_STATUS), STATUS_ACKNOWLEDGE, "and written in words");
	set_reg(&d, REG_STATUS, 0);
}

static void test_features(void)
{
	uint64_t offered = device_offers(&d);

	ok((offered & F_VERSION_1) && (offered & F_EVENT_IDX) &&
		   (offered & F_INDIRECT),
	   "features that all have");
	set_reg(&d, REG_DEVICE_FEATURES_SEL, 2);
	is(reg(&d, REG_DEVICE_FEATURES), 0, "no features beyond 63");
	set_reg(&d, REG_DEVICE_FEATURES_SEL, UINT32_MAX);
	is(reg(&d, REG_DEVICE_FEATURES), 0, "nor at 2^32-1");
	ok(device_negotiate(&d, offered), "all that is offered");
	ok(!device_negotiate(&d, offered & ~F_VERSION_1), "not the old kind");
	ok(!device_negotiate(&d, UINT64_MAX), "not more than is offered");
	ok(device_negotiate(&d, F_VERSION_1), "as little as can be");
	set_reg(&d, REG_DRIVER_FEATURES_SEL, UINT32_MAX);
	set_reg(&d, REG_DRIVER_FEATURES, UINT32_MAX);
	ok(!device_broken(&d), "features at 2^32-1");
}

static void test_status(void)
{
	set_reg(&d, REG_STATUS, 0);
	set_reg(&d, REG_STATUS, STATUS_NEEDS_RESET | 0xffffff00);
	is(reg(&d, REG_STATUS), 0, "bits that are not the driver's");
	set_reg(&d, REG_STATUS, STATUS_ACKNOWLEDGE);
	set_reg(&d, REG_STATUS, STATUS_DRIVER);
	is(reg(&d, REG_STATUS), 3, "bits are added");
	set_reg(&d, REG_STATUS, STATUS_FAILED);
	is(reg(&d, REG_STATUS), 0x83, "the driver may give up");
	set_reg(&d, REG_STATUS, 0);
	is(reg(&d, REG_STATUS), 0, "only a reset takes them away");
}

static void test_selection(void)
{
	static const uint32_t none[] = { 4,	  5,	    63,	       64,
					 0x10000, 1u << 31, UINT32_MAX };
	bool good = true;
	unsigned i;

	for (i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		set_reg(&d, REG_QUEUE_SEL, none[i]);
		set_reg(&d, REG_QUEUE_NUM, 8);
		set_reg(&d, REG_DESC, 0x1000);
		set_reg(&d, REG_QUEUE_READY, 1);
		good &= reg(&d, REG_QUEUE_NUM_MAX) == 0 &&
			reg(&d, REG_QUEUE_READY) == 0;
		kick(&d, none[i]);
	}
	ok(good && !device_broken(&d), "queues that there are not");
	set_reg(&d, REG_QUEUE_SEL, 0);
	ok(reg(&d, REG_QUEUE_NUM_MAX) >= 8, "and one that there is");
}

/* Fixed while the queue is ready. */
static void test_ready(void)
{
	device_up(&d, 0, 8);
	set_reg(&d, REG_QUEUE_SEL, 0);
	set_reg(&d, REG_QUEUE_NUM, 16);
	set_reg(&d, REG_DESC, 0xfffffff0);
	set_reg(&d, REG_AVAIL + 4, UINT32_MAX);
	set_reg(&d, REG_USED, UINT32_MAX);
	set_reg(&d, REG_QUEUE_READY, 1);
	ok(reg(&d, REG_QUEUE_READY) == 1 && !device_broken(&d),
	   "a queue that is ready is not changed");
	set_reg(&d, REG_ACK, UINT32_MAX);
	set_reg(&d, REG_INTERRUPT, UINT32_MAX);
	is(reg(&d, REG_INTERRUPT), 0, "no interrupt is there to be made up");
}

/* All of the page in all widths: who reads or writes it changes nothing that
 * would be missed. */
static void test_page(void)
{
	static const uint32_t words[] = { 0, 1, UINT32_MAX, 0x80000000 };
	unsigned off, i;

	for (off = 0; off < 0x300; off += 3) {
		*(volatile uint8_t *)(d.at + off);
		*(volatile uint16_t *)(d.at + off);
		get32(d.at + off);
		*(volatile uint8_t *)(d.at + off) = 0xff;
		*(volatile uint16_t *)(d.at + off) = 0xffff;
	}
	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		for (off = 0; off < 0x1000; off += off < 0x180 ? 4 : 0x7c)
			put32(d.at + off, words[i]);
	ok(get32(d.at + 0xffc) == 0, "the rest of the page is empty");
	set_reg(&d, REG_STATUS, 0);
	ok(reg(&d, REG_STATUS) == 0 && reg(&d, REG_MAGIC) == 0x74726976,
	   "every value in every register");
	device_up(&d, 0, 8);
	ok(!device_broken(&d), "it works after all of that");
}

void guest(const char *args)
{
	static const uint32_t ids[] = { ID_NET,	    ID_BLK,   ID_RNG,
					ID_BALLOON, ID_VSOCK, ID_PMEM };
	unsigned i;

	(void)args;
	for (i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		if (!device_find(&d, ids[i], 0))
			continue;
		tell("device", ids[i]);
		test_constants();
		test_widths();
		test_features();
		test_status();
		test_selection();
		test_ready();
		test_page();
	}
}
