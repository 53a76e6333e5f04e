/* SPDX-License-Identifier: MIT
 *
 * Starting programs: failures, and what a program finds.
 */
#include "tests/tap.h"

#include "tests/unit/proc_child.h"

#include <sys/ioctl.h>

/* ---- failures are return values ---- */

static void cannot_execute(void)
{
	struct proc_spec s = PROC_SPEC_INIT;
	struct err e = ERR_INIT;

	is_int(spawn_error(&s, "no-such-program", &e), -ENOENT, "not in PATH");
	is_str(e.text, "cannot run no-such-program: No such file or directory",
	       "says which");
	is_int(spawn_error(&s, "./none", &e), -ENOENT, "no such path");
	is_int(spawn_error(&s, "/proc/version", &e), -EACCES, "no program");
	is_int(spawn_error(&s, "/etc", &e), -EACCES, "a directory");
	scratch_file("text", "no program at all\n");
	chmod("text", 0755);
	is_int(spawn_error(&s, "./text", &e), -ENOEXEC, "a text");
	is_int(waitpid(-1, NULL, WNOHANG), -1, "no child is left of them");
}

static void cannot_prepare(void)
{
	struct proc_spec s = PROC_SPEC_INIT;
	struct err e = ERR_INIT;
	int bad = 777;

	s.cwd = "/nowhere/at/all";
	is_int(spawn_error(&s, "true", &e), -ENOTDIR, "no directory");
	is_str(e.text,
	       "cannot change to directory /nowhere/at/all: No such file or "
	       "directory",
	       "says which");
	s = (struct proc_spec)PROC_SPEC_INIT;
	s.root = "/no/root";
	is_int(spawn_error(&s, "true", &e), -ENOTDIR, "no root");
	has_str(e.text, "cannot change root to /no/root", "says which");
	s = (struct proc_spec)PROC_SPEC_INIT;
	s.keep = &bad;
	s.nkeep = 1;
	is_int(spawn_error(&s, "true", &e), -EBADF, "a descriptor not open");
	has_str(e.text, "cannot arrange descriptors to run true", "says so");
	s.nkeep = 1000;
	is_int(spawn_error(&s, "true", &e), -EINVAL, "too many descriptors");
	s = (struct proc_spec)PROC_SPEC_INIT;
	s.session = s.ctty = true;
	is_int(spawn_error(&s, "true", &e), -ENOTTY, "no terminal");
	is_int(waitpid(-1, NULL, WNOHANG), -1, "no child is left of them");
}

/* A program that may not be run hides none that may, further on. */
static void search_path(void)
{
	const char *const env[] = { "PATH=:a:b:c", NULL };
	const char *const argv[] = { "prog", NULL };
	struct proc_spec s = PROC_SPEC_INIT;
	struct err e = ERR_INIT;

	mkdir("a", 0755);
	mkdir("b", 0755);
	mkdir("c", 0755);
	scratch_file("prog", "#!/bin/sh\necho here\n");
	chmod("prog", 0755);
	scratch_file("b/prog", "#!/bin/sh\necho b\n");
	s.envp = env;
	s.argv = argv;
	is_int(proc_run(&s, NULL, &e), -EACCES, "only one without permission");
	scratch_file("c/prog", "#!/bin/sh\necho c\n");
	chmod("c/prog", 0755);
	is_str(says(&s, NULL), "c\n", "the PATH of its own environment");
}

/* ---- what the child gets ---- */

static void identity(void)
{
	gid_t groups[] = { 7, 8 };
	struct proc_cred cred = { 12345, 23456, groups, 2 };
	struct proc_spec s = PROC_SPEC_INIT;

	mkdir("private", 0700);
	s.cwd = "/usr";
	s.umask = 027;
	s.session = true;
	s.die_with_parent = SIGTERM;
	is_str(says(&s, "state"), "cwd=/usr umask=27 leader=1 pdeathsig=15\n",
	       "directory, mask, session, parent's death");
	s = (struct proc_spec)PROC_SPEC_INIT;
	umask(022);
	has_str(says(&s, "state"), "umask=22 leader=0 pdeathsig=0\n",
		"or the caller's");
	if (geteuid() != 0) {
		diag("not root: users are not changed");
		return;
	}
	s = (struct proc_spec)PROC_SPEC_INIT;
	s.cred = &cred;
	s.die_with_parent = SIGKILL;
	is_str(says(&s, "cred"),
	       "uid=12345,12345,12345 gid=23456 groups=7,8,\n", "another user");
	has_str(says(&s, "state"), "pdeathsig=9", "still dies with its parent");
	s.cwd = "private";
	is_str(says(&s, "state"), "failed", "goes only where that user may");
}

static void environment(void)
{
	const char *const env[] = { "A=b", NULL };
	struct proc_spec s = PROC_SPEC_INIT;

	s.envp = env;
	is_str(says(&s, "env"), "b (null)\n", "its environment, no other");
}

