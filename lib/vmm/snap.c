/* SPDX-License-Identifier: MIT
 *
 * Snapshots: see snap.h.
 *
 * The state is saved by the parent, while the VM stands still: KVM's part can
 * be asked for by nobody else.  The child of fork(2) has memory as it was at
 * that moment, for as long as it takes to write it; the kernel copies what the
 * parent's guest changes meanwhile.
 *
 * The page map says which pages are the VM's own; all others are zeros, or those
 * of the file that memory began as.  Reading them to find that out would cost a
 * page fault each, and memory for every hole of that file.
 *
 * The memory file is whole, however many came before it: who wants only the
 * difference from an older one stored begins with a copy of that by reflink.
 * Layers of difference files were rejected: each restore would map thousands of
 * pieces, and no file could be deleted before all that build on it.
 *
 * The child keeps what it writes to and closes the rest: a client whom the
 * parent leaves must not be kept waiting by a writer, nor the parent's VM in
 * the kernel.
 */
#include "vmm/snap.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "vmm/mem.h"
#include "vmm/pagemap.h"
#include "vmm/vm.h"
#include "vmm/vm_state.h"

#define PAGE ((uint64_t)4096)
/* Looked at in one go, and written. */
#define PIECE ((uint64_t)256 << 10)

/* What the file has already, and what the page map says of as much memory; only
 * a process that writes a snapshot touches them. */
static uint8_t there[PIECE];
static uint64_t entries[PIECE / PAGE];

struct writer {
	const struct mem *m;
	int fd;
	int pagemap; /* or -1 */
	bool shared; /* the file began as what memory began as */
	uint64_t written;
};

/* ---- what was touched --------------------------------------------------- */

/* Fill entries[] for the @n bytes at @at.  What is not known counts as
 * touched. */
static void read_entries(struct writer *w, uint64_t at, uint64_t n)
{
	size_t want = n / PAGE * sizeof(uint64_t);
	off_t from =
		(off_t)(((uintptr_t)w->m->host + at) / PAGE * sizeof(uint64_t));

	if (w->pagemap < 0 ||
	    pread(w->pagemap, entries, want, from) != (ssize_t)want)
		memset(entries, 0x80, want);
}

/* Whether no page of the piece has to be looked at: none is ours, and the others
 * are zeros, or what the file has. */
static bool is_idle(const struct writer *w, uint64_t n)
{
	uint64_t i;

	for (i = 0; i < n / PAGE; i++) {
		if (pagemap_is_own(entries[i]))
			return false;
	}
	return w->shared || w->m->file < 0;
}

/* ---- what is to be written ---------------------------------------------- */

static bool is_zero(const uint8_t *p)
{
	/* Compared with itself, one word on. */
	return *(const uint64_t *)(const void *)p == 0 &&
	       memcmp(p, p + 8, PAGE - 8) == 0;
}

/* Whether the page at @off of the piece @p is to be written: the file has
 * there[], or it is new and has zeros. */
static bool differs(const struct writer *w, const uint8_t *p, uint64_t off)
{
	if (!w->shared)
		return !is_zero(p + off);
	return pagemap_is_own(entries[off / PAGE]) &&
	       memcmp(p + off, there + off, PAGE) != 0;
}

static int write_at(int fd, const uint8_t *p, uint64_t n, uint64_t at)
{
	while (n) {
		ssize_t done = pwrite(fd, p, n, (off_t)at);

		if (done < 0 && errno != EINTR)
			return -errno;
		if (done > 0) {
			p += done;
			at += (uint64_t)done;
			n -= (uint64_t)done;
		}
	}
	return 0;
}

static int read_there(int fd, uint64_t n, uint64_t at)
{
	uint64_t done = 0;

	while (done < n) {
		ssize_t r =
			pread(fd, there + done, n - done, (off_t)(at + done));

		if (r <= 0 && (r == 0 || errno != EINTR))
			return r < 0 ? -errno : -EIO;
		done += r > 0 ? (uint64_t)r : 0;
	}
	return 0;
}

static int write_piece(struct writer *w, uint64_t at, uint64_t n)
{
	const uint8_t *p = w->m->host + at;
	uint64_t from, to;
	int r;

	read_entries(w, at, n);
	if (is_idle(w, n))
		return 0;
	r = w->shared ? read_there(w->fd, n, at) : 0;
	for (from = 0; r == 0 && from < n; from = to) {
		to = from + PAGE;
		if (!differs(w, p, from))
			continue;
		while (to < n && differs(w, p, to))
			to += PAGE;
		r = write_at(w->fd, p + from, to - from, at + from);
		w->written += to - from;
	}
	return r;
}

