/* SPDX-License-Identifier: MIT
 *
 * The host's half of a restore and of a fork: from nothing, or from a machine
 * that runs, to the first instruction of a tiny guest (tests/guests/steps.c).
 *
 * usage: machine VMM GUEST DIR
 *
 * VMM is iso-vmm, DIR an empty directory.  The environment has ROUNDS, MIB (how
 * much memory the guest has touched when it is forked) and JSON (a file that
 * gets the figures, too): see bench/machine.
 *
 * Every restore, and every parent of forks, is a process of its own, as it is
 * in use: what the first VM of a process costs is part of it.
 */
#include "bench/machine.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/sock.h"
#include "base/str.h"
#include "bench/laps.h"
#include "vmm/prefetch.h"
#include "vmm/snap.h"
#include "vmm/vm.h"
#include "vmm/vm_state.h"

/* Of the guest's memory, what it does not touch: STEPS_FROM. */
#define UNTOUCHED (32 * LAYOUT_MIB)
#define DISK (64 * LAYOUT_MIB)
#define SNAPSHOT_STEP 1
#define TOUCHED_STEP 3

static const struct {
	const char *args; /* the guest's */
	const char *of;	  /* the snapshot's, or NULL */
	const char *name;
} memories[MACHINE_MEMORIES] = {
	[MACHINE_READ] = { "read", "read", "restored, read" },
	[MACHINE_WRITTEN] = { "write", "write", "restored, written" },
	[MACHINE_BOOTED] = { "write", NULL, "booted, written" },
};

struct machine machine;
struct err machine_err = ERR_INIT;

static struct vm vm;

int must(int r)
{
	if (r >= 0)
		return r;
	if (!*machine_err.text)
		err_sys(&machine_err, errno, "a system call failed");
	fprintf(stderr, "machine: %s\n", machine_err.text);
	_exit(1);
}

/* ---- processes ----------------------------------------------------------- */

void *shared(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	must(p == MAP_FAILED ? -1 : 0);
	return p;
}

void await(int pid)
{
	int status;

	must(waitpid(pid, &status, 0));
	if (status)
		must(err_set(&machine_err, ECHILD, "a process failed"));
}

void apart(void (*what)(void *), void *arg)
{
	pid_t pid;

	fflush(NULL);
	pid = must(fork());
	if (pid == 0) {
		what(arg);
		_exit(0);
	}
	await(pid);
}

/* The numbers of KiB behind @key in a file of /proc/self; in bytes. */
static uint64_t proc_number(const char *file, const char *key)
{
	buf_auto struct buf b = BUF_INIT;
	const char *at;

	must(io_read_file(AT_FDCWD, file, &b, &machine_err));
	must(buf_add(&b, "", 1));
	at = strstr((const char *)b.data, key);
	return at ? strtoull(at + strlen(key), NULL, 10) << 10 : 0;
}

static void weigh(struct laps *l)
{
	const char *map = "/proc/self/smaps_rollup";

	l->bytes[LAPS_UNIQUE] = proc_number(map, "Private_Clean:") +
				proc_number(map, "Private_Dirty:");
	l->bytes[LAPS_HUGE] = proc_number(map, "AnonHugePages:") +
			      proc_number(map, "FilePmdMapped:");
	l->bytes[LAPS_TABLES] = proc_number("/proc/self/status", "VmPTE:");
}

/* ---- a machine ----------------------------------------------------------- */

int open_here(const char *name, int flags)
{
	return must(openat(machine.dir, name, flags | O_CLOEXEC, 0600));
}

int open_of(const char *name, const char *of, int flags)
{
	char text[64];

	snprintf(text, sizeof(text), "%s.%s", name, of);
	return open_here(text, flags);
}

static int listen_here(void)
{
	mem_auto char *path = str_path(machine.path, "vsock.sock");

	return must(sock_listen(path, &machine_err));
}

/* With the devices of a sandbox that has no network. */
static void describe(struct vm_spec *s)
{
	*s = (struct vm_spec)VM_SPEC_INIT;
	s->vcpus = 1;
	s->memory = machine.memory;
	s->rootfs = open_here("root", O_RDONLY);
	s->scratch = open_here("scratch", O_RDWR);
	s->console = open_here("console", O_RDWR);
	s->log = STDERR_FILENO;
	s->vsock = listen_here();
}

