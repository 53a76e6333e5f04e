/* SPDX-License-Identifier: MIT
 *
 * The scratch disk: an empty ext4 file system in a sparse file, a copy of one
 * that is made once for each size.
 *
 *	$ISO_ROOT/scratch/SIZE-FORMAT.ext4
 */
#ifndef SANDBOX_SCRATCH_H
#define SANDBOX_SCRATCH_H

#include <stdbool.h>
#include <stdint.h>

struct err;

#define SCRATCH_MIN ((uint64_t)16 << 20)
#define SCRATCH_MAX ((uint64_t)8 << 40)
#define SCRATCH_ALIGN ((uint64_t)1 << 20)

struct scratch {
	bool fresh;  /* the template was made now */
	bool cloned; /* by reflink; else copied */
};

/* Make the file @name in @dir, @size bytes (a multiple of SCRATCH_ALIGN).  0
 * or -errno, @e filled. */
int scratch_make(const char *root, uint64_t size, int dir, const char *name,
		 struct scratch *s, struct err *e);

/* Make the file @name in @dir a copy of @from, sparse.  *@cloned: by reflink.
 * 0 or -errno, @e filled. */
int scratch_copy(int from, int dir, const char *name, bool *cloned,
		 struct err *e);

#endif
