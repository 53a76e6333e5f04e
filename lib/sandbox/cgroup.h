/* SPDX-License-Identifier: MIT
 *
 * A sandbox's leaf in the host's cgroup v2 tree: /sys/fs/cgroup/isokit/ID.
 */
#ifndef SANDBOX_CGROUP_H
#define SANDBOX_CGROUP_H

#include <stdint.h>

struct err;

struct cgroup_size {
	uint64_t memory; /* of the guest, bytes */
	uint64_t vcpus;
	unsigned machines; /* of that size, at once */
};

/* Limits on memory, bytes; 0: there is none. */
struct cgroup_raise {
	uint64_t before, after;
};

struct cgroup_usage {
	uint64_t cpu_us;
	uint64_t memory_peak;	 /* bytes; 0: the kernel does not say */
	uint64_t memory_current; /* bytes */
	uint64_t oom_kills;
};

/* Make the leaf of @id, or take the one that it has, and set its limits: above
 * what it is charged for now, its size.  A
 * descriptor of its directory, or -errno, @e filled: -EOPNOTSUPP, -EROFS,
 * -EACCES and such mean that this machine gives us none. */
int cgroup_make(const char *id, const struct cgroup_size *s, struct err *e);

/* Before the monitor of @id is forked: a limit on memory that is high enough for
 * whatever it is charged with by then.  Where there is no leaf, nothing. */
void cgroup_raise(const char *id, const struct cgroup_size *s,
		  struct cgroup_raise *r);

/* It has been: the limit that is enough for what its copy holds. */
void cgroup_settle(const char *id, const struct cgroup_size *s,
		   struct cgroup_raise *r);

/* That copy has ended: the limit as it was before, if nobody has set it since
 * and what is charged is below it. */
void cgroup_lower(const char *id, const struct cgroup_raise *r);

/* What it has used.  0, or -ENOENT when it has no leaf. */
int cgroup_read(const char *id, struct cgroup_usage *u);

/* Remove the leaf.  It is empty when the monitor has been waited for by
 * somebody.  Absent is success.  0 or -errno. */
int cgroup_remove(const char *id);

#endif