static uint64_t stepped(void)
{
	uint64_t when = steps_wait();

	if (!when)
		must(err_set(&machine_err, ETIMEDOUT, "the guest stands: %s",
			     vm.end_text));
	return when;
}

/* On by @n of the guest's steps; there it stands still. */
static void step(unsigned n)
{
	while (n--) {
		steps_arm(STEPS_STOP);
		vm_resume(&vm);
		stepped();
		vm_pause(&vm);
	}
}

static void boot(enum machine_memory m)
{
	struct vm_spec s;

	describe(&s);
	s.kvm = must(open(KVM_PATH, O_RDWR | O_CLOEXEC));
	s.kernel = must(open(machine.guest, O_RDONLY | O_CLOEXEC));
	s.cmdline = memories[m].args;
	must(vm_create(&vm, &s, &machine_err));
	must(vm_start_threads(&vm, &machine_err));
}

/* As iso-vmm does it. */
static void restore(enum machine_memory m)
{
	const char *of = memories[m].of;
	int state = open_of("state", of, O_RDONLY);
	struct vm_spec s;
	ssize_t n;

	describe(&s);
	s.memory_file = open_of("memory", of, O_RDONLY);
	/* Nothing is wanted first: what the guest uses it uses by the MiB. */
	s.prefetch = open_here("prefetch", O_RDWR | O_CREAT);
	must((int)pwrite(s.prefetch, PREFETCH_MAGIC, PREFETCH_MAGIC_SIZE, 0));
	laps_begin();
	s.kvm = must(open(KVM_PATH, O_RDWR | O_CLOEXEC));
	laps_end(LAP_OPEN);
	n = io_read_full(state, vm_state_buf, sizeof(vm_state_buf));
	laps_end(LAP_READ);
	s.state = vm_state_buf;
	s.state_len = (size_t)must((int)n);
	must(vm_create(&vm, &s, &machine_err));
	laps_end(LAP_REST);
	must(vm_start_threads(&vm, &machine_err));
	laps_end(LAP_THREADS);
}

static void make_snapshot(void *arg)
{
	enum machine_memory m = *(const enum machine_memory *)arg;
	struct snap_memory to = { -1, -1, false };
	uint64_t written;
	int state;

	boot(m);
	step(SNAPSHOT_STEP);
	state = open_of("state", memories[m].of, O_CREAT | O_RDWR);
	to.fd = open_of("memory", memories[m].of, O_CREAT | O_RDWR);
	must(snap_write(&vm, state, &to, &written, &machine_err));
}

/* ---- restore ------------------------------------------------------------- */

static void restore_once(void *arg)
{
	struct laps *out = arg;

	restore(MACHINE_READ);
	steps_arm(STEPS_STOP);
	vm_resume(&vm);
	laps_end_at(LAP_FIRST, stepped());
	weigh(&laps);
	*out = laps;
}

static void measure_restore(void)
{
	const char *what = "restore";
	size_t i, n = machine.rounds;
	struct laps *v = shared(n * sizeof(*v));

	for (i = 0; i < n; i++)
		apart(restore_once, &v[i]);
	figures_title(what);
	figures_since(what, "from nothing to the guest", v, n, 0);
	figures_since(what, "state loaded to the guest", v, n, LAP_THREADS);
	figures_laps(what, v, n);
	figures_bytes(what, "its own memory", v, n, LAPS_UNIQUE);
	munmap(v, n * sizeof(*v));
}

/* ---- fork ---------------------------------------------------------------- */

struct family {
	enum machine_memory m;
	struct laps *parent, *child;
};

static void be_clone(int listen, struct laps *out)
{
	vm.clone_cid = VSOCK_GUEST_CID_MIN + 1;
	must(vm_clone_begin(&vm, listen, &machine_err));
	laps_end(LAP_REST);
	must(vm_start_threads(&vm, &machine_err));
	laps_end(LAP_THREADS);
	vm_resume(&vm);
	laps_end_at(LAP_FIRST, stepped());
	weigh(&laps);
	*out = laps;
	_exit(0);
}

