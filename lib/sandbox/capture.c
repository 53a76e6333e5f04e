/* SPDX-License-Identifier: MIT
 *
 * A running sandbox, captured: see capture.h.
 *
 * For a snapshot, its commands stand still, then its machine; its disk is
 * cloned, and its monitor forks: the child writes memory while the sandbox runs
 * on.  To sleep, the monitor itself writes and ends, and what it says last, in
 * "ended", is what makes it true: until then the sandbox is awake, or, if its
 * monitor was killed, dead.
 *
 *	hibernate.state, hibernate.memory	in its directory, beside its disk
 *
 * Whoever wakes it makes another machine with a copy of the disk, and puts that
 * in the place of this one: at no moment is half of it changed.
 */
#include "sandbox/capture.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"
#include "sandbox/cgroup.h"
#include "sandbox/quiesce.h"
#include "sandbox/scratch.h"
#include "sandbox/start.h"
#include "vmm/snap.h"

#define PATIENCE CLOCK_S(30) /* for the commands to stand still */
#define ASK CLOCK_S(60)
/* To write all of the largest memory to a slow disk. */
#define WRITE_PATIENCE CLOCK_S(3600)
#define WORDS_ROOM 1024

static int ask(const struct box *b, int control, const char *what,
	       const int *fds, size_t nfds, uint64_t patience,
	       struct buf *answer, struct err *e)
{
	return box_control_ask(b, control, what, fds, nfds, answer,
			       clock_now() + patience, e);
}

/* Begin the memory file @to as a copy of the one that the sandbox was restored
 * from, where that costs nothing: then only what differs is written. */
static bool share_memory(const char *root, const json_t *config, int to)
{
	const char *id = config_text(config, "snapshot");
	snapshot_auto struct snapshot parent = SNAPSHOT_INIT;
	fd_auto int from = -1;

	/* One that has slept began as what it was then. */
	if (!*id || json_is_true(json_object_get(config, "slept")) ||
	    snapshot_locate(&parent, root, id, NULL) < 0)
		return false;
	from = openat(parent.dir, "memory", O_RDONLY | O_CLOEXEC);
	return from >= 0 && ioctl(to, FICLONE, from) == 0;
}

