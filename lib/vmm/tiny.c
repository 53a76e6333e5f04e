/* SPDX-License-Identifier: MIT
 *
 * Runs a tiny guest: see tiny.h.
 *
 * The time limit is a timer whose signal is blocked everywhere but inside
 * KVM_RUN (KVM_SET_SIGNAL_MASK).  It ends the run without being delivered, and
 * when it comes too early it keeps the run from beginning: no handler, no
 * thread, no flag that could be set a moment too late.  The other way, a
 * handler that sets run->immediate_exit, needs a handler and a global pointer
 * in the program, which a library has no business to install.
 */
#include "vmm/tiny.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static int ram_create(struct tiny *t, const uint8_t *image, size_t size,
		      struct err *e)
{
	void *ram;

	if (size > GUEST_RAM - GUEST_BASE)
		return err_set(e, EFBIG,
			       "a tiny guest of %zu bytes, more than "
			       "the %d there are",
			       size, GUEST_RAM - GUEST_BASE);
	ram = mmap(NULL, GUEST_RAM, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ram == MAP_FAILED)
		return err_sys(e, errno, "cannot map memory for a guest");
	t->ram = ram;
	memcpy(t->ram + GUEST_BASE, image, size);
	return 0;
}

int tiny_create(struct tiny *t, const struct kvm_dev *k, const uint8_t *image,
		size_t size, struct err *e)
{
	mem_auto struct kvm_cpuid2 *cpuid = NULL;
	int r;

	r = ram_create(t, image, size, e);
	if (r < 0)
		return r;
	r = kvm_vm_create(&t->vm, k, e);
	if (r < 0)
		return r;
	/* Before the memory: this one is closed again soon (see kvm.h). */
	r = kvm_vm_add_irqchip(&t->vm, e);
	if (r < 0)
		return r;
	r = kvm_vm_set_memory(&t->vm, 0, 0, t->ram, GUEST_RAM, e);
	if (r < 0)
		return r;
	r = kvm_vcpu_create(&t->cpu, &t->vm, k, 0, e);
	if (r < 0)
		return r;
	r = kvm_dev_cpuid(k, &cpuid, e);
	if (r < 0)
		return r;
	r = kvm_vcpu_set_cpuid(&t->cpu, cpuid, e);
	if (r < 0)
		return r;
	return kvm_vcpu_start_at(&t->cpu, GUEST_BASE, 0, e);
}

void tiny_free(struct tiny *t)
{
	kvm_vcpu_close(&t->cpu);
	kvm_vm_close(&t->vm);
	if (t->ram)
		munmap(t->ram, GUEST_RAM);
	t->ram = NULL;
}

/* ---- the time limit ------------------------------------------------------ */

struct limit {
	timer_t timer;
	bool armed;
	sigset_t old; /* the thread's mask before */
	sigset_t sig; /* the timer's signal alone */
};

static int limit_begin(struct limit *l, struct kvm_vcpu *c, uint64_t ns,
		       struct err *e)
{
	struct sigevent ev = {
		.sigev_notify = SIGEV_THREAD_ID,
		.sigev_signo = SIGRTMAX,
	};
	struct itimerspec at = {
		.it_value = { .tv_sec = (time_t)(ns / CLOCK_S(1)),
			      .tv_nsec = (long)(ns % CLOCK_S(1)) },
	};
	sigset_t inside;
	int r;

	ev.sigev_notify_thread_id = gettid();
	sigemptyset(&l->sig);
	sigaddset(&l->sig, SIGRTMAX);
	pthread_sigmask(SIG_BLOCK, &l->sig, &l->old);
	inside = l->old;
	sigdelset(&inside, SIGRTMAX);
	r = kvm_vcpu_set_sigmask(c, &inside, e);
	if (r < 0)
		return r;
	if (timer_create(CLOCK_MONOTONIC, &ev, &l->timer) < 0)
		return err_sys(e, errno, "cannot create a timer");
	l->armed = true;
	if (timer_settime(l->timer, 0, &at, NULL) < 0)
		return err_sys(e, errno, "cannot set a timer");
	return 0;
}

/* Whether the signal has come; takes it. */
static bool limit_passed(const struct limit *l)
{
	const struct timespec now = { 0, 0 };

	return sigtimedwait(&l->sig, NULL, &now) == SIGRTMAX;
}

