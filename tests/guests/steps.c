/* SPDX-License-Identifier: MIT
 *
 * Says when it is where: for bench/machine, to which each newline on the
 * console is a step.  Two steps, then all RAM from STEPS_FROM on is touched,
 * page by page; from then on nothing but steps.  A snapshot of the first step
 * goes on to the second at once, and to memory only when it is let.
 *
 * The argument says how it is touched: "read" or "write".
 */
#include "rt.h"

#define STEPS_FROM (32 * (uint32_t)LAYOUT_MIB)
#define PAGE ((uint32_t)LAYOUT_PAGE)

static void step(void)
{
	out8(LAYOUT_PORT_SERIAL, '\n');
}

static void read_pages(void)
{
	uint32_t at;

	for (at = STEPS_FROM; at < ram_low; at += PAGE)
		get32(at);
}

/* No two pages the same, and none that has nothing in it. */
static void write_pages(void)
{
	uint32_t at;

	for (at = STEPS_FROM; at < ram_low; at += PAGE)
		put32(at, at);
}

void guest(const char *args)
{
	step();
	step();
	if (strcmp(args, "write") == 0)
		write_pages();
	else
		read_pages();
	for (;;)
		step();
}
