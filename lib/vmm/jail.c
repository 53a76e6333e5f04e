/* SPDX-License-Identifier: MIT
 *
 * The jail: see jail.h.  Its stages, in their order; "should" is what a stage
 * is for, "mustn't" what has to keep working after it.
 *
 * 0. The cgroup, which is not here: lib/sandbox starts the monitor in its leaf
 *    (CLONE_INTO_CGROUP), so that its first page is counted already.
 *    Should: bound memory, processors and processes by the sandbox's size.
 *
 * 1. Descriptors.
 *    Should: close whatever was inherited and is not named; let no directory
 *    through, which would be a way around the empty root.
 *    Mustn't: close what the caller opened, nor leave 0 to 2 free for others.
 *
 * 2. A user namespace, when we are not root.
 *    Should: give the privilege that the stages up to 6 take.
 *    Mustn't: change who we are to files that are open or to the caller's
 *    other processes: the one user in it is mapped to itself.
 *
 * 3. A mount namespace, with nothing that propagates in or out.
 * 4. A network namespace, empty: a loopback interface that is down.
 *    Should: leave no way to the network, were there sockets.
 *    Mustn't: touch the tap, which is a descriptor and works from anywhere.
 * 5. IPC and UTS namespaces.
 *    Should: leave nothing shared to talk through, nor a name to change.
 *
 *    No PID namespace: it ends with its first process, and the children that
 *    this monitor forks are to outlive it.  What it would keep from us, seeing
 *    and signalling others, stage 8 keeps from us, and there is no /proc.
 *
 * 6. The root directory: an empty one that cannot be written.
 *    Should: make every path lead nowhere; the old root is gone, not hidden.
 *    Mustn't: leave room for even one file.
 *
 * 7. Identity.
 *    Should: run as the sandbox's own user and group with no others, without
 *    any capability and any way to get one (bounding set empty, no_new_privs).
 *    Mustn't: touch /dev/kvm, which was opened before.
 *
 * 8. Limits: descriptors, sizes of files, no core dump with a guest's memory in
 *    it, not dumpable, hence no ptrace by others of the same user (a forked
 *    child runs as that user, too).
 *    Mustn't: limit address space (that is mostly the guest's and mostly not
 *    there) or processes (that is by user, and forked children share theirs).
 *
 * 9. System calls, by thread: jail_thread(), in seccomp.c.
 *    Should: kill at the first call that is not on the list.
 *    Mustn't: be in the way of a fork: jail.h says how.
 *
 * Rejected: a jailer that does this and then executes the monitor, as there are
 * elsewhere.  What it costs is a second program and an exec; what it would need
 * is paths in the jail, and here there are none, since everything is opened
 * before.
 */
#include "vmm/jail.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "vmm/seccomp.h"

/* Where the new root is mounted for a moment: there, since /dev/kvm was. */
#define STEP "/dev"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* ---- 1. descriptors ------------------------------------------------------ */

static int compare_fds(const void *a, const void *b)
{
	const int *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int check_fd(int fd, struct err *e)
{
	struct stat st;

	if (fd <= STDERR_FILENO)
		return err_set(e, EINVAL,
			       "descriptor %d cannot be kept: "
			       "0 to 2 stay anyway, lower there is none",
			       fd);
	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "cannot keep descriptor %d", fd);
	if (S_ISDIR(st.st_mode))
		return err_set(e, EISDIR,
			       "cannot keep descriptor %d: a "
			       "directory is a way out of the jail",
			       fd);
	return 0;
}

static int enter_fds(const struct jail_spec *s, struct err *e)
{
	mem_auto int *fds = calloc(s->nkeep + 1, sizeof(*fds));
	unsigned int first, last;
	size_t i, n = 0;
	int r;

	if (!fds)
		return err_sys(e, ENOMEM, "cannot sort descriptors");
	for (i = 0; i < s->nkeep; i++) {
		fds[n++] = s->keep[i];
		r = check_fd(s->keep[i], e);
		if (r < 0)
			return r;
	}
	if (s->netns >= 0)
		fds[n++] = s->netns;
	qsort(fds, n, sizeof(*fds), compare_fds);
	r = fd_ensure_stdio();
	if (r < 0)
		return err_sys(e, -r, "cannot open /dev/null");
	for (i = 0; i <= n; i++) {
		first = i == 0 ? STDERR_FILENO + 1U :
				 (unsigned int)fds[i - 1] + 1;
		last = i == n ? ~0U : (unsigned int)fds[i] - 1;
		if (first <= last && close_range(first, last, 0) < 0)
			return err_sys(e, errno, "cannot close descriptors");
	}
	return 0;
}

