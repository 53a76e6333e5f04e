/* SPDX-License-Identifier: MIT
 *
 * Starting a sandbox: see start.h.
 *
 *	1. the run directory, under .boot.ID, locked
 *	2. in it the disk and the files that the monitor is to find
 *	3. the cgroup, and the monitor in it
 *	4. the guest answers, and is told who it is
 *	5. the directory gets its name
 *
 * Whatever fails, all of it is taken back; and when this process is killed,
 * the next one that looks at the run directory finds it unlocked and does the
 * same.
 */
#include "sandbox/start.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"
#include "sandbox/cgroup.h"
#include "sandbox/scratch.h"

static void tell(const struct start_spec *s, const struct err *e)
{
	if (s->on_lack)
		s->on_lack(e);
}

/* ---- files -------------------------------------------------------------- */

static int make_disk(const struct start_spec *s, const struct box *b,
		     struct err *e)
{
	struct err w = ERR_INIT;
	struct scratch made;
	int r = scratch_make(s->root, s->disk, b->dir, "scratch", &made, e);

	/* Once, when the first disk of its size is made: a new one is 124 KiB
	 * of data, but later copies are not. */
	if (r == 0 && made.fresh && !made.cloned) {
		err_set(&w, EOPNOTSUPP,
			"%s is on a file system that cannot share data between "
			"files: to fork or save a sandbox will copy all that "
			"is on its disk",
			s->root);
		err_fix(&w, "ISO_ROOT on XFS or btrfs");
		tell(s, &w);
	}
	return r;
}

static int make_files(const struct start_spec *s, const struct needs *n,
		      const struct box *b, struct err *e)
{
	fd_auto int ended = openat(
		b->dir, "ended", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r;

	if (ended < 0)
		return err_sys(e, errno, "cannot make files in %s/run",
			       s->root);
	r = config_write(b, s, n, e);
	return r < 0 ? r : make_disk(s, b, e);
}

/* ---- the monitor and the guest ------------------------------------------ */

/* The descriptor, or -1 with a warning: a sandbox without its limits is a
 * sandbox still, for its size is bounded by its machine. */
static int make_cgroup(const struct start_spec *s, const struct box *b)
{
	struct cgroup_size size = { .memory = s->memory, .vcpus = s->vcpus };
	struct err e = ERR_INIT, w = ERR_INIT;
	int fd = cgroup_make(b->id, &size, &e);

	if (fd >= 0)
		return fd;
	err_set(&w, e.num,
		"%s: the sandbox gets no limits beyond its own size, and its "
		"use is not counted",
		e.text);
	err_fix(&w, "a host with cgroup v2 at /sys/fs/cgroup, and root");
	tell(s, &w);
	return -1;
}

static int bring_up(const struct start_spec *s, const struct needs *n,
		    const struct rundir *d, struct box *b, struct proc *p,
		    struct start_times *t, struct err *e)
{
	fd_auto int cgroup = make_cgroup(s, b);
	struct box_wait w = { .cancel = s->cancel };
	fd_auto int conn = -1;
	int r;

	t->made = clock_now();
	r = monitor_start(p, s, n, d, b, cgroup, e);
	if (r < 0)
		return r;
	t->vmm = clock_now();
	w.deadline = t->vmm + s->patience;
	conn = box_connect(b, &w, e);
	if (conn < 0) {
		if (conn != -EINTR)
			monitor_explain(b, e);
		return conn;
	}
	t->agent = clock_now();
	r = identity_give(conn, s, n, b, e);
	t->ready = clock_now();
	return r;
}

int start_sandbox(const struct start_spec *s, const struct needs *n,
		  struct box *b, struct start_times *t, struct err *e)
{
	rundir_auto struct rundir d = RUNDIR_INIT;
	proc_auto struct proc p = PROC_INIT;
	int r = rundir_open(&d, s->root, true, e);

	t->begun = clock_now();
	if (r < 0)
		return r;
	rundir_sweep(&d);
	r = rundir_make(&d, s->name, b, e);
	if (r < 0)
		return r;
	r = make_files(s, n, b, e);
	if (r == 0)
		r = bring_up(s, n, &d, b, &p, t, e);
	if (r == 0)
		r = rundir_commit(&d, b, e);
	if (r < 0) {
		proc_end(&p);
		rundir_remove(&d, b, NULL);
		return r;
	}
	/* From here on it lives without us. */
	p.pid = -1;
	return 0;
}
