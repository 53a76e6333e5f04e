/* SPDX-License-Identifier: MIT
 *
 * What a boot needs: the root file system of an image, a kernel and its
 * initramfs.  Found where they were made; what is missing is made by the
 * programs for it.
 */
#ifndef SANDBOX_NEEDS_H
#define SANDBOX_NEEDS_H

#include <jansson.h>
#include <stdbool.h>

#include "oci/digest.h"

struct err;

struct needs_spec {
	const char *root;   /* $ISO_ROOT, absolute */
	const char *image;  /* as for iso-pull */
	const char *kernel; /* as for iso-kernel; NULL: the distribution's */
	bool quiet;	    /* no progress of the programs that are run */
};

struct needs {
	struct digest digest; /* of the image's manifest */
	char *rootfs;	      /* owned: path of the EROFS file */
	int lock;	      /* owned: with it open, nobody prunes it */
	json_t *record;	      /* owned: env, user, workdir of the image */
	char *release;	      /* owned, all three: of the kernel */
	char *vmlinux, *initramfs;
};

#define NEEDS_INIT                         \
	{                                  \
		.rootfs = NULL, .lock = -1 \
	}
#define needs_auto __attribute__((cleanup(needs_free)))

/* 0; -EINVAL for a reference that is none or that floats; -EREMOTEIO when a
 * program that was run has said why it failed; another -errno; @e filled. */
int needs_find(struct needs *n, const struct needs_spec *s, struct err *e);
void needs_free(struct needs *n);

/* ---- needs_kernel.c ----------------------------------------------------- */

int needs_find_kernel(struct needs *n, const struct needs_spec *s,
		      struct err *e);

#endif
