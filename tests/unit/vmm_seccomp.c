/* SPDX-License-Identifier: MIT
 *
 * The system calls of the monitor's threads, in earnest and in the jail: what
 * must kill and what must work.  As root.
 */
#include "tests/unit/jail_child.h"

#include "base/fd.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>

/* A sanitizer's runtime makes a few calls of its own, which fail instead. */
#ifdef __SANITIZE_ADDRESS__
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static const char *const role_names[] = { "vcpu", "disk", "main" };

/* ---- what must kill ------------------------------------------------------ */

static pid_t parent;
static int fds[2]; /* sockets, kept */
static int kvm = -1;

static struct sockaddr_un unix_addr = { .sun_family = AF_UNIX };
static struct iovec vec = { &unix_addr, 1 };
static siginfo_t queued = { .si_code = SI_QUEUE };

#define TRY(name, call)                    \
	static int try_##name(void *arg)   \
	{                                  \
		(void)arg;                 \
		return (call) < 0 ? 1 : 0; \
	}

TRY(openat, syscall(SYS_openat, AT_FDCWD, "/", O_RDONLY, 0))
TRY(open, syscall(SYS_open, "/", O_RDONLY, 0))
TRY(proc, syscall(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDWR, 0))
TRY(socket, socket(AF_UNIX, SOCK_STREAM, 0))
TRY(connect, connect(fds[0], (void *)&unix_addr, sizeof(unix_addr)))
TRY(sendto, sendto(fds[0], "", 1, 0, (void *)&unix_addr, sizeof(unix_addr)))
TRY(ptrace, ptrace(PTRACE_ATTACH, parent, NULL, NULL))
TRY(kill, kill(parent, 0))
TRY(tgkill, syscall(SYS_tgkill, parent, parent, 0))
TRY(tkill, syscall(SYS_tkill, parent, 0))
TRY(queue, syscall(SYS_rt_sigqueueinfo, parent, 0, &queued))
TRY(tgqueue, syscall(SYS_rt_tgsigqueueinfo, parent, parent, 0, &queued))
TRY(vm_read, process_vm_readv(parent, &vec, 1, &vec, 1, 0))
TRY(exec, execl("/bin/true", "true", (char *)NULL))
TRY(mount, mount("x", "/", "tmpfs", 0, NULL))
TRY(setuid, setuid(0))
TRY(mmap,
    (intptr_t)mmap(NULL, 4096, PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
TRY(mprotect, mprotect(&unix_addr, 1, PROT_READ | PROT_EXEC))
TRY(unshare, unshare(CLONE_NEWUSER))
TRY(clone, syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0))
TRY(bpf, syscall(SYS_bpf, 0, NULL, 0))
TRY(uring, syscall(SYS_io_uring_setup, 1, NULL))
TRY(type, ioctl(0, TIOCSTI, "x"))
TRY(tap, ioctl(fds[0], TUNSETIFF, NULL))
TRY(memfd, memfd_create("x", 0))
TRY(keyctl, syscall(SYS_keyctl, 0, 0, 0, 0, 0))
TRY(dumpable, prctl(PR_SET_DUMPABLE, 1))

static const struct {
	const char *what;
	int (*f)(void *);
	bool asan; /* its runtime does such things, and is told no */
} forbidden[] = {
	{ "open a file", try_openat, true },
	{ "open it the old way", try_open, true },
	{ "open /proc", try_proc, true },
	{ "make a socket", try_socket, false },
	{ "connect", try_connect, false },
	{ "send to an address", try_sendto, false },
	{ "ptrace", try_ptrace, false },
	{ "signal a stranger", try_kill, false },
	{ "signal a stranger's thread", try_tgkill, false },
	{ "signal a thread", try_tkill, false },
	{ "queue a signal", try_queue, false },
	{ "queue one for a thread", try_tgqueue, false },
	{ "read a stranger's memory", try_vm_read, false },
	{ "execute a program", try_exec, false },
	{ "mount", try_mount, false },
	{ "become root", try_setuid, false },
	{ "map executable memory", try_mmap, false },
	{ "make memory executable", try_mprotect, false },
	{ "make a user namespace", try_unshare, false },
	{ "fork into a user namespace", try_clone, false },
	{ "load BPF", try_bpf, false },
	{ "set up io_uring", try_uring, false },
	{ "type at a terminal", try_type, false },
	{ "configure a tap", try_tap, false },
	{ "make a file in memory", try_memfd, false },
	{ "use the keyring", try_keyctl, false },
	{ "become dumpable", try_dumpable, true },
};

static void test_forbidden(void)
{
	struct jail_spec s = CHILD_SPEC(fds, 2);
	int role, status;
	size_t i;

	for (role = 0; role < JAIL_ROLES; role++) {
		for (i = 0; i < ARRAY_SIZE(forbidden); i++) {
			status = child_run(&s, (enum jail_role)role,
					   forbidden[i].f, NULL);
			if (SANITIZED && forbidden[i].asan)
				is_int(status, 1 << 8, forbidden[i].what);
			else
				ok(WIFSIGNALED(status) &&
					   WTERMSIG(status) == SIGSYS,
				   "%s dies trying to %s (status 0x%x)",
				   role_names[role], forbidden[i].what,
				   (unsigned int)status);
		}
	}
}

/* ---- what must work ------------------------------------------------------- */

#define FAIL_UNLESS(what)                      \
	do {                                   \
		if (!(what))                   \
			return __LINE__ % 256; \
	} while (0)

struct thread {
	enum jail_role role;
	struct jail_kick kick;
	int ready;
	pthread_t id;
};

/* A thread begins as one of the monitor's does, says so, and waits to be
 * kicked. */
static void *thread_main(void *arg)
{
	struct thread *t = arg;
	struct err e = ERR_INIT;
	uint64_t one = 1;
	sigset_t set;
	int sig = 0;

	child_must(jail_kick_init(&t->kick, SIGUSR1, &e), &e);
	child_must(jail_thread(t->role, &e), &e);
	prctl(PR_SET_NAME, "worker", 0, 0, 0);
	/* As the network device does when its driver is ready; here it is no
	 * tap, which is all that may be wrong with it. */
	if (t->role == JAIL_VCPU &&
	    (ioctl(t->ready, TUNSETOFFLOAD, 0UL) == 0 || errno != ENOTTY))
		return NULL;
	if (write(t->ready, &one, sizeof(one)) != sizeof(one))
		return NULL;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	return sigwait(&set, &sig) == 0 && sig == SIGUSR1 ? t : NULL;
}

static int kick_thread(enum jail_role role)
{
	struct thread t = { .role = role, .ready = eventfd(0, 0) };
	void *end = NULL;
	uint64_t n;

	FAIL_UNLESS(t.ready >= 0);
	FAIL_UNLESS(!pthread_create(&t.id, NULL, thread_main, &t));
	FAIL_UNLESS(read(t.ready, &n, sizeof(n)) == sizeof(n));
	jail_kick(&t.kick);
	FAIL_UNLESS(!pthread_join(t.id, &end) && end == &t);
	jail_kick_free(&t.kick);
	close(t.ready);
	return 0;
}

static int use_epoll(void)
{
	struct epoll_event ev = { .events = EPOLLIN }, got;
	int ep = epoll_create1(EPOLL_CLOEXEC), fd = eventfd(0, EFD_NONBLOCK);
	uint64_t one = 1;

	FAIL_UNLESS(ep >= 0 && fd >= 0);
	FAIL_UNLESS(!epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	FAIL_UNLESS(write(fd, &one, sizeof(one)) == sizeof(one));
	FAIL_UNLESS(epoll_wait(ep, &got, 1, -1) == 1);
	close(ep);
	close(fd);
	return 0;
}

/* A descriptor comes in by the kept pair of sockets. */
static int use_sockets(void)
{
	int fd = eventfd(0, 0), got;
	char c = 'x', room[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec v = { &c, 1 };
	struct msghdr m = { .msg_iov = &v,
			    .msg_iovlen = 1,
			    .msg_control = room,
			    .msg_controllen = sizeof(room) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &fd, sizeof(fd));
	FAIL_UNLESS(sendmsg(fds[0], &m, MSG_NOSIGNAL) == 1);
	FAIL_UNLESS(recvmsg(fds[1], &m, MSG_CMSG_CLOEXEC) == 1);
	h = CMSG_FIRSTHDR(&m);
	FAIL_UNLESS(h);
	memcpy(&got, CMSG_DATA(h), sizeof(got));
	FAIL_UNLESS(got > fd && close(got) == 0);
	close(fd);
	FAIL_UNLESS(send(fds[0], "y", 1, MSG_NOSIGNAL) == 1);
	FAIL_UNLESS(recv(fds[1], &c, 1, 0) == 1 && c == 'y');
	return 0;
}

static int use_kvm(void)
{
	int vm, cpu, size;
	void *run;

	if (kvm < 0)
		return 0;
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	FAIL_UNLESS(vm >= 0);
	cpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	FAIL_UNLESS(cpu >= 0 && size > 0);
	run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu,
		   0);
	FAIL_UNLESS(run != MAP_FAILED);
	munmap(run, (size_t)size);
	close(cpu);
	close(vm);
	return 0;
}

static int use_all(void)
{
	int r = kick_thread(JAIL_VCPU);

	r = r ? r : kick_thread(JAIL_DISK);
	r = r ? r : use_epoll();
	r = r ? r : use_sockets();
	return r ? r : use_kvm();
}

/* Everything, and again in a child that is forked off in the jail. */
static int work(void *arg)
{
	const int *report = arg; /* a pipe, which ends when the child dies */
	int r = use_all();
	char c = 0;
	pid_t pid;

	if (r)
		return r;
	pid = fork();
	FAIL_UNLESS(pid >= 0);
	if (pid == 0) {
		c = (char)use_all();
		_exit(write(report[1], &c, 1) != 1);
	}
	close(report[1]);
	FAIL_UNLESS(read(report[0], &c, 1) == 1);
	return c;
}

static void test_allowed(void)
{
	int report[2] = { -1, -1 };
	int keep[] = { fds[0], fds[1], -1, -1, kvm };
	struct jail_spec s = CHILD_SPEC(keep, kvm < 0 ? 4 : 5);
	sigset_t set;

	if (pipe(report) < 0)
		bail("no pipe");
	keep[2] = report[0];
	keep[3] = report[1];

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	diag("/dev/kvm %s", kvm < 0 ? "does not open here" : "is used");
	is_int(child_run(&s, JAIL_MAIN, work, report), 0,
	       "threads, kicks, epoll, sockets, KVM: here and after a fork");
}

int main(void)
{
	if (geteuid() != 0)
		bail("this has to be root's");
	parent = getpid();
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	/* One VM that is there all the time: the last to go turns the
	 * processors' virtualization off and the next one on again, which an
	 * emulated host does not stand for long. */
	ioctl(kvm, KVM_CREATE_VM, 0);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
		bail("no sockets");
	test_forbidden();
	test_allowed();
	return tap_done();
}
