/* SPDX-License-Identifier: MIT
 *
 * An image of the store, opened for building its root file system.
 */
#ifndef ROOTFS_IMAGE_H
#define ROOTFS_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "oci/digest.h"
#include "oci/manifest.h"
#include "oci/store.h"
#include "rootfs/stream.h"

struct err;

struct image {
	struct images store;  /* held open, so that prune waits */
	struct digest digest; /* of the manifest */
	struct manifest manifest;
	struct image_config config;
	struct layer *layers; /* owned; the lowest first */
	size_t nlayers;
	uint64_t size; /* of their blobs */
};

#define IMAGE_INIT                                               \
	{                                                        \
		.store = IMAGES_INIT, .manifest = MANIFEST_INIT, \
		.config = IMAGE_CONFIG_INIT, .layers = NULL      \
	}
#define image_auto __attribute__((cleanup(image_free)))

/* Open the image that @name names: a reference or digest that is in the store
 * below @root, or a local image (oci:DIR, docker-archive:FILE), which is
 * brought into the store first.  0 or -errno, @e filled. */
int image_open(struct image *i, const char *root, const char *name,
	       struct err *e);
void image_free(struct image *i);

#endif
