/* SPDX-License-Identifier: MIT
 *
 * Starting programs without a shell: see proc.h.
 *
 * The child of vfork(2) runs on its parent's memory until it executes the
 * program, so child_main() and what it calls make system calls and write to
 * their own stack, and nothing else.  They report a failure through
 * struct child, which the parent reads when vfork returns to it; no pipe is
 * needed.  Identities are changed by raw system calls: the C library's
 * wrappers signal every thread of the parent, whose list the child shares.
 */
#include "base/proc.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"

#define KEEP_MAX 8
#define DEFAULT_PATH \
	"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct child {
	const struct proc_spec *spec;
	const char *const *envp;
	const char *search; /* the PATH to look argv[0] up in */
	int null;	    /* /dev/null */
	pid_t parent;
	sigset_t mask;	  /* before everything was blocked */
	int error;	  /* errno of the step that failed */
	const char *step; /* what it was doing; NULL: executing */
};

/* For functions in which the child leaves for its program: their stack frames
 * are the parent's memory, whose address sanitizer would take them for live. */
#define LEAVES __attribute__((no_sanitize("address")))

static const char *env_get(const char *const *envp, const char *name)
{
	size_t n = strlen(name);

	for (; envp && *envp; envp++) {
		if (strncmp(*envp, name, n) == 0 && (*envp)[n] == '=')
			return *envp + n + 1;
	}
	return NULL;
}

/* The steps of which an error names the place, not only the program. */
static const char STEP_ROOT[] = "change root to";
static const char STEP_CWD[] = "change to directory";

/* Everything that is set between vfork and exec and can go wrong names itself
 * in c->step first. */
static bool child_failed(struct child *c, const char *step, bool failed)
{
	if (failed) {
		c->error = errno;
		c->step = step;
	}
	return failed;
}

/* Two rounds, because a source may stand where another's target is: first all
 * sources up above the targets, then down into place. */
static bool child_fds(struct child *c)
{
	const struct proc_spec *s = c->spec;
	int from[3 + KEEP_MAX] = { s->in, s->out, s->err };
	int n = 3 + (int)s->nkeep;
	int i;

	for (i = 3; i < n; i++)
		from[i] = s->keep[i - 3];
	for (i = 0; i < n; i++) {
		from[i] = fcntl(from[i] < 0 ? c->null : from[i],
				F_DUPFD_CLOEXEC, n);
		if (from[i] < 0)
			return false;
	}
	for (i = 0; i < n; i++) {
		if (dup2(from[i], i) < 0)
			return false;
	}
	return syscall(SYS_close_range, n, ~0U, 0) == 0;
}

static bool child_cred(const struct proc_cred *cred)
{
	return syscall(SYS_setgroups, cred->ngroups, cred->groups) == 0 &&
	       syscall(SYS_setresgid, cred->gid, cred->gid, cred->gid) == 0 &&
	       syscall(SYS_setresuid, cred->uid, cred->uid, cred->uid) == 0;
}

