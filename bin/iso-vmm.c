/* SPDX-License-Identifier: MIT
 *
 * iso-vmm: the virtual machine monitor, one process a sandbox.  Not typed by
 * people: iso-boot starts it.  iso-vmm(8) has its options and its files.
 *
 * It opens what it needs, makes the VM, confines itself, says that it is ready
 * and runs the guest.  No option parser of the other programs, and no library:
 * this program's start is part of every sandbox's.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/sock.h"
#include "base/str.h"
#include "bin/vmmopt.h"
#include "vmm/ctl.h"
#include "vmm/jail.h"
#include "vmm/serial.h"
#include "vmm/vm.h"
#include "vmm/vm_state.h"

/* The descriptors of a sandbox at most: every vsock client has one, and every
 * device a few. */
#define FILES_MAX (VSOCK_CLIENTS + 256)
#define STACK_SIZE (256u << 10) /* of a thread */

/* What is opened for the VM. */
struct files {
	int kvm, kernel, initramfs, rootfs, scratch, console, ended, pid;
	int vsock, control, state, memory_file, prefetch;
};

static struct vm vm;
static struct ctl ctl;

static int fail(const struct err *e, int ready)
{
	char line[1024];
	int n = snprintf(line, sizeof(line), "iso-vmm: %s\n%s%s%s", e->text,
			 *e->fix ? "iso-vmm: try: " : "", e->fix,
			 *e->fix ? "\n" : "");

	(void)!write(STDERR_FILENO, line, (size_t)n);
	if (ready >= 0)
		(void)!write(ready, line + strlen("iso-vmm: "),
			     (size_t)n - strlen("iso-vmm: "));
	return 1;
}

/* ---- files ---- */

static int open_file(const char *path, int flags, int *fd, struct err *e)
{
	if (!path)
		return 0;
	*fd = open(path, flags | O_CLOEXEC | O_NOCTTY, 0600);
	return *fd < 0 ? err_sys(e, errno, "cannot open %s", path) : 0;
}

static int open_in(const char *dir, const char *name, int flags, int *fd,
		   struct err *e)
{
	mem_auto char *path = str_path(dir, name);

	if (!path)
		return err_sys(e, ENOMEM, "%s", name);
	return open_file(path, flags, fd, e);
}

/* We are the sandbox's process: a lock that ends with us, of which fork(2)'s
 * children have no part (fcntl(2), F_SETLK). */
static int claim(int fd, struct err *e)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char text[32];
	int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	if (fcntl(fd, F_SETLK, &lock) < 0)
		return err_set(e, EBUSY, "vmm.pid: a monitor is running");
	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n)
		return err_sys(e, errno, "cannot write vmm.pid");
	return 0;
}

static int listen_in(const char *dir, const char *name,
		     int (*fn)(const char *, struct err *), int *fd,
		     struct err *e)
{
	mem_auto char *path = str_path(dir, name);

	*fd = path ? fn(path, e) : err_sys(e, ENOMEM, "%s", name);
	return *fd < 0 ? *fd : fd_nonblock(*fd, true);
}

/* An image or a snapshot that is in use is not to be removed: who removes it
 * asks for the lock, which our children of fork(2) have as well. */
static int open_shared(const char *path, int *fd, struct err *e)
{
	int r = open_file(path, O_RDONLY, fd, e);

	if (r == 0 && *fd >= 0 && flock(*fd, LOCK_SH | LOCK_NB) < 0)
		return err_sys(e, errno, "cannot lock %s", path);
	return r;
}

/* Room for what is to be said when the disk is full.  A wish. */
static void reserve(int fd)
{
	(void)!fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 4096);
}

static int open_files(const struct vmmopt *c, struct files *f, struct err *e)
{
	int r = open_in(c->dir, "vmm.pid", O_RDWR | O_CREAT, &f->pid, e);

	if (r == 0)
		r = claim(f->pid, e);
	if (r == 0)
		r = open_file(c->kvm, O_RDWR, &f->kvm, e);
	if (r == 0)
		r = open_file(c->kernel, O_RDONLY, &f->kernel, e);
	if (r == 0)
		r = open_file(c->initramfs, O_RDONLY, &f->initramfs, e);
	if (r == 0)
		r = open_file(c->state, O_RDONLY, &f->state, e);
	if (r == 0)
		r = open_shared(c->memory_file, &f->memory_file, e);
	/* Advice: without it, it is slower. */
	if (r == 0)
		open_file(c->prefetch, O_RDONLY | O_NOFOLLOW | O_NONBLOCK,
			  &f->prefetch, NULL);
	if (r == 0)
		r = open_shared(c->rootfs, &f->rootfs, e);
	if (r == 0)
		r = open_file(c->scratch, O_RDWR, &f->scratch, e);
	if (r == 0)
		r = open_in(c->dir, "console.log", O_RDWR | O_CREAT,
			    &f->console, e);
	if (r == 0)
		r = open_in(c->dir, "ended", O_WRONLY | O_CREAT, &f->ended, e);
	if (r == 0)
		r = listen_in(c->dir, "vsock.sock", sock_listen, &f->vsock, e);
	if (r == 0)
		r = listen_in(c->dir, "control.sock", sock_listen_packets,
			      &f->control, e);
	if (r == 0) {
		reserve(f->ended);
		reserve(STDERR_FILENO);
	}
	return r;
}

