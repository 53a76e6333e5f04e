/* SPDX-License-Identifier: MIT
 *
 * Content digests: "sha256:" and 64 lower-case hexadecimal digits.
 */
#ifndef OCI_DIGEST_H
#define OCI_DIGEST_H

#include <stdbool.h>

#include "base/sha256.h"
#include "base/str.h"

struct err;

#define DIGEST_TEXT (sizeof("sha256:") - 1 + SHA256_HEX)

struct digest {
	char text[DIGEST_TEXT]; /* "" : none */
};

#define DIGEST_INIT        \
	{                  \
		.text = "" \
	}

/* Read the whole of @s; @what names it in the error.  Another algorithm is
 * refused by its name.  0 or -EINVAL, @e filled. */
int digest_parse(struct digest *d, struct str s, const char *what,
		 struct err *e);

/* The digits alone: the name of the blob in blobs/sha256. */
const char *digest_hex(const struct digest *d);

bool digest_eq(const struct digest *a, const struct digest *b);
bool digest_none(const struct digest *d);

/* The digest of @n bytes; or the end of one that was computed piece by piece.
 * 0 or -errno, @e filled. */
int digest_of(struct digest *d, const void *p, size_t n, struct err *e);
int digest_end(struct digest *d, struct sha256 *sum, struct err *e);

#endif
