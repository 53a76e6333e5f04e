/* SPDX-License-Identifier: MIT
 *
 * Sessions: shells with names, that outlive their clients.
 *
 *	attached streams --bytes--> terminal --> shell
 *	       ^                       |          ^
 *	       '--- scrollback <-------'          | ". DIR/run.N"
 *	                                          |
 *	stream of a command <--- FIFOs DIR/{in,out,err}.N, DIR/report
 *
 * A session's shell runs on a terminal of its own.  Clients attach to that
 * terminal, any number at once.  Or they run one command in the shell itself:
 * the agent writes it to a file, with its standard streams redirected to FIFOs,
 * types the line that reads the file, and is told through one more FIFO when
 * the command begins and how it ended.  Feeding the shell through a pipe in
 * place of a terminal would make the second easier and the first impossible.
 *
 * The shell and all that it runs may be hostile: whatever they do to their
 * terminal and to the FIFOs, the agent neither waits for them nor turns round
 * them; what they say of their commands is believed of their commands only.
 */
#ifndef AGENT_SESSION_H
#define AGENT_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/scrollback.h"
#include "base/loop.h"

struct err;
struct stream;
struct wire_request;

#define SESSIONS_MAX 16
#define SESSION_NAME_MAX 64
#define SESSION_REPORT_MAX 32 /* a line of the report: "N s" or "N status" */

/* The command that runs in a session. */
struct session_run {
	struct stream *stream; /* NULL: none */
	uint64_t number;
	bool begun;  /* the shell has opened all FIFOs */
	bool broken; /* it got a signal that may end it */
	bool asked;  /* how it ended, for it seems to have, unsaid */
	int early;   /* signal that came before it has begun; 0: none */
	int in_hold; /* keeps "in" alive until it has begun */
	int go;	     /* open from then on */
};

struct session {
	char name[SESSION_NAME_MAX + 1]; /* "": this one is free */
	char *dir;			 /* owned */
	int dirfd;
	pid_t pid;  /* of the shell, and its process group */
	uid_t uid;  /* whose it is */
	bool dead;  /* the shell has ended; some have not read its last words */
	int status; /* of waitpid(2) */
	uint64_t cgroup;
	struct watch pty; /* the terminal, where output is read */
	int slave;	  /* keeps it from hanging up before the shell ends */
	struct watch report; /* FIFO: what the shell tells of commands */
	char line[SESSION_REPORT_MAX];
	size_t line_len;
	struct scrollback scroll;
	struct stream *clients; /* attached */
	struct session_run run;
	bool half_line; /* a client has typed less than a line */
	bool busy;	/* something runs in its foreground, nobody looks on */
};

/* ---- session.c ---- */

/* A request of WIRE_OP_SESSION: like run_start(). */
int session_start(struct stream *s, const struct wire_request *x,
		  struct err *e);

/* Process @pid, which is no stream's, has ended. */
void session_reaped(pid_t pid, int status);

/* Whether a command runs in a session that no client looks at. */
bool session_any_busy(void);

/* See whether that has changed for this one. */
void session_check_busy(struct session *t);

/* Type @text, whole or not at all, behind what clients typed.  0 or -errno. */
int session_type(struct session *t, const char *text);

/* Take in what the terminal says just now. */
void session_drain(struct session *t);

/* Kill all that is in it. */
void session_kill(struct session *t);

/* A stream has left it: free it if it was a dead one's last. */
void session_left(struct session *t);

/* ---- session_shell.c ---- */

/* Directory, FIFO, terminal and shell of a new session.  0 or -errno with @e
 * filled; the rest of cleaning up is the caller's. */
int session_shell(struct session *t, const struct wire_request *x,
		  struct err *e);

/* Remove what the above has made in the file system. */
void session_remove_dir(struct session *t);

/* ---- session_attach.c ---- */

/* Attach @s. */
int session_attach(struct session *t, struct stream *s,
		   const struct wire_request *x, struct err *e);

/* Let @s have nothing of it but, in the end, its end. */
void session_await_end(struct session *t, struct stream *s);

/* The terminal has said something: pass it on. */
void session_fan_out(struct session *t);

/* Read from the terminal only as fast as the fastest client takes it. */
void session_pace(struct session *t);

/* ---- session_run.c ---- */

/* Run the request's command in it for @s. */
int session_run(struct session *t, struct stream *s,
		const struct wire_request *x, struct err *e);

/* The report FIFO may have something. */
void session_report(struct session *t);

/* The shell may be back at its prompt, its command forgotten. */
void session_prompted(struct session *t);

/* The command has ended with @status (of waitpid(2)), or the shell has. */
void session_run_ended(struct session *t, int status);

#endif
