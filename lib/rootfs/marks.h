/* SPDX-License-Identifier: MIT
 *
 * What the layer that is being applied has put where: a set of (directory,
 * name).
 *
 * Whiteouts act on lower layers only, wherever in the tar they stand; so what
 * they meet must be known to be of this layer or not.  Directories are known
 * by inode number, since one may be reached by several paths.
 */
#ifndef ROOTFS_MARKS_H
#define ROOTFS_MARKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct marks {
	uint64_t *v; /* owned; 0: free */
	size_t n, cap;
	uint64_t key[2];
};

#define MARKS_INIT { .v = NULL }
#define marks_auto __attribute__((cleanup(marks_free)))

/* 0, -ENOMEM, or -EIO without random bytes. */
int marks_add(struct marks *m, uint64_t dir, const char *name);
bool marks_has(const struct marks *m, uint64_t dir, const char *name);

/* Forget all, for the next layer. */
void marks_clear(struct marks *m);
void marks_free(struct marks *m);

#endif
