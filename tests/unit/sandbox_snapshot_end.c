/* SPDX-License-Identifier: MIT
 *
 * Snapshots whose maker does not get to the end: killed at any system call, or
 * out of disk space; those that are deleted; and several at it at once.
 */
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "sandbox/box.h"
#include "sandbox/rundir.h"
#include "tests/unit/snapshots.h"

/* ---- killed ------------------------------------------------------------- */

/* A process that does @fn, killed before or behind its @n-th system call; its
 * wait status.  Stops are the tracer's events, so nothing is left to chance. */
static int run_killed(int (*fn)(const char *root), const char *root, int n)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(99);
		raise(SIGSTOP);
		_exit(fn(root) < 0);
	}
	while (waitpid(pid, &status, 0) == pid && WIFSTOPPED(status)) {
		if (n-- == 0)
			kill(pid, SIGKILL);
		else if (ptrace(PTRACE_SYSCALL, pid, NULL, NULL) < 0)
			bail("cannot trace");
	}
	return status;
}

static int make_one(const char *root)
{
	snapshot_auto struct snapshot s = SNAPSHOT_INIT;
	json_t *config = some_config();
	int r = begin(&s, root);

	if (r == 0)
		r = snapshot_commit(&s, root, config, NULL, "it", ERR);
	json_decref(config);
	return r;
}

static int delete_one(const char *root)
{
	return snapshot_delete(root, "it", ERR);
}

/* Each that is listed must be whole. */
static int check_one(const struct snapshot *s, void *arg)
{
	const char *root = arg;

	if (recheck(root, s->id) == 0)
		return 0;
	diag("%s", e.text);
	return 1;
}

/* A whole one under the name "it", or none, and nothing else at all. */
static bool is_clean(const char *root, int *there)
{
	snapshot_auto struct snapshot s = SNAPSHOT_INIT;
	char names[PATH_MAX];
	int n;

	snprintf(names, sizeof(names), "%.3000s/snapshots/.names", root);
	if (snapshot_each(root, check_one, (void *)(uintptr_t)root, ERR) != 0)
		return false;
	n = count_left(root);
	*there += n == 1;
	if (n == 0)
		return count_entries(names) <= 0;
	return n == 1 && count_entries(names) == 1 &&
	       snapshot_find(&s, root, "it", ERR) == 0;
}

static void killed_making(void)
{
	const char *root = new_root("making");
	int n, good = 0, there = 0, status = 1;

	for (n = 0; WIFSIGNALED(status) || n < 10; n++) {
		status = run_killed(make_one, root, n);
		good += is_clean(root, &there);
		snapshot_delete(root, "it", NULL);
	}
	is_int(WEXITSTATUS(status), 0, "at last none is left to be killed at");
	ok(good == n && n > 50,
	   "killed at each of %d system calls, all or nothing is there", n - 1);
	ok(there > 1 && there < n / 2, "the whole %d times", there);
}

static void killed_deleting(void)
{
	const char *root = new_root("deleting");
	int n, good = 0, there = 0, status = 1;

	for (n = 0; WIFSIGNALED(status) || n < 10; n++) {
		if (snapshot_delete(root, "it", ERR) < 0 && e.num != ENOENT)
			bail("%s", e.text);
		if (make_one(root) < 0)
			bail("%s", e.text);
		status = run_killed(delete_one, root, n);
		good += is_clean(root, &there);
	}
	is_int(WEXITSTATUS(status), 0, "at last none is left to be killed at");
	ok(good == n && n > 20,
	   "killed at each of %d system calls, all or nothing is there", n - 1);
	ok(there > 1 && there < n, "the whole %d times", there);
}

/* ---- a full disk -------------------------------------------------------- */

/* In a mount namespace of its own: how much of the room there is a snapshot
 * leaves when its disk is full at each of its writes. */
static void fill(const char *root, off_t leave)
{
	char path[PATH_MAX], block[4096] = { 1 };
	off_t n = 0;
	int fd;

	snprintf(path, sizeof(path), "%.3000s/filler", root);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	while (write(fd, block, sizeof(block)) == sizeof(block))
		n += (off_t)sizeof(block);
	if (fd < 0 || ftruncate(fd, n - leave) < 0)
		bail("cannot fill");
	close(fd);
}

static int on_full_disk(const char *root)
{
	snapshot_auto struct snapshot s = SNAPSHOT_INIT, t = SNAPSHOT_INIT;
	json_t *config = some_config();
	off_t leave;
	bool good = true;

	if (unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", root, "tmpfs", 0, "size=2m") < 0)
		return 77;
	if (make(&t, root, NULL) < 0)
		return 1;
	/* The manifest's page, and the note's; and the note may be missing. */
	for (leave = 0; leave <= 4096 && good; leave += 4096) {
		char path[PATH_MAX];

		if (begin(&s, root) < 0)
			return 2;
		tick();
		fill(root, leave);
		good = snapshot_commit(&s, root, config, NULL, "full", ERR) ==
			       -ENOSPC &&
		       strstr(e.text, "No space left on device");
		diag("%s", e.text);
		snapshot_drop(&s);
		good = good && count_left(root) == 1 &&
		       recheck(root, t.id) == 0;
		snprintf(path, sizeof(path), "%.3000s/filler", root);
		unlink(path);
	}
	if (!good)
		return 3;
	if (make(&s, root, "full") < 0)
		return 4;
	json_decref(config);
	return 0;
}

static void full(void)
{
	const char *root = new_root("full");
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(on_full_disk(root));
	waitpid(pid, &status, 0);
	if (WEXITSTATUS(status) == 77)
		skip("a full disk", "no mount namespace");
	else
		is_int(status, 0, "a full disk: said, nothing left, no harm");
}

/* ---- deleted ------------------------------------------------------------ */

/* A process that holds what a monitor holds: its own pid file, and the memory
 * of @s. */
static pid_t monitor(const struct box *b, const struct snapshot *s, int *gone)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int ready[2], end[2];
	pid_t pid;
	char c;

	if (pipe(ready) < 0 || pipe(end) < 0 || (pid = fork()) < 0)
		bail("cannot fork");
	if (pid == 0) {
		int fd = openat(b->dir, "vmm.pid", O_RDWR | O_CREAT, 0600);

		close(end[1]);
		if (fcntl(fd, F_SETLK, &l) == 0 &&
		    snapshot_memory(s, ERR) >= 0 &&
		    write(ready[1], "", 1) == 1 && read(end[0], &c, 1) == 0)
			_exit(0);
		_exit(1);
	}
	close(ready[1]);
	close(end[0]);
	if (read(ready[0], &c, 1) != 1)
		bail("the process died");
	close(ready[0]);
	*gone = end[1];
	return pid;
}

