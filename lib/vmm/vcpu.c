/* SPDX-License-Identifier: MIT
 *
 * Virtual processors: see vcpu.h.
 *
 * How a running processor is stopped: run->immediate_exit is set, then a
 * signal is sent (see jail_kick() for how).  A thread in the guest comes out
 * because of the signal; one that is about to go in does not get in because of
 * the flag; so no moment is missed, and the handler has nothing to do.  (The
 * signal mask of KVM_SET_SIGNAL_MASK, which tiny.c uses, costs two mask changes
 * an entry.)
 *
 * An exit that KVM has not finished yet (a read of a device register whose
 * value we have provided) is finished by the next KVM_RUN, before that looks
 * at immediate_exit.  So a processor always goes through one more KVM_RUN
 * before it stands still, and its registers are then true.
 */
#include "vmm/vcpu.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/fd.h"
#include "vmm/cpuid.h"
#include "vmm/exit.h"
#include "vmm/vm.h"

#define VCPU_SIGNAL SIGUSR1

#define MSR_MISC_ENABLE 0x1a0
#define MISC_FAST_STRING 0x1
#define MSR_MTRR_DEF_TYPE 0x2ff
#define MTRR_ENABLE 0x800
#define MTRR_WRITE_BACK 0x6

static void nothing(int sig)
{
	(void)sig;
}

/* What firmware would have done: memory is cached by default, and there are no
 * fixed ranges.  KVMs for special kernels may not know them. */
static void set_msrs(struct vcpu *c)
{
	kvm_vcpu_set_msr(&c->k, MSR_MISC_ENABLE, MISC_FAST_STRING, NULL);
	kvm_vcpu_set_msr(&c->k, MSR_MTRR_DEF_TYPE,
			 MTRR_ENABLE | MTRR_WRITE_BACK, NULL);
}

/* FNV-1a: to notice a difference, not to withstand somebody. */
static uint64_t hash(const struct kvm_cpuid2 *c)
{
	const uint8_t *p = (const uint8_t *)c->entries;
	uint64_t h = 0xcbf29ce484222325;
	size_t i;

	for (i = 0; i < c->nent * sizeof(c->entries[0]); i++)
		h = (h ^ p[i]) * 0x100000001b3;
	return h;
}

static int create_one(struct vcpus *s, struct vm *vm, unsigned id,
		      struct kvm_cpuid2 *cpuid, struct err *e)
{
	struct vcpu *c = &s->v[id];
	int r = kvm_vcpu_create(&c->k, &vm->kvm, &vm->dev, id, e);

	c->vm = vm;
	c->id = id;
	if (r < 0)
		return r;
	cpuid_for(cpuid, KVM_CPUID_ROOM, id, s->n);
	if (id == 0)
		s->model = hash(cpuid);
	r = kvm_vcpu_set_cpuid(&c->k, cpuid, e);
	if (r == 0)
		set_msrs(c);
	return r;
}

int vcpus_init(struct vcpus *s, unsigned n, struct err *e)
{
	unsigned i;

	s->v = calloc(n, sizeof(*s->v));
	if (!s->v)
		return err_sys(e, ENOMEM, "cannot hold %u processors", n);
	s->n = n;
	for (i = 0; i < n; i++)
		s->v[i].k = (struct kvm_vcpu)KVM_VCPU_INIT;
	return 0;
}

int vcpus_create(struct vcpus *s, struct vm *vm, struct err *e)
{
	unsigned i;
	int r = s->cpuid ? 0 : kvm_dev_cpuid(&vm->dev, &s->cpuid, e);

	/* Anew also in a child of fork(2), in which nobody holds or waits. */
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
	s->want = VCPU_STOP;
	if (r == 0 && s->msrs.n == 0)
		r = msr_list_get(&vm->dev, &s->msrs, e);
	for (i = 0; r == 0 && i < s->n; i++)
		r = create_one(s, vm, i, s->cpuid, e);
	return r;
}

/* ---- the threads ---- */

/* Stand still as long as that is wanted.  False: the thread is to end. */
static bool may_run(struct vcpu *c)
{
	struct vcpus *s = &c->vm->cpus;
	bool go;

	pthread_mutex_lock(&s->lock);
	c->k.run->immediate_exit = 0;
	while (s->want == VCPU_STOP) {
		c->standing = true;
		pthread_cond_broadcast(&s->changed);
		pthread_cond_wait(&s->changed, &s->lock);
	}
	c->standing = false;
	go = s->want == VCPU_RUN;
	pthread_mutex_unlock(&s->lock);
	return go;
}

