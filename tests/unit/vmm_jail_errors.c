/* SPDX-License-Identifier: MIT
 *
 * What is not let into the monitor's jail, and what is said then.  As root.
 */
#include "tests/unit/jail_child.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

static int refused(const struct jail_spec *s, struct err *e)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(-jail_enter(s, e));
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void *idle(void *arg)
{
	char c;

	return read(*(int *)arg, &c, 1) ? arg : NULL;
}

static void test_refusals(void)
{
	int dir = open("/", O_RDONLY | O_DIRECTORY), gone = 60, two = 2;
	struct jail_spec s = CHILD_SPEC(&dir, 1);
	struct err *e = mmap(NULL, sizeof(*e), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid;
	int status;

	is_int(refused(&s, e), EISDIR, "a directory is not let in");
	has_str(e->text, "way out", "and it says why");
	s.keep = &gone;
	is_int(refused(&s, e), EBADF, "nor a descriptor that is not open");
	s.keep = &two;
	is_int(refused(&s, e), EINVAL, "nor standard error twice");
	s.nkeep = 0;
	s.uid = 0;
	is_int(refused(&s, e), EINVAL, "root does not stay root");
	has_str(e->text, "user and group are 0", "and it says what it was");
	s.uid = CHILD_UID;
	s.gid = 0;
	is_int(refused(&s, e), EINVAL, "nor in root's group");
	s.gid = CHILD_GID;
	pid = fork();
	if (pid == 0) {
		int pipes[2];
		pthread_t t;

		if (pipe(pipes) || pthread_create(&t, NULL, idle, pipes))
			_exit(CHILD_FAILED);
		_exit(-jail_enter(&s, e));
	}
	waitpid(pid, &status, 0);
	is_int(WEXITSTATUS(status), EINVAL, "a second thread is seen");
	has_str(e->text, "thread", "and named");
	munmap(e, sizeof(*e));
	close(dir);
}

/* A user whose namespaces are used up gets advice. */
static void test_no_userns(void)
{
	struct jail_spec s = CHILD_SPEC(NULL, 0);
	struct err *e = mmap(NULL, sizeof(*e), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid = fork();
	int status, fd;

	if (pid == 0) {
		/* A limit of a user namespace of our own: not the machine's. */
		if (unshare(CLONE_NEWUSER))
			_exit(CHILD_FAILED);
		fd = open("/proc/self/uid_map", O_WRONLY);
		if (fd < 0 || write(fd, "5 0 1", 5) != 5)
			_exit(CHILD_FAILED);
		fd = open("/proc/sys/user/max_user_namespaces", O_WRONLY);
		if (fd < 0 || write(fd, "0", 1) != 1)
			_exit(CHILD_FAILED);
		_exit(-jail_enter(&s, e));
	}
	waitpid(pid, &status, 0);
	is_int(WEXITSTATUS(status), ENOSPC, "no user namespace is to be had");
	has_str(e->text, "user namespace", "it says what");
	has_str(e->fix, "max_user_namespaces", "and how to get one");
	munmap(e, sizeof(*e));
}

int main(void)
{
	if (geteuid() != 0)
		bail("this has to be root's");
	test_refusals();
	test_no_userns();
	return tap_done();
}
