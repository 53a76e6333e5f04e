/* SPDX-License-Identifier: MIT
 *
 * The walls of the monitor's jail, each without help from the filter of system
 * calls, which would be there first: see vmm_seccomp.c for that one.  As root.
 */
#include "tests/unit/jail_child.h"

#include "base/fd.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>

/* What a child found, in memory that it shares with us. */
static struct seen {
	int n; /* results[] that are there */
	struct {
		char what[64];
		int64_t got, want;
	} results[64];
} * seen;

static void saw(const char *what, int64_t got, int64_t want)
{
	if (seen->n == (int)ARRAY_SIZE(seen->results))
		_exit(CHILD_FAILED);
	snprintf(seen->results[seen->n].what, sizeof(seen->results[0].what),
		 "%s", what);
	seen->results[seen->n].got = got;
	seen->results[seen->n++].want = want;
}

/* What a call gives: its result, or -errno. */
#define SAW(call, want)                                     \
	do {                                                \
		int64_t got_ = (int64_t)(call);             \
		saw(#call, got_ < 0 ? -errno : got_, want); \
	} while (0)

/* Our own things that the child must not reach. */
static pid_t parent;
static int secret; /* to be read from this address of the parent */
static char abstract[] = "\0isokit-jail-test-XXXXXXXX";

static struct sockaddr_un abstract_addr(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	memcpy(a.sun_path, abstract, sizeof(abstract));
	return a;
}

/* ---- what there is ------------------------------------------------------- */

static int entries(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *f;
	int n = 0;

	if (!d)
		return -1;
	while ((f = readdir(d)))
		n += strcmp(f->d_name, ".") != 0 &&
		     strcmp(f->d_name, "..") != 0;
	closedir(d);
	return n;
}

static void look_at_root(void)
{
	char cwd[64];

	saw("the root has no entry", entries("/"), 0);
	saw("nor has the directory above it", entries("/.."), 0);
	saw("it is where we are",
	    getcwd(cwd, sizeof(cwd)) ? strcmp(cwd, "/") : -errno, 0);
	SAW(open("/proc/self/status", O_RDONLY), -ENOENT);
	SAW(open("/dev/kvm", O_RDWR), -ENOENT);
	SAW(open("/etc/passwd", O_RDONLY), -ENOENT);
	SAW(open("/x", O_CREAT | O_WRONLY, 0600), -EROFS);
	SAW(mkdir("/x", 0700), -EROFS);
	SAW(open("/", O_TMPFILE | O_RDWR, 0600), -EROFS);
	SAW(mount(NULL, "/", NULL, MS_REMOUNT, NULL), -EPERM);
	SAW(mount("x", "/", "tmpfs", 0, NULL), -EPERM);
	SAW(umount2("/", MNT_DETACH), -EPERM);
}

static void look_at_net(void)
{
	struct if_nameindex *all = if_nameindex();
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_port = htons(80),
				  .sin_addr = { htonl(INADDR_LOOPBACK) } };
	struct sockaddr_un un = abstract_addr();
	struct ifreq lo = { .ifr_name = "lo" };
	int s = socket(AF_INET, SOCK_STREAM, 0);
	int u = socket(AF_UNIX, SOCK_STREAM, 0);

	saw("there is one interface", all && all[0].if_name && !all[1].if_name,
	    1);
	SAW(ioctl(s, SIOCGIFFLAGS, &lo), 0);
	saw("and it is down", lo.ifr_flags & IFF_UP, 0);
	SAW(connect(s, (void *)&in, sizeof(in)), -ENETUNREACH);
	SAW(connect(u, (void *)&un, sizeof(un)), -ECONNREFUSED);
	lo.ifr_flags |= IFF_UP;
	SAW(ioctl(s, SIOCSIFFLAGS, &lo), -EPERM);
}

static void look_at_caps(void)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct caps[2];
	uint32_t any = 0;
	int i, bound = 0, ambient = 0;

	SAW(syscall(SYS_capget, &head, caps), 0);
	for (i = 0; i < 2; i++)
		any |= caps[i].effective | caps[i].permitted |
		       caps[i].inheritable;
	saw("no capability", any, 0);
	for (i = 0; i < 64; i++) {
		bound += prctl(PR_CAPBSET_READ, i) > 0;
		ambient += prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, i, 0,
				 0) > 0;
	}
	saw("none in the bounding set", bound, 0);
	saw("none in the ambient set", ambient, 0);
	SAW(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
	SAW(prctl(PR_GET_DUMPABLE), 0);
}

