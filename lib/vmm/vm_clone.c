/* SPDX-License-Identifier: MIT
 *
 * Cloning by fork(2): see vm_clone.h.
 *
 * The forking thread holds every lock of the VM while it forks: then no other
 * thread is in the middle of anything, and what the child inherits is whole.
 * What was notified but not served at that moment is in no memory; so in the
 * child every queue is served once (virtio_loaded()).
 *
 * The child closes the parent's VM and processors and unmaps their pages before
 * it makes its own: a VM belongs to the address space that made it, and a
 * forgotten descriptor would keep the parent's alive.
 *
 * Devices go over as they stand in memory.  Only KVM's part is saved and
 * loaded, by the functions that a snapshot uses: one way to get it right.
 */
#include "vmm/vm_clone.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "vmm/vm.h"
#include "vmm/vm_state.h"

/* Bytes in vm_state_buf: KVM's part, between the two sides of the fork. */
static size_t state_len;

static void lock_all(struct vm *vm)
{
	unsigned i;

	for (i = 0; i < vm->ndevs; i++)
		pthread_mutex_lock(&vm->devs[i]->lock);
	pthread_mutex_lock(&vm->serial.lock);
	pthread_mutex_lock(&vm->log.lock);
	pthread_mutex_lock(&vm->end_lock);
	pthread_mutex_lock(&vm->cpus.lock);
}

static void unlock_all(struct vm *vm)
{
	unsigned i;

	pthread_mutex_unlock(&vm->cpus.lock);
	pthread_mutex_unlock(&vm->end_lock);
	pthread_mutex_unlock(&vm->log.lock);
	pthread_mutex_unlock(&vm->serial.lock);
	for (i = vm->ndevs; i-- > 0;)
		pthread_mutex_unlock(&vm->devs[i]->lock);
}

pid_t vm_clone(struct vm *vm, struct err *e)
{
	ssize_t n = vm_state_save_kvm(vm, vm_state_buf, STATE_MAX, e);
	pid_t pid;

	if (n < 0)
		return (pid_t)n;
	state_len = (size_t)n;
	lock_all(vm);
	pid = fork();
	/* The child's only thread is the one that holds them. */
	unlock_all(vm);
	if (pid < 0)
		return err_sys(e, errno, "cannot fork the monitor");
	if (pid == 0) {
		vm->cloned = true;
		vm->loop.stop = true;
	}
	return pid;
}

/* ---- the child ---- */

/* A loop of our own, without what the parent's has in it. */
static int renew_loop(struct loop *l, struct err *e)
{
	int r;

	loop_free(l);
	r = loop_init(l);
	return r < 0 ? err_sys(e, -r, "cannot make an event loop") : 0;
}

/* Another descriptor @fd for what @w watches. */
static int renew_watch(struct watch *w, int fd, struct err *e)
{
	int r = fd < 0 ? -errno : 0;

	fd_close(&w->fd);
	w->fd = fd;
	w->armed = 0;
	if (r == 0)
		r = loop_arm(w, EPOLLIN);
	return r < 0 ? err_sys(e, -r, "cannot watch events") : 0;
}

static int renew_events(struct vm *vm, struct err *e)
{
	const int flags = EFD_CLOEXEC | EFD_NONBLOCK;
	int r = renew_watch(&vm->ended, eventfd(0, flags), e);

	if (r == 0)
		r = renew_watch(&vm->disk_stop, eventfd(0, flags), e);
	if (r == 0 && vm->idle.fd >= 0)
		r = renew_watch(&vm->idle,
				timerfd_create(CLOCK_BOOTTIME,
					       TFD_CLOEXEC | TFD_NONBLOCK),
				e);
	fd_close(&vm->serial_irq);
	vm->serial_irq = eventfd(0, flags);
	vm->serial.irq = vm->serial_irq;
	if (r == 0 && vm->serial_irq < 0)
		r = err_sys(e, errno, "cannot make an eventfd");
	return r;
}

void vm_drop_kvm(struct vm *vm)
{
	unsigned i;

	for (i = 0; i < vm->cpus.n; i++) {
		struct vcpu *c = &vm->cpus.v[i];

		kvm_vcpu_close(&c->k);
		c->started = c->up = c->standing = false;
		c->exits = 0;
	}
	kvm_vm_close(&vm->kvm);
	vm->disk_started = false;
}

int vm_clone_begin(struct vm *vm, int vsock, struct err *e)
{
	unsigned i;
	int r;

	vm_drop_kvm(vm);
	r = renew_loop(&vm->loop, e);
	if (r == 0)
		r = renew_loop(&vm->disk_loop, e);
	if (r == 0)
		r = renew_events(vm, e);
	for (i = 0; r == 0 && i < vm->ndevs; i++)
		r = virtio_renew(vm->devs[i], e);
	if (r == 0)
		r = vm_make_kvm(vm, e);
	if (r == 0)
		r = vm_state_load_kvm(vm, vm_state_buf, state_len, e);
	if (r < 0)
		return r;
	vsock_renew(&vm->vsock, vsock, vm->clone_cid);
	for (i = 0; i < vm->ndevs; i++)
		virtio_loaded(vm->devs[i]);
	vm->cloned = false;
	return 0;
}
