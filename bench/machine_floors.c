/* SPDX-License-Identifier: MIT
 *
 * What stands beside the restore and the fork of bench/machine.c: the whole
 * program, its jail, and floors.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/proc.h"
#include "base/str.h"
#include "bench/laps.h"
#include "bench/machine.h"
#include "vmm/jail.h"
#include "vmm/kvm.h"
#include "vmm/mem.h"

#define PATIENCE_MS 60000
#define UID 123456 /* anybody's */
#define UID_TEXT "123456"

/* ---- the whole program --------------------------------------------------- */

static void wait_readable(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };

	if (poll(&p, 1, PATIENCE_MS) != 1)
		must(err_set(&machine_err, ETIMEDOUT,
			     "the monitor says nothing"));
}

/* Until it says that it is ready, and the guest has written to the console. */
static void run_monitor(const char *const *argv, int console, struct laps *out)
{
	struct proc_spec s = PROC_SPEC_INIT;
	proc_auto struct proc p = PROC_INIT;
	int ready[2];

	must(pipe2(ready, O_CLOEXEC));
	s.argv = argv;
	s.err = STDERR_FILENO;
	s.keep = &ready[1];
	s.nkeep = 1;
	laps_begin();
	must(proc_spawn(&p, &s, &machine_err));
	laps_end(LAP_SPAWN);
	close(ready[1]);
	wait_readable(ready[0]);
	laps_end(LAP_READY);
	wait_readable(console);
	laps_end(LAP_FIRST);
	*out = laps;
	close(ready[0]);
}

static char *path_of(const char *name)
{
	char *path = str_path(machine.path, name);

	if (!path) {
		must(-1);
		_exit(1);
	}
	return path;
}

/* In a run directory as it is when a sandbox starts: without anything. */
static void run_fresh(const char *const *argv, const char *run,
		      struct laps *out)
{
	mem_auto char *log = str_path(run, "console.log");
	fd_auto int watch = must(inotify_init1(IN_CLOEXEC));

	must(io_remove_tree(AT_FDCWD, run, &machine_err));
	must(mkdir(run, 0700));
	close(must(open(log, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)));
	must(inotify_add_watch(watch, log, IN_MODIFY));
	run_monitor(argv, watch, out);
}

static void run_all(struct laps *v, size_t n)
{
	mem_auto char *run = path_of("run");
	mem_auto char *root = path_of("root");
	mem_auto char *disk = path_of("scratch");
	mem_auto char *state = path_of("state.read");
	mem_auto char *ram = path_of("memory.read");
	mem_auto char *size =
		str_printf("%llu", (unsigned long long)machine.memory);
	const char *const argv[] = { machine.monitor,
				     "--dir",
				     run,
				     "--uid",
				     UID_TEXT,
				     "--rootfs",
				     root,
				     "--scratch",
				     disk,
				     "--memory",
				     size,
				     "--ready",
				     "3",
				     "--state",
				     state,
				     "--memory-file",
				     ram,
				     NULL };
	size_t i;

	for (i = 0; i < n; i++)
		run_fresh(argv, run, &v[i]);
}

void measure_program(void)
{
	const char *what = "restore (iso-vmm)";
	const size_t n = machine.rounds;
	struct laps *v = shared(n * sizeof(*v));

	run_all(v, n);
	figures_title(what);
	figures_since(what, "from nothing to the console", v, n, 0);
	figures_laps(what, v, n);
	munmap(v, n * sizeof(*v));
}

/* ---- its jail ------------------------------------------------------------ */

static const char *const stages[] = {
	[JAIL_FDS] = "descriptors",
	[JAIL_USER] = "user namespace",
	[JAIL_MOUNT] = "mounts",
	[JAIL_NET] = "network",
	[JAIL_IPC] = "IPC",
	[JAIL_ROOT] = "root directory",
	[JAIL_IDENTITY] = "identity",
	[JAIL_LIMITS] = "limits",
	[JAIL_STAGES] = "system calls",
};

#define STAGES (JAIL_STAGES + 1)

static void enter_jail(void *arg)
{
	uint64_t *took = arg, from;
	struct jail_spec s = JAIL_SPEC_INIT;

	s.uid = UID;
	s.gid = UID;
	s.files = 64;
	s.file_size = machine.memory;
	s.took = took;
	must(jail_enter(&s, &machine_err));
	from = clock_now();
	must(jail_thread(JAIL_MAIN, &machine_err));
	took[JAIL_STAGES] = clock_now() - from;
}

