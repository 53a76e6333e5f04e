/* SPDX-License-Identifier: MIT
 *
 * A tar archive from a guest, unpacked on this machine.  The guest is hostile.
 *
 * - Nothing is written outside of the directory that is named, whatever the
 *   names and links in the archive say: the kernel resolves each path beneath
 *   it and through no symbolic link.
 * - Only directories, regular files, symbolic links and hard links among them
 *   are made.  Device nodes, FIFOs and sockets are counted and left out.
 * - No set-user-ID, set-group-ID or sticky bit, no owner, no time and no
 *   attribute of the guest's, unless asked for.
 * - Bytes and entries are bounded.
 *
 * What is made may be a symbolic link to anywhere: to look at, not to follow.
 */
#ifndef SANDBOX_EXTRACT_H
#define SANDBOX_EXTRACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;

#define EXTRACT_ENTRIES_MAX ((uint64_t)1 << 20)
#define EXTRACT_DEPTH_MAX 256

struct extract_spec {
	int dir;	    /* where; borrowed */
	const char *name;   /* what the archive's first entry becomes there; a
			     single component */
	uint64_t bytes_max; /* of all files */
	bool preserve;	    /* times, and modes and owners if root; else modes
			     without set-ID bits */
	/* The archive's bytes: how many, 0 at its end, or -errno, described
	 * where the caller knows. */
	ssize_t (*read)(void *arg, void *p, size_t n);
	void *arg;
};

struct extract_report {
	uint64_t entries, bytes;
	uint64_t left_out; /* devices and such */
};

/* 0, or -errno with @e filled; an error of @read is returned as it is and not
 * described.  What was made before a failure stays. */
int extract_tree(const struct extract_spec *s, struct extract_report *report,
		 struct err *e);

#endif
