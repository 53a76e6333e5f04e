/* SPDX-License-Identifier: MIT
 *
 * The monotonic clock.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* Nanoseconds of CLOCK_MONOTONIC. */
uint64_t clock_now(void);

/* Milliseconds from now to the deadline @ns, rounded up, 0 when it has passed,
 * for poll(2); -1 (for ever) for a deadline of UINT64_MAX. */
int clock_until_ms(uint64_t ns);

#define CLOCK_MS(n) ((uint64_t)(n)*1000000U)
#define CLOCK_S(n) ((uint64_t)(n)*1000000000U)

#endif
