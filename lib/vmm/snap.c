/* SPDX-License-Identifier: MIT
 *
 * Snapshots: see snap.h.
 *
 * The state is saved by the parent, while the VM stands still: KVM's part can
 * be asked for by nobody else.  The child of fork(2) has memory as it was at
 * that moment, for as long as it takes to write it; the kernel copies what the
 * parent's guest changes meanwhile.
 *
 * Pages are looked at for being zero, which reads all of memory that was ever
 * touched.  The page map would say which never were; it is a file in /proc,
 * where the jail has none.  Ranges that were never touched are one shared zero
 * page, and so cost the comparing only.
 */
#include "vmm/snap.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "vmm/mem.h"
#include "vmm/vm.h"
#include "vmm/vm_state.h"

#define PAGE ((uint64_t)4096)
/* Written at a time: not more than that is lost to a full disk unnoticed. */
#define RUN_MAX ((uint64_t)4 << 20)

static bool is_zero(const uint8_t *p)
{
	/* Compared with itself, one word on. */
	return *(const uint64_t *)(const void *)p == 0 &&
	       memcmp(p, p + 8, PAGE - 8) == 0;
}

/* How many bytes from @at on are not zero, in whole pages. */
static uint64_t run_at(const struct mem *m, uint64_t at)
{
	uint64_t n = 0;

	while (n < RUN_MAX && at + n < m->size && !is_zero(m->host + at + n))
		n += PAGE;
	return n;
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

int snap_write_memory(const struct mem *m, int fd, uint64_t *written,
		      struct err *e)
{
	uint64_t at, n;
	int r = ftruncate(fd, (off_t)m->size) < 0 ? -errno : 0;

	*written = 0;
	for (at = 0; r == 0 && at < m->size; at += n ? n : PAGE) {
		n = run_at(m, at);
		if (n)
			r = write_at(fd, m->host + at, n, at);
		*written += n;
	}
	return r < 0 ? err_sys(e, -r, "cannot write the memory file") : 0;
}

static int write_all(struct vm *vm, const int fd[SNAP_FDS], size_t n,
		     uint64_t *written, struct err *e)
{
	int r = snap_write_memory(&vm->mem, fd[SNAP_MEMORY], written, e);

	if (r < 0)
		return r;
	r = io_write_full(fd[SNAP_STATE], vm_state_buf, n);
	if (r < 0)
		return err_sys(e, -r, "cannot write the state file");
	if (fsync(fd[SNAP_MEMORY]) < 0 || fsync(fd[SNAP_STATE]) < 0)
		return err_sys(e, errno, "cannot bring the snapshot to disk");
	return 0;
}

/* The child: it writes, says how it went, and is no more. */
static void child(struct vm *vm, const int fd[SNAP_FDS], size_t n)
{
	struct err e = ERR_INIT;
	uint64_t written;
	char text[640];
	int len;

	if (write_all(vm, fd, n, &written, &e) < 0)
		len = snprintf(text, sizeof(text), "error: %s\n", e.text);
	else
		len = snprintf(text, sizeof(text), "ok %zu %llu\n", n,
			       (unsigned long long)written);
	(void)!write(fd[SNAP_RESULT], text, (size_t)len);
	_exit(0);
}

int snap_start(struct vm *vm, const int fd[SNAP_FDS], struct err *e)
{
	ssize_t n = vm_state_save(vm, vm_state_buf, STATE_MAX, e);
	pid_t pid;

	if (n < 0)
		return (int)n;
	pid = fork();
	if (pid < 0)
		return err_sys(e, errno, "cannot fork the monitor");
	if (pid == 0)
		child(vm, fd, (size_t)n);
	return 0;
}
