/* SPDX-License-Identifier: MIT
 *
 * The system calls of each thread of the monitor: see seccomp.h.
 *
 * One table says all: a row is a system call, what its arguments must be, which
 * roles may make it, and why they need it.  What is not in the table kills the
 * process.  A small compiler turns it into a BPF program a role at run time.
 *
 * Rejected: libseccomp, linked in or in a generator run by make.  It is a
 * library in the process that faces the guest, or a second program and a file
 * of numbers that nobody reads, to write a few comparisons; the sixty lines
 * that do it here are checked by running every program over every number (in
 * tests/unit/vmm_jail.c), which covers more than trust in a library would.
 *
 * Rejected: a binary search over the numbers.  Since Linux 5.11 the kernel runs
 * a new filter over all numbers once and keeps a bitmap of those that are
 * allowed whatever their arguments; read, write, futex and their like run no
 * filter.  What remains to be fast is ioctl(KVM_RUN), and that is first.
 *
 * Arguments are compared by their low 32 bits where the kernel looks at no
 * others: commands, flags and protections.  Pointers cannot be followed by a
 * filter.  So clone3(2), whose flags are behind one, is refused in a way that
 * makes the C library fall back to clone(2); and no call that takes a path is
 * in the table.
 *
 * The main thread's role includes all others, since threads made after a fork
 * inherit its filter, and filters add up to what all of them allow.
 */
#include "vmm/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"

/* ---- the table ----------------------------------------------------------- */

#define M (1U << JAIL_MAIN)
#define V (1U << JAIL_VCPU | M)
#define D (1U << JAIL_DISK | M)
#define ALL (V | D)

enum test {
	ANY,   /* no condition */
	IS,    /* the low word of argument arg is value */
	LACKS, /* it has no bit of value */
	NIL,   /* both words of argument arg are 0 */
	FAILS, /* allowed to nobody: fails with the errno value */
};

struct cond {
	uint8_t test;
	uint8_t arg;
	uint32_t value;
};

/* Of the rows with the same number any may match, the first ones first. */
struct row {
	uint16_t nr;
	uint8_t roles;
	struct cond cond[2]; /* both must hold */
};

#define ROW(nr, roles, ...)                 \
	{                                   \
		__NR_##nr, (roles),         \
		{                           \
			{                   \
				__VA_ARGS__ \
			}                   \
		}                           \
	}
#define KVM(roles, cmd) ROW(ioctl, roles, IS, 1, (uint32_t)(cmd))

#define FORK_FLAGS (CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD)
#define THREAD_FLAGS                                                        \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | \
	 CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID |               \
	 CLONE_CHILD_CLEARTID)