/* The guest runs when it is told to stand still; and after the fork it runs as
 * far as its first step, so as not to take a processor from the child. */
static void fork_once(struct laps *parent, struct laps *child)
{
	int listen = listen_here();
	pid_t pid;

	steps_arm(STEPS_GO_ON);
	vm_resume(&vm);
	stepped();
	laps_begin();
	vm_pause(&vm);
	laps_end(LAP_STOP);
	steps_arm(STEPS_STOP);
	pid = must(vm_clone(&vm, &machine_err));
	if (pid == 0)
		be_clone(listen, child);
	vm_resume(&vm);
	laps_end(LAP_RESUME);
	laps_end_at(LAP_FIRST, stepped());
	*parent = laps;
	close(listen);
	vm_pause(&vm);
	await(pid);
}

static void be_parent(void *arg)
{
	const struct family *f = arg;
	size_t i;

	if (memories[f->m].of) {
		restore(f->m);
		step(TOUCHED_STEP - SNAPSHOT_STEP);
	} else {
		boot(f->m);
		step(TOUCHED_STEP);
	}
	for (i = 0; i < machine.rounds; i++)
		fork_once(&f->parent[i], &f->child[i]);
	for (i = 0; i < machine.rounds; i++)
		weigh(&f->parent[i]);
}

static void print_family(const struct family *f)
{
	const size_t n = machine.rounds;
	char what[64];

	snprintf(what, sizeof(what), "fork (%s)", memories[f->m].name);
	figures_title(what);
	figures_since(what, "running to the child's guest", f->child, n, 0);
	figures_since(what, "fork(2) to the child's guest", f->child, n,
		      LAP_FORK);
	figures_laps(what, f->child, n);
	figures_bytes(what, "its own memory", f->child, n, LAPS_UNIQUE);
	figures_bytes(what, "and page tables", f->child, n, LAPS_TABLES);
	snprintf(what, sizeof(what), "pause (%s)", memories[f->m].name);
	figures_title(what);
	figures_since(what, "running to running", f->parent, n, 0);
	figures_laps(what, f->parent, n);
	figures_bytes(what, "of it in huge pages", f->parent, n, LAPS_HUGE);
}

static void measure_fork(enum machine_memory m)
{
	const size_t size = machine.rounds * sizeof(struct laps);
	struct family f = { m, shared(size), shared(size) };

	apart(be_parent, &f);
	print_family(&f);
	munmap(f.parent, size);
	munmap(f.child, size);
}

/* ---- */

static uint64_t setting(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);
	uint64_t n = otherwise;

	if (text)
		must(str_u64(str_of(text), 1, 1 << 20, &n, name, &machine_err));
	return n;
}

static void make_files(void)
{
	enum machine_memory m;

	must(ftruncate(open_here("root", O_CREAT | O_RDWR), DISK));
	must(ftruncate(open_here("scratch", O_CREAT | O_RDWR), DISK));
	close(open_here("console", O_CREAT | O_RDWR));
	for (m = 0; m < MACHINE_MEMORIES; m++) {
		if (memories[m].of)
			apart(make_snapshot, &m);
	}
}

int main(int argc, char **argv)
{
	const char *json = getenv("JSON");
	enum machine_memory m;

	if (argc != 4) {
		fprintf(stderr, "usage: machine VMM GUEST DIR\n");
		return 2;
	}
	machine.monitor = argv[1];
	machine.guest = argv[2];
	machine.path = argv[3];
	machine.dir = must(open(machine.path, O_DIRECTORY | O_CLOEXEC));
	machine.rounds = setting("ROUNDS", 100);
	machine.touched = setting("MIB", 1024) * LAYOUT_MIB;
	machine.memory = machine.touched + UNTOUCHED;
	if (json) {
		figures_json = fopen(json, "ae");
		must(figures_json ? 0 : -1);
	}
	make_files();
	measure_floors();
	measure_restore();
	measure_jail();
	measure_program();
	for (m = 0; m < MACHINE_MEMORIES; m++)
		measure_fork(m);
	return 0;
}