/* ---- confinement ---- */

static const enum jail_role roles[] = {
	[VM_THREAD_MAIN] = JAIL_MAIN,
	[VM_THREAD_DISK] = JAIL_DISK,
	[VM_THREAD_VCPU] = JAIL_VCPU,
};

static int confine_thread(enum vm_thread t, struct err *e)
{
	return jail_thread(roles[t], e);
}

/* All descriptors are ours and stay, but for directories and those that came
 * uninvited, of which no number is known: so everything that is not close-on-
 * exec and not named on the command line has to go.  The jail closes all but
 * what it is given. */
static int list_files(const struct vmmopt *c, int *keep)
{
	int fd, n = 0;

	for (fd = 3; fd < VMMOPT_FDS; fd++) {
		int flags = fcntl(fd, F_GETFD);

		if (flags < 0)
			continue;
		if ((flags & FD_CLOEXEC) || (uint64_t)fd == c->ready ||
		    (uint64_t)fd == c->tap)
			keep[n++] = fd;
	}
	return n;
}

static int confine(const struct vmmopt *c, struct err *e)
{
	struct jail_spec s = JAIL_SPEC_INIT;
	struct stat st;
	int keep[VMMOPT_FDS];

	if (c->no_jail)
		return 0;
	s.uid = (uid_t)c->uid;
	s.gid = (gid_t)c->uid;
	s.keep = keep;
	s.nkeep = (size_t)list_files(c, keep);
	s.files = FILES_MAX;
	/* The largest file is the scratch disk, a snapshot's memory, or the
	 * console's. */
	s.file_size = c->memory > RING_LOG_LIMIT ? c->memory : RING_LOG_LIMIT;
	if (c->scratch && stat(c->scratch, &st) == 0 &&
	    (uint64_t)st.st_size > s.file_size)
		s.file_size = (uint64_t)st.st_size;
	vm.on_thread = confine_thread;
	return jail_enter(&s, e);
}

/* ---- the run ---- */

/* JSON text without the characters that would need escaping. */
static void plain(char *s)
{
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			*s = '\'';
		else if (*s < ' ' || *s > '~')
			*s = '?';
	}
}

static int report_end(const struct files *f)
{
	char line[LOG_LINE + 128];
	int n;

	vmm_log_last(&vm.log, "%s: %s", vm_end_name(vm.end), vm.end_text);
	plain(vm.end_text);
	n = snprintf(line, sizeof(line),
		     "{\"reason\": \"%s\", \"detail\": \"%s\"}\n",
		     vm_end_name(vm.end), vm.end_text);
	(void)!write(f->ended, line, (size_t)n);
	/* From here on the files count, and the disk is theirs. */
	if (vm.end == VM_HIBERNATED)
		fsync(f->ended);
	/* Nobody comes back to it, and whoever removes it may be long in
	 * coming: the disk space is given back now. */
	if (f->scratch >= 0 && vm.end == VM_IDLE)
		(void)!ftruncate(f->scratch, 0);
	return vm.end == VM_ERROR ? 1 : 0;
}

/* The state of a snapshot: all of the file. */
static int read_state(const struct files *f, struct vm_spec *s, struct err *e)
{
	ssize_t n;

	if (f->state < 0)
		return 0;
	n = io_read_full(f->state, vm_state_buf, sizeof(vm_state_buf));
	if (n < 0)
		return err_sys(e, (int)-n, "cannot read the state file");
	s->state = vm_state_buf;
	s->state_len = (size_t)n;
	s->memory_file = f->memory_file;
	s->prefetch = f->prefetch;
	return 0;
}

/* What was read, mapped or copied when the VM was made. */
static void forget_sources(struct files *f)
{
	fd_close(&f->kvm);
	fd_close(&f->kernel);
	fd_close(&f->initramfs);
	fd_close(&f->state);
	fd_close(&f->prefetch);
}

static int make(const struct vmmopt *c, struct files *f, struct err *e)
{
	struct vm_spec s = VM_SPEC_INIT;
	int r = read_state(f, &s, e);

	s.vcpus = (unsigned)c->vcpus;
	s.memory = c->memory;
	s.cmdline = c->cmdline;
	s.kvm = f->kvm;
	s.kernel = f->kernel;
	s.initramfs = f->initramfs;
	s.rootfs = f->rootfs;
	s.rootfs_blk = c->rootfs_blk;
	s.scratch = f->scratch;
	s.vsock = f->vsock;
	s.tap = c->tap == VMMOPT_NONE ? -1 : (int)c->tap;
	s.console = f->console;
	s.log = STDERR_FILENO;
	s.cid = c->cid;
	s.idle_s = c->timeout;
	if (r == 0)
		r = vm_create(&vm, &s, e);
	forget_sources(f);
	return r < 0 ? r : ctl_init(&ctl, &vm, f->control, e);
}