static const struct row table[] = {
	/* The guest runs. */
	KVM(V, KVM_RUN),
	/* State of a virtual processor: set at start, saved and restored. */
	KVM(V, KVM_GET_REGS),
	KVM(V, KVM_SET_REGS),
	KVM(V, KVM_GET_SREGS),
	KVM(V, KVM_SET_SREGS),
	KVM(V, KVM_GET_MSRS),
	KVM(V, KVM_SET_MSRS),
	KVM(V, KVM_GET_FPU),
	KVM(V, KVM_SET_FPU),
	KVM(V, KVM_GET_XSAVE),
	KVM(V, KVM_GET_XSAVE2),
	KVM(V, KVM_SET_XSAVE),
	KVM(V, KVM_GET_XCRS),
	KVM(V, KVM_SET_XCRS),
	KVM(V, KVM_GET_LAPIC),
	KVM(V, KVM_SET_LAPIC),
	KVM(V, KVM_GET_VCPU_EVENTS),
	KVM(V, KVM_SET_VCPU_EVENTS),
	KVM(V, KVM_GET_DEBUGREGS),
	KVM(V, KVM_SET_DEBUGREGS),
	KVM(V, KVM_GET_MP_STATE),
	KVM(V, KVM_SET_MP_STATE),
	KVM(V, KVM_GET_CPUID2),
	KVM(V, KVM_SET_CPUID2),
	KVM(V, KVM_GET_TSC_KHZ),
	KVM(V, KVM_SET_TSC_KHZ),
	KVM(V, KVM_HAS_DEVICE_ATTR), /* the offset of its TSC */
	KVM(V, KVM_GET_DEVICE_ATTR),
	KVM(V, KVM_SET_DEVICE_ATTR),
	KVM(V, KVM_SET_SIGNAL_MASK),
	KVM(V, KVM_KVMCLOCK_CTRL), /* the guest was paused */
	/* State of a VM. */
	KVM(V, KVM_IRQ_LINE),
	KVM(M, KVM_GET_IRQCHIP),
	KVM(M, KVM_SET_IRQCHIP),
	KVM(M, KVM_GET_CLOCK),
	KVM(M, KVM_SET_CLOCK),
	KVM(M, KVM_GET_DIRTY_LOG),
	/* A forked child makes its own VM on the /dev/kvm that it was given. */
	KVM(M, KVM_GET_API_VERSION),
	KVM(M, KVM_CHECK_EXTENSION),
	KVM(M, KVM_GET_VCPU_MMAP_SIZE),
	KVM(M, KVM_GET_SUPPORTED_CPUID),
	KVM(M, KVM_GET_MSR_INDEX_LIST),
	KVM(M, KVM_CREATE_VM),
	KVM(M, KVM_CREATE_VCPU),
	KVM(M, KVM_CREATE_IRQCHIP),
	KVM(M, KVM_SET_IDENTITY_MAP_ADDR),
	KVM(M, KVM_SET_TSS_ADDR),
	KVM(M, KVM_SET_USER_MEMORY_REGION),
	KVM(M, KVM_SET_GSI_ROUTING),
	KVM(M, KVM_IRQFD),
	KVM(M, KVM_IOEVENTFD),
	/* How much a socket has for us. */
	KVM(M, FIONREAD),
	/* The network driver is ready, and has said what it can take: on the
	 * processor that said so. */
	KVM(V, TUNSETOFFLOAD),

	/* Work: descriptors that are open, memory that is mapped. */
	ROW(read, ALL),
	ROW(write, ALL),
	ROW(readv, ALL),
	ROW(writev, ALL),
	ROW(pread64, ALL),
	ROW(pwrite64, ALL),
	ROW(preadv, ALL),
	ROW(pwritev, ALL),
	ROW(fdatasync, D),
	ROW(fsync, D),
	ROW(fallocate, ALL), /* discard; the console's ring */
	ROW(ftruncate, ALL),
	ROW(close, ALL),
	ROW(close_range, M, NIL, 2, 0), /* by a child, what is not for it */
	ROW(epoll_wait, D),
	ROW(epoll_pwait, D), /* epoll_wait of other C libraries */
	ROW(epoll_ctl, ALL),
	ROW(timerfd_settime, ALL),
	/* Sockets that are there: clients come in, bytes and descriptors go
	 * to and fro.  sendto() without an address is send(). */
	ROW(accept4, M),
	ROW(recvmsg, M),
	ROW(sendmsg, M),
	ROW(recvfrom, M),
	ROW(sendto, M, NIL, 4, 0),
	ROW(getsockopt, M), /* who is the client */
	ROW(shutdown, M),
	ROW(fcntl, ALL, IS, 1, F_GETFL),
	ROW(fcntl, ALL, IS, 1, F_SETFL),
	ROW(fcntl, ALL, IS, 1, F_GETFD),
	ROW(fcntl, ALL, IS, 1, F_SETFD),
	ROW(fcntl, M, IS, 1, F_SETLK), /* a child locks its own vmm.pid */
	/* For a forked child: its own files in its parent's numbers. */
	ROW(dup3, M),
	ROW(epoll_create1, M),
	ROW(eventfd2, M),
	ROW(timerfd_create, M),

	/* Memory: never any that can be executed. */
	ROW(mmap, ALL, LACKS, 2, PROT_EXEC),
	ROW(mprotect, ALL, LACKS, 2, PROT_EXEC),
	ROW(munmap, ALL),
	ROW(brk, ALL),
	ROW(madvise, ALL, IS, 2, MADV_DONTNEED), /* balloon, ended threads */
	ROW(madvise, ALL, IS, 2, MADV_FREE),
	ROW(madvise, M, IS, 2, MADV_HUGEPAGE),
	ROW(madvise, M, IS, 2, MADV_NOHUGEPAGE),

	/* Threads, and what the C library does for them. */
	ROW(futex, ALL),
	ROW(clone, M, IS, 0, THREAD_FLAGS),
	ROW(clone, M, IS, 0, FORK_FLAGS),
	ROW(clone3, ALL, FAILS, 0, ENOSYS), /* then clone() is tried */
	ROW(set_robust_list, ALL),
	ROW(rseq, ALL),
	ROW(exit, ALL),
	ROW(exit_group, ALL),
	ROW(getpid, ALL),
	ROW(gettid, ALL),
	ROW(getrandom, ALL),
	ROW(clock_gettime, ALL), /* a clock without the vDSO */
	ROW(prctl, ALL, IS, 0, PR_SET_NAME),
	/* Threads of a forked child narrow themselves as the first ones did. */
	{ __NR_seccomp,
	  M,
	  { { IS, 0, SECCOMP_SET_MODE_FILTER }, { IS, 1, 0 } } },

	/* Signals to ourselves alone: jail.h says how. */
	ROW(timer_create, V),
	ROW(timer_settime, ALL),
	ROW(timer_delete, ALL),
	ROW(rt_sigprocmask, ALL),
	ROW(rt_sigtimedwait, ALL), /* takes a kick */
	ROW(rt_sigreturn, ALL),
	ROW(rt_sigaction, M),
	ROW(restart_syscall, ALL),

#ifdef __SANITIZE_ADDRESS__
	/* The runtime of AddressSanitizer: threads; and reports, which are
	 * worth more here than to be killed for what they try. */
	ROW(madvise, ALL),
	ROW(mremap, ALL),
	ROW(sigaltstack, ALL),
	ROW(sched_yield, ALL),
	ROW(sched_getaffinity, ALL, FAILS, 0, ENOSYS),
	ROW(ioctl, ALL, IS, 1, TCGETS),
	ROW(open, ALL, FAILS, 0, EACCES),
	ROW(openat, ALL, FAILS, 0, EACCES),
	ROW(readlink, ALL, FAILS, 0, EACCES),
	ROW(stat, ALL, FAILS, 0, EACCES),
	ROW(newfstatat, ALL, FAILS, 0, EACCES),
	ROW(prlimit64, ALL, FAILS, 0, EPERM),
	ROW(prctl, ALL, FAILS, 0, EPERM),
#endif
};

