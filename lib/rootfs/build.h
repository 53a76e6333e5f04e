/* SPDX-License-Identifier: MIT
 *
 * $ISO_ROOT/rootfs: root file systems, each made once from the manifest whose
 * digest it is named by.
 *
 *	HEX.erofs	never changed, only replaced; padded to 2 MiB
 *	HEX.json	what the runtime needs of the image's config, and how
 *			the file was made; what has none is not whole
 *	.lock.HEX	held by whoever makes HEX
 *	.tmp.HEX/	being made; left over when nobody holds .lock.HEX
 */
#ifndef ROOTFS_BUILD_H
#define ROOTFS_BUILD_H

#include <jansson.h>
#include <stdbool.h>

#include "rootfs/limits.h"

struct err;
struct progress;

struct build_spec {
	const char *root;  /* $ISO_ROOT, absolute */
	const char *image; /* see image_open() */
	bool packed;	   /* compressed */
	bool again;	   /* even if it is there */
	struct limits limits;
	struct progress *progress;
	void (*waiting)(void); /* called before waiting for another; or NULL */
};

struct built {
	char *path;	/* owned; of the EROFS file */
	json_t *record; /* owned; what is in HEX.json */
	bool had;	/* it was there before, or another run made it */
};

#define BUILT_INIT                           \
	{                                    \
		.path = NULL, .record = NULL \
	}
#define built_auto __attribute__((cleanup(built_free)))

/* 0 or -errno, @e filled; then nothing half made is left. */
int build_rootfs(const struct build_spec *s, struct built *out, struct err *e);
void built_free(struct built *b);

#endif
