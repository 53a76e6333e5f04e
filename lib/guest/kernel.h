/* SPDX-License-Identifier: MIT
 *
 * A guest kernel, prepared: vmlinux, modules and initramfs in $ISO_ROOT.
 */
#ifndef GUEST_KERNEL_H
#define GUEST_KERNEL_H

#include <jansson.h>
#include <stdbool.h>

#include "base/sha256.h"
#include "guest/modules.h"

struct err;
struct progress;

struct kernel_spec {
	const char *root;    /* $ISO_ROOT */
	const char *source;  /* package, directory or image; NULL: the
				distribution's kernel */
	const char *modules; /* of an image; else NULL */
	const char *agent;   /* NULL: the one installed with this program */
	const char *busybox; /* NULL: /bin/busybox */
	enum profile profile;
	bool update; /* look for a newer kernel of the distribution's */
	struct progress *progress;
};

struct kernel {
	char *version; /* uname -r; all these owned */
	char *vmlinux; /* paths */
	char *initramfs;
	char *modules_dir; /* .../lib/modules/VERSION */
	char vmlinux_sha256[SHA256_HEX];
	char initramfs_sha256[SHA256_HEX];
	json_t *modules; /* names, in load order */
};

#define KERNEL_INIT             \
	{                       \
		.version = NULL \
	}
#define kernel_auto __attribute__((cleanup(kernel_free)))

void kernel_free(struct kernel *k);

/* Find it prepared, or prepare it; at the same time as other processes, if
 * need be.  When it is there, nothing is written and no network is used.
 * 0 or -errno, @e filled. */
int kernel_prepare(const struct kernel_spec *s, struct kernel *k,
		   struct err *e);

#endif
