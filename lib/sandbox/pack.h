/* SPDX-License-Identifier: MIT
 *
 * A file or tree of this machine as a tar archive.
 */
#ifndef SANDBOX_PACK_H
#define SANDBOX_PACK_H

#include <stdbool.h>
#include <stddef.h>

struct err;

struct pack_spec {
	const char *path; /* what is packed; links are not followed */
	const char *top;  /* what it is called in the archive */
	bool preserve;	  /* owners and all mode bits, not root's and rwx */
	/* Takes the archive's bytes.  0 or -errno, with the error described
	 * where the caller knows. */
	int (*write)(void *arg, const void *p, size_t n);
	void *arg;
};

/* 0, or -errno with @e filled; an error of @write is returned as it is and not
 * described. */
int pack_tree(const struct pack_spec *s, struct err *e);

#endif
