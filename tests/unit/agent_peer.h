/* SPDX-License-Identifier: MIT
 *
 * The other end of the agent's protocol, for tests: starts an agent_native
 * (the agent's sources built like any program of ours, beside the test),
 * speaks to it over a socket, and keeps account of every stream.
 *
 * Nothing here waits for a time to pass; what does not happen within half a
 * minute is a failure.
 */
#ifndef TESTS_UNIT_AGENT_PEER_H
#define TESTS_UNIT_AGENT_PEER_H

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "tests/unit/scratch.h"
#include "wire/msg.h"

#define RUNS_MAX 4096
#define GIVE_UP_MS 30000

/* One command. */
struct run {
	uint32_t id;
	const uint8_t *in; /* what it is still to be given */
	size_t in_left;
	bool in_end;	 /* EOF follows */
	bool in_refused; /* the agent wants no more */
	uint32_t in_credit;
	bool hold; /* give it no credit */
	bool drop; /* do not keep its output */
	struct buf out[2];
	uint64_t got[2];
	uint32_t taken[2];
	bool eof[2];
	bool started, exited, failed;
	unsigned int after_end; /* frames that came when none may */
	struct wire_exit exit;
	struct err why;
};

struct peer {
	int fd;
	pid_t agent; /* 0: not ours to wait for */
	size_t bite; /* bytes to read at once; 0: as many as there are */
	bool greeted, closed, broken;
	unsigned int pongs;
	struct err error; /* of the agent's ERROR */
	unsigned int after_error;
	struct buf send;
	size_t sent;
	uint32_t nruns;
	struct run *run[RUNS_MAX];
	struct wire_reader in;
};

/* ---- starting and ending agents ---- */

static inline const char *agent_path(void)
{
	static char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 20);
	char *slash;

	path[n > 0 ? n : 0] = '\0';
	slash = strrchr(path, '/');
	if (!slash)
		bail("who am I?");
	strcpy(slash, "/agent_native");
	return path;
}

/* Start one on @fd. */
static inline pid_t agent_start(const char *how, int fd)
{
	const char *path = agent_path();
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	if (fd != 3)
		dup2(fd, 3);
	else
		fcntl(fd, F_SETFD, 0);
	execl(path, path, how, "3", NULL);
	_exit(127);
}

static inline struct peer *peer_on(int fd, pid_t agent)
{
	struct peer *p = calloc(1, sizeof(*p));

	if (!p || fd < 0)
		bail("no peer");
	p->fd = fd;
	p->agent = agent;
	p->send = (struct buf)BUF_INIT;
	wire_reader_init(&p->in, WIRE_AGENT);
	fd_nonblock(fd, true);
	return p;
}

static inline void peer_free(struct peer *p)
{
	uint32_t i;
	int status;

	fd_close(&p->fd);
	for (i = 0; i < p->nruns; i++) {
		buf_free(&p->run[i]->out[0]);
		buf_free(&p->run[i]->out[1]);
		free(p->run[i]);
	}
	buf_free(&p->send);
	if (p->agent > 0) {
		waitpid(p->agent, &status, 0);
		is_int(status, 0, "the agent ended well");
	}
	free(p);
}

/* ---- speaking ---- */

static inline void peer_put(struct peer *p, enum wire_type type,
			    uint8_t channel, uint32_t stream, const void *data,
			    size_t n)
{
	if (wire_put(&p->send, type, channel, stream, data, n) < 0)
		bail("cannot queue a frame");
}

static inline void peer_put_u32(struct peer *p, enum wire_type type,
				uint8_t channel, uint32_t stream, uint32_t v)
{
	wire_put_u32(&p->send, type, channel, stream, v);
}