static void signals(void)
{
	struct proc_spec s = PROC_SPEC_INIT;
	struct err e = ERR_INIT;
	sigset_t set, before, after;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, &before);
	is_str(says(&s, "signals"),
	       "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n",
	       "no signal is blocked or ignored in the child");
	spawn_error(&s, "no-such-program", &e);
	sigprocmask(SIG_SETMASK, &before, &after);
	ok(sigismember(&after, SIGUSR1) == 1 &&
		   sigismember(&after, SIGTERM) == 0,
	   "the caller's mask is as it was");
	signal(SIGHUP, SIG_DFL);
}

static void descriptors(void)
{
	struct proc_spec s = PROC_SPEC_INIT;
	int open_ended = dup(1); /* not close-on-exec */

	/* 0, 1, 2 and the one that reads /proc/self/fd */
	is_str(says(&s, "fds"), "4\n",
	       "nothing but 0, 1 and 2 reaches the child");
	close(open_ended);
}

/* Five files: with @low, each stands where another one has to go; otherwise
 * the places are free. */
static int juggle(bool low)
{
	static const int high[] = { 201, 202, 200, 204, 203 };
	char inode[5][24];
	const char *argv[9] = { self, "child", "inodes" };
	static const int near[] = { 1, 2, 0, 4, 3 };
	const int *to = low ? near : high;
	struct proc_spec s = PROC_SPEC_INIT;
	struct proc p = PROC_INIT;
	struct stat st;
	int i, fd;

	for (i = 0; i < 5; i++) {
		scratch_file("juggle", "");
		fd = open("juggle", O_RDWR);
		unlink("juggle");
		fcntl(fd, F_DUPFD, 200 + i);
		close(fd);
	}
	for (i = 0; i < 5; i++) {
		if (low)
			dup2(200 + i, i);
		else
			close(i);
	}
	for (i = 0; i < 5; i++) {
		fstat(to[i], &st);
		snprintf(inode[i], sizeof(inode[i]), "%llu",
			 (unsigned long long)st.st_ino);
		argv[3 + i] = inode[i];
	}
	s.argv = argv;
	s.in = to[0];
	s.out = to[1];
	s.err = to[2];
	s.keep = to + 3;
	s.nkeep = 2;
	if (proc_spawn(&p, &s, NULL) < 0)
		return 1;
	return WEXITSTATUS(wait_status(&p));
}

static void juggling(bool low, const char *what)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(juggle(low));
	waitpid(pid, &status, 0);
	is_int(status, 0, what);
}

static void terminal(void)
{
	const char *const argv[] = { self, "child", "tty", NULL };
	fd_auto int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	fd_auto int slave = -1;
	struct proc_spec s = PROC_SPEC_INIT;
	struct proc p = PROC_INIT;

	unlockpt(master);
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	s.argv = argv;
	s.in = s.out = s.err = slave;
	s.session = s.ctty = true;
	is_int(proc_spawn(&p, &s, NULL), 0, "on a terminal");
	is_int(wait_status(&p), 0, "which is its controlling one");
}

/* A cgroup2 tree that we may write to, or NULL. */
static const char *cgroup_tree(void)
{
	static char path[256];
	char line[512];
	FILE *f = fopen("/proc/self/mounts", "r");
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f))
		found = sscanf(line, "%*s %255s cgroup2", path) == 1 &&
			strstr(line, " cgroup2 ") && access(path, W_OK) == 0;
	if (f)
		fclose(f);
	return found ? path : NULL;
}

static void cgroup(void)
{
	const char *const argv[] = { "cat", "/proc/self/cgroup", NULL };
	const char *tree = cgroup_tree();
	mem_auto char *dir =
		str_printf("%s/isokit-test-%d", tree ? tree : "", getpid());
	struct proc_spec s = PROC_SPEC_INIT;
	fd_auto int fd = -1;

	if (!tree || mkdir(dir, 0755) < 0) {
		diag("no cgroup2 tree to write to: not tried");
		return;
	}
	fd = open(dir, O_DIRECTORY | O_CLOEXEC);
	s.argv = argv;
	s.cgroup = fd;
	has_str(says(&s, NULL), strrchr(dir, '/'), "born into its cgroup");
	is_int(rmdir(dir), 0, "which is empty again");
}

int main(int argc, char **argv)
{
	int fds;

	if (argc > 2 && strcmp(argv[1], "child") == 0)
		return child_main(argc, argv);
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		bail("who am I?");
	fds = count_fds();
	scratch_enter();
	cannot_execute();
	cannot_prepare();
	search_path();
	identity();
	environment();
	signals();
	descriptors();
	juggling(true, "descriptors that stand in each other's places");
	juggling(false, "places that nobody holds");
	terminal();
	cgroup();
	scratch_leave();
	is_int(count_fds(), fds, "no descriptor was left open");
	return tap_done();
}
