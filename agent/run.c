/* SPDX-License-Identifier: MIT
 *
 * Starting what a stream asks for: see server.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "agent/env.h"
#include "agent/file.h"
#include "agent/port.h"
#include "agent/pty.h"
#include "agent/quiesce.h"
#include "agent/as.h"
#include "agent/server.h"
#include "agent/session.h"
#include "agent/setup.h"
#include "agent/user.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"

/* The agent's ends [0] and the command's [1] of its three descriptors. */
struct stdio {
	int in[2], out[2], err[2];
};

#define STDIO_INIT                      \
	{                               \
		{ -1, -1 }, { -1, -1 }, \
		{                       \
			-1, -1          \
		}                       \
	}
#define stdio_auto __attribute__((cleanup(stdio_close)))

static void stdio_close(struct stdio *io)
{
	int i;

	for (i = 0; i < 2; i++) {
		fd_close(&io->in[i]);
		fd_close(&io->out[i]);
		fd_close(&io->err[i]);
	}
}

static int make_pipes(struct stdio *io, struct err *e)
{
	int in[2];

	if (pipe2(in, O_CLOEXEC) < 0)
		return err_sys(e, errno, "cannot make a pipe");
	io->in[0] = in[1];
	io->in[1] = in[0];
	if (pipe2(io->out, O_CLOEXEC) < 0 || pipe2(io->err, O_CLOEXEC) < 0)
		return err_sys(e, errno, "cannot make a pipe");
	return 0;
}

static int make_tty(struct stdio *io, const struct wire_winsize *w,
		    struct err *e)
{
	fd_auto int master = -1, slave = -1;
	int r = pty_open(&master, &slave, w, e);

	if (r < 0)
		return r;
	/* Reading and writing are watched apart, so each has a descriptor. */
	io->in[0] = fcntl(master, F_DUPFD_CLOEXEC, 0);
	io->in[1] = fcntl(slave, F_DUPFD_CLOEXEC, 0);
	io->err[1] = fcntl(slave, F_DUPFD_CLOEXEC, 0);
	if (io->in[0] < 0 || io->in[1] < 0 || io->err[1] < 0)
		return err_sys(e, errno, "cannot make a terminal");
	io->out[0] = fd_steal(&master);
	io->out[1] = fd_steal(&slave);
	return 0;
}

/* Numbers from the client, a name looked up here, the image's user, or the
 * agent's own. */
int run_user(const struct wire_request *x, struct user *u, bool *have,
	     struct err *e)
{
	const struct wire_request *image = setup_last();
	const char *name = x->user;
	size_t i;

	if (!name && !x->has_cred && image)
		name = image->user;
	*have = name || x->has_cred;
	if (name)
		return user_lookup(name, u, e);
	if (!x->has_cred)
		return 0;
	u->uid = x->uid;
	u->gid = x->gid;
	u->ngroups = x->ngroups;
	for (i = 0; i < x->ngroups; i++)
		u->groups[i] = x->groups[i];
	return 0;
}

static const char *directory(const struct wire_request *x)
{
	const struct wire_request *image = setup_last();

	if (x->cwd)
		return x->cwd;
	return image && image->cwd ? image->cwd : "/";
}

/* Start @spec, as somebody else in two steps: see as.h.  *@fail becomes the
 * descriptor for as_failed(), or stays as it is. */
static int spawn_as(struct proc *p, const struct proc_spec *spec, int *fail,
		    struct err *e)
{
	as_auto struct as as = { .argv = NULL };
	struct proc_spec first = *spec;
	int pipe[2], r;

