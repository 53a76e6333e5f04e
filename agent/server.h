/* SPDX-License-Identifier: MIT
 *
 * The agent as a server: connections, and the streams on them.
 *
 *	watch (loop.h) -> conn: reader -> frames -> stream -> process
 *	                  conn: out   <- frames <- stream <- pipes, terminal
 *
 * What a stream is connected to, a command, a session's terminal, a command in
 * a session or a port, shows in its struct stream_ops and nowhere else.
 *
 * Everything has a limit: connections, streams, bytes under way on each.  A
 * connection that breaks the protocol is told so and closed, and everything
 * it had started is killed; others do not notice.
 */
#ifndef AGENT_SERVER_H
#define AGENT_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/loop.h"
#include "wire/flow.h"
#include "wire/frame.h"
#include "wire/msg.h"

/* A runner host may want a hundred commands at once in one guest; each idle
 * one costs the agent about 400 bytes.  Each may come over a connection of its
 * own, at 66 KiB, and there are those who look at sessions. */
#define STREAMS_MAX 256
#define CONNS_MAX 300
/* Output waiting for a slow peer: above this the streams are not read.  With a
 * frame more it still fits a buffer of 256 KiB. */
#define CONN_OUT_HIGH ((size_t)192 * 1024)

/* The one loop of the agent (conn.c). */
extern struct loop agent_loop;

struct session;
struct stream;
struct wire_request;

struct conn {
	struct watch w;
	bool greeted;	     /* the peer's HELLO has come */
	bool closing;	     /* an ERROR is on its way out; read no more */
	struct stream *held; /* the first that waits for room in out */
	uint32_t last;	     /* highest stream the peer opened */
	size_t out_off;	     /* bytes of out already written */
	struct buf out;
	struct wire_reader in;
	struct conn *next;
};

/* What a command writes to. */
struct out_chan {
	struct watch w; /* pipe's or terminal's read end; fd -1: closed */
	size_t left;	/* of the process, once it has ended; else SIZE_MAX */
	bool eof_sent;
	bool discard; /* read it, and throw it away */
	bool broken;  /* and say so to who writes */
};

enum stream_state {
	STREAM_FREE,
	STREAM_OPENING, /* pieces of the request are coming in */
	STREAM_RUNNING, /* the process is there, or the port or session */
	STREAM_EXITED,	/* it ended; its output is not all sent */
};

/* What differs between kinds of streams.  All are called while it is
 * RUNNING. */
struct stream_ops {
	/* All input was handed over: its end is to be seen. */
	void (*in_end)(struct stream *s);
	/* The peer takes more of output @i (0 or 1) again. */
	void (*more)(struct stream *s, int i);
	/* It wants no more of it. */
	void (*unwanted)(struct stream *s, int i);
	void (*signal)(struct stream *s, int sig);
	void (*reset)(struct stream *s);
	/* The peer has gone.  True: nothing keeps the stream any more. */
	bool (*lost)(struct stream *s);
	/* May be NULL.  Input comes; something moved, and it may be over;
	 * something was written to an output that is broken. */
	void (*input)(struct stream *s, const uint8_t *p, size_t n);
	void (*settle)(struct stream *s);
	void (*unheard)(struct stream *s);
};

struct stream {
	enum stream_state state;
	const struct stream_ops *ops;
	struct conn *conn; /* NULL: the peer has gone */
	uint32_t id;
	struct buf request; /* OPENING: so far; freed at the start */
	pid_t pid;
	int fail;	 /* for as_failed(), or -1 */
	uint64_t cgroup; /* number of its cgroup; 0: none */
	bool tty;
	bool reset;  /* the peer wants only EXIT */
	bool detach; /* it lives on without its peer */
	bool alone;  /* as it does now */
	bool tidy;   /* SIGTERM ends it, and it leaves nothing unfinished */
	struct wire_flow flow;

	struct watch in_w; /* pipe's or terminal's write end */
	struct buf in;	   /* stdin the process has not taken yet */
	uint32_t in_taken; /* taken, not yet told to the peer */
	bool in_eof;
	bool in_wait; /* not yet to be handed over */

	struct out_chan out[2]; /* stdout or terminal, stderr */
	int status;		/* of waitpid(2) */
	struct rusage usage;

	struct session *session;
	struct stream *next; /* of the same session */
	uint64_t pos;	     /* in its scrollback */
	uint32_t port;	     /* it is connected to */
	bool port_v6;	     /* of ::1, for 127.0.0.1 has none */
};

/* ---- conn.c ---- */

/* Serve the peer on @fd, which becomes ours.  0 or -errno. */
int conn_open(int fd);

/* Accept peers on the listening socket @fd, which becomes ours. */
int conn_listen(int fd);

/* What to do on SHUTDOWN, and when the last connection has gone (NULL:
 * nothing). */
void conn_on_shutdown(void (*fn)(void));
void conn_on_last(void (*fn)(void));

