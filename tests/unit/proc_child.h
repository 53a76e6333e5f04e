/* SPDX-License-Identifier: MIT
 *
 * A child for tests of processes: mostly the test program itself, which prints
 * what it finds itself to be: "PROGRAM child WHAT [ARG...]".
 */
#ifndef TESTS_UNIT_PROC_CHILD_H
#define TESTS_UNIT_PROC_CHILD_H

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"
#include "base/str.h"
#include "tests/unit/scratch.h"

/* /proc/self/exe would be another program in the child. */
static char self[PATH_MAX];

/* ---- in the child ---- */

static inline int child_flood(void)
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

static inline int child_state(void)
{
	char cwd[PATH_MAX];
	int sig = 0;
	mode_t mask = umask(0);

	prctl(PR_GET_PDEATHSIG, &sig);
	printf("cwd=%s umask=%o leader=%d pdeathsig=%d\n",
	       getcwd(cwd, sizeof(cwd)), mask, getsid(0) == getpid(), sig);
	return 0;
}

static inline int child_cred(void)
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
static inline int child_signals(void)
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
static inline int child_inodes(int argc, char **argv)
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

static inline int child_tty(void)
{
	int fd = open("/dev/tty", O_RDWR);

	return fd >= 0 && tcgetsid(fd) == getpid() && isatty(0) ? 0 : 1;
}

static inline int child_main(int argc, char **argv)
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
static inline const char *says(const struct proc_spec *s, const char *what)
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

static inline int spawn_error(const struct proc_spec *s, const char *name,
			      struct err *e)
{
	const char *const argv[] = { name, NULL };
	struct proc_spec spec = *s;
	proc_auto struct proc p = PROC_INIT;

	spec.argv = argv;
	return proc_spawn(&p, &spec, e);
}

static inline int wait_status(struct proc *p)
{
	int status = -1;

	proc_wait(p, &status, NULL);
	return status;
}

#endif