	if (!spec->cred || spec->cred->uid == 0 || geteuid() != 0)
		return proc_spawn(p, spec, e);
	r = as_make(&as, spec->argv, spec->cred, spec->cwd, e);
	if (r < 0)
		return r;
	if (pipe2(pipe, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_sys(e, errno, "cannot make a pipe");
	first.argv = as.argv;
	first.cred = NULL;
	first.cwd = NULL;
	first.keep = &pipe[1];
	first.nkeep = 1;
	r = proc_spawn(p, &first, e);
	close(pipe[1]);
	if (r == 0 && fail)
		*fail = pipe[0];
	else
		close(pipe[0]);
	return r;
}

pid_t run_spawn(const struct wire_request *x, const int fds[static 3],
		bool ctty, uint64_t *cgroup, int *fail, struct err *e)
{
	struct proc_spec spec = PROC_SPEC_INIT;
	env_auto struct env env = ENV_INIT;
	struct proc p = PROC_INIT;
	struct proc_cred cred;
	struct user u = { .uid = geteuid() };
	bool have;
	fd_auto int dir = -1;
	int r = run_user(x, &u, &have, e);

	if (r == 0)
		r = env_make(&env, x, u.uid, ctty, e);
	if (r < 0)
		return r;
	if (have) {
		cred = (struct proc_cred){ u.uid, u.gid, u.groups, u.ngroups };
		spec.cred = &cred;
	}
	*cgroup = cgroup_make(&dir);
	spec.argv = x->argv;
	spec.envp = env.v;
	spec.cwd = directory(x);
	spec.in = fds[0];
	spec.out = fds[1];
	spec.err = fds[2];
	spec.cgroup = dir;
	spec.umask = x->umask;
	spec.session = true;
	spec.ctty = ctty;
	r = spawn_as(&p, &spec, fail, e);
	if (r < 0) {
		cgroup_release(*cgroup);
		*cgroup = 0;
		return r;
	}
	/* SIGCHLD tells of the end: the agent reaps strangers' children too. */
	fd_close(&p.pidfd);
	return p.pid;
}

/* Take over the agent's ends of @io. */
static int adopt(struct stream *s, struct stdio *io, struct err *e)
{
	int r = 0;

	if (fd_nonblock(io->in[0], true) < 0 ||
	    fd_nonblock(io->out[0], true) < 0 ||
	    (io->err[0] >= 0 && fd_nonblock(io->err[0], true) < 0))
		r = -errno;
	s->in_w.fd = fd_steal(&io->in[0]);
	s->out[0].w.fd = fd_steal(&io->out[0]);
	s->out[1].w.fd = fd_steal(&io->err[0]);
	if (r == 0)
		r = loop_arm(&s->out[0].w, EPOLLIN);
	if (r == 0)
		r = loop_arm(&s->out[1].w, EPOLLIN);
	return r < 0 ? err_sys(e, -r, "cannot watch the command") : 0;
}

/* @x as a process on pipes, or on a terminal. */
static int run_command(struct stream *s, const struct wire_request *x,
		       struct err *e)
{
	stdio_auto struct stdio io = STDIO_INIT;
	int r;

	s->tty = x->tty;
	s->detach = x->flags & WIRE_FLAG_DETACH;
	r = x->tty ? make_tty(&io, &x->winsize, e) : make_pipes(&io, e);
	if (r == 0)
		r = adopt(s, &io, e);
	if (r < 0)
		return r;
	r = run_spawn(x, (const int[]){ io.in[1], io.out[1], io.err[1] },
		      x->tty, &s->cgroup, &s->fail, e);
	if (r < 0)
		return r;
	s->pid = r;
	return RUN_STARTED;
}

static int run_setup(struct stream *s, const struct wire_request *x,
		     struct err *e)
{
	int r = setup_apply(x, s->request.data, s->request.len, e);

	return r < 0 ? r : RUN_DONE;
}

static int run_file(struct stream *s, const struct wire_request *x,
		    struct err *e)
{
	struct file_call call;
	struct wire_request as_command = *x;

	file_call(&call, x);
	as_command.argv = call.argv;
	as_command.argc = call.argc;
	as_command.flags = 0;
	s->tidy = true;
	/* Where the image starts commands may be closed to this user. */
	if (x->path[0] == '/')
		as_command.cwd = "/";
	return run_command(s, &as_command, e);
}

int run_start(struct stream *s, struct err *e)
{
	wire_request_auto struct wire_request x = WIRE_REQUEST_INIT;
	int r = wire_request_decode(&x, s->request.data, s->request.len, e);

	if (r == 0)
		r = quiesce_check(e);
	if (r == 0 && x.op != WIRE_OP_SETUP)
		r = setup_check(e);
	if (r < 0)
		return r;
	switch (x.op) {
	case WIRE_OP_EXEC:
		return run_command(s, &x, e);
	case WIRE_OP_SETUP:
		return run_setup(s, &x, e);
	case WIRE_OP_SESSION:
		return session_start(s, &x, e);
	case WIRE_OP_FILE:
		return run_file(s, &x, e);
	case WIRE_OP_PORT:
		return port_start(s, &x, e);
	case WIRE_OP_QUIESCE:
		return quiesce_start(s, e);
	case WIRE_OP_COUNT:
		break;
	}
	return err_set(e, EPROTO, "request for unknown operation %u", x.op);
}
