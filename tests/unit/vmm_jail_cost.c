/* SPDX-License-Identifier: MIT
 *
 * What the jail costs, stage by stage.  The figures are remarks and no verdict:
 * how fast a machine is, is not for a test to say.  As root.
 */
#include "tests/unit/jail_child.h"

#include "base/clock.h"
#include "base/fd.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>

#define RUNS 50
static const char *const cost_names[] = { [JAIL_FDS] = "descriptors",
					  [JAIL_USER] = "user",
					  [JAIL_MOUNT] = "mounts",
					  [JAIL_NET] = "network",
					  [JAIL_IPC] = "ipc and uts",
					  [JAIL_ROOT] = "root",
					  [JAIL_IDENTITY] = "identity",
					  [JAIL_LIMITS] = "limits",
					  [JAIL_STAGES] = "filter of main",
					  "filter of a processor",
					  "all" };
#define COSTS ARRAY_SIZE(cost_names)

static uint64_t (*costs)[RUNS]; /* shared with the children */

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void measure(struct jail_spec *s, int run)
{
	uint64_t took[JAIL_STAGES] = { 0 }, from = clock_now(), entered,
		 main_done;
	struct err e = ERR_INIT;
	size_t i;

	s->took = took;
	child_must(jail_enter(s, &e), &e);
	entered = clock_now();
	child_must(jail_thread(JAIL_MAIN, &e), &e);
	main_done = clock_now();
	child_must(jail_thread(JAIL_VCPU, &e), &e);
	costs[COSTS - 2][run] = clock_now() - main_done;
	costs[COSTS - 3][run] = main_done - entered;
	costs[COSTS - 1][run] = clock_now() - from;
	for (i = 0; i < JAIL_STAGES; i++)
		costs[i][run] = took[i];
	_exit(0);
}

/* No verdict: how fast a machine is, is a matter for the bench. */
static void test_costs(const char *what, int netns)
{
	struct jail_spec s = CHILD_SPEC(NULL, 0);
	int run, status, failed = 0;
	pid_t pid;
	size_t i;

	s.netns = netns;
	for (run = 0; run < RUNS; run++) {
		pid = fork();
		if (pid == 0)
			measure(&s, run);
		waitpid(pid, &status, 0);
		failed += status != 0;
	}
	is_int(failed, 0, what);
	for (i = 0; i < COSTS; i++) {
		qsort(costs[i], RUNS, sizeof(costs[i][0]), compare);
		diag("%-22s median %5" PRIu64 " us, worst %5" PRIu64 " us",
		     cost_names[i], costs[i][RUNS / 2] / 1000,
		     costs[i][RUNS - 1] / 1000);
	}
}

int main(void)
{
	int old = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), made;

	costs = mmap(NULL, COSTS * sizeof(*costs), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	test_costs("what it costs", -1);
	if (unshare(CLONE_NEWNET) < 0)
		bail("no network namespace: %s", strerror(errno));
	made = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (made < 0 || setns(old, CLONE_NEWNET) < 0)
		bail("no way back: %s", strerror(errno));
	test_costs("with a network namespace made ahead", made);
	close(made);
	close(old);
	return tap_done();
}
