/* SPDX-License-Identifier: MIT
 *
 * What libarchive does not tell of a tar header.
 */
#ifndef ROOTFS_PAX_H
#define ROOTFS_PAX_H

#include <stddef.h>
#include <stdint.h>

struct err;

/* Two adjacent pieces of a tar, of which the first may be empty. */
struct pax_view {
	const uint8_t *p[2];
	size_t n[2];
	uint64_t at; /* of the first byte, from the beginning of the tar */
};

/* Check the extended headers of the entry whose first header is at @at.
 * 0, or -EINVAL with @e filled for names with a NUL in them, and for headers
 * that lie outside of what is seen. */
int pax_check(const struct pax_view *v, uint64_t at, struct err *e);

#endif
