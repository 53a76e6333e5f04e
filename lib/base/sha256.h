/* SPDX-License-Identifier: MIT
 *
 * SHA-256, as lower-case hexadecimal text.
 */
#ifndef BASE_SHA256_H
#define BASE_SHA256_H

#include <stddef.h>

struct err;
struct evp_md_ctx_st;

#define SHA256_HEX 65 /* 64 digits and the NUL */

struct sha256 {
	struct evp_md_ctx_st *ctx; /* owned */
};

#define SHA256_INIT         \
	{                   \
		.ctx = NULL \
	}
#define sha256_auto __attribute__((cleanup(sha256_free)))

/* 0 or -ENOMEM. */
int sha256_begin(struct sha256 *s);
/* 0 or -EIO.  A failure is for the whole digest. */
int sha256_add(struct sha256 *s, const void *p, size_t n);
int sha256_end(struct sha256 *s, char hex[static SHA256_HEX]);
void sha256_free(struct sha256 *s);

/* The digest of a file (relative to @dirfd, or AT_FDCWD).  0 or -errno, @e
 * filled. */
int sha256_file(int dirfd, const char *path, char hex[static SHA256_HEX],
		struct err *e);

#endif
