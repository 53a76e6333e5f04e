/* SPDX-License-Identifier: MIT
 *
 * The sandbox's cgroup: see cgroup.h.
 *
 * The limits are the sandbox's size and what the monitor needs beside it, so
 * that a guest which has taken the monitor over gains nothing: no more memory,
 * processors or threads than it was given.  The memory limit is no promise of
 * the host's: what has not been touched is not there.
 *
 * A page is charged to who touched it first, for as long as anybody has it.  So
 * what the copies of a sandbox, or who writes a checkpoint of it, still hold of
 * its memory stays charged to it when its guest has written other pages in their
 * place, and its limit must be above that: after each fork it is set to what is
 * charged then, and the size, for no more than that can be written anew before
 * the next; and before, to the size twice, for as much may be written until then.
 * It is lowered by the next fork at the earliest.  (Rejected: to look at the
 * moment of the fork, while the machine stands still; no limit for who has
 * copies; the size for each of them, which most share to their end.)
 */
#include "sandbox/cgroup.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"

#define ROOT "/sys/fs/cgroup"
#define PARENT ROOT "/isokit"
#define CONTROLLERS "+cpu +memory +pids"
#define PATH_ROOM 128

/* The monitor itself has 3 MiB; the kernel adds page tables for guest and
 * monitor, and for the monitors that it is forked into at once (fork.c), 1/512 of
 * the memory each, and buffers of sockets and disks. */
#define OVERHEAD ((uint64_t)64 << 20)
#define PAGE_TABLES 64
#define PAGE 4096
/* Main, disk, and the kernel's own for a VM. */
#define THREADS 8
#define CPU_PERIOD 100000 /* us */

static int put(int dir, const char *file, const char *text, struct err *e)
{
	fd_auto int fd = openat(dir, file, O_WRONLY | O_CLOEXEC);
	int r = fd < 0 ? -errno : io_write_full(fd, text, strlen(text));

	return r < 0 ? err_sys(e, -r, "cannot write '%s' to %s", text, file) :
		       0;
}

/* A directory below which cpu, memory and pids are controlled. */
static int enable(const char *path, struct err *e)
{
	fd_auto int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (dir < 0)
		return err_sys(e, errno, "cannot open %s", path);
	r = put(dir, "cgroup.subtree_control", CONTROLLERS, e);
	return r < 0 ? err_in(e, "%s", path) : 0;
}

static int make_parent(struct err *e)
{
	struct statfs fs;
	int r;

	if (access(PARENT "/cgroup.procs", F_OK) == 0 &&
	    enable(PARENT, NULL) == 0)
		return 0;
	if (statfs(ROOT, &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC)
		return err_set(e, EOPNOTSUPP, "no cgroup v2 at " ROOT);
	r = enable(ROOT, e);
	if (r < 0)
		return r;
	if (mkdir(PARENT, 0755) < 0 && errno != EEXIST)
		return err_sys(e, errno, "cannot make " PARENT);
	return enable(PARENT, e);
}

/* The number in the line of @b that begins with @key; 0: there is none. */
static uint64_t number_in(const struct buf *b, const char *key)
{
	struct str rest = { (const char *)b->data, b->len }, line;
	uint64_t v = 0;

	while (rest.len) {
		line = str_cut(&rest, '\n');
		if (*key && !str_eq(str_cut(&line, ' '), str_of(key)))
			continue;
		str_u64(str_trim(line), 0, UINT64_MAX, &v, key, NULL);
		break;
	}
	return v;
}

static uint64_t number(int dir, const char *file, const char *key)
{
	buf_auto struct buf b = BUF_INIT_MAX(65536);

	return io_read_file(dir, file, &b, NULL) < 0 ? 0 : number_in(&b, key);
}

static int put_number(int dir, const char *file, uint64_t n, struct err *e)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
	return put(dir, file, text, e);
}

static uint64_t memory_for(const struct cgroup_size *s)
{
	uint64_t n = s->memory + s->memory / PAGE_TABLES + OVERHEAD;

	return n / PAGE * PAGE;
}

/* Without the page cache, which gives way. */
static uint64_t charged(int dir)
{
	uint64_t all = number(dir, "memory.current", ""), cache;
	buf_auto struct buf b = BUF_INIT_MAX(65536);

	if (io_read_file(dir, "memory.stat", &b, NULL) < 0)
		return all;
	cache = number_in(&b, "file") - number_in(&b, "shmem");
	return all > cache ? (all - cache) / PAGE * PAGE : 0;
}

/* Of one that is charged with @held. */
static int limit(int dir, const struct cgroup_size *s, uint64_t held,
		 struct err *e)
{
	char text[64];
	int r = put_number(dir, "memory.max",
			   held + s->machines * memory_for(s), e);

