/* SPDX-License-Identifier: MIT
 *
 * The monotonic clock: see clock.h.
 */
#include "base/clock.h"

#include <limits.h>
#include <time.h>

uint64_t clock_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return CLOCK_S(t.tv_sec) + (uint64_t)t.tv_nsec;
}

int clock_until_ms(uint64_t ns)
{
	uint64_t now = clock_now();
	uint64_t ms;

	if (ns == UINT64_MAX)
		return -1;
	if (ns <= now)
		return 0;
	ms = (ns - now + CLOCK_MS(1) - 1) / CLOCK_MS(1);
	return ms > INT_MAX ? INT_MAX : (int)ms;
}
