/* SPDX-License-Identifier: MIT
 *
 * The system calls of the monitor's threads: every filter program over every
 * number, by an interpreter of our own.
 */
#include "tests/tap.h"

#include "base/fd.h"
#include "vmm/seccomp.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* A sanitizer's runtime makes a few calls of its own, which fail instead. */
#ifdef __SANITIZE_ADDRESS__
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static const char *const role_names[] = { "vcpu", "disk", "main" };

/* ---- the programs, interpreted ------------------------------------------- */

struct program {
	struct sock_filter code[SECCOMP_MAX];
	int n;
};

static struct program programs[JAIL_ROLES];

static uint32_t interpret(const struct program *p, const struct seccomp_data *d)
{
	const struct sock_filter *f = p->code;
	uint32_t a = 0;

	for (; f < p->code + p->n; f++) {
		switch (f->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			if (f->k > sizeof(*d) - 4 || f->k % 4)
				bail("load from %u", f->k);
			memcpy(&a, (const char *)d + f->k, 4);
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			f += a == f->k ? f->jt : f->jf;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			f += a & f->k ? f->jt : f->jf;
			break;
		case BPF_RET | BPF_K:
			return f->k;
		default:
			bail("instruction 0x%x", f->code);
		}
	}
	bail("ran off the end");
}

/* Values of arguments that make a difference to some row, and some that must
 * not. */
static const uint64_t values[] = {
	0,
	1,
	PROT_READ | PROT_WRITE,
	PROT_EXEC,
	PROT_READ | PROT_WRITE | PROT_EXEC,
	F_GETFL,
	F_SETFL,
	F_SETOWN,
	MADV_FREE,
	MADV_REMOVE,
	MADV_HUGEPAGE,
	PR_SET_NAME,
	PR_SET_DUMPABLE,
	KVM_RUN,
	KVM_CREATE_VM,
	KVM_SET_GUEST_DEBUG,
	TIOCSTI,
	TCGETS,
	TUNSETIFF,
	FIONREAD,
	CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD,
	0x3d0f00, /* what pthread_create(3) asks for */
	CLONE_NEWUSER | SIGCHLD,
	0x100000000,
	UINT64_MAX,
};
#define VALUES ARRAY_SIZE(values)

/* Call @f for number @nr with all pairs of values in its arguments. */
static void each_call(int nr, void (*f)(const struct seccomp_data *, void *),
		      void *arg)
{
	struct seccomp_data d = { .nr = nr, .arch = AUDIT_ARCH_X86_64 };
	size_t i;

	for (i = 0; i < VALUES * VALUES; i++) {
		d.args[0] = d.args[2] = values[i % VALUES];
		d.args[1] = d.args[4] = values[i / VALUES];
		f(&d, arg);
	}
}

#define NUMBERS 512 /* beyond the last system call */

struct tally {
	bool allowed[JAIL_ROLES];
	uint32_t beyond_main; /* calls that another role may and main not */
	uint32_t other; /* neither allowed, nor killed, nor a known failure */
};

static void count_call(const struct seccomp_data *d, void *arg)
{
	struct tally *t = arg;
	bool allowed[JAIL_ROLES];
	uint32_t action;
	int i;

	for (i = 0; i < JAIL_ROLES; i++) {
		action = interpret(&programs[i], d);
		allowed[i] = action == SECCOMP_RET_ALLOW;
		t->allowed[i] |= allowed[i];
		t->other += !allowed[i] && action != SECCOMP_RET_KILL_PROCESS &&
			    d->nr != __NR_clone3 && !SANITIZED;
	}
	t->beyond_main += (allowed[JAIL_VCPU] || allowed[JAIL_DISK]) &&
			  !allowed[JAIL_MAIN];
}

/* The numbers that a role may use, whatever the arguments, once more: who
 * adds one to the table has to add it here, too. */
static const int everyone[] = {
	__NR_read,
	__NR_write,
	__NR_readv,
	__NR_writev,
	__NR_pread64,
	__NR_pwrite64,
	__NR_preadv,
	__NR_pwritev,
	__NR_fallocate,
	__NR_ftruncate,
	__NR_close,
	__NR_fcntl,

	__NR_mmap,
	__NR_mprotect,
	__NR_munmap,
	__NR_brk,
	__NR_madvise,
	__NR_futex,
	__NR_set_robust_list,
	__NR_rseq,
	__NR_exit,
	__NR_exit_group,
	__NR_getpid,
	__NR_gettid,
	__NR_getrandom,
	__NR_clock_gettime,
	__NR_prctl,
	__NR_timer_settime,
	__NR_timer_delete,
	__NR_rt_sigprocmask,
	__NR_rt_sigtimedwait,
	__NR_rt_sigreturn,
	__NR_restart_syscall,
	__NR_epoll_ctl,
	__NR_timerfd_settime,
#if SANITIZED
	__NR_ioctl,
	__NR_sigaltstack,
	__NR_sched_yield,
	__NR_mremap,
#endif
};
static const int vcpu_only[] = { __NR_ioctl, __NR_timer_create };
static const int disk_only[] = { __NR_fdatasync, __NR_fsync, __NR_epoll_wait,
				 __NR_epoll_pwait };
static const int main_only[] = {
	__NR_accept4,	     __NR_recvmsg,	 __NR_sendmsg,
	__NR_recvfrom,	     __NR_sendto,	 __NR_getsockopt,
	__NR_shutdown,	     __NR_epoll_create1, __NR_eventfd2,
	__NR_timerfd_create, __NR_clone,	 __NR_seccomp,
	__NR_rt_sigaction,   __NR_dup3,		 __NR_close_range,
};

