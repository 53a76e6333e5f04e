/* SPDX-License-Identifier: MIT
 *
 * Runs one test, and ends with it all that it has started: prove(1) reads a
 * test's output until nobody holds it open, so that one process left behind by
 * a test that gave up would stop all the tests for ever.
 *
 * usage: test_alone TEST [ARG...]
 *
 *	ISO_TEST_LIMIT=SECONDS	how long a test may take (1200; 0: for ever)
 *
 * What is left behind comes to this process, which is their subreaper: each is
 * named in a comment, and killed.  A process group or a session would not do,
 * what is tested makes its own of both.  Exits with the test's status; with 124
 * when its time was over.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"

#define LIMIT 1200  /* seconds */
#define CLEAN_UP 30 /* seconds for a test that is told to end */
#define TIME_OVER 124

/* Its command line, a word from the next by a blank; "" of a zombie. */
static void name_of(pid_t pid, char name[static 200])
{
	char path[64];
	ssize_t i, n;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	f = fopen(path, "re");
	n = f ? (ssize_t)fread(name, 1, 199, f) : 0;
	if (f)
		fclose(f);
	for (i = 0; i < n; i++) {
		if (name[i] < ' ')
			name[i] = ' ';
	}
	name[n] = '\0';
}

static pid_t parent_of(pid_t pid)
{
	char path[64], line[256];
	pid_t parent = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f) &&
	       sscanf(line, "PPid: %d", &parent) != 1)
		;
	if (f)
		fclose(f);
	return parent;
}

/* Kill and reap all children that there are now.  False: there was none.  Who
 * was a grandchild is there when its parent has gone. */
static bool kill_children(pid_t test)
{
	pid_t pid, self = getpid();
	bool any = false;
	struct dirent *d;
	char name[200];
	DIR *proc = opendir("/proc");

	while (proc && (d = readdir(proc))) {
		pid = (pid_t)atoi(d->d_name);
		if (pid <= 0 || parent_of(pid) != self)
			continue;
		name_of(pid, name);
		if (name[0])
			printf("\n# %s: %d %s\n",
			       pid == test ? "killed" : "left behind", pid,
			       name);
		any = true;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	if (proc)
		closedir(proc);
	return any;
}

/* Reap what there is.  True when @test was among it, its status in @status. */
static bool reap(pid_t test, int *status)
{
	bool ended = false;
	int st;
	pid_t pid;

	while ((pid = waitpid(-1, &st, WNOHANG)) > 0) {
		if (pid != test)
			continue;
		*status = st;
		ended = true;
	}
	return ended;
}

/* Wait for the end of the test; false: its time is over. */
static bool await(pid_t test, const sigset_t *set, uint64_t limit, int *status)
{
	uint64_t end = clock_now() + CLOCK_S(limit);
	struct timespec left;
	siginfo_t info;
	int sig;

	while (!reap(test, status)) {
		uint64_t now = clock_now();

		if (limit && now >= end)
			return false;
		now = limit ? end - now : CLOCK_S(3600);
		left.tv_sec = (time_t)(now / CLOCK_S(1));
		left.tv_nsec = (long)(now % CLOCK_S(1));
		sig = sigtimedwait(set, &info, &left);
		/* Who ends us means the test, which may have to clean up.  A
		 * terminal tells all of us by itself. */
		if (sig > 0 && sig != SIGCHLD && info.si_code != SI_KERNEL)
			kill(test, sig);
	}
	return true;
}

static uint64_t limit_of(void)
{
	const char *s = getenv("ISO_TEST_LIMIT");
	struct err e = ERR_INIT;
	uint64_t limit = LIMIT;

	if (s && *s &&
	    str_u64(str_of(s), 0, 1000000, &limit, "ISO_TEST_LIMIT", &e) < 0) {
		fprintf(stderr, "test_alone: %s\n", e.text);
		exit(2);
	}
	return limit;
}

int main(int argc, char **argv)
{
	uint64_t limit = limit_of();
	sigset_t set, old;
	int status = 0;
	pid_t test;

	if (argc < 2) {
		fprintf(stderr, "usage: test_alone TEST [ARG...]\n");
		return 2;
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGQUIT);
	sigprocmask(SIG_BLOCK, &set, &old);
	test = fork();
	if (test == 0) {
		sigprocmask(SIG_SETMASK, &old, NULL);
		execv(argv[1], argv + 1);
		perror(argv[1]);
		_exit(127);
	}
	if (test < 0 || !await(test, &set, limit, &status)) {
		printf("\nnot ok - %s has not ended within %llu s\n", argv[1],
		       (unsigned long long)limit);
		if (test > 0 && kill(test, SIGTERM) == 0)
			await(test, &set, CLEAN_UP, &status);
		status = TIME_OVER << 8;
	}
	while (kill_children(test))
		;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) :
				     WEXITSTATUS(status);
}
