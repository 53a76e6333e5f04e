/* SPDX-License-Identifier: MIT
 *
 * A virtual machine: see vm.h.
 *
 * The order of making it follows from KVM: VM, interrupt controllers,
 * processors, memory; and from us: whatever can fail comes before the kernel
 * is loaded, which is what costs time.  Cleaning up is one function that takes
 * any part of a VM, so nothing here needs a ladder of labels.
 */
#include "vmm/vm.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "vmm/acpi.h"
#include "vmm/boot.h"
#include "vmm/prefetch.h"
#include "vmm/vm_state.h"

#define PMEM_SLOT MEM_SLOTS

static const char *const end_names[] = {
	[VM_RUNNING] = "running", [VM_POWER_OFF] = "power-off",
	[VM_RESET] = "reset",	  [VM_IDLE] = "idle",
	[VM_QUIT] = "quit",	  [VM_HIBERNATED] = "hibernated",
	[VM_ERROR] = "error",
};

const char *vm_end_name(enum vm_end end)
{
	return end_names[end];
}

void vm_end(struct vm *vm, enum vm_end end, const char *fmt, ...)
{
	const uint64_t one = 1;
	bool first;
	va_list ap;

	pthread_mutex_lock(&vm->end_lock);
	first = vm->end == VM_RUNNING;
	if (first) {
		vm->end = end;
		va_start(ap, fmt);
		vsnprintf(vm->end_text, sizeof(vm->end_text), fmt, ap);
		va_end(ap);
	}
	pthread_mutex_unlock(&vm->end_lock);
	if (!first)
		return;
	vcpus_halt(&vm->cpus);
	(void)!write(vm->ended.fd, &one, sizeof(one));
}

static void ended(struct watch *w, uint32_t events)
{
	(void)events;
	w->loop->stop = true;
}

/* ---- idle time ---- */

static void idle_set(struct vm *vm, uint64_t seconds)
{
	const struct itimerspec at = { .it_value.tv_sec = (time_t)seconds };

	if (vm->idle.fd >= 0)
		timerfd_settime(vm->idle.fd, 0, &at, NULL);
}

static void idle_passed(struct watch *w, uint32_t events)
{
	struct vm *vm = container_of(w, struct vm, idle);
	uint64_t n;

	(void)events;
	/* It may have been set anew since it went off. */
	if (read(w->fd, &n, sizeof(n)) < 0 || vm->busy)
		return;
	vm_end(vm, VM_IDLE, "nobody used it for %llu seconds",
	       (unsigned long long)vm->idle_s);
}

static void on_busy(void *arg, bool busy)
{
	struct vm *vm = arg;

	vm->busy = busy;
	idle_set(vm, busy ? 0 : vm->idle_s);
}

static int idle_create(struct vm *vm, uint64_t seconds, struct err *e)
{
	int r;

	vm->idle_s = seconds;
	if (seconds == 0)
		return 0;
	vm->idle.fd =
		timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (vm->idle.fd < 0)
		return err_sys(e, errno, "cannot make a timer");
	/* It first runs when the first user leaves: booting is not idling. */
	r = loop_arm(&vm->idle, EPOLLIN);
	return r < 0 ? err_sys(e, -r, "cannot watch a timer") : 0;
}

/* ---- devices ---- */

static void on_broken(struct virtio *v, const char *rule)
{
	struct vm *vm = v->owner;

	vmm_log(&vm->log,
		"%s: the driver broke a rule (%s); it must reset "
		"the device",
		v->ops->name, rule);
}

/* The guest gets an I/O error; nobody but us can say why. */
static void on_failed(struct virtio *v, const char *what, int num)
{
	struct vm *vm = v->owner;
	struct err e = ERR_INIT;

	err_sys(&e, num, "%s: cannot %s", v->ops->name, what);
	vmm_log(&vm->log, "%s", e.text);
}

/* Give the device its address. */
static int add_device(struct vm *vm, struct virtio *v)
{
	v->owner = vm;
	v->on_broken = on_broken;
	v->on_failed = on_failed;
	vm->devs[vm->ndevs++] = v;
	return 0;
}