static void child_signals(void)
{
	/* The kernel's sigaction for SIG_DFL is all zero.  By system call, for
	 * the library keeps its hands on two signals that may be inherited
	 * ignored. */
	static const uint64_t dfl[4];
	sigset_t none;
	int i;

	for (i = 1; i < NSIG; i++)
		syscall(SYS_rt_sigaction, i, dfl, NULL, 8);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Try argv[0] in each directory of the PATH, as execvp(3) does, but the PATH
 * of the environment that the program gets. */
static LEAVES void child_exec(struct child *c)
{
	const char *const *argv = c->spec->argv;
	struct str path = str_of(c->search);
	char full[PATH_MAX];
	int error = ENOENT;

	if (strchr(argv[0], '/')) {
		execve(argv[0], (char *const *)(uintptr_t)argv,
		       (char *const *)(uintptr_t)c->envp);
		c->error = errno;
		return;
	}
	while (path.p) {
		struct str dir = str_cut(&path, ':');
		int n = snprintf(full, sizeof(full), "%.*s/%s", STR_ARG(dir),
				 argv[0]);

		if (dir.len == 0 || n < 0 || (size_t)n >= sizeof(full))
			continue;
		execve(full, (char *const *)(uintptr_t)argv,
		       (char *const *)(uintptr_t)c->envp);
		if (errno != ENOENT && errno != ENOTDIR)
			error = errno;
		if (errno != ENOENT && errno != ENOTDIR && errno != EACCES)
			break;
	}
	c->error = error;
}

static LEAVES void child_main(struct child *c)
{
	const struct proc_spec *s = c->spec;

	if (child_failed(c, "make a session", s->session && setsid() < 0))
		return;
	if (child_failed(c, "arrange descriptors", !child_fds(c)))
		return;
	if (child_failed(c, STEP_ROOT, s->root && chroot(s->root) < 0))
		return;
	if (child_failed(c, "take the terminal",
			 s->ctty && ioctl(0, TIOCSCTTY, 0) < 0))
		return;
	if (child_failed(c, "change user", s->cred && !child_cred(s->cred)))
		return;
	if (child_failed(c, STEP_CWD,
			 (s->cwd || s->root) && chdir(s->cwd ? s->cwd : "/")))
		return;
	if (s->umask >= 0)
		umask((mode_t)s->umask);
	/* A change of user clears it: so only now. */
	if (s->die_with_parent) {
		prctl(PR_SET_PDEATHSIG, s->die_with_parent);
		if (getppid() != c->parent)
			return;
	}
	child_signals();
	child_exec(c);
}

/* vfork by clone3(2), which also places the child in its cgroup: moving it
 * there afterwards waits for an RCU grace period, milliseconds.  The system
 * call is inline because the child runs on this very stack: a return address
 * of a wrapper would be overwritten before the parent returns through it.
 * The parent's pid, or -errno. */
static __attribute__((noinline)) long start(struct child *c, int *pidfd)
{
	struct clone_args a = {
		.flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD,
		.pidfd = (uintptr_t)pidfd,
		.exit_signal = SIGCHLD,
	};
	long r;

	if (c->spec->cgroup >= 0) {
		a.flags |= CLONE_INTO_CGROUP;
		a.cgroup = (uint64_t)c->spec->cgroup;
	}
	__asm__ volatile("syscall"
			 : "=a"(r)
			 : "0"(SYS_clone3), "D"(&a), "S"(sizeof(a))
			 : "rcx", "r11", "memory");
	if (r == 0) {
		child_main(c);
		_exit(127);
	}
	return r;
}

/* For hosts whose container runtime hides clone3. */
static __attribute__((noinline)) long start_vfork(struct child *c, int *pidfd)
{
	pid_t pid = vfork();

	if (pid == 0) {
		child_main(c);
		_exit(127);
	}
	if (pid < 0)
		return -errno;
	*pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (*pidfd < 0 && !c->error)
		c->error = errno;
	return pid;
}

/* -ENOENT and -EACCES are kept for the program itself. */
static int place_error(const struct child *c, const char *path, struct err *e)
{
	err_sys(e, c->error, "cannot %s %s", c->step, path);
	if (e)
		e->num = ENOTDIR;
	return -ENOTDIR;
}

static int spawn_error(const struct child *c, struct err *e)
{
	const struct proc_spec *s = c->spec;
	const char *step = c->step;

	if (!step)
		return err_sys(e, c->error, "cannot run %s", s->argv[0]);
	if (step == STEP_ROOT)
		return place_error(c, s->root, e);
	if (step == STEP_CWD)
		return place_error(c, s->cwd ? s->cwd : "/", e);
	return err_sys(e, c->error, "cannot %s to run %s", step, s->argv[0]);
}

int proc_spawn(struct proc *p, const struct proc_spec *s, struct err *e)
{
	fd_auto int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct child c = {
		.spec = s,
		.envp = s->envp ? s->envp : (const char *const *)environ,
		.null = null,
		.parent = getpid(),
	};
	sigset_t all;
	int pidfd = -1;
	long pid;

	if (null < 0)
		return err_sys(e, errno, "cannot open /dev/null");
	if (s->nkeep > KEEP_MAX)
		return err_set(e, EINVAL, "too many descriptors to keep");
	c.search = env_get(c.envp, "PATH");
	if (!c.search)
		c.search = DEFAULT_PATH;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &c.mask);
	pid = start(&c, &pidfd);
	if (pid == -ENOSYS && s->cgroup < 0)
		pid = start_vfork(&c, &pidfd);
	sigprocmask(SIG_SETMASK, &c.mask, NULL);
	if (pid < 0)
		return err_sys(e, (int)-pid, "cannot start a process");
	if (c.error) {
		/* It has ended by itself, or it has no pidfd. */
		kill((pid_t)pid, SIGKILL);
		waitpid((pid_t)pid, NULL, 0);
		fd_close(&pidfd);
		return spawn_error(&c, e);
	}
	p->pid = (pid_t)pid;
	p->pidfd = pidfd;
	return 0;
}