static int make_file(int dir, const char *name, int *fd, struct err *e)
{
	*fd = openat(dir, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	return *fd < 0 ? err_sys(e, errno, "cannot make %s", name) : 0;
}

/* Which pages of the process @pid are its own: it has no /proc to look that up
 * itself.  -1: it will look at all of them. */
static int open_pagemap(pid_t pid)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* ---- a snapshot --------------------------------------------------------- */

/* "ok", bytes of state, of memory. */
static int read_result(const struct box *b, int fd, uint64_t *written,
		       struct err *e)
{
	char text[WORDS_ROOM];
	ssize_t n = io_read_full(fd, text, sizeof(text));
	struct str s = { text, n < 0 ? 0 : (size_t)n }, word;

	if (n < 0)
		return err_sys(e, (int)-n, "cannot hear of the snapshot");
	s = str_trim(s);
	word = str_cut(&s, ' ');
	if (str_eq(word, STR("ok"))) {
		str_cut(&s, ' ');
		return str_u64(s, 0, UINT64_MAX, written, "bytes", e);
	}
	if (str_eq(word, STR("error:")))
		return err_set(e, EIO, "%s: %.*s", b->id, STR_ARG(s));
	return err_set(e, EIO, "%s: who wrote its memory was killed", b->id);
}

/* Tell the child @pid that it may write, and what. */
static int let_write(const struct buf *answer, int result, struct err *e)
{
	struct str s = str_trim(
		(struct str){ (const char *)answer->data, answer->len });
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .head = { .cmsg_level = SOL_SOCKET,
				.cmsg_type = SCM_RIGHTS,
				.cmsg_len = CMSG_LEN(sizeof(int)) } };
	struct iovec iov = { (char[]){ 'w' }, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	fd_auto int map = -1;
	uint64_t pid;
	int r = str_u64(s, 1, INT32_MAX, &pid, "process id", e);

	if (r < 0)
		return r;
	map = open_pagemap((pid_t)pid);
	if (map >= 0) {
		m.msg_control = &control;
		m.msg_controllen = sizeof(control);
		memcpy(CMSG_DATA(&control.head), &map, sizeof(map));
	}
	return sendmsg(result, &m, MSG_NOSIGNAL) < 0 ?
		       err_sys(e, errno, "who writes the snapshot is gone") :
		       0;
}

static int copy_disk(const struct box *b, int dir, struct err *e)
{
	fd_auto int disk = openat(b->dir, "scratch", O_RDONLY | O_CLOEXEC);
	bool cloned;

	if (disk < 0)
		return err_sys(e, errno, "cannot open the disk of %s", b->id);
	return scratch_copy(disk, dir, "scratch", &cloned, e);
}

struct files {
	int state, memory;  /* owned */
	int result, theirs; /* owned: the two ends of a socket pair */
	bool shared;
};

static void files_close(struct files *f)
{
	fd_close(&f->state);
	fd_close(&f->memory);
	fd_close(&f->result);
	fd_close(&f->theirs);
}

/* All that happens while the machine stands still, which ends with the
 * connection, whatever happened. */
static int capture(const struct box *b, struct files *f, int dir,
		   struct capture_report *report, struct err *e)
{
	const int fd[SNAP_FDS] = { [SNAP_RESULT] = f->theirs,
				   [SNAP_STATE] = f->state,
				   [SNAP_MEMORY] = f->memory };
	buf_auto struct buf answer = BUF_INIT_MAX(65536);
	fd_auto int control = box_control_open(b, e);
	quiesce_auto struct quiesce q = QUIESCE_INIT;
	uint64_t frozen = clock_now(), paused;
	int r;

	if (control < 0)
		return control;
	r = quiesce_begin(&q, b, frozen + PATIENCE, e);
	if (r < 0)
		return r;
	paused = clock_now();
	r = ask(b, control, "pause", NULL, 0, ASK, &answer, e);
	if (r == 0)
		r = copy_disk(b, dir, e);
	if (r == 0)
		r = ask(b, control, f->shared ? "snapshot shared" : "snapshot",
			fd, SNAP_FDS, ASK, &answer, e);
	fd_close(&control);
	report->pause_ns = clock_now() - paused;
	quiesce_end(&q);
	report->frozen_ns = clock_now() - frozen;
	fd_close(&f->theirs);
	return r < 0 ? r : let_write(&answer, f->result, e);
}

int capture_files(const char *root, const struct box *b, const json_t *config,
		  const struct snapshot *s, struct capture_report *report,
		  struct err *e)
{
	__attribute__((cleanup(files_close))) struct files f = { -1, -1, -1, -1,
								 false };
	struct cgroup_size size = start_size(config);
	struct cgroup_raise raise;
	int pair[2];
	int r = make_file(s->dir, "state", &f.state, e);

	if (r == 0)
		r = make_file(s->dir, "memory", &f.memory, e);
	if (r == 0 &&
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		r = err_sys(e, errno, "cannot make a socket");
	if (r < 0)
		return r;
	f.result = pair[0];
	f.theirs = pair[1];
	f.shared = share_memory(root, config, f.memory);
	/* Who writes holds what the guest may write anew meanwhile. */
	cgroup_raise(b->id, &size, &raise);
	r = capture(b, &f, s->dir, report, e);
	if (r == 0)
		r = read_result(b, f.result, &report->memory, e);
	cgroup_lower(b->id, &raise);
	return r;
}

/* ---- sleep -------------------------------------------------------------- */

static int await_end(const struct box *b, int pidfd, struct err *e)
{
	struct pollfd pf = { pidfd, POLLIN, 0 };
	struct box_end end;

	while (poll(&pf, 1, -1) < 0 && errno == EINTR)
		;
	box_end_of(b, &end);
	if (strcmp(end.reason, "hibernated") == 0)
		return 0;
	return box_ended(b, e);
}

static int go_to_sleep(const struct box *b, int state, int memory, bool shared,
		       struct capture_report *report, struct err *e)
{
	buf_auto struct buf answer = BUF_INIT_MAX(65536);
	fd_auto int pidfd = box_pidfd(b);
	fd_auto int map = open_pagemap(box_pid(b));
	fd_auto int control = box_control_open(b, e);
	quiesce_auto struct quiesce q = QUIESCE_INIT;
	uint64_t frozen = clock_now(), paused;
	struct str s;
	int r;

	if (control < 0)
		return control;
	if (pidfd < 0 || map < 0)
		return err_sys(e, pidfd < 0 ? -pidfd : errno,
			       "cannot watch the monitor of %s", b->id);
	r = quiesce_begin(&q, b, frozen + PATIENCE, e);
	if (r < 0)
		return r;
	paused = clock_now();
	r = ask(b, control, "pause", NULL, 0, ASK, &answer, e);
	if (r == 0)
		r = ask(b, control, shared ? "hibernate shared" : "hibernate",
			(const int[]){ state, memory, map }, 3, WRITE_PATIENCE,
			&answer, e);
	s = str_trim((struct str){ (const char *)answer.data, answer.len });
	if (r == 0)
		r = str_u64(s, 0, UINT64_MAX, &report->memory, "bytes", e);
	/* The guest has been asked to stay as it is: what ends now is the
	 * machine. */
	if (r == 0)
		r = await_end(b, pidfd, e);
	report->pause_ns = clock_now() - paused;
	report->frozen_ns = clock_now() - frozen;
	return r;
}

int capture_hibernate(const char *root, const struct box *b,
		      struct capture_report *report, struct err *e)
{
	json_t *config = config_read(b, e);
	fd_auto int state = -1;
	fd_auto int memory = -1;
	int r = config ? make_file(b->dir, "hibernate.state", &state, e) :
			 -e->num;

	*report = (struct capture_report){ .memory = 0 };
	if (r == 0)
		r = make_file(b->dir, "hibernate.memory", &memory, e);
	if (r == 0) {
		bool shared = share_memory(root, config, memory);

		/* Their names are on disk before anything relies on them. */
		fsync(b->dir);
		r = go_to_sleep(b, state, memory, shared, report, e);
	}
	json_decref(config);
	if (r < 0) {
		unlinkat(b->dir, "hibernate.state", 0);
		unlinkat(b->dir, "hibernate.memory", 0);
	}
	return r;
}
