/* SPDX-License-Identifier: MIT
 *
 * What of a snapshot's memory a machine has wanted: see prefetch.h.
 *
 * /proc/PID/pagemap tells pages that are the process's own, which it has written
 * to (or only read, where the file has a hole), from those that it shares with
 * the file.  The kernel maps up to 16 of the latter around each that is touched;
 * for what is to be read from a disk that is as good as the truth, and for
 * anything else they are not used.
 *
 * To have the monitor log its page faults was rejected: those of the guest come
 * from KVM, and what they cost is what this is to save.
 */
#include "sandbox/prefetch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"
#include "sandbox/snapshot.h"
#include "vmm/pagemap.h"
#include "vmm/prefetch.h"

#define PAGE ((uint64_t)4096)
#define MAPS_MAX ((size_t)1 << 20)
/* Entries of the page map that are read at a time. */
#define BATCH 4096
/* Two that are read and no further apart are one: a disk reads what is between
 * them in the time that it would take to ask twice. */
#define GAP 32
/* What is copied for each sandbox, whether it uses it or not. */
#define WRITTEN_MAX 4096

struct list {
	struct prefetch_range v[PREFETCH_RANGES_MAX];
	size_t n;
	uint32_t written; /* pages */
	bool full;	  /* there were more ranges */
};

/* ---- where the memory file is mapped ------------------------------------ */

/* Of a line of proc(5)'s maps, whether it is of the memory file @st; then where
 * that begins, or would: holes of it are mapped otherwise.  The device is not
 * compared: on btrfs the two differ. */
static bool is_memory(const char *line, const struct stat *st, uint64_t *start)
{
	const struct str text = { line, strcspn(line, "\n") };
	char *at;
	uint64_t from = strtoull(line, &at, 16), offset;

	/* Behind the addresses, the permissions, and the device. */
	at = strchr(at, ' ');
	at = at ? strchr(at + 1, ' ') : NULL;
	offset = at ? strtoull(at, &at, 16) : 0;
	at = at && *at ? strchr(at + 1, ' ') : NULL;
	if (!at || strtoull(at, NULL, 10) != st->st_ino ||
	    !str_ends(text, STR("/memory")))
		return false;
	*start = from - offset;
	return true;
}

static int find_memory(pid_t pid, const struct stat *st, uint64_t *start,
		       struct err *e)
{
	buf_auto struct buf b = BUF_INIT_MAX(MAPS_MAX);
	const char *line;
	char path[40];
	int r;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	r = io_read_file(AT_FDCWD, path, &b, e);
	if (r < 0)
		return r;
	line = buf_str(&b);
	while (line && !is_memory(line, st, start)) {
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	return line ? 0 :
		      err_set(e, ENOENT, "%s: the memory file is not mapped",
			      path);
}

/* ---- the list ----------------------------------------------------------- */

static struct prefetch_range *last(struct list *l)
{
	return l->n ? &l->v[l->n - 1] : NULL;
}

static uint32_t pages(const struct prefetch_range *r)
{
	return r->pages & ~PREFETCH_WRITTEN;
}

static void add(struct list *l, uint32_t page, bool own)
{
	const uint32_t flag = own ? PREFETCH_WRITTEN : 0;
	struct prefetch_range *r = last(l);
	uint32_t gap = r ? page - (r->first + pages(r)) : 0;

	l->written += own;
	if (r && (r->pages & PREFETCH_WRITTEN) == flag &&
	    gap <= (own ? 0 : GAP))
		r->pages += gap + 1;
	else if (l->n < PREFETCH_RANGES_MAX)
		l->v[l->n++] = (struct prefetch_range){ page, 1 | flag };
	else
		l->full = true;
}

/* By the page map @fd, @count pages from address @start on. */
static int fill(struct list *l, int fd, uint64_t start, uint64_t count,
		struct err *e)
{
	uint64_t entry[BATCH], at, n, i;

	for (at = 0; at < count; at += n) {
		ssize_t want, got;

		n = count - at < BATCH ? count - at : BATCH;
		want = (ssize_t)(n * sizeof(entry[0]));
		got = pread(fd, entry, (size_t)want,
			    (off_t)((start / PAGE + at) * sizeof(entry[0])));
		if (got != want)
			return err_sys(e, got < 0 ? errno : EIO,
				       "cannot read a page map");
		for (i = 0; i < n; i++) {
			if (entry[i] & (PM_PRESENT | PM_SWAPPED))
				add(l, (uint32_t)(at + i),
				    pagemap_is_own(entry[i]));
		}
	}
	return 0;
}

static int make_list(struct list *l, pid_t pid, const struct stat *st,
		     struct err *e)
{
	fd_auto int map = -1;
	uint64_t start = 0;
	char path[40];
	int r = find_memory(pid, st, &start, e);

	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	map = open(path, O_RDONLY | O_CLOEXEC);
	if (map < 0)
		return err_sys(e, errno, "cannot open %s", path);
	return fill(l, map, start, (uint64_t)st->st_size / PAGE, e);
}

int prefetch_record(int dir, pid_t pid, struct err *e)
{
	buf_auto struct buf b = BUF_INIT_MAX(MAPS_MAX);
	struct list *l = calloc(1, sizeof(*l));
	struct stat st;
	int r;

	if (!l)
		return err_sys(e, ENOMEM, "cannot list pages");
	if (fstatat(dir, snapshot_file_names[SNAPSHOT_MEMORY], &st,
		    AT_SYMLINK_NOFOLLOW) < 0)
		r = err_sys(e, errno, "cannot look at a memory file");
	else
		r = make_list(l, pid, &st, e);
	/* Half a list would be taken for all of it. */
	if (r == 0 && (l->full || l->written > WRITTEN_MAX))
		r = err_set(e, E2BIG,
			    "a first command writes to more than %d pages, or "
			    "wants more than %d ranges of them: nothing is "
			    "prefetched",
			    WRITTEN_MAX, PREFETCH_RANGES_MAX);
	buf_add(&b, PREFETCH_MAGIC, PREFETCH_MAGIC_SIZE);
	buf_add(&b, l->v, l->n * sizeof(l->v[0]));
	free(l);
	if (r == 0 && b.failed)
		r = err_sys(e, ENOMEM, "cannot list pages");
	return r < 0 ? r :
		       io_write_atomic(dir, SNAPSHOT_PREFETCH, b.data, b.len,
				       0400, e);
}

int prefetch_ready(int dir, struct err *e)
{
	fd_auto int memory = openat(dir, snapshot_file_names[SNAPSHOT_MEMORY],
				    O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	fd_auto int list = openat(dir, SNAPSHOT_PREFETCH,
				  O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (memory < 0 || list < 0 || fstat(memory, &st) < 0)
		return err_sys(e, errno, "cannot open a memory file");
	return prefetch_settle((uint64_t)st.st_size, memory, list, e);
}