static void look_at_user(void)
{
	uid_t r, e, s;
	gid_t gr, ge, gs;

	getresuid(&r, &e, &s);
	getresgid(&gr, &ge, &gs);
	saw("all users are its own",
	    r == CHILD_UID && e == CHILD_UID && s == CHILD_UID, 1);
	saw("all groups are its own",
	    gr == CHILD_GID && ge == CHILD_GID && gs == CHILD_GID, 1);
	SAW(getgroups(0, NULL), 0);
	SAW(setuid(0), -EPERM);
	SAW(setgid(0), -EPERM);
	SAW(setgroups(0, NULL), -EPERM);
	SAW(unshare(CLONE_NEWNS), -EPERM);
	SAW(unshare(CLONE_NEWNET), -EPERM);
	SAW(sethostname("x", 1), -EPERM);
	SAW(chroot("/"), -EPERM);
}

static void look_at_others(void)
{
	int copy = 0;
	struct iovec here = { &copy, sizeof(copy) };
	struct iovec there = { &secret, sizeof(secret) };

	SAW(kill(parent, 0), -EPERM);
	SAW(syscall(SYS_tgkill, parent, parent, SIGTERM), -EPERM);
	SAW(ptrace(PTRACE_ATTACH, parent, NULL, NULL), -EPERM);
	SAW(process_vm_readv(parent, &here, 1, &there, 1, 0), -EPERM);
	SAW(setpriority(PRIO_PROCESS, (id_t)parent, 19), -EPERM);
}

static void look_at_limits(void)
{
	struct rlimit l;
	int fd = -1, most = -1;

	getrlimit(RLIMIT_CORE, &l);
	saw("no core dump", (int64_t)l.rlim_max, 0);
	getrlimit(RLIMIT_FSIZE, &l);
	saw("the limit of files is ours", (int64_t)l.rlim_max, CHILD_FILE_SIZE);
	while ((fd = eventfd(0, 0)) >= 0)
		most = fd;
	saw("no more descriptors than it was given", errno, EMFILE);
	saw("but all of those", most + 1, CHILD_FILES);
}

static int look(void *arg)
{
	const int *fds = arg; /* kept, closed, a regular file (kept) */

	SAW(write(fds[0], "12345678", 8), 8);
	SAW(write(fds[1], "12345678", 8), -EBADF);
	SAW(pwrite(fds[2], "x", 1, CHILD_FILE_SIZE - 1), 1);
	SAW(pwrite(fds[2], "x", 1, CHILD_FILE_SIZE), -EFBIG);
	look_at_root();
	look_at_net();
	look_at_caps();
	look_at_user();
	look_at_others();
	look_at_limits();
	return 0;
}

static void test_walls(void)
{
	int fds[] = { eventfd(0, 0), eventfd(0, 0), memfd_create("file", 0) };
	int keep[] = { fds[2], fds[0] };
	struct jail_spec s = CHILD_SPEC(keep, 2);
	struct sockaddr_un un = abstract_addr();
	int u = socket(AF_UNIX, SOCK_STREAM, 0), i;

	if (bind(u, (void *)&un, sizeof(un)) < 0 || listen(u, 1) < 0)
		bail("no abstract socket");
	seen->n = 0;
	is_int(child_run(&s, ROLE_NONE, look, fds), 0, "a child in jail");
	for (i = 0; i < seen->n; i++)
		is_int(seen->results[i].got, seen->results[i].want,
		       seen->results[i].what);
	ok(i > 40, "it has looked at everything");
	for (i = 0; i < 3; i++)
		close(fds[i]);
	close(u);
}

/* ---- a process of the same user ------------------------------------------ */

static int lines(const char *path)
{
	FILE *f = fopen(path, "re");
	int c, n = 0;

	while (f && (c = fgetc(f)) != EOF)
		n += c == '\n';
	if (f)
		fclose(f);
	return n;
}

static int attack(pid_t victim)
{
	char path[64];
	int copy;
	struct iovec here = { &copy, sizeof(copy) };
	struct iovec there = { &secret, sizeof(secret) };

	seen->n = 0;
	snprintf(path, sizeof(path), "/proc/%d/mountinfo", victim);
	saw("nothing is mounted there but the root", lines(path), 1);
	snprintf(path, sizeof(path), "/proc/%d/mem", victim);
	if (setgroups(0, NULL) || setresgid(CHILD_GID, CHILD_GID, CHILD_GID) ||
	    setresuid(CHILD_UID, CHILD_UID, CHILD_UID))
		return CHILD_FAILED;
	SAW(open(path, O_RDONLY), -EACCES);
	/* Not PTRACE_ATTACH: were it let, it would stop it for good. */
	SAW(ptrace(PTRACE_SEIZE, victim, NULL, NULL), -EPERM);
	SAW(process_vm_readv(victim, &here, 1, &there, 1, 0), -EPERM);
	return 0;
}

/* A byte in go[0] says that it is in jail; it ends with the byte in go[1]. */
static int wait_here(void *arg)
{
	int *go = arg;
	char c = 0;

	return write(go[0], &c, 1) == 1 && read(go[0], &c, 1) == 1 ? 0 : 1;
}

