/* SPDX-License-Identifier: MIT
 *
 * Starting programs.  The child is mostly this program itself, which prints
 * what it finds itself to be: "base_proc child WHAT [ARG...]".
 */
#include "tests/tap.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"
#include "base/str.h"
#include "tests/unit/scratch.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>

/* /proc/self/exe would be another program in the child. */
static char self[PATH_MAX];

/* ---- in the child ---- */

static int child_flood(void)
{
	static char line[1024];
	int i;

	memset(line, 'o', sizeof(line));
	for (i = 0; i < 2000; i++) {
		if (write(1, line, sizeof(line)) < 0 ||
		    write(2, line, sizeof(line)) < 0)
			return 1;
	}
	dprintf(2, "\nthe last line\n\n");
	return 3;
}

static int child_state(void)
{
	char cwd[PATH_MAX];
	int sig = 0;
	mode_t mask = umask(0);

	prctl(PR_GET_PDEATHSIG, &sig);
	printf("cwd=%s umask=%o leader=%d pdeathsig=%d\n",
	       getcwd(cwd, sizeof(cwd)), mask, getsid(0) == getpid(), sig);
	return 0;
}

static int child_cred(void)
{
	gid_t g[8];
	uid_t u[3];
	int i, n = getgroups(8, g);

	getresuid(&u[0], &u[1], &u[2]);
	printf("uid=%u,%u,%u gid=%u groups=", u[0], u[1], u[2], getgid());
	for (i = 0; i < n; i++)
		printf("%u,", g[i]);
	printf("\n");
	return 0;
}

/* Lines of /proc/self/status on signals that are held back or not heard. */
static int child_signals(void)
{
	char line[256];
	FILE *f = fopen("/proc/self/status", "r");

	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "SigBlk", 6) == 0 ||
		    strncmp(line, "SigIgn", 6) == 0)
			fputs(line, stdout);
	}
	return 0;
}

/* Whether descriptor N is the file with the inode of argument N. */
static int child_inodes(int argc, char **argv)
{
	struct stat st;
	int i;

	for (i = 0; i < argc; i++) {
		if (fstat(i, &st) < 0 ||
		    st.st_ino != strtoull(argv[i], NULL, 10))
			return 10 + i;
	}
	return fcntl(argc, F_GETFD) < 0 ? 0 : 9;
}

static int child_tty(void)
{
	int fd = open("/dev/tty", O_RDWR);

	return fd >= 0 && tcgetsid(fd) == getpid() && isatty(0) ? 0 : 1;
}

static int child_main(int argc, char **argv)
{
	const char *what = argv[2];

	if (strcmp(what, "flood") == 0)
		return child_flood();
	if (strcmp(what, "state") == 0)
		return child_state();
	if (strcmp(what, "cred") == 0)
		return child_cred();
	if (strcmp(what, "signals") == 0)
		return child_signals();
	if (strcmp(what, "inodes") == 0)
		return child_inodes(argc - 3, argv + 3);
	if (strcmp(what, "tty") == 0)
		return child_tty();
	if (strcmp(what, "fds") == 0)
		return printf("%d\n", count_fds()) < 0;
	if (strcmp(what, "env") == 0)
		return printf("%s %s\n", getenv("A"), getenv("HOME")) < 0;
	if (strcmp(what, "pause") == 0)
		return write(1, "!", 1) != 1 || pause() < 0;
	return 99;
}

/* ---- helpers ---- */

/* What is said by this program as a child; with no @what, by s->argv. */
static const char *says(const struct proc_spec *s, const char *what)
{
	const char *const argv[] = { self, "child", what, NULL };
	static char text[1024];
	buf_auto struct buf out = BUF_INIT_MAX(sizeof(text) - 1);
	struct proc_spec spec = *s;
	struct err e = ERR_INIT;

	if (what)
		spec.argv = argv;
	if (proc_run(&spec, &out, &e) < 0)
		return "failed";
	snprintf(text, sizeof(text), "%s", buf_str(&out));
	return text;
}

static int spawn_error(struct proc_spec *s, const char *name, struct err *e)
{
	const char *const argv[] = { name, NULL };
	proc_auto struct proc p = PROC_INIT;

	s->argv = argv;
	return proc_spawn(&p, s, e);
}

static int wait_status(struct proc *p)
{
	int status = -1;

	proc_wait(p, &status, NULL);
	return status;
}

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

/* ---- ends ---- */

static bool ends_soon(int fd)
{
	struct pollfd pf = { fd, POLLIN, 0 };
	char c;

	return poll(&pf, 1, 10000) == 1 && read(fd, &c, 1) == 0;
}

/* A child that holds @p[1] and waits for ever. */
static int spawn_pause(struct proc *p, int die_with_parent, int out)
{
	const char *const argv[] = { self, "child", "pause", NULL };
	struct proc_spec s = PROC_SPEC_INIT;

	s.argv = argv;
	s.out = out;
	s.die_with_parent = die_with_parent;
	return proc_spawn(p, &s, NULL);
}