/* ---- a child of fork(2) -------------------------------------------------- */

/* The sandbox's own files in the numbers of the parent's, which so are closed.
 * The lock on the parent's vmm.pid is not ours. */
static int take_files(struct files *f, struct err *e)
{
	const struct {
		enum vm_clone_fd from;
		int to;
	} pairs[] = {
		{ VM_CLONE_PID, f->pid },
		{ VM_CLONE_ENDED, f->ended },
		{ VM_CLONE_LOG, STDERR_FILENO },
		{ VM_CLONE_CONSOLE, f->console },
		{ VM_CLONE_SCRATCH, f->scratch },
	};
	size_t i;

	/* First of all: what it costs from here on is the child's. */
	(void)!write(vm.clone_fd[VM_CLONE_CGROUP], "0\n", 2);
	fd_close(&vm.clone_fd[VM_CLONE_CGROUP]);
	vmm_log_init(&vm.log, STDERR_FILENO);
	for (i = 0; i < ARRAY_SIZE(pairs); i++) {
		int *from = &vm.clone_fd[pairs[i].from];

		if (dup3(*from, pairs[i].to,
			 pairs[i].to == STDERR_FILENO ? 0 : O_CLOEXEC) < 0)
			return err_sys(e, errno, "cannot take over a file");
		fd_close(from);
	}
	reserve(f->ended);
	reserve(STDERR_FILENO);
	return claim(f->pid, e);
}

/* Become the sandbox that was asked for. */
static int become(struct files *f, struct err *e)
{
	int r = take_files(f, e);

	if (r == 0)
		r = vm_clone_begin(&vm, vm.clone_fd[VM_CLONE_VSOCK], e);
	if (r == 0)
		r = ctl_renew(&ctl, vm.clone_fd[VM_CLONE_CONTROL], e);
	return r;
}

/* ---- */

static void say_ready(int fd)
{
	if (fd < 0)
		return;
	(void)!write(fd, "ready\n", 6);
	close(fd);
}

/* Until the end.  A child of fork(2) comes out of vm_run(), becomes another
 * sandbox and goes on here; it stands still until it is told to run. */
static int serve(struct files *f, int ready)
{
	struct err e = ERR_INIT;
	int r = vm_start_threads(&vm, &e);

	if (r == 0) {
		say_ready(ready);
		vm_resume(&vm);
		r = vm_run(&vm, &e);
		ready = -1;
	}
	while (r == 0 && vm.cloned) {
		ready = vm.clone_fd[VM_CLONE_RESULT];
		r = become(f, &e);
		if (r == 0)
			r = vm_start_threads(&vm, &e);
		if (r < 0)
			break;
		say_ready(ready);
		ready = -1;
		r = vm_run(&vm, &e);
	}
	return r < 0 ? fail(&e, ready) : report_end(f);
}

/* The usual 8 MiB are room enough for a huge page, which each thread would then
 * get for the few KiB that it needs. */
static int set_stack_size(struct err *e)
{
	pthread_attr_t a;
	int r = pthread_attr_init(&a);

	if (r == 0)
		r = pthread_attr_setstacksize(&a, STACK_SIZE);
	if (r == 0)
		r = pthread_setattr_default_np(&a);
	pthread_attr_destroy(&a);
	return r ? err_sys(e, r, "cannot set the size of stacks") : 0;
}

int main(int argc, char **argv)
{
	struct vmmopt c = { .kvm = KVM_PATH,
			    .vcpus = 1,
			    .memory = 256 * LAYOUT_MIB,
			    .uid = 65534,
			    .ready = VMMOPT_NONE,
			    .tap = VMMOPT_NONE,
			    .cid = VSOCK_GUEST_CID_MIN };
	struct files f = { -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1 };
	struct err e = ERR_INIT;
	int ready, r;

	if (fd_ensure_stdio() < 0)
		return 1;
	if (vmmopt_parse(&c, argc, argv, &e) < 0)
		return fail(&e, -1) + 1;
	ready = c.ready == VMMOPT_NONE ? -1 : (int)c.ready;
	/* Nobody waits for the children that it forks. */
	signal(SIGCHLD, SIG_IGN);
	r = set_stack_size(&e);
	if (r == 0)
		r = open_files(&c, &f, &e);
	if (r == 0)
		r = make(&c, &f, &e);
	if (r == 0)
		r = confine(&c, &e);
	if (r < 0)
		return fail(&e, ready);
	r = serve(&f, ready);
	ctl_free(&ctl);
	vm_free(&vm);
	return r;
}
