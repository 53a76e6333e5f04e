/* SPDX-License-Identifier: MIT
 *
 * Copies of a running sandbox: see fork.h.
 *
 *	1. every copy's directory, files, sockets and cgroup are made
 *	2. the parent's commands stand still, then its machine; its disk is
 *	   cloned, its monitor forks, and it goes on
 *	3. the copies, which have not run yet, are what the others are cloned
 *	   and forked from: however many there are, the parent stood still for
 *	   one, and all are of the same moment.  Who forks is charged for the
 *	   page tables of its child (0.4 MiB of a small machine's), so that the
 *	   first one is not to do it all; nor is each to fork the next, for what
 *	   fork(2) does grows with the number of ancestors
 *	4. all run; each is told who it is, and only then do its commands run
 *	5. their directories get their names
 *
 * Forking all from the parent was rejected: it would stand still for as long as
 * all forks take, or the copies would be of different moments.
 */
#include "sandbox/fork.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/sock.h"
#include "base/str.h"
#include "sandbox/cgroup.h"
#include "sandbox/quiesce.h"
#include "sandbox/scratch.h"
#include "sandbox/start.h"
#include "vmm/vm_clone.h"

#define PATIENCE CLOCK_S(30) /* for the parent's commands to stand still */
#define ASK CLOCK_S(60)
#define WORDS_ROOM 1024
#define CHILDREN 4 /* of a copy, among the copies */

struct copy {
	struct box *b; /* borrowed */
	json_t *config;
	int fd[VM_CLONE_FDS];
	int result; /* the pipe's other end */
	int control;
};

struct family {
	const struct start_spec *s;
	struct rundir d;
	const struct box *parent;
	json_t *config; /* the parent's */
	struct cgroup_size size;
	struct cgroup_raise raise;
	struct copy *v;
	unsigned n;
	struct fork_report *report;
};

/* ---- 1: what makes a copy another sandbox ------------------------------- */

static int open_own(struct copy *c, enum vm_clone_fd i, const char *name,
		    int flags, struct err *e)
{
	c->fd[i] = openat(c->b->dir, name, flags | O_CREAT | O_CLOEXEC, 0600);
	return c->fd[i] < 0 ? err_sys(e, errno, "cannot make %s of %s", name,
				      c->b->id) :
			      0;
}

static int listen_own(const struct family *f, struct copy *c,
		      enum vm_clone_fd i, const char *name,
		      int (*fn)(const char *, struct err *), struct err *e)
{
	mem_auto char *path =
		str_printf("%s/%s/%s", f->d.path, c->b->entry, name);

	c->fd[i] = path ? fn(path, e) : err_sys(e, ENOMEM, "%s", name);
	return c->fd[i] < 0 ? c->fd[i] : fd_nonblock(c->fd[i], true);
}