/* ---- its compiler -------------------------------------------------------- */

#define DATA_NR offsetof(struct seccomp_data, nr)
#define DATA_ARCH offsetof(struct seccomp_data, arch)
/* Little endian: the low word is first. */
#define DATA_LOW(arg) (offsetof(struct seccomp_data, args) + 8UL * (arg))
#define DATA_HIGH(arg) (DATA_LOW(arg) + 4UL)

#define NUMBERS 512   /* more than there are system calls */
#define NEXT_ROW 0xff /* jump target to be filled in */

struct prog {
	struct sock_filter *code;
	size_t n; /* instructions so far; beyond SECCOMP_MAX: not stored */
};

static void emit(struct prog *p, uint16_t code, uint32_t k, uint8_t jt,
		 uint8_t jf)
{
	if (p->n < SECCOMP_MAX)
		p->code[p->n] = (struct sock_filter)BPF_JUMP(code, k, jt, jf);
	p->n++;
}

static void load(struct prog *p, size_t offset)
{
	emit(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void ret(struct prog *p, uint32_t action)
{
	emit(p, BPF_RET | BPF_K, action, 0, 0);
}

/* Go on if the condition holds, to the next row if not.  @arg is the argument
 * whose low word is loaded, or -1. */
static void emit_cond(struct prog *p, const struct cond *c, int *arg)
{
	if (*arg != c->arg)
		load(p, DATA_LOW(c->arg));
	*arg = c->arg;
	switch ((enum test)c->test) {
	case LACKS:
		emit(p, BPF_JMP | BPF_JSET | BPF_K, c->value, NEXT_ROW, 0);
		break;
	case IS:
		emit(p, BPF_JMP | BPF_JEQ | BPF_K, c->value, 0, NEXT_ROW);
		break;
	case NIL:
		emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, NEXT_ROW);
		load(p, DATA_HIGH(c->arg));
		emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, NEXT_ROW);
		*arg = -1;
		break;
	case ANY:
	case FAILS:
		break;
	}
}