/* Its interrupt and its doorbells. */
static int connect_device(struct vm *vm, unsigned i, struct err *e)
{
	const uint64_t at = LAYOUT_MMIO + i * LAYOUT_MMIO_STRIDE;
	const struct virtio *v = vm->devs[i];
	unsigned q;
	int r = kvm_vm_irqfd(&vm->kvm, v->irq, LAYOUT_GSI + i, e);

	for (q = 0; r == 0 && q < v->ops->queues; q++)
		r = kvm_vm_ioeventfd(&vm->kvm, v->kick[q].w.fd,
				     at + VIRTIO_MMIO_NOTIFY, q, e);
	return r;
}

static int add_root(struct vm *vm, const struct vm_spec *s, struct err *e)
{
	const struct pmem_spec pmem = { .fd = s->rootfs,
					.gpa = mem_end(&vm->mem) };
	const struct blk_spec blk = { .fd = s->rootfs,
				      .read_only = true,
				      .serial = "root" };
	int r;

	if (s->rootfs < 0)
		return 0;
	if (s->rootfs_blk) {
		r = blk_init(&vm->root_blk, &blk, &vm->mem, &vm->disk_loop, e);
		return r < 0 ? r : add_device(vm, &vm->root_blk.v);
	}
	r = pmem_init(&vm->pmem, &pmem, &vm->mem, &vm->loop, e);
	if (r < 0)
		return r;
	mem_show(&vm->mem, vm->pmem.s.start, vm->pmem.host, vm->pmem.s.size);
	return add_device(vm, &vm->pmem.v);
}

static int add_scratch(struct vm *vm, const struct vm_spec *s, struct err *e)
{
	const struct blk_spec spec = { .fd = s->scratch, .serial = "scratch" };
	int r;

	if (s->scratch < 0)
		return 0;
	r = blk_init(&vm->scratch, &spec, &vm->mem, &vm->disk_loop, e);
	return r < 0 ? r : add_device(vm, &vm->scratch.v);
}

static int add_vsock(struct vm *vm, const struct vm_spec *s, struct err *e)
{
	const struct vsock_spec spec = {
		.listen = s->vsock, .cid = s->cid, .on_busy = on_busy, .arg = vm
	};
	int r;

	if (s->vsock < 0)
		return 0;
	r = vsock_init(&vm->vsock, &spec, &vm->mem, &vm->loop, e);
	return r < 0 ? r : add_device(vm, &vm->vsock.v);
}

static int add_net(struct vm *vm, const struct vm_spec *s, struct err *e)
{
	const struct net_spec spec = { .tap = s->tap };
	int r;

	if (s->tap < 0)
		return 0;
	r = net_init(&vm->net, &spec, &vm->mem, &vm->loop, e);
	return r < 0 ? r : add_device(vm, &vm->net.v);
}

static int add_devices(struct vm *vm, const struct vm_spec *s, struct err *e)
{
	int r = add_root(vm, s, e);

	if (r == 0)
		r = add_scratch(vm, s, e);
	if (r == 0)
		r = add_vsock(vm, s, e);
	if (r == 0)
		r = rng_init(&vm->rng, &vm->mem, &vm->loop, e);
	if (r == 0)
		r = add_device(vm, &vm->rng.v);
	if (r == 0)
		r = balloon_init(&vm->balloon, &vm->mem, &vm->loop, e);
	if (r == 0)
		r = add_device(vm, &vm->balloon.v);
	return r < 0 ? r : add_net(vm, s, e);
}

static int add_serial(struct vm *vm, const struct vm_spec *s, struct err *e)
{
	int r;

	vm->serial_irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vm->serial_irq < 0)
		return err_sys(e, errno, "cannot make an eventfd");
	r = serial_init(&vm->serial, s->console, vm->serial_irq, e);
	if (r < 0)
		return r;
	vm->has_serial = true;
	return 0;
}

/* ---- making one ---- */

