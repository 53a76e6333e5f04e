/* SPDX-License-Identifier: MIT
 *
 * Layers applied to a directory, by the rules of the OCI image specification
 * (layer.md).
 */
#ifndef ROOTFS_APPLY_H
#define ROOTFS_APPLY_H

#include <stddef.h>
#include <stdint.h>

#include "rootfs/limits.h"
#include "rootfs/stream.h"

struct err;
struct progress;

struct apply_stats {
	uint64_t entries;
	uint64_t bytes; /* of the layers, unpacked */
};

/* Apply the @n layers at @v, the lowest first, to the empty directory @root.
 * What comes to be there is the image's root file system, attributes of the
 * root directory included.  0, or -errno with @e naming the layer and the entry;
 * then what is in the directory is of no use.  @stats and @progress may be
 * NULL. */
int apply_layers(int root, const struct layer *v, size_t n,
		 const struct limits *limits, struct progress *progress,
		 struct apply_stats *stats, struct err *e);

#endif