int snap_write_memory(const struct mem *m, const struct snap_memory *to,
		      uint64_t *written, struct err *e)
{
	struct writer w = { .m = m,
			    .fd = to->fd,
			    .pagemap = to->pagemap,
			    .shared = to->shared };
	int r = ftruncate(w.fd, (off_t)m->size) < 0 ? -errno : 0;
	uint64_t at, n;

	for (at = 0; r == 0 && at < m->size; at += n) {
		n = m->size - at < PIECE ? m->size - at : PIECE;
		r = write_piece(&w, at, n);
	}
	*written = w.written;
	return r < 0 ? err_sys(e, -r, "cannot write the memory file") : 0;
}

/* ---- both files --------------------------------------------------------- */

static int write_both(struct vm *vm, int state, const struct snap_memory *to,
		      size_t n, uint64_t *written, struct err *e)
{
	int r = snap_write_memory(&vm->mem, to, written, e);

	if (r < 0)
		return r;
	r = io_write_full(state, vm_state_buf, n);
	if (r < 0)
		return err_sys(e, -r, "cannot write the state file");
	if (fsync(to->fd) < 0 || fsync(state) < 0)
		return err_sys(e, errno, "cannot bring the snapshot to disk");
	return 0;
}

/* The page map of this process, from who asked for the snapshot: it is a file
 * of /proc, where the jail has none.  False: nobody is there any more. */
static bool take_pagemap(int from, int *pagemap)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = &control,
			    .msg_controllen = sizeof(control) };
	const struct cmsghdr *c;

	if (recvmsg(from, &m, MSG_CMSG_CLOEXEC) <= 0)
		return false;
	c = CMSG_FIRSTHDR(&m);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(pagemap, CMSG_DATA(c), sizeof(int));
	return true;
}

/* Of all descriptors but the standard ones only these stay open. */
static void keep_only(const int *fd, size_t n)
{
	unsigned first = STDERR_FILENO + 1, next;
	size_t i;

	do {
		next = ~0U;
		for (i = 0; i < n; i++) {
			if ((unsigned)fd[i] >= first && (unsigned)fd[i] < next)
				next = (unsigned)fd[i];
		}
		if (next > first)
			close_range(first, next == ~0U ? next : next - 1, 0);
		first = next + 1;
	} while (next != ~0U);
}

/* The child: it writes, says how it went, and is no more. */
static void child(struct vm *vm, const int fd[SNAP_FDS], bool shared, size_t n)
{
	/* -1, that memory began as no file, is beyond all others. */
	const int keep[] = { fd[SNAP_RESULT], fd[SNAP_STATE], fd[SNAP_MEMORY],
			     vm->mem.file };
	struct snap_memory to = { fd[SNAP_MEMORY], -1, shared };
	struct err e = ERR_INIT;
	uint64_t written;
	char text[640];
	int len;

	vm_drop_kvm(vm);
	keep_only(keep, ARRAY_SIZE(keep));
	if (!take_pagemap(fd[SNAP_RESULT], &to.pagemap))
		_exit(0);
	if (write_both(vm, fd[SNAP_STATE], &to, n, &written, &e) < 0)
		len = snprintf(text, sizeof(text), "error: %s\n", e.text);
	else
		len = snprintf(text, sizeof(text), "ok %zu %llu\n", n,
			       (unsigned long long)written);
	(void)!write(fd[SNAP_RESULT], text, (size_t)len);
	_exit(0);
}

pid_t snap_start(struct vm *vm, const int fd[SNAP_FDS], bool shared,
		 struct err *e)
{
	ssize_t n = vm_state_save(vm, vm_state_buf, STATE_MAX, e);
	pid_t pid;

	if (n < 0)
		return (pid_t)n;
	pid = fork();
	if (pid < 0)
		return err_sys(e, errno, "cannot fork the monitor");
	if (pid == 0)
		child(vm, fd, shared, (size_t)n);
	return pid;
}

int snap_write(struct vm *vm, int state, const struct snap_memory *to,
	       uint64_t *written, struct err *e)
{
	ssize_t n = vm_state_save(vm, vm_state_buf, STATE_MAX, e);

	return n < 0 ? (int)n :
		       write_both(vm, state, to, (size_t)n, written, e);
}