static void in_use(void)
{
	const char *root = new_root("using");
	snapshot_auto struct snapshot s = SNAPSHOT_INIT;
	rundir_auto struct rundir d = RUNDIR_INIT;
	box_auto struct box b = BOX_INIT, dead = BOX_INIT;
	char config[128];
	int status, gone, n;
	pid_t pid;

	make(&s, root, "used");
	if (rundir_open(&d, root, true, ERR) < 0 ||
	    rundir_make(&d, NULL, &b, ERR) < 0 ||
	    rundir_commit(&d, &b, ERR) < 0 ||
	    rundir_make(&d, NULL, &dead, ERR) < 0 ||
	    rundir_commit(&d, &dead, ERR) < 0)
		bail("%s", e.text);
	n = snprintf(config, sizeof(config),
		     "{\"format\":1,\"snapshot\":\"%s\"}", s.id);
	for (status = 0; status < 2; status++) {
		int fd = openat(status ? b.dir : dead.dir, "config.json",
				O_WRONLY | O_CREAT, 0600);

		if (write(fd, config, (size_t)n) != n)
			bail("cannot write config.json");
		close(fd);
	}
	pid = monitor(&b, &s, &gone);
	is_int(snapshot_delete(root, "used", ERR), -EBUSY, "one in use");
	has_str(e.text, b.id, "its user is named");
	ok(!strstr(e.text, dead.id), "one that has ended is not");
	has_str(e.fix, "iso-rm", "and what to do");
	is_int(recheck(root, s.id), 0, "no harm is done to it");
	close(gone);
	waitpid(pid, &status, 0);
	is_int(status, 0, "when the user is gone");
	is_int(snapshot_delete(root, "used", ERR), 0, "it is deleted");
	is_int(count_left(root), 0, "all of it");
}

static void golden(void)
{
	const char *root = new_root("golden");
	snapshot_auto struct snapshot s = SNAPSHOT_INIT, t = SNAPSHOT_INIT;
	char path[PATH_MAX], to[PATH_MAX + 64];
	int fd;

	make(&s, root, NULL);
	make(&t, root, NULL);
	snprintf(path, sizeof(path), "%.3000s/golden", root);
	mkdir(path, 0755);
	fd = open(path, O_RDONLY | O_DIRECTORY);
	snprintf(to, sizeof(to), "../snapshots/%s", s.id);
	if (symlinkat(to, fd, "one") < 0 ||
	    symlinkat(t.path, fd, "another") < 0)
		bail("cannot make links");
	close(fd);
	ok(snapshot_is_golden(root, s.id), "a golden one");
	is_int(snapshot_delete(root, s.id, ERR), 0, "is deleted");
	ok(!snapshot_is_golden(root, s.id), "and golden no more");
	ok(snapshot_is_golden(root, t.id), "the other is");
	is_int(count_entries(path), 1, "its link is left");
	is_int(snapshot_memory(&s, ERR), -ENOENT, "it cannot be used now");
}

/* One that is damaged can still be got rid of. */
static void broken(void)
{
	const char *root = new_root("broken");
	snapshot_auto struct snapshot s = SNAPSHOT_INIT;

	make(&s, root, "b");
	unlinkat(s.dir, "manifest.json", 0);
	unlinkat(s.dir, "memory", 0);
	is_int(snapshot_delete(root, "b", ERR), 0, "a broken one is deleted");
	is_int(count_left(root), 0, "all of it");
	is_int(snapshot_delete(root, "b", ERR), -ENOENT, "and but once");
}

/* ---- at once ------------------------------------------------------------ */

static void at_once(void)
{
	const char *root = new_root("race");
	int i, status, made = 0, refused = 0;

	for (i = 0; i < 8; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			int r;

			srandom((unsigned int)i);
			r = make_one(root);
			_exit(r == 0 ? 1 : r == -EEXIST ? 2 : 3);
		}
	}
	while (wait(&status) > 0) {
		made += WEXITSTATUS(status) == 1;
		refused += WEXITSTATUS(status) == 2;
	}
	ok(made == 1 && refused == 7,
	   "eight want a name at once: one gets it, seven are told");
	is_int(count_snapshots(root), 1, "one is there");
	is_int(count_left(root), 1, "and nothing else");
}

int main(void)
{
	int fds = count_fds();

	srandom(20261121);
	/* What is brought to disk hundreds of times need not come to one. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	scratch_enter();
	killed_making();
	killed_deleting();
	full();
	in_use();
	golden();
	broken();
	at_once();
	scratch_leave();
	is_int(count_fds(), fds, "no descriptor was left open");
	return tap_done();
}
