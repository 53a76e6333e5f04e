/* SPDX-License-Identifier: MIT
 *
 * A cgroup a command: see server.h.
 *
 * It is what makes "kill it all" mean all: a process can leave its process
 * group and its session, and be somebody else's child, but not its cgroup
 * unless it is root and moves itself on purpose.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/server.h"
#include "base/fd.h"

#define CGROUP_ROOT "/sys/fs/cgroup"
#define CGROUP_DIR "command."

static int root = -1;
static uint64_t last_id;

/* Cgroups whose command ended while children of it live on.  When there are
 * more than these, the rest stays behind, empty, until power-off. */
static uint64_t lingering[STREAMS_MAX];

void cgroup_init(void)
{
	fd_auto int fd = open(CGROUP_ROOT, O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0 && faccessat(fd, "cgroup.procs", W_OK, 0) == 0 &&
	    getpid() == 1)
		root = fd_steal(&fd);
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
