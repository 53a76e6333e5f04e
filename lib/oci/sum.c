/* SPDX-License-Identifier: MIT
 *
 * Computing digests: see digest.h.  Apart from digest.c, so that a program
 * that only reads digests is not linked with libcrypto.
 */
#include <string.h>

#include "base/err.h"
#include "base/fd.h"
#include "oci/digest.h"

#define PREFIX "sha256:"

int digest_end(struct digest *d, struct sha256 *sum, struct err *e)
{
	memcpy(d->text, PREFIX, strlen(PREFIX));
	if (sha256_end(sum, d->text + strlen(PREFIX)) < 0)
		return err_set(e, EIO, "cannot compute a digest");
	return 0;
}

int digest_of(struct digest *d, const void *p, size_t n, struct err *e)
{
	sha256_auto struct sha256 sum = SHA256_INIT;

	if (sha256_begin(&sum) < 0 || sha256_add(&sum, p, n) < 0)
		return err_set(e, EIO, "cannot compute a digest");
	return digest_end(d, &sum, e);
}
