/* SPDX-License-Identifier: MIT
 *
 * An entry of /proc/PID/pagemap: Documentation/admin-guide/mm/pagemap.rst of the
 * kernel.
 */
#ifndef VMM_PAGEMAP_H
#define VMM_PAGEMAP_H

#include <stdbool.h>
#include <stdint.h>

#define PM_PRESENT (1ULL << 63)
#define PM_SWAPPED (1ULL << 62)
#define PM_FILE (1ULL << 61)

/* A page of the process's own: not a file's, and not one that was never
 * touched. */
static inline bool pagemap_is_own(uint64_t entry)
{
	return (entry & (PM_PRESENT | PM_SWAPPED)) && !(entry & PM_FILE);
}

#endif
