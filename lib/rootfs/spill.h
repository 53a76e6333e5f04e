/* SPDX-License-Identifier: MIT
 *
 * Memory that need not be resident: the first of it is anonymous, the rest is
 * mapped from a file without a name, and is let go of whenever the process has
 * grown too large.  What was let go of is in the page cache, or on the disk,
 * and comes back when it is touched.
 */
#ifndef ROOTFS_SPILL_H
#define ROOTFS_SPILL_H

#include <stddef.h>

struct err;
struct spill;

/* Its file, if it comes to need one, is made in the directory @dir (borrowed);
 * with -1 there is none, and all of it stays in memory.  NULL: no memory. */
struct spill *spill_new(int dir);
void spill_free(struct spill **s);

/* @n bytes, zeroed, of its own pages, as long as the spill lives.  0 or -errno
 * (ENOSPC: the file's disk is full), @e filled. */
int spill_get(struct spill *s, size_t n, void **out, struct err *e);

/* To be called before anything in it is touched. */
void spill_tick(struct spill *s);

/* To be called before @n bytes of memory are touched at once. */
void spill_make_room(struct spill *s, size_t n);

#endif