/* Run the guest until the thread is to end, or cannot go on. */
static int run(struct vcpu *c, struct err *e)
{
	int r = 0;

	while (may_run(c)) {
		/* Until it is told to stop. */
		while ((r = kvm_vcpu_run(&c->k, e)) == 0) {
			c->exits++;
			exit_serve(c);
		}
		if (r != -EINTR)
			return err_fix(e, "at address 0x%llx",
				       (unsigned long long)kvm_vcpu_ip(&c->k));
	}
	return 0;
}

static void set_flag(struct vcpu *c, bool *flag)
{
	pthread_mutex_lock(&c->vm->cpus.lock);
	*flag = true;
	pthread_cond_broadcast(&c->vm->cpus.changed);
	pthread_mutex_unlock(&c->vm->cpus.lock);
}

static void *vcpu_main(void *arg)
{
	struct vcpu *c = arg;
	struct err e = ERR_INIT;
	int r = jail_kick_init(&c->kick, VCPU_SIGNAL, &e);

	if (r == 0 && c->vm->on_thread)
		r = c->vm->on_thread(VM_THREAD_VCPU, &e);
	if (r == 0) {
		set_flag(c, &c->up);
		r = run(c, &e);
	}
	if (r < 0)
		vm_end(c->vm, VM_ERROR, "vCPU %u: %s %s", c->id, e.text, e.fix);
	set_flag(c, &c->standing);
	return NULL;
}

int vcpus_start(struct vcpus *s, struct err *e)
{
	struct sigaction sa = { .sa_handler = nothing };
	unsigned i;
	int r;

	sigaction(VCPU_SIGNAL, &sa, NULL);
	for (i = 0; i < s->n; i++) {
		r = pthread_create(&s->v[i].thread, NULL, vcpu_main, &s->v[i]);
		if (r)
			return err_sys(e, r,
				       "cannot start the thread of "
				       "processor %u",
				       i);
		s->v[i].started = true;
	}
	return 0;
}

/* ---- from outside ---- */

/* With the lock held: who sees the new wish has seen immediate_exit. */
static void want(struct vcpus *s, enum vcpu_want w)
{
	unsigned i;

	s->want = w;
	pthread_cond_broadcast(&s->changed);
	for (i = 0; w != VCPU_RUN && i < s->n; i++) {
		if (!s->v[i].up || s->v[i].standing)
			continue;
		s->v[i].k.run->immediate_exit = 1;
		jail_kick(&s->v[i].kick);
	}
}

void vcpus_run(struct vcpus *s)
{
	pthread_mutex_lock(&s->lock);
	want(s, VCPU_RUN);
	pthread_mutex_unlock(&s->lock);
}

void vcpus_halt(struct vcpus *s)
{
	pthread_mutex_lock(&s->lock);
	if (s->want == VCPU_RUN)
		want(s, VCPU_STOP);
	pthread_mutex_unlock(&s->lock);
}

static bool all_stand(const struct vcpus *s)
{
	unsigned i;

	for (i = 0; i < s->n; i++) {
		if (s->v[i].started && !s->v[i].standing)
			return false;
	}
	return true;
}

void vcpus_stop(struct vcpus *s)
{
	pthread_mutex_lock(&s->lock);
	want(s, VCPU_STOP);
	while (!all_stand(s))
		pthread_cond_wait(&s->changed, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

void vcpus_free(struct vcpus *s)
{
	unsigned i;

	free(s->cpuid);
	s->cpuid = NULL;
	if (!s->v || !s->v[0].vm) {
		free(s->v);
		s->v = NULL;
		return;
	}
	pthread_mutex_lock(&s->lock);
	want(s, VCPU_END);
	pthread_mutex_unlock(&s->lock);
	for (i = 0; i < s->n; i++) {
		if (s->v[i].started)
			pthread_join(s->v[i].thread, NULL);
		if (s->v[i].up)
			jail_kick_free(&s->v[i].kick);
		kvm_vcpu_close(&s->v[i].k);
	}
	free(s->v);
	s->v = NULL;
	s->n = 0;
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
}
