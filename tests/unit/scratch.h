/* SPDX-License-Identifier: MIT
 *
 * What unit tests need of their surroundings: a directory to work in, and a
 * count of the descriptors that are open.
 */
#ifndef TESTS_UNIT_SCRATCH_H
#define TESTS_UNIT_SCRATCH_H

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "tests/tap.h"

static char scratch_dir[PATH_MAX];

/* Make a new directory and go there. */
static inline void scratch_enter(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(scratch_dir, sizeof(scratch_dir), "%s/isokit-test.XXXXXX",
		 tmp && *tmp == '/' ? tmp : "/tmp");
	if (!mkdtemp(scratch_dir) || chdir(scratch_dir) < 0)
		bail("cannot make a directory to work in");
}

static inline void scratch_leave(void)
{
	if (chdir("/") < 0 || io_remove_tree(AT_FDCWD, scratch_dir, NULL) < 0)
		diag("%s stays behind", scratch_dir);
}

/* A file with these words in it. */
static inline void scratch_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	if (!f || fputs(text, f) < 0 || fclose(f) != 0)
		bail("cannot write %s", path);
}

/* Entries of a directory, "." and ".." not counted; -1: there is none. */
static inline int count_entries(const char *path)
{
	DIR *d = opendir(path);
	int n = 0;

	if (!d)
		return -1;
	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static inline int count_fds(void)
{
	return count_entries("/proc/self/fd");
}

#endif