static void test_same_user(void)
{
	struct jail_spec s = CHILD_SPEC(NULL, 1);
	int go[2], status = 0, i;
	pid_t victim, attacker;
	char c;

	socketpair(AF_UNIX, SOCK_STREAM, 0, go);
	s.keep = &go[0];
	victim = fork();
	if (victim == 0)
		_exit(child_run(&s, ROLE_NONE, wait_here, go));
	close(go[0]);
	is_int(read(go[1], &c, 1), 1, "one is in jail");
	/* victim waits for it; its child is the one. */
	attacker = fork();
	if (attacker == 0) {
		char path[64], child[16] = "";
		int fd;

		snprintf(path, sizeof(path), "/proc/%d/task/%d/children",
			 victim, victim);
		fd = open(path, O_RDONLY);
		if (fd < 0 || read(fd, child, sizeof(child) - 1) <= 0)
			_exit(CHILD_FAILED);
		_exit(attack((pid_t)strtol(child, NULL, 10)));
	}
	waitpid(attacker, &status, 0);
	is_int(status, 0, "another process of its user looks at it");
	for (i = 0; i < seen->n; i++)
		is_int(seen->results[i].got, seen->results[i].want,
		       seen->results[i].what);
	is_int(write(go[1], &c, 1), 1, "it may go");
	waitpid(victim, &status, 0);
	is_int(status, 0, "and was not disturbed");
	close(go[1]);
}

/* ---- not as root ---------------------------------------------------------- */

static int look_unprivileged(void *arg)
{
	(void)arg;
	saw("its user stays", geteuid(), CHILD_UID);
	SAW(syscall(SYS_tgkill, parent, parent, SIGTERM), -EPERM);
	look_at_root();
	look_at_net();
	look_at_caps();
	look_at_limits();
	return 0;
}

static void test_unprivileged(void)
{
	struct jail_spec s = CHILD_SPEC(NULL, 0);
	pid_t pid;
	int status, i;

	seen->n = 0;
	pid = fork();
	if (pid == 0) {
		if (setgroups(0, NULL) ||
		    setresgid(CHILD_GID, CHILD_GID, CHILD_GID) ||
		    setresuid(CHILD_UID, CHILD_UID, CHILD_UID) ||
		    prctl(PR_SET_DUMPABLE, 1))
			_exit(CHILD_FAILED);
		s.uid = s.gid = 0; /* not looked at */
		status = child_run(&s, ROLE_NONE, look_unprivileged, NULL);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
	}
	waitpid(pid, &status, 0);
	is_int(status, 0, "an ordinary user's child in jail");
	for (i = 0; i < seen->n; i++)
		is_int(seen->results[i].got, seen->results[i].want,
		       seen->results[i].what);
	ok(i > 20, "it has looked at everything");
}

/* ---- the cgroup ----------------------------------------------------------- */

#define LEAF "/sys/fs/cgroup/isokit-jail-test"
#define LEAF_MEMORY (32U << 20)

static bool put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool good = fd >= 0 && write(fd, text, strlen(text)) > 0;

	close(fd);
	return good;
}

static int take_memory(void *arg)
{
	size_t *size = arg;
	void *p = mmap(NULL, *size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	return p == MAP_FAILED ? 1 : 0;
}

static int run_in_leaf(size_t size)
{
	struct jail_spec s = CHILD_SPEC(NULL, 0);
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (!put(LEAF "/cgroup.procs", "0"))
			_exit(CHILD_FAILED);
		status = child_run(&s, JAIL_MAIN, take_memory, &size);
		_exit(WIFSIGNALED(status) ? WTERMSIG(status) : status);
	}
	waitpid(pid, &status, 0);
	return status;
}

/* Where there is cgroup v2: the leaf is lib/sandbox's, its wall is one of the
 * jail's all the same. */
static void test_memory(void)
{
	put("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	if (mkdir(LEAF, 0755) < 0 || !put(LEAF "/memory.max", "33554432")) {
		diag("no memory controller of cgroup v2 here");
		rmdir(LEAF);
		return;
	}
	put(LEAF "/memory.swap.max", "0");
	is_int(run_in_leaf(LEAF_MEMORY / 4), 0, "memory within the limit");
	is_int(run_in_leaf(LEAF_MEMORY * 2), SIGKILL << 8,
	       "more than that kills");
	is_int(rmdir(LEAF), 0, "and leaves nothing");
}

int main(void)
{
	const gid_t group = 7; /* one to be left */

	seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (seen == MAP_FAILED || setgroups(1, &group) < 0)
		bail("this has to be root's");
	parent = getpid();
	snprintf(abstract + 1, sizeof(abstract) - 1, "isokit-jail-test-%d",
		 parent);
	test_walls();
	test_same_user();
	test_unprivileged();
	test_memory();
	return tap_done();
}
