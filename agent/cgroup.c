/* SPDX-License-Identifier: MIT
 *
 * A cgroup a command: see server.h.
 *
 * It is what makes "kill it all" mean all: a process can leave its process
 * group and its session, and be somebody else's child, but not its cgroup
 * unless it is root and moves itself on purpose.
 *
 * In a sandbox they are all below one, "user", which has a bit less memory than
 * there is: when it is used up the kernel kills one of them, and not only the
 * agent, which as the first process it spares anyway, but also the kernel's own
 * allocations are left in peace.  The commands' own cgroups have no
 * controllers: a memory controller each would double the time that a command
 * takes to start, for limits that nobody sets.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "agent/server.h"
#include "base/err.h"
#include "base/fd.h"

#define CGROUP_ROOT "/sys/fs/cgroup"
#define CGROUP_DIR "command."
#define AGENT_MEMORY "16M" /* that reclaim leaves to it */
#define RESERVE_MAX (64ULL << 20)

static int root = -1;
static uint64_t last_id;

/* Cgroups whose command ended while children of it live on.  When there are
 * more than these, the rest stays behind, empty, until power-off. */
static uint64_t lingering[STREAMS_MAX];

void cgroup_init(void)
{
	fd_auto int fd = open(CGROUP_ROOT, O_DIRECTORY | O_CLOEXEC);

	if (root >= 0)
		return;
	if (fd >= 0 && faccessat(fd, "cgroup.procs", W_OK, 0) == 0 &&
	    getpid() == 1)
		root = fd_steal(&fd);
}

/* Write @text to @name below @dir.  0 or -errno. */
static int put(int dir, const char *name, const char *text)
{
	fd_auto int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		return -errno;
	return 0;
}

/* Of what is free now, before any command runs, all but a part for the kernel
 * and the agent: a tenth in a small machine, what a few hundred streams may
 * take in a large one. */
static unsigned long long user_memory(void)
{
	struct sysinfo si;
	unsigned long long unused, reserve;

	sysinfo(&si);
	unused = (unsigned long long)si.freeram * si.mem_unit;
	reserve = unused / 10;
	if (reserve > RESERVE_MAX)
		reserve = RESERVE_MAX;
	return unused - reserve;
}

/* What a kernel lacks is done without. */
void cgroup_confine(void)
{
	static const char *const controllers[] = { "+memory", "+pids", "+cpu",
						   "+io" };
	fd_auto int top = open(CGROUP_ROOT, O_DIRECTORY | O_CLOEXEC);
	fd_auto int user = -1;
	char max[32];
	size_t i;

	if (top < 0 || mkdirat(top, "agent", 0755) < 0 ||
	    mkdirat(top, "user", 0755) < 0)
		return;
	user = openat(top, "user", O_DIRECTORY | O_CLOEXEC);
	put(top, "agent/cgroup.procs", "1");
	for (i = 0; i < ARRAY_SIZE(controllers); i++)
		put(top, "cgroup.subtree_control", controllers[i]);
	put(top, "agent/memory.min", AGENT_MEMORY);
	snprintf(max, sizeof(max), "%llu", user_memory());
	if (user >= 0)
		put(user, "memory.max", max);
	if (user >= 0)
		root = fd_steal(&user);
}

void cgroup_hold_bandwidth(void)
{
	fd_auto int top = open(CGROUP_ROOT, O_DIRECTORY | O_CLOEXEC);

	if (top < 0 || put(top, "cgroup.subtree_control", "+cpu") < 0 ||
	    mkdirat(top, "held", 0755) < 0)
		return;
	put(top, "held/cpu.max", "100000 100000");
}

int cgroup_freeze(struct err *e)
{
	fd_auto int events = -1;
	int r;

	if (root < 0)
		return err_set(e, EOPNOTSUPP, "there is no cgroup to freeze");
	events = openat(root, "cgroup.events", O_RDONLY | O_CLOEXEC);
	r = events < 0 ? -errno : put(root, "cgroup.freeze", "1");
	if (r < 0)
		return err_sys(e, -r, "cannot freeze the commands");
	return fd_steal(&events);
}

int cgroup_is_frozen(int events)
{
	char text[256];
	ssize_t n = pread(events, text, sizeof(text) - 1, 0);

	if (n < 0)
		return -errno;
	text[n] = '\0';
	return strstr(text, "frozen 1") != NULL;
}

int cgroup_thaw(void)
{
	return root >= 0 ? put(root, "cgroup.freeze", "0") : 0;
}

uint64_t cgroup_make(int *fd)
{
	char name[40];

	if (root < 0)
		return 0;
	snprintf(name, sizeof(name), CGROUP_DIR "%llu",
		 (unsigned long long)++last_id);
	if (mkdirat(root, name, 0755) < 0)
		return 0;
	*fd = openat(root, name, O_DIRECTORY | O_CLOEXEC);
	if (*fd >= 0)
		return last_id;
	unlinkat(root, name, AT_REMOVEDIR);
	return 0;
}

bool cgroup_kill(uint64_t id)
{
	char name[64];
	fd_auto int fd = -1;

	if (id == 0)
		return false;
	snprintf(name, sizeof(name), CGROUP_DIR "%llu/cgroup.kill",
		 (unsigned long long)id);
	fd = openat(root, name, O_WRONLY | O_CLOEXEC);
	return fd >= 0 && write(fd, "1", 1) == 1;
}

/* Whether it is gone. */
static bool try_remove(uint64_t id)
{
	char name[40];

	snprintf(name, sizeof(name), CGROUP_DIR "%llu", (unsigned long long)id);
	return unlinkat(root, name, AT_REMOVEDIR) == 0 || errno == ENOENT;
}

void cgroup_release(uint64_t id)
{
	size_t i;

	if (id == 0 || try_remove(id))
		return;
	for (i = 0; i < ARRAY_SIZE(lingering); i++) {
		if (lingering[i] == 0) {
			lingering[i] = id;
			return;
		}
	}
}

void cgroup_sweep(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(lingering); i++) {
		if (lingering[i] && try_remove(lingering[i]))
			lingering[i] = 0;
	}
}
