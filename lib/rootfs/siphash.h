/* SPDX-License-Identifier: MIT
 *
 * SipHash-1-3: a hash for tables whose keys come from elsewhere.
 */
#ifndef ROOTFS_SIPHASH_H
#define ROOTFS_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

/* Of the number @first and the @n bytes behind it. */
uint64_t siphash(const uint64_t key[static 2], uint64_t first, const void *p,
		 size_t n);

#endif
