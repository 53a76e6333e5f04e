/* SPDX-License-Identifier: MIT
 *
 * The agent's server side for fuzzers, in one process and without a clock: its
 * connections and streams are the real ones; below them the event loop is a
 * table that is gone through when asked, and commands are puppets on real
 * pipes, which write, read and die when the fuzzer says so.
 *
 * The sources are included because their calls of kill(2) and wait4(2) must
 * reach the puppets.
 */
#ifndef TESTS_FUZZ_AGENT_H
#define TESTS_FUZZ_AGENT_H

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

#define must(what)               \
	do {                     \
		if (!(what))     \
			abort(); \
	} while (0)

static int puppet_kill(pid_t pid, int sig);
static pid_t puppet_wait(pid_t pid, int *status, int options,
			 struct rusage *usage);

#define kill puppet_kill
#define wait4 puppet_wait
#include "agent/conn.c"
#include "agent/input.c"
#include "agent/output.c"
#include "agent/stream.c"
#undef kill
#undef wait4

static int puppet_ioctl(int fd, unsigned long request, unsigned int *cid);
static int puppet_freeze(struct err *e);
static int puppet_is_frozen(int events);
static int puppet_thaw(void);

#define ioctl puppet_ioctl
#define cgroup_freeze puppet_freeze
#define cgroup_is_frozen puppet_is_frozen
#define cgroup_thaw puppet_thaw
#include "agent/quiesce.c"
#undef ioctl
#undef cgroup_freeze
#undef cgroup_is_frozen
#undef cgroup_thaw

/* ---- the event loop ---- */

#define WATCHES_MAX 2048

static struct watch *watches[WATCHES_MAX];
static size_t nwatches;

int loop_arm(struct watch *w, uint32_t events)
{
	size_t i;

	for (i = 0; i < nwatches && watches[i] != w; i++)
		;
	if (w->fd < 0 || w->armed == events)
		return 0;
	w->armed = events;
	if (events && i == nwatches) {
		must(nwatches < WATCHES_MAX);
		watches[nwatches++] = w;
	} else if (!events) {
		must(i < nwatches);
		watches[i] = watches[--nwatches];
	}
	return 0;
}

void loop_close(struct watch *w)
{
	loop_arm(w, 0);
	fd_close(&w->fd);
}

/* One event of one watch, not always the same one's first.  False: nothing
 * is ready. */
static bool loop_step(void)
{
	static size_t turn;
	size_t i;

	for (i = 0; i < nwatches; i++) {
		struct watch *w = watches[(turn + i) % nwatches];
		struct pollfd pf = { w->fd, 0, 0 };

		/* News of the freezer come by a pipe here. */
		if (w->armed & (EPOLLIN | EPOLLPRI))
			pf.events |= POLLIN;
		if (w->armed & EPOLLOUT)
			pf.events |= POLLOUT;
		if (poll(&pf, 1, 0) == 1) {
			turn += i + 1;
			must(!(pf.revents & POLLNVAL));
			w->ready(w, (uint32_t)pf.revents);
			return true;
		}
	}
	return false;
}

/* ---- the machine ---- */

static struct {
	bool copy;	/* of the one that was to stand still */
	bool was;	/* when it was to */
	bool forgotten; /* that it was set up */
	bool freezing;	/* or all stand still: */
	bool frozen;
	int news; /* of the latter */
} machine = { .news = -1 };

static int puppet_ioctl(int fd, unsigned long request, unsigned int *number)
{
	(void)fd;
	must(request == IOCTL_VM_SOCKETS_GET_LOCAL_CID);
	*number = machine.copy;
	return 0;
}

static int puppet_freeze(struct err *e)
{
	int p[2];

	must(!machine.freezing && !machine.frozen && pipe(p) == 0);
	(void)e;
	fd_close(&machine.news);
	machine.news = p[1];
	machine.freezing = true;
	machine.was = machine.copy;
	return p[0];
}

static int puppet_is_frozen(int events)
{
	(void)events;
	return machine.frozen;
}

static void machine_thaw(void)
{
	machine.freezing = machine.frozen = false;
}

/* A copy is thawed by its setup only. */
static int puppet_thaw(void)
{
	must(machine.copy == machine.was);
	machine_thaw();
	return 0;
}

void setup_forget(void)
{
	machine.forgotten = true;
}

/* The commands stand still; or it becomes a copy, of which those that stood
 * still for it do not know yet. */
static void machine_act(size_t n)
{
	if (n % 2) {
		machine.copy = true;
	} else if (machine.freezing && !machine.frozen) {
		machine.frozen = true;
		must(write(machine.news, "", 1) == 1);
	}
}

/* Nobody asks any more: what is frozen is a copy. */
static void machine_check_end(void)
{
	must(!held && !holder && events.fd < 0);
	must(machine.freezing == machine.forgotten);
	must(!machine.forgotten || machine.copy);
	fd_close(&machine.news);
	machine.copy = machine.forgotten = false;
	machine_thaw();
}

/* ---- the commands ---- */

#define PUPPETS_MAX 300
#define FIRST_PID 1000

struct puppet {
	int in, out, err;
	bool used, dead, detached;
	int status;
};

static struct puppet puppets[PUPPETS_MAX];

