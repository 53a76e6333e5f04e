/* SPDX-License-Identifier: MIT
 *
 * HEX.json: what is said of a root file system beside it.
 */
#ifndef ROOTFS_RECORD_H
#define ROOTFS_RECORD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/sha256.h"

struct err;
struct image;

struct record_facts {
	bool packed;
	uint64_t size; /* of the EROFS file, padding included */
	char sha256[SHA256_HEX];
	uint64_t entries, bytes; /* of the layers */
	const char *mkfs;	 /* its version, if packed */
};

/* The record of a file made from @i.  NULL: out of memory. */
json_t *record_make(const struct image *i, const struct record_facts *f);

/* The record of the digest @hex in the directory @dir, if it is one and the
 * file that it speaks of is there in its size and packed as asked for; or
 * NULL. */
json_t *record_load(int dir, const char *hex, bool packed);

/* Write it to the file @name of @dir, and to the disk.  0 or -errno, @e
 * filled. */
int record_write(int dir, const char *name, const json_t *record,
		 struct err *e);

#endif
