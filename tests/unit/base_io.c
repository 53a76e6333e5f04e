/* SPDX-License-Identifier: MIT
 *
 * Whole reads and writes, atomic files, trees and locks.
 */
#include "tests/tap.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "tests/unit/scratch.h"

#include <errno.h>
#include <signal.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static bool there(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static void is_file(const char *path, const char *want, const char *what)
{
	buf_auto struct buf b = BUF_INIT;

	io_read_file(AT_FDCWD, path, &b, NULL);
	is_str(buf_str(&b), want, what);
}

/* ---- reading and writing ---- */

/* How often the reader was interrupted; the writer sees it too. */
static volatile int *alarms;

static void on_alarm(int sig)
{
	(void)sig;
	(*alarms)++;
}

/* A megabyte through a pipe, the first of it byte by byte with a signal for
 * the reader before each. */
static int writer(int fd, const uint8_t *p, size_t n)
{
	size_t i;

	for (i = 0; i < 100; i++) {
		if (kill(getppid(), SIGALRM) < 0)
			return 1;
		while (*alarms == (int)i)
			sched_yield();
		if (io_write_full(fd, p + i, 1) < 0)
			return 1;
	}
	return io_write_full(fd, p + i, n - i) != 0;
}

static void interrupted(void)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	static uint8_t sent[1 << 20], got[(1 << 20) + 1];
	size_t i;
	int p[2], status;
	pid_t pid;

	for (i = 0; i < sizeof(sent); i++)
		sent[i] = (uint8_t)(i * i >> 5);
	if (pipe(p) < 0)
		bail("no pipe");
	alarms = mmap(NULL, sizeof(*alarms), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	sigaction(SIGALRM, &sa, NULL);
	pid = fork();
	if (pid == 0) {
		close(p[0]);
		_exit(writer(p[1], sent, sizeof(sent)));
	}
	close(p[1]);
	is_int(io_read_full(p[0], got, sizeof(got)), sizeof(sent),
	       "read up to the end, signals or not");
	is_mem(got, sizeof(sent), sent, sizeof(sent), "the same bytes");
	while (waitpid(pid, &status, 0) < 0)
		;
	is_int(status, 0, "and written in full");
	close(p[0]);
}

static void failing_transfers(void)
{
	fd_auto int full = open("/dev/full", O_RDWR);
	fd_auto int dir = open(".", O_RDONLY);
	char c;

	is_int(io_write_full(full, "x", 1), -ENOSPC, "no space to write");
	is_int(io_write_full(-1, "x", 1), -EBADF, "nowhere to write");
	is_int(io_read_full(dir, &c, 1), -EISDIR, "a directory is not read");
}

static void read_limit(size_t size, size_t max, int want)
{
	buf_auto struct buf b = BUF_INIT_MAX(max);
	struct err e = ERR_INIT;
	int r;

	if (truncate("sized", (off_t)size) < 0)
		bail("cannot size a file");
	r = io_read_file(AT_FDCWD, "sized", &b, &e);
	ok(r == want && (r < 0 || b.len == size),
	   "%zu bytes into a buffer of %zu", size, max);
	if (want < 0)
		is_str(e.text, "cannot read sized: Message too long",
		       "and the file is named");
}

static void read_limits(void)
{
	scratch_file("sized", "");
	read_limit(0, 0, 0);
	read_limit(1, 0, -EMSGSIZE);
	read_limit(1, 1, 0);
	read_limit(65535, 65536, 0);
	read_limit(65536, 65536, 0);
	read_limit(65537, 65536, -EMSGSIZE);
	read_limit(65537, 65537, 0);
	read_limit(200000, 200000, 0);
	read_limit(200001, 200000, -EMSGSIZE);
	read_limit(3, 1 << 20, 0);
}

static void appending_read(void)
{
	buf_auto struct buf b = BUF_INIT;
	struct err e = ERR_INIT;

	scratch_file("one", "1\n");
	scratch_file("two", "2\n\n");
	buf_puts(&b, "0");
	is_int(io_read_line(AT_FDCWD, "one", &b, &e), 0, "a line");
	is_int(io_read_line(AT_FDCWD, "two", &b, &e), 0, "and another");
	is_str(buf_str(&b), "012\n", "appended, one newline less each");
	is_int(io_read_file(AT_FDCWD, "none", &b, &e), -ENOENT, "no file");
	is_str(e.text, "cannot open none: No such file or directory",
	       "says which");
	is_int(io_read_file(AT_FDCWD, "/proc/self/status", &b, &e), 0,
	       "a file of no size that has contents");
	ok(b.len > 100, "is read");
}

/* ---- atomic writing ---- */

