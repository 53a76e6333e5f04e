/* SPDX-License-Identifier: MIT
 *
 * Memory that need not be resident: see spill.h.
 *
 * An image of a million entries takes 110 MB of tree, and a host makes several
 * images at once.  Anonymous memory can only be swapped, where there is swap;
 * a shared mapping of a file can be dropped (MADV_DONTNEED): clean or dirty,
 * its pages stay in the page cache, which gives way to others.
 *
 * Rejected: the tree on the disk in a form of its own (a database, a second
 * pass over sorted runs).  That would be another tree, and the usual image,
 * which fits, would pay as well.
 *
 * Space in the file is allocated before it is mapped: a write to a hole that
 * the disk has no room for would be a SIGBUS.
 */
#include "rootfs/spill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"

#define PAGE ((size_t)4096) /* x86-64 has no other */
#define CHUNK ((size_t)1 << 20)
/* Of addresses for the file, so that all of it is let go of by one call; the
 * most entries that can be allowed (iso-mkrootfs(1)) take 11 GiB. */
#define REACH ((size_t)16 << 30)
/* Anonymous: what the tree of an image of 40,000 entries takes. */
#define IN_MEMORY ((size_t)4 << 20)
/* Bytes of the process above which the file's are let go of. */
#define RESIDENT_MAX ((size_t)46 << 20)
/* Places touched between two looks.  The kernel maps 64 KiB around each, so
 * that they make at most 6 MiB. */
#define TICKS 96

struct spill {
	int dir, fd;   /* borrowed; owned */
	int statm;     /* owned: /proc/self/statm */
	uint8_t *base; /* owned: REACH bytes of addresses */
	size_t mapped; /* bytes of them that are memory; from IN_MEMORY on they
			* are the file's, from its beginning */
	size_t used;   /* bytes of those that are given out */
	unsigned int ticks;
};

struct spill *spill_new(int dir)
{
	struct spill *s = calloc(1, sizeof(*s));
	void *base;

	if (!s)
		return NULL;
	base = mmap(NULL, REACH, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED) {
		free(s);
		return NULL;
	}
	s->dir = dir;
	s->fd = s->statm = -1;
	s->base = base;
	return s;
}

void spill_free(struct spill **sp)
{
	struct spill *s = *sp;

	if (!s)
		return;
	munmap(s->base, REACH);
	fd_close(&s->fd);
	fd_close(&s->statm);
	mem_free(sp);
}

static int no_memory(struct err *e)
{
	return err_sys(e, ENOMEM, "cannot keep the image's tree");
}

/* Not every file system makes files without a name. */
static int begin_file(struct spill *s, struct err *e)
{
	s->fd = openat(s->dir, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	if (s->fd < 0) {
		s->fd = openat(s->dir, "tree",
			       O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (s->fd >= 0)
			unlinkat(s->dir, "tree", 0);
	}
	if (s->fd < 0)
		return err_sys(e, errno, "cannot make a file for the tree");
	s->statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	return 0;
}

static int map_file(struct spill *s, size_t len, struct err *e)
{
	off_t at = (off_t)(s->mapped - IN_MEMORY);
	int r;

	if (s->fd < 0 && begin_file(s, e) < 0)
		return -e->num;
	r = posix_fallocate(s->fd, at, (off_t)len);
	if (r)
		return err_sys(e, r, "cannot keep the image's tree on disk");
	if (mmap(s->base + s->mapped, len, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED, s->fd, at) == MAP_FAILED)
		return no_memory(e);
	return 0;
}

static int map_memory(struct spill *s, size_t len, struct err *e)
{
	if (mprotect(s->base + s->mapped, len, PROT_READ | PROT_WRITE) < 0)
		return no_memory(e);
	return 0;
}

/* @len more bytes, at least; IN_MEMORY is a multiple of what is mapped by. */
static int map_more(struct spill *s, size_t len, struct err *e)
{
	size_t part;
	int r;

	while (s->mapped - s->used < len) {
		part = s->mapped < IN_MEMORY ? IN_MEMORY : CHUNK;
		if (part > REACH - s->mapped)
			return no_memory(e);
		if (s->dir < 0 || s->mapped < IN_MEMORY)
			r = map_memory(s, part, e);
		else
			r = map_file(s, part, e);
		if (r < 0)
			return r;
		s->mapped += part;
	}
	return 0;
}

int spill_get(struct spill *s, size_t n, void **out, struct err *e)
{
	int r;

	if (n > REACH)
		return no_memory(e);
	n = (n + PAGE - 1) & ~(PAGE - 1);
	r = map_more(s, n, e);
	if (r < 0)
		return r;
	*out = s->base + s->used;
	s->used += n;
	return 0;
}

/* Whether the process is, with @more bytes.  Without /proc nobody can tell: then
 * it always is. */
static bool too_large(const struct spill *s, size_t more)
{
	char text[64];
	ssize_t n = pread(s->statm, text, sizeof(text) - 1, 0);
	const char *resident; /* the second number: proc(5) */

	text[n > 0 ? n : 0] = '\0';
	resident = strchr(text, ' ');
	return !resident ||
	       strtoul(resident, NULL, 10) * PAGE + more > RESIDENT_MAX;
}

static void let_go(const struct spill *s)
{
	madvise(s->base + IN_MEMORY, s->mapped - IN_MEMORY, MADV_DONTNEED);
}

void spill_tick(struct spill *s)
{
	if (s->fd >= 0 && ++s->ticks % TICKS == 0 && too_large(s, 0))
		let_go(s);
}

void spill_make_room(struct spill *s, size_t n)
{
	if (s->fd >= 0 && too_large(s, n))
		let_go(s);
}
