/* SPDX-License-Identifier: MIT
 *
 * Laps: see laps.h.
 *
 * The names that --wrap gives to functions are reserved ones in C, so they are
 * the assembler's names of ours.
 */
#include "bench/laps.h"

#include <assert.h>
#include <errno.h>
#include <linux/kvm.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "vmm/kvm.h"
#include "vmm/vm.h"
#include "vmm/vm_state.h"

struct laps laps;

void laps_begin(void)
{
	laps = (struct laps){ .begun = clock_now(), .gap = LAP_REST };
	laps.last = laps.begun;
}

void laps_end_at(enum lap l, uint64_t when)
{
	/* The guest may be there before whoever let it run has returned. */
	if (when < laps.last)
		return;
	laps.ns[l] += when - laps.last;
	laps.last = when;
}

void laps_end(enum lap l)
{
	laps_end_at(l, clock_now());
}

/* ---- the library's functions -------------------------------------------- */

/* Before one: what passed is nobody's, or of the step that has no function of
 * its own; after it: its own, and whose the next gap will be. */
static void before(void)
{
	laps_end(laps.gap);
}

static int after(int r, enum lap l, enum lap gap)
{
	laps_end(l);
	laps.gap = gap;
	return r;
}

#define WRAP(type, name, params, args, lap, gap)                \
	type real_##name params __asm__("__real_" #name);       \
	type wrap_##name params __asm__("__wrap_" #name);       \
	type wrap_##name params                                 \
	{                                                       \
		before();                                       \
		return (type)after(real_##name args, lap, gap); \
	}

WRAP(int, mem_create_from,
     (struct mem * m, uint64_t size, int file, struct err *e),
     (m, size, file, e), LAP_MAP, LAP_DEVICES)
WRAP(int, kvm_vm_create,
     (struct kvm_vm * vm, const struct kvm_dev *k, struct err *e), (vm, k, e),
     LAP_VM, LAP_REST)
WRAP(int, kvm_vm_add_irqchip, (struct kvm_vm * vm, struct err *e), (vm, e),
     LAP_IRQCHIP, LAP_REST)
WRAP(int, vcpus_create, (struct vcpus * s, struct vm *vm, struct err *e),
     (s, vm, e), LAP_CPUS, LAP_REST)
WRAP(int, mem_attach, (const struct mem *m, struct kvm_vm *vm, struct err *e),
     (m, vm, e), LAP_SLOTS, LAP_REST)
WRAP(int, pmem_attach,
     (struct pmem * p, struct kvm_vm *vm, uint32_t slot, struct err *e),
     (p, vm, slot, e), LAP_SLOTS, LAP_REST)
WRAP(int, kvm_vm_irqfd,
     (struct kvm_vm * vm, int fd, uint32_t gsi, struct err *e),
     (vm, fd, gsi, e), LAP_BELLS, LAP_BELLS)
WRAP(int, kvm_vm_ioeventfd,
     (struct kvm_vm * vm, int fd, uint64_t gpa, uint32_t value, struct err *e),
     (vm, fd, gpa, value, e), LAP_BELLS, LAP_BELLS)
WRAP(int, vm_state_load,
     (struct vm * vm, const void *buf, size_t n, struct err *e),
     (vm, buf, n, e), LAP_LOAD, LAP_REST)
WRAP(int, vm_state_load_kvm,
     (struct vm * vm, const void *buf, size_t n, struct err *e),
     (vm, buf, n, e), LAP_LOAD, LAP_REST)
WRAP(ssize_t, vm_state_save_kvm,
     (struct vm * vm, void *buf, size_t n, struct err *e), (vm, buf, n, e),
     LAP_SAVE, LAP_REST)
WRAP(pid_t, fork, (void), (), LAP_FORK, LAP_OWN)

/* ---- ioctl(2) ------------------------------------------------------------ */

#define CALL(name)           \
	{                    \
		name, #name, \
	}

/* The last one is all others. */
static const struct {
	unsigned long request;
	const char *name;
} kinds[] = {
	CALL(KVM_CREATE_VM),
	CALL(KVM_SET_IDENTITY_MAP_ADDR),
	CALL(KVM_SET_TSS_ADDR),
	CALL(KVM_CREATE_IRQCHIP),
	CALL(KVM_GET_SUPPORTED_CPUID),
	CALL(KVM_GET_MSR_INDEX_LIST),
	CALL(KVM_CREATE_VCPU),
	CALL(KVM_SET_CPUID2),
	CALL(KVM_SET_USER_MEMORY_REGION),
	CALL(KVM_IRQFD),
	CALL(KVM_IOEVENTFD),
	CALL(KVM_GET_IRQCHIP),
	CALL(KVM_SET_IRQCHIP),
	CALL(KVM_SET_CLOCK),
	CALL(KVM_GET_TSC_KHZ),
	CALL(KVM_SET_TSC_KHZ),
	CALL(KVM_SET_SREGS),
	CALL(KVM_SET_XCRS),
	CALL(KVM_SET_XSAVE),
	CALL(KVM_GET_XSAVE),
	CALL(KVM_SET_FPU),
	CALL(KVM_SET_REGS),
	CALL(KVM_GET_LAPIC),
	CALL(KVM_SET_LAPIC),
	CALL(KVM_GET_MSRS),
	CALL(KVM_SET_MSRS),
	CALL(KVM_SET_VCPU_EVENTS),
	CALL(KVM_SET_DEBUGREGS),
	CALL(KVM_SET_MP_STATE),
	CALL(KVM_KVMCLOCK_CTRL),
	{ 0, "other calls" },
};

static_assert(ARRAY_SIZE(kinds) <= CALLS_MAX, "there is room for all of them");

int real_ioctl(int fd, unsigned long request, ...) __asm__("__real_ioctl");
int wrap_ioctl(int fd, unsigned long request, ...) __asm__("__wrap_ioctl");

int wrap_ioctl(int fd, unsigned long request, ...)
{
	uint64_t from = clock_now();
	size_t i = 0;
	va_list ap;
	void *arg;
	int r;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	/* Those are on threads that we do not look at. */
	if (request == KVM_RUN)
		return real_ioctl(fd, request, arg);
	r = real_ioctl(fd, request, arg);
	while (kinds[i].request && kinds[i].request != request)
		i++;
	laps.call_ns[i] += clock_now() - from;
	laps.calls[i]++;
	return r;
}

/* ---- the guest's steps --------------------------------------------------- */

#define PATIENCE_S 60

static _Atomic enum steps armed;
static sem_t came;
static uint64_t came_at;

void steps_arm(enum steps s)
{
	armed = s;
}

uint64_t steps_wait(void)
{
	struct timespec until;
	int r;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += PATIENCE_S;
	do {
		r = sem_clockwait(&came, CLOCK_MONOTONIC, &until);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? 0 : came_at;
}

void real_exit_serve(struct vcpu *c) __asm__("__real_exit_serve");
void wrap_exit_serve(struct vcpu *c) __asm__("__wrap_exit_serve");

/* On a virtual processor's thread. */
void wrap_exit_serve(struct vcpu *c)
{
	const struct kvm_run *run = c->k.run;
	enum steps how = armed;

	if (how != STEPS_LEAVE && run->exit_reason == KVM_EXIT_IO &&
	    run->io.port == LAYOUT_PORT_SERIAL) {
		came_at = clock_now();
		armed = STEPS_LEAVE;
		if (how == STEPS_STOP)
			vcpus_halt(&c->vm->cpus);
		sem_post(&came);
	}
	real_exit_serve(c);
}

/* ---- figures ------------------------------------------------------------- */

#define WORTH_NS 20000 /* of a kind of call: a line */

FILE *figures_json;

static const char *const names[LAPS] = {
	[LAP_SPAWN] = "fork and exec",
	[LAP_READY] = "the program says ready",
	[LAP_OPEN] = "open /dev/kvm",
	[LAP_READ] = "read the state file",
	[LAP_MAP] = "map the memory file",
	[LAP_DEVICES] = "devices",
	[LAP_STOP] = "stop the processor",
	[LAP_SAVE] = "save KVM's part",
	[LAP_FORK] = "fork(2)",
	[LAP_OWN] = "leave the parent's VM",
	[LAP_VM] = "KVM: a VM",
	[LAP_IRQCHIP] = "KVM: interrupt controllers",
	[LAP_CPUS] = "KVM: the processor",
	[LAP_SLOTS] = "KVM: memory",
	[LAP_BELLS] = "KVM: interrupts, doorbells",
	[LAP_LOAD] = "load the state",
	[LAP_REST] = "the rest",
	[LAP_THREADS] = "threads",
	[LAP_RESUME] = "let it run",
	[LAP_FIRST] = "first instruction",
};

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Of @n sorted ones. */
static uint64_t at(const uint64_t *v, size_t n, unsigned percent)
{
	size_t i = (n * percent + 99) / 100;

	return v[i ? i - 1 : 0];
}

void figures_title(const char *what)
{
	printf("%-34s %9s %9s %9s\n", what, "p50", "p90", "p99");
}

void figures_row(const char *what, const char *line, uint64_t *ns, size_t n)
{
	double p50, p90, p99;

	qsort(ns, n, sizeof(*ns), by_value);
	p50 = (double)at(ns, n, 50) / 1e6;
	p90 = (double)at(ns, n, 90) / 1e6;
	p99 = (double)at(ns, n, 99) / 1e6;
	printf("  %-32s %9.3f %9.3f %9.3f\n", line, p50, p90, p99);
	if (figures_json)
		fprintf(figures_json,
			"{\"what\":\"%s\",\"line\":\"%s\",\"n\":%zu,"
			"\"p50_ms\":%.3f,\"p90_ms\":%.3f,\"p99_ms\":%.3f}\n",
			what, line, n, p50, p90, p99);
}

/* Of a member of all @n, @offset bytes into each; false if none has any. */
static bool gather(uint64_t *to, const struct laps *v, size_t n, size_t offset)
{
	uint64_t any = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		memcpy(&to[i], (const char *)&v[i] + offset, sizeof(to[i]));
		any |= to[i];
	}
	return any != 0;
}

static uint64_t *numbers(size_t n)
{
	uint64_t *v = calloc(n, sizeof(*v));

	if (!v)
		exit(1);
	return v;
}

void figures_bytes(const char *what, const char *line, const struct laps *v,
		   size_t n, enum laps_bytes of)
{
	mem_auto uint64_t *x = numbers(n);

	gather(x, v, n, offsetof(struct laps, bytes) + of * sizeof(*x));
	qsort(x, n, sizeof(*x), by_value);
	printf("  %-32s %9.2f MiB\n", line, (double)at(x, n, 50) / 1048576);
	if (figures_json)
		fprintf(figures_json,
			"{\"what\":\"%s\",\"line\":\"%s\",\"n\":%zu,"
			"\"p50_bytes\":%llu}\n",
			what, line, n, (unsigned long long)at(x, n, 50));
}

void figures_since(const char *what, const char *line, const struct laps *v,
		   size_t n, enum lap from)
{
	mem_auto uint64_t *x = numbers(n);
	size_t i, l;

	for (i = 0; i < n; i++) {
		for (l = from; l < LAPS; l++)
			x[i] += v[i].ns[l];
	}
	figures_row(what, line, x, n);
}

static void call_rows(const char *what, const struct laps *v, size_t n)
{
	mem_auto uint64_t *x = numbers(n);
	char line[64];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		gather(x, v, n,
		       offsetof(struct laps, call_ns) + i * sizeof(*x));
		qsort(x, n, sizeof(*x), by_value);
		if (at(x, n, 50) < WORTH_NS)
			continue;
		snprintf(line, sizeof(line), "- %s x %u", kinds[i].name,
			 v[0].calls[i]);
		figures_row(what, line, x, n);
	}
}

void figures_laps(const char *what, const struct laps *v, size_t n)
{
	mem_auto uint64_t *x = numbers(n);
	size_t l;

	for (l = 0; l < LAPS; l++) {
		if (gather(x, v, n, offsetof(struct laps, ns) + l * sizeof(*x)))
			figures_row(what, names[l], x, n);
	}
	call_rows(what, v, n);
}
