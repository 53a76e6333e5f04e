/* SPDX-License-Identifier: MIT
 *
 * Sessions of the agent, for tests: an agent on a socket, and what one asks of
 * it.
 */
#ifndef TESTS_UNIT_AGENT_ASK_H
#define TESTS_UNIT_AGENT_ASK_H

#include "base/sock.h"
#include "base/str.h"
#include "tests/unit/agent_peer.h"

#define JOB "sh -c 'echo; exec sleep 1000'"

static const char *shell = "/bin/sh"; /* the one that is tested */

/* ---- asking ---- */

static inline struct run *session_ask(struct peer *p, const char *name,
				      uint32_t verb, const char *const *argv,
				      bool tty)
{
	mem_auto char *sh = str_printf("SHELL=%s", shell);
	const char *env[] = { "PATH=/usr/bin:/bin", "PS1=% ", sh, "HOME=/none",
			      NULL };
	struct wire_request x = WIRE_REQUEST_INIT;

	x.op = WIRE_OP_SESSION;
	x.verb = verb;
	x.session = name;
	x.argv = (const char **)(uintptr_t)argv;
	while (argv && argv[x.argc])
		x.argc++;
	x.envp = env;
	x.envc = 4;
	x.cwd = scratch_dir;
	x.tty = tty;
	x.winsize = (struct wire_winsize){ 33, 99, 0, 0 };
	return run_exec(p, &x);
}

static inline struct run *attach(struct peer *p, const char *name)
{
	return session_ask(p, name, WIRE_SESSION_RUN, NULL, true);
}

static inline struct run *in_session(struct peer *p, const char *name,
				     const char *script)
{
	const char *const argv[] = { "eval", script, NULL };

	return session_ask(p, name, WIRE_SESSION_RUN, argv, false);
}

/* Run it to its end. */
static inline struct run *say(struct peer *p, const char *name,
			      const char *script)
{
	struct run *r = in_session(p, name, script);

	run_input(r, NULL, 0);
	run_wait(p, r);
	return r;
}

static inline void end(struct peer *p, const char *name)
{
	struct run *r = session_ask(p, name, WIRE_SESSION_END, NULL, false);

	run_wait(p, r);
	is_exit(r, false, 0, "session ended");
}

static inline void type(struct peer *p, struct run *r, const char *text)
{
	peer_put(p, WIRE_DATA, WIRE_STDIN, r->id, text, strlen(text));
}

static inline bool until_says(struct peer *p, struct run *r, const char *text)
{
	peer_until(p, strstr(run_text(r, 0), text) || r->exited || r->failed);
	return strstr(run_text(r, 0), text);
}

/* Whatever the shell's own prompt is, here is one. */
static inline void until_ready(struct peer *p, struct run *r)
{
	type(p, r, "PS1='%'\\ ; echo P$((7*7))\n");
	until_says(p, r, "P49");
}

static inline void detach(struct peer *p, struct run *r)
{
	peer_put(p, WIRE_EOF, WIRE_STDIN, r->id, NULL, 0);
	run_wait(p, r);
}

/* ---- the agent ---- */

static inline struct peer *join(void)
{
	struct err e = ERR_INIT;
	int fd = sock_connect("sock", &e);
	struct peer *p;

	if (fd < 0)
		bail("%s", e.text);
	p = peer_on(fd, 0);
	peer_greet(p);
	return p;
}

/* Call @tests with a client of a new agent, which must have let go of
 * everything when it returns. */
static inline int with_agent(void (*tests)(struct peer *p))
{
	struct err e = ERR_INIT;
	int listener, status, fds;
	char path[64];
	struct peer *p;
	pid_t agent;

	scratch_enter();
	setenv("TMPDIR", scratch_dir, 1);
	listener = sock_listen("sock", &e);
	agent = agent_start("--listen", listener);
	snprintf(path, sizeof(path), "/proc/%d/fd", agent);
	p = join();
	fds = count_entries(path);
	tests(p);
	ok(!p->broken, "none of this is a breach");
	peer_sync(p);
	is_int(count_entries(path), fds, "the agent has let go of everything");
	peer_free(p);
	kill(agent, SIGTERM);
	waitpid(agent, &status, 0);
	close(listener);
	scratch_leave();
	return tap_done();
}

#endif
