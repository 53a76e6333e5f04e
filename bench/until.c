/* SPDX-License-Identifier: MIT
 *
 * How long until a program says something: for boot times.
 *
 * usage: until MARKER FILE COMMAND...
 *
 * Starts COMMAND and waits until MARKER stands in FILE, or in its standard
 * output if FILE is "-".  Prints the nanoseconds that took and the kilobytes
 * the process has then in memory, a page of huge ones and all ("Rss") and
 * without what is anonymous huge pages ("AnonHugePages": guest memory, mostly).
 * Then COMMAND is ended.
 */
#include <fcntl.h>
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

static struct err e = ERR_INIT;

static void fail(void)
{
	fprintf(stderr, "until: %s\n", e.text);
	exit(1);
}

static bool has(const struct buf *b, const char *marker)
{
	return memmem(b->data, b->len, marker, strlen(marker)) != NULL;
}

/* From the program's standard output. */
static void await_output(int fd, const char *marker)
{
	buf_auto struct buf b = BUF_INIT;
	ssize_t n;

	while (!has(&b, marker)) {
		if (buf_reserve(&b, 4096) < 0)
			exit(1);
		n = read(fd, b.data + b.len, 4096);
		if (n <= 0) {
			err_set(&e, EPIPE, "it ended before it said '%s'",
				marker);
			fail();
		}
		b.len += (size_t)n;
	}
}

/* From a file that it writes. */
static void await_file(const char *path, const char *marker)
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
		if (read(watch, event, sizeof(event)) < 0)
			fail();
	}
}

static unsigned long field(const struct buf *b, const char *name)
{
	const char *at = memmem(b->data, b->len, name, strlen(name));

	return at ? strtoul(at + strlen(name), NULL, 10) : 0;
}

static void print_memory(pid_t pid)
{
	buf_auto struct buf b = BUF_INIT;
	mem_auto char *path = str_printf("/proc/%d/smaps_rollup", (int)pid);

	if (!path || io_read_file(AT_FDCWD, path, &b, &e) < 0)
		fail();
	printf(" %lu %lu\n", field(&b, "\nRss:"),
	       field(&b, "\nRss:") - field(&b, "\nAnonHugePages:"));
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
		await_file(argv[2], argv[1]);
	else
		await_output(out[0], argv[1]);
	printf("%llu", (unsigned long long)(clock_now() - from));
	print_memory(p.pid);
	return 0;
}