static void atomic(void)
{
	struct err e = ERR_INIT;
	struct stat st;

	mkdir("at", 0755);
	umask(022);
	is_int(io_write_atomic(AT_FDCWD, "at/f", "one", 3, 0666, &e), 0, "new");
	is_file("at/f", "one", "is there");
	stat("at/f", &st);
	is_int(st.st_mode & 07777, 0644, "with the mode that was asked for");
	is_int(io_write_atomic(AT_FDCWD, "at/f", "two", 3, 0600, &e), 0,
	       "replaced");
	is_file("at/f", "two", "by the new one");
	is_int(io_write_atomic(AT_FDCWD, "bare", "", 0, 0600, &e), 0,
	       "no directory in the name, no bytes in the file");
	is_file("bare", "", "is there");
	is_int(count_entries("at"), 1, "nothing else is");
}

static void atomic_dirfd(void)
{
	fd_auto int dir = open("at", O_RDONLY | O_DIRECTORY);
	struct err e = ERR_INIT;

	is_int(io_write_atomic(dir, "g", "gg", 2, 0600, &e), 0,
	       "relative to a directory");
	is_file("at/g", "gg", "is in it");
}

static void atomic_errors(void)
{
	struct err e = ERR_INIT;

	is_int(io_write_atomic(AT_FDCWD, "no/f", "x", 1, 0600, &e), -ENOENT,
	       "no such directory");
	has_str(e.text, "cannot create no/", "is named");
	mkdir("at/dir", 0755);
	is_int(io_write_atomic(AT_FDCWD, "at/dir", "x", 1, 0600, &e), -EISDIR,
	       "a directory stands there");
	is_str(e.text, "cannot write at/dir: Is a directory", "and is named");
	is_int(count_entries("at"), 3, "nothing is left behind");
}

static void atomic_long_path(void)
{
	char path[3000] = "";
	struct err e = ERR_INIT;
	size_t n = 0;

	while (n < 2000)
		n += (size_t)sprintf(path + n, "%.50s/",
				     "a-directory-with-a-long-but-lawful-name-"
				     "in-some-home");
	is_int(io_mkdirs(path, 0755, &e), 0, "a path of 2000 bytes");
	strcpy(path + n, "file");
	is_int(io_write_atomic(AT_FDCWD, path, "far", 3, 0600, &e), 0,
	       "takes a file");
	is_file(path, "far", "like any other");
}

/* The disk fills up half-way through: here, a limit on file sizes. */
static void atomic_no_space(void)
{
	struct rlimit small = { 4096, 4096 };
	static char big[100000];
	struct err e = ERR_INIT;
	int status, r;
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGXFSZ, SIG_IGN);
		setrlimit(RLIMIT_FSIZE, &small);
		r = io_write_atomic(AT_FDCWD, "at/f", big, sizeof(big), 0600,
				    &e);
		if (r != -EFBIG || e.num != EFBIG)
			_exit(1);
		_exit(strcmp(e.text, "cannot write at/f: File too large") != 0);
	}
	waitpid(pid, &status, 0);
	is_int(status, 0, "a write that does not fit fails and says so");
	is_file("at/f", "two", "the old file is untouched");
	is_int(count_entries("at"), 3, "the new one is gone");
}

static void sweep(void)
{
	char tmp[IO_TMP_MAX];
	struct err e = ERR_INIT;
	int fd;

	mkdir("sw", 0755);
	fd = io_tmp_open(AT_FDCWD, "sw/f", 0600, tmp, &e);
	close(fd);
	has_str(tmp, "sw/.tmp.", "an unfinished file has its name");
	mkdir("sw/.tmp.tree", 0755);
	scratch_file("sw/.tmp.tree/x", "x");
	scratch_file("sw/.tmpish", "x");
	scratch_file("sw/keep", "x");
	is_int(io_sweep_tmp("sw", &e), 0, "swept");
	ok(!there(tmp) && !there("sw/.tmp.tree"), "unfinished ones are gone");
	ok(there("sw/keep") && there("sw/.tmpish"), "others are not");
	is_int(io_sweep_tmp("none", &e), -ENOENT, "no directory to sweep");
}

/* ---- directories and trees ---- */

static void mkdirs(void)
{
	struct err e = ERR_INIT;

	is_int(io_mkdirs("m/a/b", 0755, &e), 0, "three at once");
	ok(there("m/a/b"), "are there");
	is_int(io_mkdirs("m//a/b/c/", 0755, &e), 0, "and one below");
	ok(there("m/a/b/c"), "is there");
	is_int(io_mkdirs("/", 0755, &e), 0, "the root always is");
	scratch_file("m/file", "x");
	is_int(io_mkdirs("m/file/x", 0755, &e), -ENOTDIR, "not below a file");
	is_int(io_mkdirs("m/file", 0755, &e), -ENOTDIR, "nor where one stands");
	is_str(e.text, "cannot create m/file: Not a directory", "is named");
	is_int(symlink("a", "m/link"), 0, "a link to a directory");
	is_int(io_mkdirs("m/link/d", 0755, &e), 0, "is as good as one");
	is_int(io_mkdirs("m/link", 0755, &e), 0, "last as well");
}