static int puppet_start(struct stream *s, size_t k)
{
	struct puppet *p = &puppets[k];
	int in[2], out[2], err[2];

	must(!machine.freezing);
	if (pipe2(in, O_NONBLOCK) < 0 || pipe2(out, O_NONBLOCK) < 0 ||
	    pipe2(err, O_NONBLOCK) < 0)
		abort();
	*p = (struct puppet){ in[0], out[1], err[1], .used = true };
	s->in_w.fd = in[1];
	s->out[0].w.fd = out[0];
	s->out[1].w.fd = err[0];
	if (s->tty) {
		fd_close(&s->out[1].w.fd);
		fd_close(&p->err);
	}
	loop_arm(&s->out[0].w, EPOLLIN);
	loop_arm(&s->out[1].w, EPOLLIN);
	s->pid = (pid_t)(FIRST_PID + k);
	p->detached = s->detach;
	return RUN_STARTED;
}

int run_start(struct stream *s, struct err *e)
{
	wire_request_auto struct wire_request x = WIRE_REQUEST_INIT;
	int r = wire_request_decode(&x, s->request.data, s->request.len, e);
	size_t k;

	if (r == 0)
		r = quiesce_check(e);
	if (r < 0)
		return r;
	/* One that is over at once. */
	if (x.op == WIRE_OP_SETUP) {
		machine.forgotten = false;
		machine_thaw();
		return RUN_DONE;
	}
	if (machine.forgotten)
		return err_set(e, EAGAIN, "not set up");
	if (x.op == WIRE_OP_QUIESCE)
		return quiesce_start(s, e);
	if (x.op != WIRE_OP_EXEC)
		return err_set(e, ENOSYS, "not in this agent");
	s->tty = x.tty;
	s->detach = x.flags & WIRE_FLAG_DETACH;
	for (k = 0; k < PUPPETS_MAX && puppets[k].used; k++)
		;
	must(k < PUPPETS_MAX);
	return puppet_start(s, k);
}

static void puppet_end(size_t k, int status)
{
	struct puppet *p = &puppets[k % PUPPETS_MAX];

	if (!p->used || p->dead)
		return;
	p->dead = true;
	p->status = status;
	fd_close(&p->in);
	fd_close(&p->out);
	fd_close(&p->err);
}

static int puppet_kill(pid_t pid, int sig)
{
	must(pid <= -FIRST_PID && pid > -FIRST_PID - PUPPETS_MAX);
	must(sig > 0 && sig < NSIG);
	must(puppets[-pid - FIRST_PID].used);
	if (sig == SIGKILL || sig == SIGTERM)
		puppet_end((size_t)(-pid - FIRST_PID), sig);
	return 0;
}

static pid_t puppet_wait(pid_t pid, int *status, int options,
			 struct rusage *usage)
{
	size_t k;

	(void)pid;
	(void)options;
	for (k = 0; k < PUPPETS_MAX; k++) {
		if (!puppets[k].dead)
			continue;
		*status = puppets[k].status;
		memset(usage, 0, sizeof(*usage));
		puppets[k] = (struct puppet){ -1, -1, -1, .used = false };
		return (pid_t)(FIRST_PID + k);
	}
	return 0;
}

/* Let it do something: write, read, close, exit. */
static void puppet_act(size_t k, uint8_t act, size_t n)
{
	static uint8_t bytes[65536];
	struct puppet *p = &puppets[k % PUPPETS_MAX];

	if (act % 8 == 7)
		machine_act(n);
	if (!p->used || p->dead || machine.frozen)
		return;
	if (act % 8 == 0)
		(void)!write(p->out, bytes, n % sizeof(bytes));
	else if (act % 8 == 1)
		(void)!write(p->err, bytes, n % sizeof(bytes));
	else if (act % 8 == 2)
		(void)!read(p->in, bytes, n % sizeof(bytes));
	else if (act % 8 == 3)
		fd_close(&p->in);
	else if (act % 8 == 4)
		fd_close(&p->out);
	else if (act % 8 == 5)
		fd_close(&p->err);
	else if (act % 8 == 6)
		puppet_end(k, (int)(n & 0xff) << 8);
}

/* ---- what is not in this agent ---- */

static bool says_busy;

void status_set(bool busy)
{
	says_busy = busy;
}

bool as_failed(int fd, struct err *e)
{
	(void)fd, (void)e;
	return false;
}

bool session_any_busy(void)
{
	return false;
}

void session_reaped(pid_t pid, int status)
{
	(void)pid, (void)status;
}

void pty_resize(int fd, const struct wire_winsize *w)
{
	(void)fd, (void)w;
}

/* Until nothing moves. */
static void agent_settle(void)
{
	do {
		stream_reap();
	} while (loop_step());
}

/* With its last peer, all that the agent had is gone, but for what was to live
 * on; and with that, the rest. */
static void agent_check_empty(void)
{
	size_t i, left = 0;

	agent_settle();
	for (i = 0; i < PUPPETS_MAX; i++) {
		must(!puppets[i].used || puppets[i].detached);
		left += puppets[i].used;
		puppet_end(i, 0);
	}
	must(!conns && says_busy == (left > 0));
	agent_settle();
	must(!says_busy);
	must(!conns && nconns == 0 && nwatches == 0);
	machine_check_end();
	for (i = 0; i < STREAMS_MAX; i++)
		must(streams[i].state == STREAM_FREE);
	for (i = 0; i < PUPPETS_MAX; i++)
		must(!puppets[i].used);
}

#endif