static inline void peer_feed(struct peer *p, struct run *r)
{
	while (r->in_left && r->in_credit && !r->in_refused &&
	       p->send.len - p->sent < 4 * (size_t)WIRE_PAYLOAD_MAX) {
		size_t n = r->in_left;

		if (n > r->in_credit)
			n = r->in_credit;
		if (n > WIRE_PAYLOAD_MAX)
			n = WIRE_PAYLOAD_MAX;
		peer_put(p, WIRE_DATA, WIRE_STDIN, r->id, r->in, n);
		r->in += n;
		r->in_left -= n;
		r->in_credit -= (uint32_t)n;
	}
	if (r->in_end && r->in_left == 0) {
		peer_put(p, WIRE_EOF, WIRE_STDIN, r->id, NULL, 0);
		r->in_end = false;
	}
}

static inline void peer_take(struct peer *p, struct run *r, int ch,
			     const struct wire_frame *f)
{
	r->got[ch] += f->len;
	if (!r->drop)
		buf_add(&r->out[ch], f->data, f->len);
	if (r->hold)
		return;
	r->taken[ch] += f->len;
	if (r->taken[ch] >= WIRE_WINDOW / 2) {
		peer_put_u32(p, WIRE_CREDIT, (uint8_t)(1 + ch), r->id,
			     r->taken[ch]);
		r->taken[ch] = 0;
	}
}

static inline void peer_stream_frame(struct peer *p, struct run *r,
				     const struct wire_frame *f)
{
	if (r->exited || r->failed)
		r->after_end++;
	if (f->type == WIRE_STARTED)
		r->started = true;
	else if (f->type == WIRE_DATA && f->channel > 0)
		peer_take(p, r, f->channel - 1, f);
	else if (f->type == WIRE_EOF && f->channel > 0)
		r->eof[f->channel - 1] = true;
	else if (f->type == WIRE_EOF)
		r->in_refused = true;
	else if (f->type == WIRE_CREDIT)
		r->in_credit += wire_get32(f->data);
	if (f->type == WIRE_EXIT) {
		r->exited = true;
		wire_get_exit(f, &r->exit);
	} else if (f->type == WIRE_FAILED) {
		r->failed = true;
		wire_get_error(f, &r->why);
	}
}

static inline void peer_frame(struct peer *p, const struct wire_frame *f)
{
	if (p->broken)
		p->after_error++;
	if (f->type == WIRE_HELLO)
		p->greeted = wire_check_hello(f, NULL) == 0;
	else if (f->type == WIRE_PONG)
		p->pongs++;
	else if (f->type == WIRE_ERROR) {
		p->broken = true;
		wire_get_error(f, &p->error);
	} else if (f->stream && f->stream <= p->nruns) {
		peer_stream_frame(p, p->run[f->stream - 1], f);
	}
}

static inline void peer_receive(struct peer *p)
{
	struct err e = ERR_INIT;
	struct wire_frame f;
	uint8_t few[65536];
	ssize_t n;
	int r;

	if (p->bite) {
		n = read(p->fd, few, p->bite);
		if (n > 0)
			wire_feed(&p->in, few, (size_t)n);
	} else {
		n = wire_read(&p->in, p->fd);
	}
	if (n == 0 || (n < 0 && errno != EAGAIN))
		p->closed = true;
	while ((r = wire_next(&p->in, &f, &e)) > 0)
		peer_frame(p, &f);
	if (r < 0)
		bail("the agent broke the protocol: %s", e.text);
}

static inline void peer_flush(struct peer *p)
{
	ssize_t n = send(p->fd, p->send.data + p->sent, p->send.len - p->sent,
			 MSG_NOSIGNAL);

	if (n > 0)
		p->sent += (size_t)n;
	/* A peer that is not heard any more may still listen. */
	if (p->sent == p->send.len || (n < 0 && errno != EAGAIN)) {
		buf_clear(&p->send);
		p->sent = 0;
	} else if (p->sent > (1 << 20)) {
		buf_shift(&p->send, p->sent);
		p->sent = 0;
	}
}

/* Send and receive whatever can be, at least something. */
static inline void peer_step(struct peer *p)
{
	struct pollfd pf = { p->fd, POLLIN, 0 };
	uint32_t i;

	for (i = 0; i < p->nruns; i++)
		peer_feed(p, p->run[i]);
	if (p->send.len > p->sent)
		pf.events |= POLLOUT;
	if (poll(&pf, 1, GIVE_UP_MS) == 0)
		bail("nothing came for half a minute");
	if (pf.revents & (POLLIN | POLLHUP | POLLERR))
		peer_receive(p);
	if (!p->closed && p->send.len > p->sent)
		peer_flush(p);
}