static void remove_tree(void)
{
	struct err e = ERR_INIT;

	io_mkdirs("r/a/b", 0755, &e);
	io_mkdirs("outside", 0755, &e);
	scratch_file("outside/precious", "x");
	scratch_file("r/a/f", "x");
	ok(symlink("../../outside", "r/a/dirlink") == 0 &&
		   symlink("nowhere", "r/dangling") == 0 &&
		   symlink("outside", "toplink") == 0 &&
		   mkfifo("r/a/fifo", 0600) == 0,
	   "a tree with links and a fifo");
	is_int(io_remove_tree(AT_FDCWD, "r", &e), 0, "removed");
	ok(!there("r"), "is gone");
	is_int(io_remove_tree(AT_FDCWD, "toplink", &e), 0, "a link to a tree");
	ok(!there("toplink"), "is removed itself");
	is_file("outside/precious", "x", "what links point to is untouched");
	is_int(io_remove_tree(AT_FDCWD, "r", &e), 0, "absent is success");
	is_int(io_remove_tree(AT_FDCWD, "outside/precious/x", &e), -ENOTDIR,
	       "a wrong path is not");
	is_int(io_remove_tree(AT_FDCWD, "outside/", &e), 0, "a slash behind");
	ok(!there("outside"), "is no matter");
}

/* Made step by step, because no path is that long. */
static void make_deep(int depth)
{
	int i;

	mkdir("deep", 0755);
	if (chdir("deep") < 0)
		bail("chdir");
	for (i = 1; i < depth; i++) {
		if (mkdir("d", 0755) < 0 || chdir("d") < 0)
			bail("cannot make a deep tree");
	}
	scratch_file("bottom", "x");
	if (chdir(scratch_dir) < 0)
		bail("chdir");
}

static void remove_deep(int depth)
{
	struct err e = ERR_INIT;
	int fds = count_fds();

	make_deep(depth);
	ok(io_remove_tree(AT_FDCWD, "deep", &e) == 0 && !there("deep"),
	   "a tree %d deep is removed (%s)", depth, e.text);
	is_int(count_fds(), fds, "and no descriptor stays open");
}

static void remove_wide(void)
{
	char name[32];
	struct err e = ERR_INIT;
	int i;

	mkdir("wide", 0755);
	for (i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "wide/%d", i);
		close(open(name, O_CREAT | O_WRONLY, 0600));
	}
	ok(io_remove_tree(AT_FDCWD, "wide", &e) == 0 && !there("wide"),
	   "3000 files are removed (%s)", e.text);
}

/* ---- locks ---- */

static int try_lock_elsewhere(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct err e = ERR_INIT;
		int fd = io_lock(AT_FDCWD, "lock", false, &e);

		if (fd == -EWOULDBLOCK && strcmp(e.text, "lock is locked") != 0)
			_exit(99);
		_exit(fd < 0 ? -fd : 0);
	}
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

static void locks(void)
{
	struct err e = ERR_INIT;
	struct stat st;
	int fd = io_lock(AT_FDCWD, "lock", false, &e);
	int p[2], status;
	char c = 0;
	pid_t pid;

	ok(fd >= 0, "a free lock is taken");
	ok(fstat(fd, &st) == 0 && (st.st_mode & 07777) == 0600,
	   "its file is its owner's");
	is_int(try_lock_elsewhere(), EWOULDBLOCK, "others hear that it is");
	if (pipe(p) < 0)
		bail("no pipe");
	pid = fork();
	if (pid == 0) {
		close(fd); /* a copy of ours, which would hold it */
		fd = io_lock(AT_FDCWD, "lock", true, &e);
		_exit(fd < 0 || write(p[1], "!", 1) != 1);
	}
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	is_int(read(p[0], &c, 1), -1, "one that waits has not got it yet");
	close(fd);
	waitpid(pid, &status, 0);
	is_int(status, 0, "one that waits gets it in the end");
	is_int(try_lock_elsewhere(), 0, "its end frees it");
	is_int(io_lock(AT_FDCWD, "no/lock", false, &e), -ENOENT,
	       "no directory");
	close(p[0]);
	close(p[1]);
}

int main(void)
{
	int fds = count_fds();

	scratch_enter();
	interrupted();
	failing_transfers();
	read_limits();
	appending_read();
	atomic();
	atomic_dirfd();
	atomic_errors();
	atomic_no_space();
	atomic_long_path();
	sweep();
	mkdirs();
	remove_tree();
	remove_deep(200);
	remove_deep(3000);
	remove_wide();
	locks();
	scratch_leave();
	is_int(count_fds(), fds, "no descriptor was left open");
	return tap_done();
}