static void vm_init(struct vm *vm, const struct vm_spec *s)
{
	vmm_log_init(&vm->log, s->log);
	pthread_mutex_init(&vm->end_lock, NULL);
	vm->dev = (struct kvm_dev)KVM_DEV_INIT;
	vm->kvm = (struct kvm_vm)KVM_VM_INIT;
	vm->mem = (struct mem)MEM_INIT;
	vm->loop = vm->disk_loop = (struct loop)LOOP_INIT;
	vm->serial_irq = -1;
	vm->disk_stop = (struct watch)WATCH_INIT(&vm->disk_loop, ended);
	vm->ended = (struct watch)WATCH_INIT(&vm->loop, ended);
	vm->idle = (struct watch)WATCH_INIT(&vm->loop, idle_passed);
}

/* An eventfd that ends its loop. */
static int add_stop(struct watch *w, struct err *e)
{
	int r = loop_init(w->loop);

	if (r == 0) {
		w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		r = w->fd < 0 ? -errno : loop_arm(w, EPOLLIN);
	}
	return r < 0 ? err_sys(e, -r, "cannot make an event loop") : 0;
}

static int load(struct vm *vm, const struct vm_spec *s, struct err *e)
{
	const struct acpi_spec acpi = { .vcpus = s->vcpus,
					.devices = vm->ndevs };
	struct boot_spec boot = { .kernel = s->kernel,
				  .initramfs = s->initramfs,
				  .cmdline = s->cmdline ? s->cmdline : "" };
	struct boot_entry entry = { 0 };
	int r = acpi_write(&vm->mem, &acpi, &boot.rsdp, e);

	if (r == 0)
		r = boot_load(&vm->mem, &boot, &entry, e);
	if (r == 0)
		r = kvm_vcpu_start_at(&vm->cpus.v[0].k, entry.entry, entry.info,
				      e);
	return r;
}

/* The state of a snapshot.  Whoever was connected then is not now. */
static int restore(struct vm *vm, const struct vm_spec *s, struct err *e)
{
	unsigned i;
	int r = vm_state_load(vm, s->state, s->state_len, e);

	if (r < 0)
		return r;
	if (vm->vsock.v.ops)
		vsock_reset_connections(&vm->vsock);
	for (i = 0; i < vm->ndevs; i++)
		virtio_loaded(vm->devs[i]);
	return 0;
}

static int make_memory(struct vm *vm, const struct vm_spec *s, struct err *e)
{
	struct err w = ERR_INIT;
	int r;

	if (s->memory_file < 0)
		return mem_create(&vm->mem, s->memory, e);
	r = mem_create_from(&vm->mem, s->memory, s->memory_file, e);
	/* It can be done without. */
	if (r == 0 && s->prefetch >= 0 &&
	    prefetch(vm->mem.host, vm->mem.size, s->memory_file, s->prefetch,
		     &w) < 0)
		vmm_log(&vm->log, "%s", w.text);
	return r;
}

int vm_make_kvm(struct vm *vm, struct err *e)
{
	unsigned i;
	int r = kvm_vm_create(&vm->kvm, &vm->dev, e);

	if (r == 0)
		r = mem_attach(&vm->mem, &vm->kvm, e);
	if (r == 0 && vm->pmem.host)
		r = pmem_attach(&vm->pmem, &vm->kvm, PMEM_SLOT, e);
	if (r == 0)
		r = kvm_vm_add_irqchip(&vm->kvm, e);
	if (r == 0)
		r = vcpus_create(&vm->cpus, vm, e);
	if (r == 0)
		r = kvm_vm_irqfd(&vm->kvm, vm->serial_irq, LAYOUT_GSI_SERIAL,
				 e);
	for (i = 0; r == 0 && i < vm->ndevs; i++)
		r = connect_device(vm, i, e);
	return r;
}

