/* SPDX-License-Identifier: MIT
 *
 * wire_run() works on its process' standard streams, so for tests it runs in a
 * child which has ours as its own: with a real agent, or with a false one that
 * the test plays.
 */
#ifndef TESTS_UNIT_CLIENT_CHILD_H
#define TESTS_UNIT_CLIENT_CHILD_H

#include "tests/unit/agent_peer.h"
#include "wire/client.h"

/* A child in wire_run(), and what it left. */
struct client {
	pid_t pid;
	pid_t agent;
	int in, out, err; /* our ends of its streams; -1: closed */
	int conn;	  /* of its connection, when we are its agent */
	int report;	  /* where the text of its error comes out */
	int status; /* 128 + a signal, 200 refused, 201 lost, 202 neither */
	char text[600];
};

static inline int run_child(int conn, const struct wire_request *x, int report)
{
	struct wire_exit ended = { 0 };
	struct err e = ERR_INIT;

	signal(SIGPIPE, SIG_IGN);
	if (wire_greet(conn, &e) < 0) {
		dprintf(report, "%s", e.text);
		return 202;
	}
	switch (wire_run(conn, x, &ended, &e)) {
	case WIRE_EXITED:
		return (int)(ended.signaled ? 128 + ended.code : ended.code);
	case WIRE_REFUSED:
		dprintf(report, "%s", e.text);
		return 200;
	case WIRE_LOST:
		dprintf(report, "%s", e.text);
		return 201;
	case WIRE_TIMEOUT:
		return 204;
	}
	return 203;
}

static inline void pipe_of(int p[2])
{
	if (pipe2(p, O_CLOEXEC) < 0)
		bail("no pipe");
}

/* Fork a child into it; @tty: its standard streams, or -1 for pipes.  With
 * @false_agent the connection is ours. */
static inline struct client client_fork(const struct wire_request *x, int tty,
					bool false_agent)
{
	struct client c = { .agent = 0, .status = -1 };
	int in[2], out[2], err[2], report[2], s[2], small = 4096;

	pipe_of(in);
	pipe_of(out);
	pipe_of(err);
	pipe_of(report);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) < 0)
		bail("no socket");
	/* So that little is enough to fill it. */
	setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	if (!false_agent)
		c.agent = agent_start("--serve", s[1]);
	fflush(stdout);
	c.pid = fork();
	if (c.pid == 0) {
		dup2(tty >= 0 ? tty : in[0], 0);
		dup2(tty >= 0 ? tty : out[1], 1);
		dup2(tty >= 0 ? tty : err[1], 2);
		close(in[1]);
		close(out[0]);
		close(err[0]);
		close(s[1]);
		_exit(run_child(s[0], x, report[1]));
	}
	close(in[0]);
	close(out[1]);
	close(err[1]);
	close(report[1]);
	close(s[0]);
	c.in = in[1];
	c.out = out[0];
	c.err = err[0];
	c.report = report[0];
	c.conn = false_agent ? s[1] : -1;
	if (!false_agent)
		close(s[1]);
	return c;
}

static inline struct wire_request exec_of(const char **argv)
{
	struct wire_request x = WIRE_REQUEST_INIT;

	x.argv = argv;
	while (argv[x.argc])
		x.argc++;
	x.envp = (const char **)(uintptr_t)run_env();
	x.envc = 1;
	x.cwd = scratch_dir;
	return x;
}

static inline struct client client_sh(const char *script)
{
	const char *argv[] = { "sh", "-c", script, NULL };
	struct wire_request x = exec_of(argv);

	return client_fork(&x, -1, false);
}

/* Its end. */
static inline void client_wait(struct client *c)
{
	int status;
	ssize_t n;

	fd_close(&c->in);
	waitpid(c->pid, &status, 0);
	c->status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
	n = read(c->report, c->text, sizeof(c->text) - 1);
	c->text[n > 0 ? n : 0] = '\0';
	fd_close(&c->out);
	fd_close(&c->err);
	fd_close(&c->report);
	fd_close(&c->conn);
	if (c->agent)
		waitpid(c->agent, NULL, 0);
}

static inline void is_status(struct client *c, int want, const char *what)
{
	client_wait(c);
	if (!ok(c->status == want, "%s", what))
		diag("got %d (%s)", c->status, c->text);
}

/* Everything that comes out of @fd. */
static inline const char *all_of(int fd)
{
	static char text[4096];
	ssize_t n = io_read_full(fd, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static inline void until(int fd, const char *want)
{
	char text[64] = "";
	size_t n = strlen(want);

	if (io_read_full(fd, text, n) != (ssize_t)n || strcmp(text, want))
		diag("waited for '%s', got '%s'", want, text);
}

#endif
