/* SPDX-License-Identifier: MIT
 *
 * The agent as a server: connections, and the streams on them.
 *
 *	watch (loop.h) -> conn: reader -> frames -> stream -> process
 *	                  conn: out   <- frames <- stream <- pipes, terminal
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
 * one costs the agent about 300 bytes. */
#define STREAMS_MAX 256
#define CONNS_MAX 64
/* Output waiting for a slow peer: above this the streams are not read. */
#define CONN_OUT_HIGH ((size_t)256 * 1024)

/* The one loop of the agent (conn.c). */
extern struct loop agent_loop;

struct stream;

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
};

enum stream_state {
	STREAM_FREE,
	STREAM_OPENING, /* pieces of the request are coming in */
	STREAM_RUNNING, /* the process is there */
	STREAM_EXITED,	/* it ended; its output is not all sent */
};

struct stream {
	enum stream_state state;
	struct conn *conn; /* NULL: the peer has gone */
	uint32_t id;
	struct buf request; /* OPENING: so far; freed at the start */
	pid_t pid;
	uint64_t cgroup; /* number of its cgroup; 0: none */
	bool tty;
	bool reset; /* the peer wants only EXIT */
	struct wire_flow flow;

	struct watch in_w; /* pipe's or terminal's write end */
	struct buf in;	   /* stdin the process has not taken yet */
	uint32_t in_taken; /* taken, not yet told to the peer */
	bool in_eof;

	struct out_chan out[2]; /* stdout or terminal, stderr */
	int status;		/* of waitpid(2) */
	struct rusage usage;
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

/* Let go of all it has.  Its process, if any, was reaped. */
void stream_free(struct stream *s);

/* ---- output.c ---- */

void out_init(struct stream *s);

/* Close output @i (0: stdout, 1: stderr), and tell the peer. */
void out_close(struct stream *s, int i);

/* Send one frame's worth of output @i.  True when more may be there. */
bool out_pump(struct stream *s, int i);

/* The process has ended: send what it left behind, then EXIT, and free @s.
 * To be called again whenever the peer has taken something. */
void out_drain(struct stream *s);

/* ---- input.c ---- */

void in_init(struct stream *s);

/* DATA for the command.  0, or -ENOMEM with @e filled. */
int in_data(struct stream *s, const struct wire_frame *f, struct err *e);

/* All input was handed over: the command is to see its end. */
void in_end(struct stream *s);

/* ---- run.c ---- */

/* Start the command of s->request and set s up as RUNNING.  0, or -errno with
 * @e filled. */
int run_start(struct stream *s, struct err *e);

/* ---- cgroup.c ---- */

/* Find or mount the cgroup2 tree below which commands get a cgroup each.
 * Without one (an agent that is not PID 1) commands are process groups. */
void cgroup_init(void);

/* A new cgroup: its number, and a descriptor of its directory in *@fd; 0 when
 * there are none. */
uint64_t cgroup_make(int *fd);

/* Kill every process in it. */
bool cgroup_kill(uint64_t id);

/* Remove it as soon as it is empty: now, or when a later process ends. */
void cgroup_release(uint64_t id);
void cgroup_sweep(void);

#endif