#define peer_until(p, condition)                     \
	do {                                         \
		while (!(p)->closed && !(condition)) \
			peer_step(p);                \
	} while (0)

/* All that was sent has been looked at by the agent. */
static inline void peer_sync(struct peer *p)
{
	unsigned int want = p->pongs + 1;

	peer_put(p, WIRE_PING, 0, 0, "sync", 4);
	peer_until(p, p->pongs == want);
}

static inline void peer_greet(struct peer *p)
{
	wire_put_hello(&p->send, "test");
	peer_until(p, p->greeted);
}

/* An agent of its own, greeted. */
static inline struct peer *peer_start(void)
{
	struct peer *p;
	int s[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) < 0)
		bail("no socket");
	p = peer_on(s[0], agent_start("--serve", s[1]));
	close(s[1]);
	peer_greet(p);
	return p;
}

/* ---- commands ---- */

static inline struct run *run_new(struct peer *p)
{
	struct run *r = calloc(1, sizeof(*r));

	if (!r || p->nruns == RUNS_MAX)
		bail("too many commands");
	r->out[0] = r->out[1] = (struct buf)BUF_INIT;
	r->in_credit = WIRE_WINDOW;
	p->run[p->nruns++] = r;
	r->id = p->nruns;
	return r;
}

static inline struct run *run_exec(struct peer *p, const struct wire_request *x)
{
	buf_auto struct buf request = BUF_INIT;
	struct run *r = run_new(p);
	struct err e = ERR_INIT;

	if (wire_request_encode(&request, x, &e) < 0)
		bail("%s", e.text);
	wire_put_open(&p->send, r->id, &request);
	return r;
}

static inline const char *const *run_env(void)
{
	static const char *const env[] = { "PATH=/usr/bin:/bin", NULL };

	return env;
}

static inline struct run *run_argv(struct peer *p, const char *const *argv)
{
	struct wire_request x = WIRE_REQUEST_INIT;

	x.argv = (const char **)(uintptr_t)argv;
	while (argv[x.argc])
		x.argc++;
	x.envp = (const char **)(uintptr_t)run_env();
	x.envc = 1;
	x.cwd = scratch_dir[0] ? scratch_dir : "/";
	return run_exec(p, &x);
}

static inline struct run *run_sh(struct peer *p, const char *script)
{
	const char *const argv[] = { "sh", "-c", script, NULL };

	return run_argv(p, argv);
}

static inline void run_input(struct run *r, const void *in, size_t n)
{
	r->in = in;
	r->in_left = n;
	r->in_end = true;
}

static inline void run_wait(struct peer *p, struct run *r)
{
	peer_until(p, r->exited || r->failed);
	if (p->closed && !r->exited && !r->failed)
		diag("the agent has gone: %s", p->error.text);
}

static inline const char *run_text(struct run *r, int ch)
{
	const char *s = buf_str(&r->out[ch]);

	return s ? s : "(lost)";
}

static inline void is_exit(const struct run *r, bool signaled, int code,
			   const char *what)
{
	if (!ok(r->exited && r->exit.signaled == signaled &&
			r->exit.code == (uint32_t)code,
		"%s", what))
		diag("%s %u, failed: %s", r->exit.signaled ? "signal" : "exit",
		     r->exit.code, r->why.text);
}

/* ---- who is still alive ---- */

/* A fifo that commands hold open as long as they live. */
static inline int life_watch(const char *name)
{
	int fd;

	unlink(name);
	if (mkfifo(name, 0600) < 0)
		bail("no fifo");
	fd = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return fd;
}

/* Whether all that held it have ended; waits for them. */
static inline bool life_ended(int fd)
{
	struct pollfd pf = { fd, 0, 0 };
	bool ended = poll(&pf, 1, GIVE_UP_MS) == 1 && pf.revents & POLLHUP;

	close(fd);
	return ended;
}

#endif