void measure_jail(void)
{
	const size_t n = machine.rounds;
	uint64_t *took = shared(n * STAGES * sizeof(*took));
	uint64_t *ns = shared(n * sizeof(*ns));
	size_t i, stage;

	for (i = 0; i < n; i++)
		apart(enter_jail, took + i * STAGES);
	figures_title("jail");
	for (i = 0; i < n; i++) {
		for (stage = 0; stage < STAGES; stage++)
			ns[i] += took[i * STAGES + stage];
	}
	figures_row("jail", "all of it", ns, n);
	for (stage = 0; stage < STAGES; stage++) {
		for (i = 0; i < n; i++)
			ns[i] = took[i * STAGES + stage];
		figures_row("jail", stages[stage], ns, n);
	}
	munmap(took, n * STAGES * sizeof(*took));
	munmap(ns, n * sizeof(*ns));
}

/* ---- floors -------------------------------------------------------------- */

static uint64_t *took; /* shared */

static const struct {
	const char *of; /* the snapshot's, or NULL */
	const char *name;
} floors[MACHINE_MEMORIES] = {
	[MACHINE_READ] = { "read", "fork(2), a file read" },
	[MACHINE_WRITTEN] = { "write", "fork(2), a file written" },
	[MACHINE_BOOTED] = { NULL, "fork(2), anonymous" },
};

/* Without a page of its own a mapping is not copied. */
static void touch(const struct mem *ram, bool only_read)
{
	uint64_t at;

	for (at = 0; at < ram->size; at += LAYOUT_PAGE) {
		volatile uint8_t *p = mem_at(ram, at, 1);

		if (only_read && at > 0)
			(void)*p;
		else
			*p = 1;
	}
}

/* A process that has as much memory, of the same kind, and nothing else. */
static void fork_floor(void *arg)
{
	enum machine_memory m = *(const enum machine_memory *)arg;
	const char *of = floors[m].of;
	struct mem ram = MEM_INIT;
	struct err *e = &machine_err;
	uint64_t from;
	size_t i;
	pid_t pid;

	must(of ? mem_create_from(&ram, machine.memory,
				  open_of("memory", of, O_RDONLY), e) :
		  mem_create(&ram, machine.memory, e));
	touch(&ram, m == MACHINE_READ);
	for (i = 0; i < machine.rounds; i++) {
		from = clock_now();
		pid = must(fork());
		if (pid == 0)
			_exit(0);
		took[i] = clock_now() - from;
		await(pid);
	}
}

static void map_floor(void *arg)
{
	uint64_t from = clock_now();
	struct mem ram = MEM_INIT;

	must(mem_create_from(&ram, machine.memory,
			     open_of("memory", "read", O_RDONLY),
			     &machine_err));
	*(uint64_t *)arg = clock_now() - from;
}

static void vm_floor(void *arg)
{
	uint64_t from = clock_now();
	struct kvm_dev k = KVM_DEV_INIT;
	struct kvm_vm v = KVM_VM_INIT;

	must(kvm_dev_open(&k, KVM_PATH, &machine_err));
	must(kvm_vm_create(&v, &k, &machine_err));
	*(uint64_t *)arg = clock_now() - from;
}

static void exec_floor(uint64_t *ns)
{
	static const char *const argv[] = { "/bin/true", NULL };
	struct proc_spec s = PROC_SPEC_INIT;
	uint64_t from = clock_now();

	s.argv = argv;
	must(proc_run(&s, NULL, &machine_err));
	*ns = clock_now() - from;
}

void measure_floors(void)
{
	const size_t n = machine.rounds;
	enum machine_memory m;
	size_t i;

	took = shared(n * sizeof(*took));
	figures_title("floors");
	for (m = 0; m < MACHINE_MEMORIES; m++) {
		apart(fork_floor, &m);
		figures_row("floors", floors[m].name, took, n);
	}
	for (i = 0; i < n; i++)
		apart(map_floor, &took[i]);
	figures_row("floors", "mmap(2) of the file", took, n);
	for (i = 0; i < n; i++)
		apart(vm_floor, &took[i]);
	figures_row("floors", "an empty VM in KVM", took, n);
	for (i = 0; i < n; i++)
		exec_floor(&took[i]);
	figures_row("floors", "a program that does nothing", took, n);
	munmap(took, n * sizeof(*took));
}