/* Jumps to the next row, in the code from @from on, to go to the end of what
 * there is.  0, or -EINVAL if one cannot reach that far. */
static int resolve(struct prog *p, size_t from)
{
	size_t i;

	for (i = from; i < p->n && i < SECCOMP_MAX; i++) {
		struct sock_filter *f = &p->code[i];
		size_t distance = p->n - i - 1;

		if (BPF_CLASS(f->code) != BPF_JMP)
			continue;
		if (distance >= NEXT_ROW)
			return -EINVAL;
		if (f->jt == NEXT_ROW)
			f->jt = (uint8_t)distance;
		if (f->jf == NEXT_ROW)
			f->jf = (uint8_t)distance;
	}
	return 0;
}

static int emit_row(struct prog *p, const struct row *r, int *arg)
{
	size_t from = p->n, i;

	if (r->cond[0].test == FAILS) {
		ret(p, SECCOMP_RET_ERRNO | r->cond[0].value);
		return 0;
	}
	for (i = 0; i < ARRAY_SIZE(r->cond); i++)
		if (r->cond[i].test != ANY)
			emit_cond(p, &r->cond[i], arg);
	/* Where such a row fails decides what is loaded then. */
	if (r->cond[1].test != ANY)
		*arg = -1;
	ret(p, SECCOMP_RET_ALLOW);
	return resolve(p, from);
}

/* All rows of system call @nr, the first of which is table[@i]. */
static int emit_number(struct prog *p, unsigned int role, uint16_t nr, size_t i)
{
	size_t from = p->n;
	int arg = -1, r;

	emit(p, BPF_JMP | BPF_JEQ | BPF_K, nr, 0, NEXT_ROW);
	for (; i < ARRAY_SIZE(table); i++) {
		if (table[i].nr != nr || !(table[i].roles & role))
			continue;
		r = emit_row(p, &table[i], &arg);
		if (r < 0)
			return r;
	}
	if (p->n == from + 1)
		p->n = from; /* none is for this role */
	else
		ret(p, SECCOMP_RET_KILL_PROCESS); /* none has matched */
	return resolve(p, from);
}

int seccomp_build(enum jail_role role,
		  struct sock_filter out[static SECCOMP_MAX])
{
	struct prog p = { .code = out, .n = 0 };
	bool done[NUMBERS] = { false };
	size_t i;
	int r;

	load(&p, DATA_ARCH);
	emit(&p, BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
	ret(&p, SECCOMP_RET_KILL_PROCESS);
	/* The numbers of the x32 ABI have a bit more and match nothing. */
	load(&p, DATA_NR);
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		if (table[i].nr >= NUMBERS)
			return -EINVAL;
		if (done[table[i].nr])
			continue;
		done[table[i].nr] = true;
		r = emit_number(&p, 1U << role, table[i].nr, i);
		if (r < 0)
			return r;
	}
	ret(&p, SECCOMP_RET_KILL_PROCESS);
	return p.n > SECCOMP_MAX ? -ENOSPC : (int)p.n;
}

int seccomp_install(enum jail_role role, struct err *e)
{
	struct sock_filter code[SECCOMP_MAX];
	struct sock_fprog prog = { .filter = code };
	int n = seccomp_build(role, code);

	if (n < 0)
		return err_set(e, -n, "the filter of role %d cannot be made",
			       (int)role);
	prog.len = (unsigned short)n;
	if (syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) == 0)
		return 0;
	n = err_sys(e, errno, "cannot filter the system calls of a thread");
	if (n == -ENOSYS || n == -EINVAL)
		err_fix(e, "use a kernel with CONFIG_SECCOMP_FILTER");
	return n;
}