/* From now on only @c is read, or all are (NULL).  What the others send
 * waits. */
void conn_hold(const struct conn *c);

/* Whether streams should hold their output back. */
bool conn_full(const struct conn *c);

/* Write what is queued, as far as the peer takes it.  May destroy @c's
 * streams and @c itself when the peer has gone. */
void conn_flush(struct conn *c);

/* ---- stream.c ---- */

/* A frame for a stream: 0, or -EPROTO with @e filled. */
int stream_frame(struct conn *c, const struct wire_frame *f, struct err *e);

/* There is room in c->out again: go on reading what was held back, @first
 * first, so that all have their turn. */
void stream_resume_all(struct conn *c, const struct stream *first);

/* The peer has gone: kill everything it started. */
void stream_abandon_all(struct conn *c);

/* Reap ended processes, all of them: as PID 1 also the orphans. */
void stream_reap(void);

/* Its peer has gone, and it goes on: without input, its output thrown away. */
void stream_leave_alone(struct stream *s);

/* The command has ended with @status (of waitpid(2)): the rest of its output
 * follows, and EXIT, and @s is free. */
void stream_ended(struct stream *s, int status);

/* A request is refused after all, or a connection in the guest. */
void stream_fail(struct stream *s, const struct err *why);

/* Tell whoever cares whether anything runs that has no peer. */
void stream_tell_busy(void);

/* Let go of all it has.  Its process, if any, was reaped. */
void stream_free(struct stream *s);

/* ---- output.c ---- */

void out_init(struct stream *s);

/* Read and throw away output @i from now on. */
void out_discard(struct stream *s, int i);

/* Close output @i (0: stdout, 1: stderr), and tell the peer. */
void out_close(struct stream *s, int i);

/* Send one frame's worth of output @i.  True when more may be there. */
bool out_pump(struct stream *s, int i);

/* EXIT, by s->status and s->usage. */
void out_exit(struct stream *s);

/* The process has ended: send what it left behind, then EXIT, and free @s.
 * To be called again whenever the peer has taken something. */
void out_drain(struct stream *s);

/* ---- input.c ---- */

void in_init(struct stream *s);

/* DATA for the command.  0, or -ENOMEM with @e filled. */
int in_data(struct stream *s, const struct wire_frame *f, struct err *e);

/* The handler of s->in_w: there is room for more. */
void in_ready(struct watch *w, uint32_t events);

/* Hand over what is there; then its end, if it has come. */
void in_push(struct stream *s);

/* ---- run.c ---- */

enum started {
	RUN_STARTED,
	RUN_LATER, /* STARTED or FAILED is still to be said */
	RUN_DONE,  /* it is over; its output is in the pipes */
};

/* Start what s->request asks for and set s up as RUNNING.  An enum started, or
 * -errno with @e filled. */
int run_start(struct stream *s, struct err *e);

struct user;

/* Who a request is for; *@have: it is another than the agent's own user.  0,
 * or -errno with @e filled. */
int run_user(const struct wire_request *x, struct user *u, bool *have,
	     struct err *e);

/* Start @x's command as its user in its place, leading a session of its own,
 * with these three as its standard descriptors (@ctty: the first is its
 * terminal).  Its cgroup goes to *@cgroup.  Its pid, or -errno with @e
 * filled. */
pid_t run_spawn(const struct wire_request *x, const int fds[static 3],
		bool ctty, uint64_t *cgroup, int *fail, struct err *e);

/* ---- status.c ---- */

/* Tell the host whether anything runs that has no client: a detached command,
 * one in a session.  Nothing happens when that is what it was told last. */
void status_set(bool busy);

/* ---- cgroup.c ---- */

/* Find or mount the cgroup2 tree below which commands get a cgroup each.
 * Without one (an agent that is not PID 1) commands are process groups. */
void cgroup_init(void);

/* In a sandbox, before that: one for the agent, and one for all commands, which
 * leaves some memory to the rest of the machine. */
void cgroup_confine(void);

/* In the emulated host: a cgroup with a limit of processor time, "held", and
 * nothing in it, for as long as the machine is up (boot_host.c says why). */
void cgroup_hold_bandwidth(void);

/* Begin to freeze all commands.  A descriptor that has EPOLLPRI when there is
 * news of how they are, or -errno with @e filled. */
int cgroup_freeze(struct err *e);

/* What it says: 1: they stand still, all of them; 0; or -errno. */
int cgroup_is_frozen(int events);

/* Let them run, if they were frozen.  0 or -errno. */
int cgroup_thaw(void);

/* A new cgroup: its number, and a descriptor of its directory in *@fd; 0 when
 * there are none. */
uint64_t cgroup_make(int *fd);

/* Kill every process in it. */
bool cgroup_kill(uint64_t id);

/* Remove it as soon as it is empty: now, or when a later process ends. */
void cgroup_release(uint64_t id);
void cgroup_sweep(void);

#endif
