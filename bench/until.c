/* SPDX-License-Identifier: MIT
 *
 * How long until a program says something: for boot times.
 *
 * usage: until MARKER FILE COMMAND...
 *
 * Starts COMMAND and waits until MARKER stands in FILE, or in its standard
 * output if FILE is "-".  Prints the nanoseconds that took and the kilobytes
 * the process has then in memory, all and without those of the mapping that has
 * most of them, which is the guest's memory.  Then COMMAND is ended.  If it ends
 * by itself before, or says nothing for PATIENCE_MS, that is an error.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/proc.h"
#include "base/str.h"

#define PATIENCE_MS 120000

static struct err e = ERR_INIT;

static void fail(void)
{
	fprintf(stderr, "until: %s\n", e.text);
	exit(1);
}

static bool has(const struct buf *b, const char *marker)
{
	return b->len && memmem(b->data, b->len, marker, strlen(marker));
}

/* Until there is something to read.  A process that has ended may have written
 * before that, so what is there comes first. */
static void wait_readable(int fd, const struct proc *p, const char *marker)
{
	struct pollfd pf[2] = { { fd, POLLIN, 0 }, { p->pidfd, POLLIN, 0 } };
	int n = poll(pf, 2, PATIENCE_MS);

	if (n > 0 && (pf[0].revents & POLLIN))
		return;
	err_set(&e, n ? EPIPE : ETIMEDOUT, "%s before it said '%s'",
		n ? "it ended" : "two minutes passed", marker);
	fail();
}

/* From the program's standard output. */
static void await_output(int fd, const struct proc *p, const char *marker)
{
	buf_auto struct buf b = BUF_INIT;
	ssize_t n;

	while (!has(&b, marker)) {
		wait_readable(fd, p, marker);
		if (buf_reserve(&b, 4096) < 0)
			exit(1);
		n = read(fd, b.data + b.len, 4096);
		if (n < 0)
			fail();
		b.len += (size_t)n;
	}
}

/* From a file that it writes. */
static void await_file(const char *path, const struct proc *p,
		       const char *marker)
{
	fd_auto int watch = inotify_init1(IN_CLOEXEC);
	char event[4096];

	if (watch < 0 || inotify_add_watch(watch, path, IN_MODIFY) < 0) {
		err_sys(&e, errno, "cannot watch %s", path);
		fail();
	}
	for (;;) {
		buf_auto struct buf b = BUF_INIT;

		if (io_read_file(AT_FDCWD, path, &b, &e) < 0)
			fail();
		if (has(&b, marker))
			return;
		wait_readable(watch, p, marker);
		if (read(watch, event, sizeof(event)) < 0)
			fail();
	}
}

static void print_memory(pid_t pid)
{
	buf_auto struct buf b = BUF_INIT;
	mem_auto char *path = str_printf("/proc/%d/smaps", (int)pid);
	unsigned long all = 0, most = 0, kib;
	struct str rest, line;

	if (!path || io_read_file(AT_FDCWD, path, &b, &e) < 0)
		fail();
	rest = (struct str){ (const char *)b.data, b.len };
	while (rest.len) {
		line = str_cut(&rest, '\n');
		if (!str_starts(line, STR("Rss:")))
			continue;
		/* A unit follows, at which this stops. */
		kib = strtoul(line.p + strlen("Rss:"), NULL, 10);
		all += kib;
		most = kib > most ? kib : most;
	}
	printf(" %lu %lu\n", all, all - most);
}

int main(int argc, char **argv)
{
	struct proc_spec s = PROC_SPEC_INIT;
	proc_auto struct proc p = PROC_INIT;
	uint64_t from;
	int out[2];

	if (argc < 4 || pipe2(out, O_CLOEXEC) < 0)
		return 2;
	s.argv = (const char *const *)argv + 3;
	s.out = strcmp(argv[2], "-") ? PROC_NULL : out[1];
	s.err = STDERR_FILENO;
	from = clock_now();
	if (proc_spawn(&p, &s, &e) < 0)
		fail();
	close(out[1]);
	if (s.out == PROC_NULL)
		await_file(argv[2], &p, argv[1]);
	else
		await_output(out[0], &p, argv[1]);
	printf("%llu", (unsigned long long)(clock_now() - from));
	print_memory(p.pid);
	return 0;
}