static bool listed(int nr, const int *list, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (list[i] == nr)
			return true;
	return false;
}
#define LISTED(nr, list) listed(nr, list, ARRAY_SIZE(list))

static bool expected(int nr, int role)
{
	bool v = LISTED(nr, everyone) || LISTED(nr, vcpu_only);
	bool d = LISTED(nr, everyone) || LISTED(nr, disk_only);

	return role == JAIL_VCPU ? v :
	       role == JAIL_DISK ? d :
				   v || d || LISTED(nr, main_only);
}

static void test_numbers(void)
{
	uint32_t beyond = 0, other = 0;
	int nr, role, wrong = 0;

	for (nr = 0; nr < NUMBERS; nr++) {
		struct tally t = { 0 };

		each_call(nr, count_call, &t);
		beyond += t.beyond_main;
		other += t.other;
		for (role = 0; role < JAIL_ROLES; role++) {
			if (t.allowed[role] == expected(nr, role))
				continue;
			diag("%s %s use number %d", role_names[role],
			     t.allowed[role] ? "may" : "may not", nr);
			wrong++;
		}
	}
	is_int(wrong, 0, "each role has its calls, and no other");
	is_int(beyond, 0, "the main thread's include the others'");
	is_int(other, 0, "all the rest kills");
}

static void test_abi(void)
{
	int nr, role, let = 0;

	for (role = 0; role < JAIL_ROLES; role++) {
		for (nr = 0; nr < NUMBERS; nr++) {
			struct seccomp_data d = { .nr = nr,
						  .arch = AUDIT_ARCH_I386 };

			let += interpret(&programs[role], &d) !=
			       SECCOMP_RET_KILL_PROCESS;
			d.arch = AUDIT_ARCH_X86_64;
			d.nr |= 0x40000000; /* x32 */
			let += interpret(&programs[role], &d) !=
			       SECCOMP_RET_KILL_PROCESS;
		}
	}
	is_int(let, 0, "the 32-bit ABIs have no calls");
}

static bool lets(enum jail_role role, int nr, uint64_t a0, uint64_t a1,
		 uint64_t a2, uint64_t a4)
{
	struct seccomp_data d = { .nr = nr,
				  .arch = AUDIT_ARCH_X86_64,
				  .args = { a0, a1, a2, 0, a4 } };

	return interpret(&programs[role], &d) == SECCOMP_RET_ALLOW;
}

static void test_arguments(void)
{
	uint64_t i;
	int n = 0;

	ok(lets(JAIL_MAIN, __NR_mmap, 0, 0, PROT_READ | PROT_WRITE, 0),
	   "memory can be mapped");
	ok(!lets(JAIL_MAIN, __NR_mmap, 0, 0, PROT_READ | PROT_EXEC, 0),
	   "but not to be executed");
	ok(!lets(JAIL_MAIN, __NR_mprotect, 0, 0, PROT_EXEC | 1ULL << 40, 0),
	   "nor later");
	ok(lets(JAIL_MAIN, __NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, 1, 0) &&
		   !lets(JAIL_MAIN, __NR_seccomp, SECCOMP_SET_MODE_FILTER,
			 SECCOMP_FILTER_FLAG_NEW_LISTENER, 1, 0) &&
		   !lets(JAIL_MAIN, __NR_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, 1,
			 0),
	   "filters can be added, without flags");
	ok(lets(JAIL_MAIN, __NR_sendto, 5, 1, 1, 0) &&
		   !lets(JAIL_MAIN, __NR_sendto, 5, 1, 1, 1) &&
		   !lets(JAIL_MAIN, __NR_sendto, 5, 1, 1, 1ULL << 32),
	   "sendto() only without an address");
	ok(lets(JAIL_VCPU, __NR_ioctl, 5, KVM_RUN, 0, 0), "a guest can run");
	ok(!lets(JAIL_DISK, __NR_ioctl, 5, KVM_RUN, 0, 0),
	   "not in the disk's thread");
	ok(!lets(JAIL_VCPU, __NR_ioctl, 5, KVM_CREATE_VM, 0, 0) &&
		   lets(JAIL_MAIN, __NR_ioctl, 5, KVM_CREATE_VM, 0, 0),
	   "VMs are made by the main thread");
	for (i = 0; i <= 0xffff; i++)
		n += lets(JAIL_MAIN, __NR_ioctl, 5, i, 0, 0);
	is_int(n, 12 + SANITIZED, "ioctls without an argument are KVM's");
}

static void test_clone(void)
{
	uint64_t fork_flags = CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID |
			      SIGCHLD;
	uint64_t thread_flags = 0x3d0f00;
	int bit, n = 0;

	ok(lets(JAIL_MAIN, __NR_clone, fork_flags, 0, 0, 0), "fork");
	ok(lets(JAIL_MAIN, __NR_clone, thread_flags, 0, 0, 0), "threads");
	for (bit = 0; bit < 32; bit++) {
		n += lets(JAIL_MAIN, __NR_clone, fork_flags ^ 1ULL << bit, 0, 0,
			  0);
		n += lets(JAIL_MAIN, __NR_clone, thread_flags ^ 1ULL << bit, 0,
			  0, 0);
	}
	is_int(n, 0, "and none with a flag more or less");
}

int main(void)
{
	int role;

	for (role = 0; role < JAIL_ROLES; role++) {
		programs[role].n = seccomp_build((enum jail_role)role,
						 programs[role].code);
		ok(programs[role].n > 0, "%s: %d instructions",
		   role_names[role], programs[role].n);
	}
	test_numbers();
	test_abi();
	test_arguments();
	test_clone();
	return tap_done();
}
