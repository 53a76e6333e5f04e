/* SPDX-License-Identifier: MIT
 *
 * What is where there is nothing: addresses without memory or device, ports
 * that nobody has.  And the edges of what is there, also above 4 GiB, for a
 * device (the entropy device, which writes wherever it is told) as for the
 * processor.
 */
#include "virtio.h"

static struct device d;

/* ---- addresses ---- */

static void empty_at(uint64_t at, const char *what)
{
	uint32_t x = 0x12345678, back;

	far_write(at, &x, 4);
	far_read(at, &back, 4);
	is(back, UINT32_MAX, what);
}

static void test_empty(void)
{
	unsigned i = 0;

	while (get32((uint32_t)(LAYOUT_MMIO + i * LAYOUT_MMIO_STRIDE)) ==
	       0x74726976)
		i++;
	tell("devices", i);
	if (ram_low < LAYOUT_HOLE) {
		empty_at(ram_low, "behind memory");
		empty_at(LAYOUT_HOLE - 4, "before the hole");
	}
	empty_at(LAYOUT_HOLE, "the hole");
	empty_at(LAYOUT_MMIO - 4, "before the devices");
	empty_at(LAYOUT_MMIO + i * LAYOUT_MMIO_STRIDE, "behind the last one");
	empty_at(LAYOUT_MMIO + 15 * LAYOUT_MMIO_STRIDE, "where 16 would be");
	empty_at(LAYOUT_MMIO + 16 * LAYOUT_MMIO_STRIDE, "and 17");
	empty_at(LAYOUT_LAPIC + 0x1000, "behind the interrupt controllers");
	empty_at(LAYOUT_HIGH + (ram_size - ram_low), "behind all memory");
	empty_at(1ULL << 38, "far behind it");
}

/* Between two devices, and in front of one. */
static void test_across(void)
{
	uint32_t at = LAYOUT_MMIO;

	put32(at + LAYOUT_MMIO_STRIDE - 2, UINT32_MAX);
	ok(get32(at) == 0x74726976 &&
		   get32(at + LAYOUT_MMIO_STRIDE) == 0x74726976,
	   "a write across two devices changes none");
	get32(at + LAYOUT_MMIO_STRIDE - 1);
	get32(at - 2);
	ok(true, "nor does a read end anything");
}

/* ---- ports ---- */

static void test_ports(void)
{
	static const uint16_t none[] = {
		0x0000, 0x0080, 0x02f8, 0x03f7, 0x0400, 0x05ff,
		0x0602, 0x0603, 0x0cf8, 0x0cfc, 0x8000, 0xfffc,
	};
	bool empty = true;
	unsigned i;

	for (i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		out8(none[i], 0);
		out16(none[i], 0);
		out32(none[i], 0);
		empty &= in8(none[i]) == 0xff && in16(none[i]) == 0xffff &&
			 in32(none[i]) == UINT32_MAX;
	}
	ok(empty, "ports that nobody has");
	is(in8(LAYOUT_PORT_SLEEP_STATUS), 0, "the sleep status");
	out8(LAYOUT_PORT_SLEEP, LAYOUT_SLEEP_S5 << 2);
	ok(true, "a sleep state without the bit that enables it");
	out8(LAYOUT_PORT_SLEEP, 3 << 2 | LAYOUT_SLEEP_ENABLE);
	ok(true, "a sleep state that there is not");
	out8(LAYOUT_PORT_RESET, 0);
	out8(LAYOUT_PORT_RESET, 0xfe);
	ok(true, "a reset that is not written as one");
}

static void test_serial(void)
{
	out8(LAYOUT_PORT_SERIAL + 7, 0x5a);
	is(in8(LAYOUT_PORT_SERIAL + 7), 0x5a, "the port that remembers");
	is(in8(LAYOUT_PORT_SERIAL + 5) & 0x60, 0x60, "ready to send");
	in16(LAYOUT_PORT_SERIAL + 7);
	in32(LAYOUT_PORT_SERIAL + 5);
	out32(LAYOUT_PORT_SERIAL + 5, UINT32_MAX);
	out16(LAYOUT_PORT_SERIAL + 7, UINT16_MAX);
	is(in8(LAYOUT_PORT_SERIAL + 7), 0xff, "accesses wider than a port");
	__asm__ volatile("rep outsb" ::"d"(LAYOUT_PORT_SERIAL), "S"("# rep\n"),
			 "c"(6)
			 : "memory");
}

/* ---- a device's view ---- */

/* The entropy device is to write @n bytes at @at: whether it does. */
static bool can_write(uint64_t at, uint32_t n)
{
	uint32_t len;

	put_desc(&d, 0, 0, at, n, DESC_WRITE, 0);
	make_available(&d, 0, 0);
	kick(&d, 0);
	while (!came_back(&d, 0)) {
		if (device_broken(&d)) {
			refused_rules++;
			device_up(&d, 0, 8);
			return false;
		}
		sleep();
	}
	return wait_used(&d, 0, &len) == 0 && len == (n < 4096 ? n : 4096);
}

static void test_edge(uint64_t end, const char *what)
{
	ok(can_write(end - 1, 1) && !can_write(end - 1, 2) &&
		   can_write(end - 4096, 4096) && !can_write(end - 4096, 4097),
	   what);
	ok(!can_write(end, 1) && !can_write(end, UINT32_MAX), "nothing behind");
}

static void test_device(void)
{
	uint64_t x[2] = { 0, 0 }, high = ram_size - ram_low;

	test_edge(ram_low, "the end of low memory");
	if (!high) {
		ok(!can_write(LAYOUT_HIGH, 1), "no high memory");
		return;
	}
	test_edge(LAYOUT_HIGH + high, "the end of high memory");
	ok(!can_write(LAYOUT_HIGH - 1, 1) && !can_write(LAYOUT_HIGH - 1, 2) &&
		   can_write(LAYOUT_HIGH, 1) &&
		   can_write(LAYOUT_HIGH, (uint32_t)high) &&
		   can_write(0, ram_low),
	   "both parts of it, to the byte");
	ok(!can_write(ram_low - 1, UINT32_MAX),
	   "nothing from one part to the other");
	/* The host has them side by side; the guest must not see that. */
	far_write(LAYOUT_HIGH, x, 16);
	can_write(ram_low - 16, 16);
	far_read(LAYOUT_HIGH, x, 16);
	ok(x[0] == 0 && x[1] == 0, "the end of one is not the other's start");
	far_write(LAYOUT_HIGH + high - 16, x, 16);
	can_write(LAYOUT_HIGH + high - 16, 16);
	far_read(LAYOUT_HIGH + high - 16, x, 16);
	ok(x[0] != 0 && x[1] != 0,
	   "the device writes where the processor reads");
}

void guest(const char *args)
{
	(void)args;
	tell("low", ram_low);
	tell("high MiB", (ram_size - ram_low) >> 20);
	if (!device_find(&d, ID_RNG, 0))
		give_up("there is no entropy device");
	device_up(&d, 0, 8);
	test_empty();
	test_across();
	test_ports();
	test_serial();
	test_device();
	tell("refused", refused_rules);
}
