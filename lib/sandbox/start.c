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

/* Once, when the first disk of its size is made: a new one is 124 KiB of data,
 * but later copies are not. */
static void tell_slow(const struct start_spec *s)
{
	struct err w = ERR_INIT;

	err_set(&w, EOPNOTSUPP,
		"%s is on a file system that cannot share data between "
		"files: to fork or save a sandbox will copy all that "
		"is on its disk",
		s->root);
	err_fix(&w, "ISO_ROOT on XFS or btrfs");
	tell(s, &w);
}

static int make_disk(const struct start_spec *s, const json_t *config,
		     const struct start_source *from, const struct box *b,
		     struct err *e)
{
	fd_auto int other = -1;
	struct scratch made;
	bool cloned;
	int r;

	if (!from->scratch) {
		r = scratch_make(s->root, config_number(config, "disk"), b->dir,
				 "scratch", &made, e);
		if (r == 0 && made.fresh && !made.cloned)
			tell_slow(s);
		return r;
	}
	other = open(from->scratch, O_RDONLY | O_CLOEXEC);
	if (other < 0)
		return err_sys(e, errno, "cannot open %s", from->scratch);
	return scratch_copy(other, b->dir, "scratch", &cloned, e);
}

static int make_files(const struct start_spec *s, const json_t *config,
		      const struct start_source *from, const struct box *b,
		      struct err *e)
{
	fd_auto int ended = openat(
		b->dir, "ended", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r;

	if (ended < 0)
		return err_sys(e, errno, "cannot make files in %s/run",
			       s->root);
	r = config_write(b, config, e);
	return r < 0 ? r : make_disk(s, config, from, b, e);
}

/* ---- the monitor and the guest ------------------------------------------ */

struct cgroup_size start_size(const json_t *config)
{
	return (struct cgroup_size){
		.memory = config_number(config, "memory"),
		.vcpus = config_number(config, "vcpus"),
		.machines = 1,
	};
}

int start_cgroup(const struct start_spec *s, const json_t *config,
		 const struct box *b)
{
	struct cgroup_size size = start_size(config);
	struct err e = ERR_INIT, w = ERR_INIT;
	int fd;

	/* One that takes another's place shares its cgroup for a moment. */
	if (s->replace && b->entry[0] == '.')
		size.machines = 2;
	fd = cgroup_make(b->id, &size, &e);
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

int start_greet(const struct start_spec *s, const json_t *config,
		const struct box *b, struct start_times *t, struct err *e)
{
	struct box_wait w = { .deadline = clock_now() + s->patience,
			      .cancel = s->cancel };
	fd_auto int conn = box_connect(b, &w, e);
	int r;

	if (conn < 0) {
		if (conn != -EINTR)
			monitor_explain(b, e);
		return conn;
	}
	t->agent = clock_now();
	r = identity_give(conn, config, e);
	t->ready = clock_now();
	return r;
}

static int bring_up(const struct start_spec *s, const json_t *config,
		    const struct start_source *from, const struct rundir *d,
		    struct box *b, struct proc *p, struct start_times *t,
		    struct err *e)
{
	fd_auto int cgroup = start_cgroup(s, config, b);
	int r;

	t->made = clock_now();
	r = monitor_start(p, s, config, from, d, b, cgroup, e);
	t->vmm = clock_now();
	return r < 0 ? r : start_greet(s, config, b, t, e);
}

static int make_box(const struct start_spec *s, const struct rundir *d,
		    struct box *b, struct err *e)
{
	return s->replace ? rundir_make_again(d, s->replace, b, e) :
			    rundir_make(d, s->name, b, e);
}

int start_sandbox(const struct start_spec *s, json_t *config,
		  const struct start_source *from, struct box *b,
		  struct start_times *t, struct err *e)
{
	rundir_auto struct rundir d = RUNDIR_INIT;
	proc_auto struct proc p = PROC_INIT;
	int r = rundir_open(&d, s->root, true, e);

	t->begun = clock_now();
	if (r < 0)
		return r;
	rundir_sweep(&d);
	r = make_box(s, &d, b, e);
	if (r < 0)
		return r;
	r = config_identify(config, b->id, s->name, e);
	if (r == 0)
		r = make_files(s, config, from, b, e);
	if (r == 0)
		r = bring_up(s, config, from, &d, b, &p, t, e);
	if (r == 0)
		r = rundir_commit(&d, b, e);
	if (r < 0) {
		proc_end(&p);
		rundir_remove(&d, b, NULL);
		return r;
	}
	if (s->replace)
		close(start_cgroup(s, config, b));
	/* From here on it lives without us. */
	p.pid = -1;
	return 0;
}
