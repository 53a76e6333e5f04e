/* SPDX-License-Identifier: MIT
 *
 * The kernel image: bzImage in, a checked vmlinux out.
 */
#ifndef GUEST_BZIMAGE_H
#define GUEST_BZIMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/raw.h"

struct buf;
struct err;

/* uname -r: __NEW_UTS_LEN and the NUL. */
#define KERNEL_RELEASE_MAX 65

struct bzimage {
	const uint8_t *payload; /* the compressed vmlinux, borrowed */
	size_t payload_len;	/* without the size behind it */
	uint32_t size;		/* of the vmlinux, as the image says */
	enum raw_kind kind;
};

bool bzimage_is(const void *p, size_t n);

/* Find the payload.  Looks at nothing but the @n bytes at @p.  0 or -EBADMSG,
 * -ENOTSUP, @e filled. */
int bzimage_parse(const void *p, size_t n, struct bzimage *b, struct err *e);

/* A kernel that we can start: a 64-bit x86 ELF file with a PVH entry.
 * @release gets what the kernel calls itself.  Looks at nothing but the @n
 * bytes at @p.  0 or -EBADMSG, -ENOTSUP, @e filled. */
int vmlinux_check(const void *p, size_t n,
		  char release[static KERNEL_RELEASE_MAX], struct err *e);

/* Whether @s can be a kernel release, hence a file name of ours. */
bool kernel_release_ok(const char *s);

/* The vmlinux (replacing what was in @out) and release of a kernel image,
 * which is a bzImage or already a vmlinux.  0 or -errno, @e filled. */
int kernel_image_load(struct buf *image, struct buf *out,
		      char release[static KERNEL_RELEASE_MAX], struct err *e);

#endif
