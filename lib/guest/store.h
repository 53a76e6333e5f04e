/* SPDX-License-Identifier: MIT
 *
 * The directory of prepared kernels, $ISO_ROOT/kernel:
 *
 *	default -> RELEASE	the distribution's newest that was prepared
 *	RELEASE/kernel.json	what it was made from
 *	RELEASE/vmlinux
 *	RELEASE/lib/modules/RELEASE/
 *	RELEASE/initramfs-PROFILE, initramfs-PROFILE.json
 *	.lock			held by whoever makes any of these
 *	.tmp.*			being made; left over when nobody holds the lock
 */
#ifndef GUEST_STORE_H
#define GUEST_STORE_H

#include <jansson.h>
#include <stdbool.h>

#include "guest/bzimage.h"
#include "guest/modules.h"
#include "guest/source.h"

struct err;

struct store {
	char *path; /* owned; absolute */
	int dir;    /* -1 while it does not exist */
};

#define STORE_INIT                      \
	{                               \
		.path = NULL, .dir = -1 \
	}
#define store_auto __attribute__((cleanup(store_free)))
#define json_free_auto __attribute__((cleanup(store_json_free)))

/* Open the store below @root if it exists.  0 or -errno, @e filled. */
int store_open(struct store *s, const char *root, struct err *e);
/* Make it if it does not. */
int store_make(struct store *s, struct err *e);
void store_free(struct store *s);
void store_json_free(json_t **j);

/* Remove what a killed run left.  The caller holds the lock. */
int store_sweep(const struct store *s, struct err *e);
/* Whether there is anything of that kind. */
bool store_has_leftovers(const struct store *s);

/* The record of a whole kernel, or NULL: RELEASE/kernel.json, when the
 * vmlinux beside it has the size that it says. */
json_t *store_kernel(const struct store *s, const char *release);
/* The release of the kernel made from the source @id. */
bool store_find(const struct store *s, const char *id,
		char release[static KERNEL_RELEASE_MAX]);
/* Where default points. */
bool store_default(const struct store *s,
		   char release[static KERNEL_RELEASE_MAX]);
int store_set_default(const struct store *s, const char *release,
		      struct err *e);

/* A kernel comes into being: the tree @tree in the temporary directory @tmp
 * becomes RELEASE; an older one of that name ends up in its place. */
int store_put_kernel(const struct store *s, const char *tmp,
		     const struct kernel_image *k, const char *id,
		     struct err *e);

/* The record of a whole initramfs made from @inputs, or NULL. */
json_t *store_initramfs(const struct store *s, const char *release,
			enum profile p, const json_t *inputs);
/* The initramfs behind @fd, with the temporary name @tmp, comes into being. */
int store_put_initramfs(const struct store *s, const char *release,
			enum profile p, int fd, const char *tmp,
			const json_t *record, struct err *e);

/* A directory ".tmp.*" of our own; removed with all that is in it by
 * store_tmp_free(). */
struct store_tmp {
	const struct store *store;
	char name[32]; /* "" : none */
};

#define STORE_TMP_INIT                    \
	{                                 \
		.store = NULL, .name = "" \
	}
#define store_tmp_auto __attribute__((cleanup(store_tmp_free)))

int store_tmp_make(struct store_tmp *t, const struct store *s, struct err *e);
void store_tmp_free(struct store_tmp *t);

#endif