/* Where the monitor's child writes itself in. */
static int open_cgroup(const struct family *f, struct copy *c, struct err *e)
{
	fd_auto int dir = start_cgroup(f->s, c->config, c->b);

	c->fd[VM_CLONE_CGROUP] =
		dir < 0 ? open("/dev/null", O_WRONLY | O_CLOEXEC) :
			  openat(dir, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	return c->fd[VM_CLONE_CGROUP] < 0 ?
		       err_sys(e, errno, "cannot open the cgroup of %s",
			       c->b->id) :
		       0;
}

static int prepare_files(const struct family *f, struct copy *c, struct err *e)
{
	int pipe[2];
	int r = open_own(c, VM_CLONE_PID, "vmm.pid", O_RDWR, e);

	if (r == 0)
		r = open_own(c, VM_CLONE_ENDED, "ended", O_WRONLY, e);
	if (r == 0)
		r = open_own(c, VM_CLONE_LOG, "vmm.log", O_WRONLY | O_APPEND,
			     e);
	if (r == 0)
		r = open_own(c, VM_CLONE_CONSOLE, "console.log", O_RDWR, e);
	if (r == 0)
		r = listen_own(f, c, VM_CLONE_CONTROL, "control.sock",
			       sock_listen_packets, e);
	if (r == 0)
		r = listen_own(f, c, VM_CLONE_VSOCK, "vsock.sock", sock_listen,
			       e);
	if (r == 0)
		r = open_cgroup(f, c, e);
	if (r < 0)
		return r;
	if (pipe2(pipe, O_CLOEXEC) < 0)
		return err_sys(e, errno, "cannot make a pipe");
	c->result = pipe[0];
	c->fd[VM_CLONE_RESULT] = pipe[1];
	return 0;
}

static int prepare(const struct family *f, struct copy *c, struct err *e)
{
	int r = rundir_make(&f->d, NULL, c->b, e);

	if (r < 0)
		return r;
	c->config = config_derive(f->config, CONFIG_SAME, NULL);
	if (!c->config || json_object_set_new(c->config, "parent",
					      json_string(f->parent->id)) < 0)
		return err_sys(e, ENOMEM, "cannot describe the copy");
	r = config_identify(c->config, c->b->id, NULL, e);
	if (r < 0)
		return r;
	r = config_write(c->b, c->config, e);
	return r < 0 ? r : prepare_files(f, c, e);
}

/* ---- 2 and 3: the fork -------------------------------------------------- */

/* The disk of @from, as it is now, for @c. */
static int clone_disk(const struct box *from, struct copy *c, struct err *e)
{
	fd_auto int disk = openat(from->dir, "scratch", O_RDONLY | O_CLOEXEC);
	bool cloned;
	int r;

	if (disk < 0)
		return err_sys(e, errno, "cannot open the disk of %s",
			       from->id);
	r = scratch_copy(disk, c->b->dir, "scratch", &cloned, e);
	return r < 0 ? r : open_own(c, VM_CLONE_SCRATCH, "scratch", O_RDWR, e);
}

static void close_given(struct copy *c)
{
	int i;

	for (i = 0; i < VM_CLONE_FDS; i++)
		fd_close(&c->fd[i]);
}

/* @from, whose machine stands still by @control, becomes two. */
static int split(const struct box *from, int control, struct copy *c,
		 struct err *e)
{
	buf_auto struct buf answer = BUF_INIT_MAX(65536);
	char request[32];
	int r = clone_disk(from, c, e);

	if (r < 0)
		return r;
	snprintf(request, sizeof(request), "fork %u", monitor_cid());
	r = box_control_ask(from, control, request, c->fd, VM_CLONE_FDS,
			    &answer, clock_now() + ASK, e);
	close_given(c);
	return r;
}

/* Whether the child came up: "ready", or why not. */
static int await(struct copy *c, struct err *e)
{
	char text[WORDS_ROOM];
	ssize_t n = io_read_full(c->result, text, sizeof(text) - 1);
	struct str s;

	fd_close(&c->result);
	if (n < 0)
		return err_sys(e, (int)-n, "cannot hear of %s", c->b->id);
	s = str_trim((struct str){ text, (size_t)n });
	if (str_eq(s, STR("ready")))
		return 0;
	return err_set(e, EIO, "the copy %s did not come up%s%.*s", c->b->id,
		       s.len ? ": " : "", STR_ARG(s));
}

static int tell(const struct box *b, int control, const char *what,
		struct err *e)
{
	buf_auto struct buf answer = BUF_INIT_MAX(65536);

	return box_control_ask(b, control, what, NULL, 0, &answer,
			       clock_now() + ASK, e);
}

/* The parent stands still from "pause" to "resume", and when its connection
 * ends, whatever happened. */
static int fork_first(struct family *f, struct err *e)
{
	fd_auto int control = box_control_open(f->parent, e);
	quiesce_auto struct quiesce q = QUIESCE_INIT;
	uint64_t frozen = clock_now(), paused;
	int r;

	if (control < 0)
		return control;
	r = quiesce_begin(&q, f->parent, frozen + PATIENCE, e);
	if (r < 0)
		return r;
	paused = clock_now();
	r = tell(f->parent, control, "pause", e);
	if (r == 0)
		r = split(f->parent, control, &f->v[0], e);
	if (r == 0)
		r = tell(f->parent, control, "resume", e);
	f->report->pause_ns = clock_now() - paused;
	quiesce_end(&q);
	f->report->frozen_ns = clock_now() - frozen;
	return r < 0 ? r : await(&f->v[0], e);
}

static int fork_next(struct family *f, unsigned i, struct err *e)
{
	const struct copy *from = &f->v[(i - 1) / CHILDREN];
	int r = split(from->b, from->control, &f->v[i], e);

	return r < 0 ? r : await(&f->v[i], e);
}

static int fork_all(struct family *f, struct err *e)
{
	unsigned i;
	int r = 0;

	for (i = 0; r == 0 && i < f->n; i++) {
		r = i > 0 ? fork_next(f, i, e) : fork_first(f, e);
		if (r == 0) {
			f->v[i].control = box_control_open(f->v[i].b, e);
			r = f->v[i].control < 0 ? f->v[i].control : 0;
		}
	}
	f->report->forked = clock_now();
	return r;
}

/* ---- 4 and 5 ------------------------------------------------------------ */

static int wake(struct family *f, struct err *e)
{
	struct start_times t;
	unsigned i;
	int r = 0;

	for (i = 0; r == 0 && i < f->n; i++) {
		r = tell(f->v[i].b, f->v[i].control, "resume", e);
		fd_close(&f->v[i].control);
	}
	for (i = 0; r == 0 && i < f->n; i++)
		r = start_greet(f->s, f->v[i].config, f->v[i].b, &t, e);
	for (i = 0; r == 0 && i < f->n; i++)
		r = rundir_commit(&f->d, f->v[i].b, e);
	f->report->ready = clock_now();
	return r;
}

static int run(struct family *f, struct err *e)
{
	unsigned i;
	int r = rundir_open(&f->d, f->s->root, false, e);

	if (r < 0)
		return r;
	rundir_sweep(&f->d);
	f->config = config_read(f->parent, e);
	if (!f->config)
		return -e->num;
	for (i = 0; r == 0 && i < f->n; i++)
		r = prepare(f, &f->v[i], e);
	if (r < 0)
		return r;
	/* What the copies hold stays charged to it as long as they do. */
	f->size = start_size(f->config);
	cgroup_raise(f->parent->id, &f->size, &f->raise);
	r = fork_all(f, e);
	return r < 0 ? r : wake(f, e);
}

static void end(struct family *f, bool failed)
{
	unsigned i;

	for (i = 0; i < f->n; i++) {
		struct copy *c = &f->v[i];

		close_given(c);
		fd_close(&c->result);
		fd_close(&c->control);
		json_decref(c->config);
		if (failed && c->b->dir >= 0)
			rundir_remove(&f->d, c->b, NULL);
	}
	json_decref(f->config);
	rundir_free(&f->d);
	free(f->v);
}

int fork_sandbox(const struct start_spec *s, const struct box *parent,
		 struct box *copies, unsigned n, struct fork_report *report,
		 struct err *e)
{
	struct family f = { .s = s,
			    .d = RUNDIR_INIT,
			    .parent = parent,
			    .v = calloc(n, sizeof(*f.v)),
			    .n = n,
			    .report = report };
	unsigned i;
	int r;

	*report = (struct fork_report){ .begun = clock_now() };
	if (!f.v)
		return err_sys(e, ENOMEM, "cannot make %u copies", n);
	for (i = 0; i < n; i++) {
		f.v[i].b = &copies[i];
		f.v[i].result = f.v[i].control = -1;
		memset(f.v[i].fd, -1, sizeof(f.v[i].fd));
	}
	r = run(&f, e);
	end(&f, r < 0);
	if (r < 0)
		cgroup_lower(parent->id, &f.raise);
	else
		cgroup_settle(parent->id, &f.size, &f.raise);
	return r;
}
