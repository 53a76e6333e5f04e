/* SPDX-License-Identifier: MIT
 *
 * The layers of an image become one file system, by the rules of the OCI image
 * specification (layer.md).
 */
#ifndef ROOTFS_APPLY_H
#define ROOTFS_APPLY_H

#include <stddef.h>
#include <stdint.h>

#include "rootfs/limits.h"
#include "rootfs/stream.h"

struct err;
struct progress;
struct space;
struct tree;

struct apply_stats {
	uint64_t entries;
	uint64_t bytes; /* of the layers, unpacked */
};

/* Apply the @n layers at @v, the lowest first: names and attributes to @t,
 * contents to @s, both new; @t has the limits.  0, or -errno with @e naming the
 * layer and the entry; then what is in them is of no use.  @progress may be
 * NULL. */
int apply_layers(struct tree *t, struct space *s, const struct layer *v,
		 size_t n, struct progress *progress, struct apply_stats *stats,
		 struct err *e);

#endif