/* ---- 2. to 5. namespaces ------------------------------------------------- */

static int write_line(const char *path, const char *line, struct err *e)
{
	fd_auto int fd = open(path, O_WRONLY | O_CLOEXEC);
	size_t len = strlen(line);

	if (fd < 0)
		return err_sys(e, errno, "cannot open %s", path);
	if (write(fd, line, len) != (ssize_t)len)
		return err_sys(e, errno, "cannot write '%s' to %s", line, path);
	return 0;
}

static int no_userns(int num, struct err *e)
{
	err_sys(e, num,
		"cannot make a user namespace, "
		"which is what jails a monitor that is not run by root");
	return err_fix(e, "run as root, or let users make them: sysctl "
			  "user.max_user_namespaces=10000 (and "
			  "kernel.unprivileged_userns_clone=1, "
			  "kernel.apparmor_restrict_unprivileged_userns=0 "
			  "where they exist)");
}

static int enter_user(const struct jail_spec *s, struct err *e)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	char line[64];
	int r;

	(void)s;
	if (uid == 0)
		return 0;
	if (unshare(CLONE_NEWUSER) < 0)
		return no_userns(errno, e);
	r = write_line("/proc/self/setgroups", "deny", e);
	if (r < 0)
		return r;
	snprintf(line, sizeof(line), "%u %u 1", uid, uid);
	r = write_line("/proc/self/uid_map", line, e);
	if (r < 0)
		return r;
	snprintf(line, sizeof(line), "%u %u 1", gid, gid);
	return write_line("/proc/self/gid_map", line, e);
}

static int make_ns(int flags, const char *what, struct err *e)
{
	if (unshare(flags) == 0)
		return 0;
	if (errno == EPERM && geteuid() != 0)
		return no_userns(EPERM, e);
	err_sys(e, errno, "cannot make a namespace of %s", what);
	if (errno == EPERM)
		err_fix(e, "run with CAP_SYS_ADMIN, or not as root");
	return e ? -e->num : -EPERM;
}

static int enter_mount(const struct jail_spec *s, struct err *e)
{
	int r = make_ns(CLONE_NEWNS, "mounts", e);

	(void)s;
	if (r < 0)
		return r;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(e, errno, "cannot make mounts private");
	return 0;
}

static int enter_net(const struct jail_spec *s, struct err *e)
{
	int fd = s->netns;

	if (fd < 0)
		return make_ns(CLONE_NEWNET, "networks", e);
	if (setns(fd, CLONE_NEWNET) < 0)
		return err_sys(e, errno, "cannot enter the empty network");
	close(fd);
	return 0;
}

static int enter_ipc(const struct jail_spec *s, struct err *e)
{
	(void)s;
	return make_ns(CLONE_NEWIPC | CLONE_NEWUTS, "IPC and names", e);
}

/* ---- 6. the root directory ----------------------------------------------- */

static int enter_root(const struct jail_spec *s, struct err *e)
{
	(void)s;
	/* The root itself is the one inode, and there are no blocks. */
	if (mount("jail", STEP, "tmpfs",
		  MS_RDONLY | MS_NODEV | MS_NOEXEC | MS_NOSUID,
		  "nr_inodes=1,nr_blocks=1,mode=0555") < 0)
		return err_sys(e, errno, "cannot mount an empty root on %s",
			       STEP);
	if (chdir(STEP) < 0)
		return err_sys(e, errno, "cannot enter the empty root");
	/* The old root comes to lie on top of the new one, and is taken off.
	 * "." is still the new one. */
	if (syscall(SYS_pivot_root, ".", ".") < 0) {
		err_sys(e, errno, "cannot change the root directory");
		return err_fix(e, "the root of this system must be a mounted "
				  "file system, not the initial ramfs");
	}
	if (umount2(".", MNT_DETACH) < 0)
		return err_sys(e, errno, "cannot detach the old root");
	if (chdir("/") < 0)
		return err_sys(e, errno, "cannot enter the empty root");
	return 0;
}

/* ---- 7. identity --------------------------------------------------------- */

static int drop_bounding_set(struct err *e)
{
	int cap;

	/* EINVAL: beyond the last one. */
	for (cap = 0; prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0; cap++)
		;
	if (errno != EINVAL || cap == 0)
		return err_sys(e, errno, "cannot drop capability %d", cap);
	return 0;
}

static int drop_caps(struct err *e)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return err_sys(e, errno, "cannot drop ambient capabilities");
	if (syscall(SYS_capset, &head, none) < 0)
		return err_sys(e, errno, "cannot drop capabilities");
	return 0;
}

