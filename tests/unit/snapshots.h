/* SPDX-License-Identifier: MIT
 *
 * What the tests of snapshots share: made-up ones, below the directory that the
 * test works in.
 */
#ifndef TESTS_UNIT_SNAPSHOTS_H
#define TESTS_UNIT_SNAPSHOTS_H

#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>

#include "base/err.h"
#include "base/fd.h"
#include "sandbox/snapshot.h"
#include "tests/unit/scratch.h"

#define ROOTFS_NAME                                                        \
	"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" \
	".erofs"
#define MEMORY_SIZE (1 << 20)
#define SCRATCH_SIZE ((off_t)8 << 20)

static struct err e;

#define ERR (e = (struct err)ERR_INIT, &e)

/* Until files that are changed from now on are dated later than those that were
 * changed before: the kernel dates them by a clock that ticks. */
static inline void tick(void)
{
	struct itimerspec at = { .it_value = { 0, 0 } };
	uint64_t n;
	int fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC);

	clock_gettime(CLOCK_REALTIME, &at.it_value);
	at.it_value.tv_nsec += 20000000;
	if (at.it_value.tv_nsec >= 1000000000) {
		at.it_value.tv_nsec -= 1000000000;
		at.it_value.tv_sec++;
	}
	if (fd < 0 || timerfd_settime(fd, TFD_TIMER_ABSTIME, &at, NULL) < 0 ||
	    read(fd, &n, sizeof(n)) != sizeof(n))
		bail("no timer");
	close(fd);
}

/* A file with @n pages of noise, at odd places, and holes. */
static inline void put_noise(const struct snapshot *s, const char *file,
			     off_t size, int n)
{
	int fd = openat(s->dir, file, O_RDWR | O_CREAT | O_EXCL, 0400);
	uint32_t page[1024];
	int i;
	size_t k;

	if (fd < 0 || ftruncate(fd, size) < 0)
		bail("cannot make %s", file);
	for (i = 0; i < n; i++) {
		off_t at = size / 4096 * i / n * 4096;

		for (k = 0; k < ARRAY_SIZE(page); k++)
			page[k] = (uint32_t)random();
		if (pwrite(fd, page, sizeof(page), at) != sizeof(page))
			bail("cannot write %s", file);
	}
	/* Behind the last whole page. */
	if (size % 4096 && pwrite(fd, "tail", 4, size - 4) != 4)
		bail("cannot write %s", file);
	close(fd);
}

static inline json_t *some_config(void)
{
	return json_pack("{si ss ss ss ss si si si}", "format", 1, "id",
			 "run0123456789abcdef", "name", "web", "image",
			 "debian:12.1", "rootfs",
			 "/elsewhere/rootfs/" ROOTFS_NAME, "vcpus", 2, "memory",
			 MEMORY_SIZE, "disk", (int)SCRATCH_SIZE);
}

/* Begun, with its three files. */
static inline int begin(struct snapshot *s, const char *root)
{
	int r = snapshot_make(s, root, ERR);

	if (r < 0)
		return r;
	put_noise(s, "state", 5000, 1);
	/* So near that they are exported with the holes between them. */
	put_noise(s, "memory", MEMORY_SIZE, 24);
	put_noise(s, "scratch", SCRATCH_SIZE, 5);
	return 0;
}

/* A whole one. */
static inline int make(struct snapshot *s, const char *root, const char *name)
{
	json_t *config = some_config();
	int r = begin(s, root);

	if (r == 0) {
		tick(); /* so that it is noted as verified */
		r = snapshot_commit(s, root, config, NULL, name, ERR);
	}
	json_decref(config);
	return r;
}

/* A new root directory with nothing in it. */
static inline const char *new_root(const char *name)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "%.3000s/%s", scratch_dir, name);
	if (mkdir(path, 0755) < 0)
		bail("cannot make %s", path);
	return path;
}

static inline int count_one(const struct snapshot *s, void *arg)
{
	int *n = arg;

	(void)s;
	++*n;
	return 0;
}

static inline int count_snapshots(const char *root)
{
	int n = 0;

	if (snapshot_each(root, count_one, &n, ERR) < 0)
		bail("%s", e.text);
	return n;
}

/* What is in the directory of snapshots besides the lock, key and names. */
static inline int count_left(const char *root)
{
	char path[PATH_MAX];
	struct dirent *n;
	int left = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%.3000s/snapshots", root);
	d = opendir(path);
	while (d && (n = readdir(d))) {
		if (strcmp(n->d_name, ".") != 0 &&
		    strcmp(n->d_name, "..") != 0 &&
		    strcmp(n->d_name, ".lock") != 0 &&
		    strcmp(n->d_name, ".key") != 0 &&
		    strcmp(n->d_name, ".names") != 0)
			left++;
	}
	if (d)
		closedir(d);
	return left;
}

/* Find it anew and verify all of it. */
static inline int recheck(const char *root, const char *id)
{
	snapshot_auto struct snapshot s = SNAPSHOT_INIT;
	int r = snapshot_find(&s, root, id, ERR);

	return r < 0 ? r : snapshot_verify(&s, root, ERR);
}

static inline bool is_verified(const char *root, const char *id)
{
	snapshot_auto struct snapshot s = SNAPSHOT_INIT;

	return snapshot_find(&s, root, id, ERR) == 0 &&
	       snapshot_is_verified(&s);
}

#endif
