/* SPDX-License-Identifier: MIT
 *
 * The sandbox's cgroup: see cgroup.h.
 *
 * The limits are the sandbox's size and what the monitor needs beside it, so
 * that a guest which has taken the monitor over gains nothing: no more memory,
 * processors or threads than it was given.  The memory limit is no promise of
 * the host's: what has not been touched is not there.
 */
#include "sandbox/cgroup.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
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
 * monitor, 1/512 of the memory each, and buffers of sockets and disks. */
#define OVERHEAD ((uint64_t)64 << 20)
#define PAGE_TABLES 256
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

static int limit(int dir, const struct cgroup_size *s, struct err *e)
{
	char text[64];
	int r;

	snprintf(text, sizeof(text), "%llu",
		 (unsigned long long)s->machines *
			 (s->memory + s->memory / PAGE_TABLES + OVERHEAD));
	r = put(dir, "memory.max", text, e);
	/* A kernel without swap has no such file. */
	put(dir, "memory.swap.max", "0", NULL);
	snprintf(text, sizeof(text), "%llu %d",
		 (unsigned long long)s->vcpus * CPU_PERIOD, CPU_PERIOD);
	if (r == 0)
		r = put(dir, "cpu.max", text, e);
	snprintf(text, sizeof(text), "%llu",
		 (unsigned long long)s->machines * (s->vcpus + THREADS));
	return r < 0 ? r : put(dir, "pids.max", text, e);
}

int cgroup_make(const char *id, const struct cgroup_size *s, struct err *e)
{
	char path[PATH_ROOM];
	fd_auto int dir = -1;
	int r = make_parent(e);

	if (r < 0)
		return r;
	snprintf(path, sizeof(path), PARENT "/%s", id);
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return err_sys(e, errno, "cannot make %s", path);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = dir < 0 ? err_sys(e, errno, "cannot open %s", path) :
		      limit(dir, s, e);
	if (r < 0) {
		err_in(e, "%s", path);
		rmdir(path);
		return r;
	}
	return fd_steal(&dir);
}

/* ---- figures ------------------------------------------------------------ */

static uint64_t number(int dir, const char *file, const char *key)
{
	buf_auto struct buf b = BUF_INIT_MAX(65536);
	struct str rest, line;
	uint64_t v = 0;

	if (io_read_file(dir, file, &b, NULL) < 0)
		return 0;
	rest = (struct str){ (const char *)b.data, b.len };
	while (rest.len) {
		line = str_cut(&rest, '\n');
		if (*key && !str_eq(str_cut(&line, ' '), str_of(key)))
			continue;
		str_u64(str_trim(line), 0, UINT64_MAX, &v, file, NULL);
		break;
	}
	return v;
}

int cgroup_read(const char *id, struct cgroup_usage *u)
{
	char path[PATH_ROOM];
	fd_auto int dir = -1;

	*u = (struct cgroup_usage){ .cpu_us = 0 };
	snprintf(path, sizeof(path), PARENT "/%s", id);
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
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
