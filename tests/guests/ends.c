/* SPDX-License-Identifier: MIT
 *
 * Ways to end, or not to.  The argument says which.
 */
#include "rt.h"

static void __attribute__((noreturn)) halt(void)
{
	for (;;)
		__asm__ volatile("cli; hlt");
}

/* An exception without a table to find its gate in, nor those of the
 * exceptions that follow from that. */
static void triple_fault(void)
{
	struct __attribute__((packed)) {
		uint16_t limit;
		uint32_t base;
	} none = { 0, 0 };

	__asm__ volatile("lidt %0; ud2" ::"m"(none));
}

void guest(const char *args)
{
	print("# ");
	print(args);
	print("\n");
	if (strcmp(args, "triple") == 0)
		triple_fault();
	else if (strcmp(args, "reset") == 0)
		out8(LAYOUT_PORT_RESET, LAYOUT_RESET_VALUE);
	else if (strcmp(args, "nowhere") == 0)
		((void (*)(void))LAYOUT_HOLE)();
	else if (strcmp(args, "spin") == 0)
		for (;;)
			__asm__ volatile("");
	else if (strcmp(args, "chatter") == 0)
		for (;;)
			print("la la la\n");
	else if (strcmp(args, "ports") == 0)
		for (;;)
			in8(0x80);
	halt();
}
