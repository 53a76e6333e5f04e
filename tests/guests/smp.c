/* SPDX-License-Identifier: MIT
 *
 * More than one processor: the others are started as Linux starts them, one
 * after the other, all count and all print; then all of them notify a device
 * at a time, and reset it under each other's hands.
 *
 * The argument is how many there are, a digit.
 */
#include "virtio.h"

#define ROUNDS 100

static struct device d;
static volatile uint32_t up, done, counted, go;

static void add(volatile uint32_t *x)
{
	__asm__ volatile("lock; incl %0" : "+m"(*x)::"memory");
}

/* Registers that matter, from any number of processors at once. */
static void trample(void)
{
	unsigned i;

	for (i = 0; i < ROUNDS; i++) {
		add(&counted);
		device_negotiate(&d, F_VERSION_1);
		queue_ready_at(&d, 0, 8, 0x10000, 0x11000, 0x12000);
		set_reg(&d, REG_STATUS, 15);
		kick(&d, 0);
		reg(&d, REG_QUEUE_READY);
		out8(LAYOUT_PORT_SERIAL, '.');
	}
}

void ap_main(void)
{
	add(&up);
	/* Bounded by those who are waited for: they are on their way. */
	while (!go)
		__asm__ volatile("pause");
	trample();
	add(&done);
}

void guest(const char *args)
{
	uint32_t n = (uint32_t)(*args - '0'), i;

	if (!device_find(&d, ID_RNG, 0))
		give_up("there is no entropy device");
	for (i = 1; i < n; i++) {
		start_processor(i);
		while (up != i)
			__asm__ volatile("pause");
	}
	is(up + 1, n, "all processors are up");
	print("# ");
	go = 1;
	trample();
	while (done != n - 1)
		__asm__ volatile("pause");
	print("\n");
	is(counted, n * ROUNDS, "all of them have counted");
	device_up(&d, 0, 8);
	ok(true, "the device works");
}
