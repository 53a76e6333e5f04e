/* SPDX-License-Identifier: MIT
 *
 * Files and trees between this machine and a sandbox.
 */
#ifndef SANDBOX_COPY_H
#define SANDBOX_COPY_H

#include <stdbool.h>
#include <stdint.h>

#include "sandbox/extract.h"

struct box;
struct err;

struct copy_spec {
	const struct box *box;
	const char *here;   /* a path of this machine; "-": 0 or 1 */
	const char *there;  /* a path of the sandbox */
	const char *user;   /* as whom in the sandbox; NULL: the image's */
	bool parents;	    /* make missing directories that lead there */
	bool preserve;	    /* owners, times, whole modes */
	uint64_t bytes_max; /* of a tree that comes from the sandbox */
	uint64_t left_out;  /* is set: what came and was not to be made */
};

/* From here to there, and from there to here.  A file takes the place of a
 * file, whole or not at all; into a directory it is copied under its own name,
 * and so is a directory; a directory that goes where nothing is takes that
 * name.  0 or -errno, @e filled. */
int copy_in(struct copy_spec *c, struct err *e);
int copy_out(struct copy_spec *c, struct err *e);

#endif
