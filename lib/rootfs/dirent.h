/* SPDX-License-Identifier: MIT
 *
 * Directories as EROFS has them: blocks of entries in order of their names, "."
 * and ".." among them.  The tree is sorted (tree_sort()).
 */
#ifndef ROOTFS_DIRENT_H
#define ROOTFS_DIRENT_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct tree;

struct dirent_walk {
	const struct tree *t;
	uint32_t dir;  /* node */
	uint32_t next; /* node; 0: no more */
	int dots;      /* how many of "." and ".." are behind us */
};

/* Set the size of the directory @n. */
void dirent_measure(struct tree *t, uint32_t n);

/* How many links a directory has: ".", its name, ".." of those in it. */
uint32_t dirent_links(const struct tree *t, uint32_t n);

void dirent_begin(struct dirent_walk *w, const struct tree *t, uint32_t dir);

/* Fill the next block; how many bytes of it are used. */
size_t dirent_block(struct dirent_walk *w, uint8_t block[static 4096]);

#endif
