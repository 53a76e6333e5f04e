/* SPDX-License-Identifier: MIT
 *
 * Programs that were started: their ends, their output; and starting them on
 * hosts that hide clone3(2).
 */
#include "tests/tap.h"

#include "tests/unit/proc_child.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/syscall.h>
#include <time.h>

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