int vm_create(struct vm *vm, const struct vm_spec *s, struct err *e)
{
	int r;

	vm_init(vm, s);
	if (s->vcpus < 1 || s->vcpus > LAYOUT_VCPUS_MAX)
		return err_set(e, EINVAL,
			       "%u virtual processors: it must be 1 to %d",
			       s->vcpus, LAYOUT_VCPUS_MAX);
	r = add_stop(&vm->ended, e);
	if (r == 0)
		r = add_stop(&vm->disk_stop, e);
	if (r == 0)
		r = kvm_dev_take(&vm->dev, s->kvm, e);
	if (r == 0)
		r = vcpus_init(&vm->cpus, s->vcpus, e);
	if (r == 0)
		r = make_memory(vm, s, e);
	if (r == 0)
		r = add_serial(vm, s, e);
	if (r == 0)
		r = add_devices(vm, s, e);
	if (r == 0)
		r = idle_create(vm, s->idle_s, e);
	if (r == 0)
		r = vm_make_kvm(vm, e);
	if (r < 0)
		return r;
	return s->state ? restore(vm, s, e) : load(vm, s, e);
}

/* ---- running ---- */

static void *disk_main(void *arg)
{
	struct vm *vm = arg;
	struct err e = ERR_INIT;
	int r = vm->on_thread ? vm->on_thread(VM_THREAD_DISK, &e) : 0;

	if (r == 0) {
		r = loop_run(&vm->disk_loop);
		if (r < 0)
			err_sys(&e, -r, "cannot wait");
	}
	if (r < 0)
		vm_end(vm, VM_ERROR, "disk thread: %s", e.text);
	return NULL;
}

int vm_start_threads(struct vm *vm, struct err *e)
{
	int r = pthread_create(&vm->disk_thread, NULL, disk_main, vm);

	if (r)
		return err_sys(e, r, "cannot start the disk thread");
	vm->disk_started = true;
	return vcpus_start(&vm->cpus, e);
}

int vm_run(struct vm *vm, struct err *e)
{
	int r = 0;

	/* A child of fork(2) is confined already. */
	if (vm->on_thread && !vm->confined)
		r = vm->on_thread(VM_THREAD_MAIN, e);
	if (r < 0)
		return r;
	vm->confined = true;
	r = loop_run(&vm->loop);
	/* A child of fork(2) has no processors yet that could stop. */
	if (vm->cloned)
		return 0;
	vcpus_stop(&vm->cpus);
	serial_flush(&vm->serial);
	return r < 0 ? err_sys(e, -r, "cannot wait") : 0;
}

/* The disk has another thread, and what it holds is outside of memory: for as
 * long as the VM stands still, the file is what memory takes it for.  All other
 * devices are served by the thread that this is called on. */
void vm_pause(struct vm *vm)
{
	vcpus_stop(&vm->cpus);
	if (vm->scratch.v.ops)
		virtio_hold(&vm->scratch.v);
}

void vm_resume(struct vm *vm)
{
	/* An end that came meanwhile stays one. */
	if (vm->end != VM_RUNNING)
		return;
	if (vm->scratch.v.ops)
		virtio_go_on(&vm->scratch.v);
	vcpus_run(&vm->cpus);
}

/* ---- the end ---- */

static void stop_disk(struct vm *vm)
{
	const uint64_t one = 1;

	if (!vm->disk_started)
		return;
	(void)!write(vm->disk_stop.fd, &one, sizeof(one));
	pthread_join(vm->disk_thread, NULL);
	vm->disk_started = false;
}

static void free_devices(struct vm *vm)
{
	/* Each knows whether it was made: ops is NULL otherwise. */
	pmem_free(&vm->pmem);
	blk_free(&vm->root_blk);
	blk_free(&vm->scratch);
	vsock_free(&vm->vsock);
	rng_free(&vm->rng);
	balloon_free(&vm->balloon);
	net_free(&vm->net);
	vm->ndevs = 0;
}

void vm_free(struct vm *vm)
{
	vcpus_free(&vm->cpus);
	stop_disk(vm);
	kvm_vm_close(&vm->kvm);
	free_devices(vm);
	if (vm->has_serial)
		serial_free(&vm->serial);
	fd_close(&vm->serial_irq);
	loop_close(&vm->idle);
	loop_close(&vm->ended);
	loop_close(&vm->disk_stop);
	loop_free(&vm->loop);
	loop_free(&vm->disk_loop);
	mem_free_ram(&vm->mem);
	kvm_dev_close(&vm->dev);
	pthread_mutex_destroy(&vm->end_lock);
}