static int enter_identity(const struct jail_spec *s, struct err *e)
{
	int r = drop_bounding_set(e);

	if (r < 0)
		return r;
	if (geteuid() == 0) {
		if (s->uid == 0 || s->gid == 0)
			return err_set(e, EINVAL,
				       "the sandbox's user and "
				       "group are %u and %u, not its own",
				       s->uid, s->gid);
		if (setgroups(0, NULL) < 0)
			return err_sys(e, errno, "cannot leave all groups");
		if (setresgid(s->gid, s->gid, s->gid) < 0)
			return err_sys(e, errno, "cannot become group %u",
				       s->gid);
		if (setresuid(s->uid, s->uid, s->uid) < 0)
			return err_sys(e, errno, "cannot become user %u",
				       s->uid);
	}
	r = drop_caps(e);
	if (r < 0)
		return r;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(e, errno, "cannot give up new privileges");
	return 0;
}

/* ---- 8. limits ----------------------------------------------------------- */

static int limit(int what, const char *name, uint64_t most, struct err *e)
{
	struct rlimit l;

	if (getrlimit(what, &l) < 0)
		return err_sys(e, errno, "cannot read the limit of %s", name);
	/* A limit that is lower already stays: raising takes privilege. */
	if (l.rlim_max > most)
		l.rlim_max = most;
	l.rlim_cur = l.rlim_max;
	if (setrlimit(what, &l) < 0)
		return err_sys(e, errno, "cannot limit %s to %llu", name,
			       (unsigned long long)most);
	return 0;
}

static int enter_limits(const struct jail_spec *s, struct err *e)
{
	int r = limit(RLIMIT_NOFILE, "descriptors", s->files, e);

	if (r == 0)
		r = limit(RLIMIT_FSIZE, "file size", s->file_size, e);
	if (r == 0)
		r = limit(RLIMIT_CORE, "core dumps", 0, e);
	if (r == 0)
		r = limit(RLIMIT_MEMLOCK, "locked memory", 0, e);
	if (r == 0)
		r = limit(RLIMIT_MSGQUEUE, "message queues", 0, e);
	if (r < 0)
		return r;
	/* EFBIG is enough to say that a file would grow too large. */
	if (signal(SIGXFSZ, SIG_IGN) == SIG_ERR)
		return err_sys(e, errno, "cannot ignore SIGXFSZ");
	/* After the change of user, which sets it anew. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_sys(e, errno, "cannot forbid core dumps");
	return 0;
}

/* ---- all of it ----------------------------------------------------------- */

static int (*const stages[JAIL_STAGES])(const struct jail_spec *,
					struct err *) = {
	[JAIL_FDS] = enter_fds,		  [JAIL_USER] = enter_user,
	[JAIL_MOUNT] = enter_mount,	  [JAIL_NET] = enter_net,
	[JAIL_IPC] = enter_ipc,		  [JAIL_ROOT] = enter_root,
	[JAIL_IDENTITY] = enter_identity, [JAIL_LIMITS] = enter_limits,
};

int jail_enter(const struct jail_spec *s, struct err *e)
{
	uint64_t from = clock_now(), now;
	int i, r;

	/* Nothing happens, unless there is another thread: EINVAL. */
	if (unshare(CLONE_THREAD) < 0)
		return err_sys(e, errno, "a thread would stay out of the jail");
	for (i = 0; i < JAIL_STAGES; i++) {
		r = stages[i](s, e);
		if (r < 0)
			return r;
		now = clock_now();
		if (s->took)
			s->took[i] = now - from;
		from = now;
	}
	return 0;
}

#ifdef __SANITIZE_ADDRESS__
/* The search for leaks at the end of the process takes ptrace. */
static bool jailed;

int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return jailed;
}
#endif

int jail_thread(enum jail_role role, struct err *e)
{
#ifdef __SANITIZE_ADDRESS__
	jailed = true;
#endif
	return seccomp_install(role, e);
}

/* ---- signals to ourselves ------------------------------------------------ */

int jail_kick_init(struct jail_kick *k, int sig, struct err *e)
{
	struct sigevent ev = {
		.sigev_notify = SIGEV_THREAD_ID,
		.sigev_signo = sig,
	};

	ev.sigev_notify_thread_id = gettid();
	if (timer_create(CLOCK_MONOTONIC, &ev, &k->timer) < 0)
		return err_sys(e, errno, "cannot create a timer");
	return 0;
}

void jail_kick(const struct jail_kick *k)
{
	const struct itimerspec at_once = { .it_value = { .tv_nsec = 1 } };

	/* Fails only for a timer that is not there. */
	timer_settime(k->timer, 0, &at_once, NULL);
}

void jail_kick_free(struct jail_kick *k)
{
	timer_delete(k->timer);
}
