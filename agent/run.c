/* SPDX-License-Identifier: MIT
 *
 * Starting a stream's command: see server.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "agent/server.h"
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
	struct winsize ws = { .ws_row = w->rows,
			      .ws_col = w->cols,
			      .ws_xpixel = w->xpixel,
			      .ws_ypixel = w->ypixel };
	fd_auto int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	fd_auto int slave = -1;

	if (master < 0 || unlockpt(master) < 0)
		return err_sys(e, errno, "cannot make a terminal");
	/* Not by name: /dev/pts of this root may be another one. */
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0 || ioctl(master, TIOCSWINSZ, &ws) < 0)
		return err_sys(e, errno, "cannot make a terminal");
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

/* Who the command runs as: numbers from the client, a name looked up here, or
 * the agent's own user. */
static int find_user(const struct wire_exec *x, struct user *u, bool *have,
		     struct err *e)
{
	size_t i;

	*have = x->user || x->has_cred;
	if (x->user)
		return user_lookup(x->user, u, e);
	if (!x->has_cred)
		return 0;
	u->uid = x->uid;
	u->gid = x->gid;
	u->ngroups = x->ngroups;
	for (i = 0; i < x->ngroups; i++)
		u->groups[i] = x->groups[i];
	return 0;
}

static int spawn(struct stream *s, const struct wire_exec *x,
		 const struct stdio *io, struct err *e)
{
	struct proc_spec spec = PROC_SPEC_INIT;
	struct proc p = PROC_INIT;
	struct proc_cred cred;
	struct user u;
	bool have;
	fd_auto int cgroup = -1;
	int r = find_user(x, &u, &have, e);

	if (r < 0)
		return r;
	if (have) {
		cred = (struct proc_cred){ u.uid, u.gid, u.groups, u.ngroups };
		spec.cred = &cred;
	}
	s->cgroup = cgroup_make(&cgroup);
	spec.argv = x->argv;
	spec.envp = x->envp;
	spec.cwd = x->cwd ? x->cwd : "/";
	spec.in = io->in[1];
	spec.out = io->out[1];
	spec.err = io->err[1];
	spec.cgroup = cgroup;
	spec.umask = x->umask;
	spec.session = true;
	spec.ctty = x->tty;
	r = proc_spawn(&p, &spec, e);
	if (r < 0)
		return r;
	s->pid = p.pid;
	/* SIGCHLD tells of the end: the agent reaps strangers' children too. */
	fd_close(&p.pidfd);
	return 0;
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

int run_start(struct stream *s, struct err *e)
{
	wire_exec_auto struct wire_exec x = WIRE_EXEC_INIT;
	stdio_auto struct stdio io = STDIO_INIT;
	int r = wire_exec_decode(&x, s->request.data, s->request.len, e);

	if (r < 0)
		return r;
	s->tty = x.tty;
	r = x.tty ? make_tty(&io, &x.winsize, e) : make_pipes(&io, e);
	if (r == 0)
		r = adopt(s, &io, e);
	if (r == 0)
		r = spawn(s, &x, &io, e);
	if (r < 0 && s->cgroup) {
		cgroup_release(s->cgroup);
		s->cgroup = 0;
	}
	return r;
}