int proc_become(const struct proc_spec *s, struct err *e)
{
	struct child c = {
		.spec = s,
		.envp = s->envp ? s->envp : (const char *const *)environ,
	};

	c.search = env_get(c.envp, "PATH");
	if (!c.search)
		c.search = DEFAULT_PATH;
	if (!child_failed(&c, "change user", s->cred && !child_cred(s->cred)) &&
	    !child_failed(&c, STEP_CWD, s->cwd && chdir(s->cwd)))
		child_exec(&c);
	return spawn_error(&c, e);
}

int proc_wait(struct proc *p, int *status, struct err *e)
{
	pid_t r;

	/* Not just any child, which is what waitpid takes -1 for. */
	if (p->pid <= 0)
		return err_set(e, ECHILD, "no process to wait for");
	do {
		r = waitpid(p->pid, status, 0);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return err_sys(e, errno, "cannot wait for process %d", p->pid);
	p->pid = -1;
	fd_close(&p->pidfd);
	return 0;
}

void proc_end(struct proc *p)
{
	int saved = errno;
	int status;

	if (p->pid > 0) {
		kill(p->pid, SIGKILL);
		proc_wait(p, &status, NULL);
	}
	fd_close(&p->pidfd);
	errno = saved;
}

/* Read @out and @err until both end. */
static int drain(int out_fd, struct buf *out, int err_fd, struct buf *err)
{
	struct pollfd pf[2] = { { out_fd, POLLIN, 0 }, { err_fd, POLLIN, 0 } };
	struct buf *to[2] = { out, err };
	uint8_t chunk[16384];
	int i, r;

	while (pf[0].fd >= 0 || pf[1].fd >= 0) {
		if (poll(pf, 2, -1) < 0) {
			if (errno != EINTR)
				return -errno;
			continue;
		}
		for (i = 0; i < 2; i++) {
			ssize_t n;

			if (pf[i].fd < 0 || !pf[i].revents)
				continue;
			n = read(pf[i].fd, chunk, sizeof(chunk));
			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0) {
				pf[i].fd = -1;
				continue;
			}
			/* Of talk on stderr only the end counts. */
			if (i == 1 && err->len > sizeof(chunk))
				buf_shift(err, err->len - sizeof(chunk));
			r = to[i] ? buf_add(to[i], chunk, (size_t)n) : 0;
			if (r < 0)
				return r;
		}
	}
	return 0;
}

static struct str last_line(struct buf *b)
{
	struct str s = { (const char *)b->data, b->len };
	const char *nl;

	s = str_trim(s);
	nl = s.len ? memrchr(s.p, '\n', s.len) : NULL;
	if (nl) {
		s.len -= (size_t)(nl + 1 - s.p);
		s.p = nl + 1;
	}
	return s;
}

int proc_run(const struct proc_spec *s, struct buf *out, struct err *e)
{
	proc_auto struct proc p = PROC_INIT;
	buf_auto struct buf err = BUF_INIT_MAX(65536);
	struct proc_spec spec = *s;
	int op[2], ep[2];
	char text[64];
	int status = 0, r;

	if (pipe2(op, O_CLOEXEC) < 0)
		return err_sys(e, errno, "cannot make a pipe");
	if (pipe2(ep, O_CLOEXEC) < 0) {
		r = errno;
		close(op[0]);
		close(op[1]);
		return err_sys(e, r, "cannot make a pipe");
	}
	spec.out = op[1];
	if (spec.err == PROC_NULL)
		spec.err = ep[1];
	r = proc_spawn(&p, &spec, e);
	close(op[1]);
	close(ep[1]);
	if (r == 0) {
		r = drain(op[0], out, ep[0], &err);
		if (r < 0)
			err_sys(e, -r, "cannot read from %s", s->argv[0]);
	}
	close(op[0]);
	close(ep[0]);
	if (r == 0)
		r = proc_wait(&p, &status, e);
	if (r < 0)
		return r;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return err_set(e, EIO, "%s %s%s%.*s", s->argv[0],
		       proc_status_text(status, text), err.len ? ": " : "",
		       STR_ARG(last_line(&err)));
}

const char *proc_status_text(int status, char text[static 64])
{
	if (WIFEXITED(status))
		snprintf(text, 64, "exited with %d", WEXITSTATUS(status));
	else if (WIFSIGNALED(status))
		snprintf(text, 64, "was killed by signal %d (%s)",
			 WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(text, 64, "ended with status 0x%x", (unsigned)status);
	return text;
}