	/* A kernel without swap has no such file. */
	put(dir, "memory.swap.max", "0", NULL);
	snprintf(text, sizeof(text), "%llu %d",
		 (unsigned long long)s->vcpus * CPU_PERIOD, CPU_PERIOD);
	if (r == 0)
		r = put(dir, "cpu.max", text, e);
	if (r == 0)
		r = put_number(dir, "pids.max",
			       s->machines * (s->vcpus + THREADS), e);
	return r;
}

static int open_leaf(const char *id)
{
	char path[PATH_ROOM];

	snprintf(path, sizeof(path), PARENT "/%s", id);
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int cgroup_make(const char *id, const struct cgroup_size *s, struct err *e)
{
	char path[PATH_ROOM];
	fd_auto int dir = -1;
	int r = make_parent(e);
	bool made;

	if (r < 0)
		return r;
	snprintf(path, sizeof(path), PARENT "/%s", id);
	made = mkdir(path, 0755) == 0;
	if (!made && errno != EEXIST)
		return err_sys(e, errno, "cannot make %s", path);
	dir = open_leaf(id);
	if (dir < 0)
		r = err_sys(e, errno, "cannot open %s", path);
	else
		r = limit(dir, s, made ? 0 : charged(dir), e);
	if (r < 0) {
		err_in(e, "%s", path);
		rmdir(path);
		return r;
	}
	return fd_steal(&dir);
}

/* Never what it is already: who has set it sees whether another did since. */
static void set_limit(int dir, uint64_t memory, struct cgroup_raise *r)
{
	if (memory == number(dir, "memory.max", ""))
		memory += PAGE;
	r->after = put_number(dir, "memory.max", memory, NULL) < 0 ? 0 : memory;
}

void cgroup_raise(const char *id, const struct cgroup_size *s,
		  struct cgroup_raise *r)
{
	fd_auto int dir = open_leaf(id);

	*r = (struct cgroup_raise){ .after = 0 };
	if (dir < 0)
		return;
	flock(dir, LOCK_EX);
	r->before = number(dir, "memory.max", "");
	set_limit(dir, charged(dir) + 2 * memory_for(s), r);
}

void cgroup_settle(const char *id, const struct cgroup_size *s,
		   struct cgroup_raise *r)
{
	fd_auto int dir = r->after ? open_leaf(id) : -1;

	if (dir < 0)
		return;
	flock(dir, LOCK_EX);
	if (number(dir, "memory.max", "") == r->after)
		set_limit(dir, charged(dir) + memory_for(s), r);
}

void cgroup_lower(const char *id, const struct cgroup_raise *r)
{
	fd_auto int dir = r->before && r->after ? open_leaf(id) : -1;

	if (dir < 0)
		return;
	flock(dir, LOCK_EX);
	if (number(dir, "memory.max", "") == r->after &&
	    charged(dir) < r->before)
		put_number(dir, "memory.max", r->before, NULL);
}

/* ---- figures ------------------------------------------------------------ */

int cgroup_read(const char *id, struct cgroup_usage *u)
{
	fd_auto int dir = open_leaf(id);

	*u = (struct cgroup_usage){ .cpu_us = 0 };
	if (dir < 0)
		return -ENOENT;
	u->cpu_us = number(dir, "cpu.stat", "usage_usec");
	u->memory_peak = number(dir, "memory.peak", "");
	u->memory_current = number(dir, "memory.current", "");
	u->oom_kills = number(dir, "memory.events", "oom_kill");
	return 0;
}

/* ---- removal ------------------------------------------------------------ */

static bool is_empty(int dir)
{
	return number(dir, "cgroup.events", "populated") == 0;
}

/* Kill what is in it, and wait: cgroup.events tells of its change by
 * POLLPRI. */
static int empty(int dir)
{
	fd_auto int events = openat(dir, "cgroup.events", O_RDONLY | O_CLOEXEC);
	struct pollfd pf = { events, POLLPRI, 0 };
	char c;

	if (events < 0)
		return -errno;
	put(dir, "cgroup.kill", "1", NULL);
	for (;;) {
		/* Reading rearms; looking comes after, so no change is lost. */
		if (pread(events, &c, 1, 0) < 0)
			return -errno;
		if (is_empty(dir))
			return 0;
		if (poll(&pf, 1, -1) < 0 && errno != EINTR)
			return -errno;
	}
}

int cgroup_remove(const char *id)
{
	char path[PATH_ROOM];
	fd_auto int dir = -1;
	int r;

	snprintf(path, sizeof(path), PARENT "/%s", id);
	if (rmdir(path) == 0 || errno == ENOENT)
		return 0;
	if (errno != EBUSY)
		return -errno;
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return errno == ENOENT ? 0 : -errno;
	r = empty(dir);
	if (r < 0)
		return r;
	return rmdir(path) == 0 || errno == ENOENT ? 0 : -errno;
}