static void parents_death(void)
{
	struct proc p = PROC_INIT;
	int pp[2];
	char c = 0;
	pid_t pid;

	if (pipe2(pp, O_CLOEXEC) < 0)
		bail("no pipe");
	pid = fork();
	if (pid == 0) {
		if (spawn_pause(&p, SIGKILL, pp[1]) < 0 ||
		    read(pp[0], &c, 1) != 1)
			_exit(1);
		_exit(0); /* leaving the child behind */
	}
	close(pp[1]);
	waitpid(pid, NULL, 0);
	ok(ends_soon(pp[0]), "a child dies with its parent");
	close(pp[0]);
}

static void pidfd(void)
{
	struct proc p = PROC_INIT, ended = PROC_INIT;
	struct pollfd pf = { .events = POLLIN };
	int pp[2], status;
	pid_t pid;
	char c;

	if (pipe2(pp, O_CLOEXEC) < 0)
		bail("no pipe");
	spawn_pause(&p, 0, pp[1]);
	close(pp[1]);
	pf.fd = p.pidfd;
	ok(read(pp[0], &c, 1) == 1 && poll(&pf, 1, 0) == 0,
	   "while it runs its descriptor says nothing");
	ok(fcntl(p.pidfd, F_GETFD) & FD_CLOEXEC, "and no child inherits it");
	pid = p.pid;
	kill(pid, SIGTERM);
	is_int(poll(&pf, 1, 10000), 1, "then it does");
	status = wait_status(&p);
	ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM, "how it ended");
	is_int(kill(pid, 0), -1, "it has been reaped");
	is_int(proc_wait(&p, &status, NULL), -ECHILD,
	       "nothing is left to wait for");
	spawn_pause(&p, 0, PROC_NULL);
	is_int(proc_wait(&ended, &status, NULL), -ECHILD,
	       "even when there are other children");
	pid = p.pid;
	proc_end(&p);
	ok(kill(pid, 0) < 0 && p.pid == -1 && p.pidfd == -1,
	   "proc_end kills and reaps");
	proc_end(&p);
	close(pp[0]);
}

static void status_text(void)
{
	char text[64];

	is_str(proc_status_text(3 << 8, text), "exited with 3", "an exit");
	is_str(proc_status_text(SIGKILL, text),
	       "was killed by signal 9 (Killed)", "a signal");
}

/* ---- proc_run ---- */

static void run(void)
{
	const char *const no[] = { "sh", "-c", "echo why >&2; exit 7", NULL };
	const char *const flood[] = { self, "child", "flood", NULL };
	buf_auto struct buf out = BUF_INIT;
	buf_auto struct buf small = BUF_INIT_MAX(1000);
	struct proc_spec s = PROC_SPEC_INIT;
	struct err e = ERR_INIT;

	s.argv = no;
	is_int(proc_run(&s, NULL, &e), -EIO, "a failure");
	is_str(e.text, "sh exited with 7: why", "with its last words");
	s.argv = flood;
	is_int(proc_run(&s, &out, &e), -EIO, "2 MB on both pipes");
	is_int(out.len, 2048000, "all of stdout is there");
	has_str(e.text, "exited with 3: the last line", "the last line is too");
	is_int(proc_run(&s, &small, &e), -EMSGSIZE, "more than is wanted");
	is_int(waitpid(-1, NULL, WNOHANG), -1, "ends the program");
}

/* Signals with handlers come in while the output is read. */
static void on_alarm(int sig)
{
	(void)sig;
}

static void run_interrupted(void)
{
	const char *const flood[] = { self, "child", "flood", NULL };
	struct sigaction sa = { .sa_handler = on_alarm };
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL,
			       .sigev_signo = SIGALRM };
	struct itimerspec often = { { 0, 50000 }, { 0, 50000 } };
	buf_auto struct buf out = BUF_INIT;
	struct proc_spec s = PROC_SPEC_INIT;
	timer_t timer;

	sigaction(SIGALRM, &sa, NULL);
	timer_create(CLOCK_MONOTONIC, &ev, &timer);
	timer_settime(timer, 0, &often, NULL);
	s.argv = flood;
	proc_run(&s, &out, NULL);
	timer_delete(timer);
	is_int(out.len, 2048000, "no byte is lost to a signal");
}

/* ---- without clone3 ---- */

static bool hide_clone3(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { ARRAY_SIZE(code), code };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) == 0 &&
	       syscall(SYS_clone3, NULL, 0) < 0 && errno == ENOSYS;
}

static int fallback(void)
{
	struct proc_spec s = PROC_SPEC_INIT;
	struct proc p = PROC_INIT;
	struct pollfd pf = { .events = POLLIN };
	struct err e = ERR_INIT;

	if (!hide_clone3())
		return 1;
	if (spawn_error(&s, "no-such-program", &e) != -ENOENT)
		return 2;
	s.cwd = "/usr";
	if (!strstr(says(&s, "state"), "cwd=/usr"))
		return 3;
	if (spawn_pause(&p, 0, PROC_NULL) < 0)
		return 4;
	pf.fd = p.pidfd;
	kill(p.pid, SIGKILL);
	if (poll(&pf, 1, 10000) != 1 || wait_status(&p) != SIGKILL)
		return 5;
	return 0;
}

static void without_clone3(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(fallback());
	waitpid(pid, &status, 0);
	is_int(status, 0, "a host that hides clone3");
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
	parents_death();
	pidfd();
	status_text();
	run();
	run_interrupted();
	without_clone3();
	scratch_leave();
	is_int(count_fds(), fds, "no descriptor was left open");
	return tap_done();
}