static void limit_end(struct limit *l)
{
	if (l->armed)
		timer_delete(l->timer);
	while (limit_passed(l))
		;
	pthread_sigmask(SIG_SETMASK, &l->old, NULL);
}

/* ---- exits --------------------------------------------------------------- */

static void put_text(struct tiny_result *r, uint8_t ch)
{
	if (r->text_len + 1 < sizeof(r->text))
		r->text[r->text_len++] = (char)ch;
}

/* True when the guest is to go on. */
static bool on_port(struct tiny_result *r, struct kvm_run *run)
{
	uint8_t value;

	r->end = TINY_STRAY;
	if (run->io.direction != KVM_EXIT_IO_OUT || run->io.size != 1 ||
	    run->io.count != 1)
		return false;
	value = *kvm_io_data(run);
	switch (run->io.port) {
	case GUEST_PORT_PRINT:
		put_text(r, value);
		return true;
	case GUEST_PORT_STEP:
		r->step = value;
		return true;
	case GUEST_PORT_EXIT:
		r->end = TINY_EXITED;
		r->code = value;
		return false;
	default:
		return false;
	}
}

static bool on_mmio(struct tiny_result *r, struct kvm_run *run)
{
	uint32_t value = GUEST_MMIO_VALUE;

	r->end = TINY_STRAY;
	if (run->mmio.phys_addr != GUEST_MMIO || run->mmio.len != sizeof(value))
		return false;
	if (!run->mmio.is_write) {
		memcpy(run->mmio.data, &value, sizeof(value));
		return true;
	}
	memcpy(&value, run->mmio.data, sizeof(value));
	return value == (uint32_t)~GUEST_MMIO_VALUE;
}

static bool on_exit_of(struct tiny_result *r, struct kvm_run *run)
{
	r->exits++;
	r->reason = run->exit_reason;
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		return on_port(r, run);
	case KVM_EXIT_MMIO:
		return on_mmio(r, run);
	case KVM_EXIT_SHUTDOWN:
		r->end = TINY_SHUTDOWN;
		return false;
	case KVM_EXIT_INTERNAL_ERROR:
		r->end = TINY_INTERNAL;
		r->suberror = run->internal.suberror;
		return false;
	default:
		r->end = TINY_STRAY;
		return false;
	}
}

static void run_to_end(struct tiny *t, struct limit *l, uint64_t begun,
		       struct tiny_result *r)
{
	bool more = true;
	int ret;

	while (more) {
		ret = kvm_vcpu_run(&t->cpu, NULL);
		if (ret == -EINTR) {
			/* Some other signal: its handler has run, go on. */
			r->end = TINY_HUNG;
			more = !limit_passed(l);
		} else if (ret < 0) {
			r->end = TINY_REFUSED;
			r->err = -ret;
			more = false;
		} else {
			more = on_exit_of(r, t->cpu.run);
			if (r->exits == 1)
				r->first_ns = clock_now() - begun;
		}
	}
	r->total_ns = clock_now() - begun;
}

int tiny_run(struct tiny *t, uint64_t limit_ns, struct tiny_result *r,
	     struct err *e)
{
	struct limit l = { .armed = false };
	/* Before the limit's timer, of which the total is then never short. */
	uint64_t begun = clock_now();
	int ret;

	*r = (struct tiny_result){ .end = TINY_STRAY };
	ret = limit_begin(&l, &t->cpu, limit_ns, e);
	if (ret == 0)
		run_to_end(t, &l, begun, r);
	limit_end(&l);
	return ret;
}

const char *tiny_end_text(const struct tiny_result *r, char text[static 64])
{
	switch (r->end) {
	case TINY_EXITED:
		snprintf(text, 64, "%s",
			 r->code == GUEST_EXIT_OK ? "ended well" :
			 r->code == GUEST_EXIT_TRAP ?
						    "an unexpected exception" :
						    "a wrong result");
		break;
	case TINY_HUNG:
		snprintf(text, 64, "hung");
		break;
	case TINY_SHUTDOWN:
		snprintf(text, 64, "triple fault");
		break;
	case TINY_INTERNAL:
		snprintf(text, 64, "KVM internal error %u", r->suberror);
		break;
	case TINY_REFUSED:
		snprintf(text, 64, "KVM_RUN: %s", strerrordesc_np(r->err));
		break;
	case TINY_STRAY:
		snprintf(text, 64, "unexpected exit %u", r->reason);
		break;
	}
	return text;
}
