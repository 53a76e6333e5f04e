/* SPDX-License-Identifier: MIT
 *
 * Commands of the agent on a terminal.
 */
#include "tests/tap.h"

#include "tests/unit/agent_peer.h"

static struct run *run_tty(struct peer *p, const char *script)
{
	const char *argv[] = { "sh", "-c", script, NULL };
	struct wire_request x = WIRE_REQUEST_INIT;

	x.argv = argv;
	x.argc = 3;
	x.envp = (const char **)(uintptr_t)run_env();
	x.envc = 1;
	x.cwd = scratch_dir;
	x.tty = true;
	x.winsize = (struct wire_winsize){ 33, 99, 0, 0 };
	return run_exec(p, &x);
}

/* Wait until @text has come out. */
static bool until_says(struct peer *p, struct run *r, const char *text)
{
	peer_until(p, strstr(run_text(r, 0), text) || r->exited);
	return strstr(run_text(r, 0), text);
}

static void is_terminal(struct peer *p)
{
	struct run *r = run_tty(p, "test -t 0 -a -t 1 -a -t 2 && stty size; "
				   "echo err >&2; echo tty >/dev/tty; exit 4");

	run_wait(p, r);
	is_str(run_text(r, 0), "33 99\r\nerr\r\ntty\r\n",
	       "a terminal of the size asked for, and one output");
	is_exit(r, false, 4, "exit status");
	ok(r->eof[0] && !r->eof[1], "of one channel there is one end");
}

static void typing(struct peer *p)
{
	struct run *r = run_tty(p, "echo ready; cat; echo end");

	until_says(p, r, "ready");
	run_input(r, "line\n", 5);
	run_wait(p, r);
	is_str(run_text(r, 0), "ready\r\nline\r\nline\r\nend\r\n",
	       "echoed, read, and EOF is typed");
}

static void interrupt(struct peer *p)
{
	struct run *r = run_tty(p, "echo ready; exec sleep 1000");

	until_says(p, r, "ready");
	run_input(r, "\003", 1);
	r->in_end = false;
	run_wait(p, r);
	is_exit(r, true, SIGINT, "Ctrl-C is a signal");
}

static void resize(struct peer *p)
{
	struct wire_winsize w = { 50, 120, 0, 0 };
	struct run *r = run_tty(p, "trap 'stty size; exit 3' WINCH; "
				   "echo ready; while read x; do :; done");

	until_says(p, r, "ready");
	wire_put_winsize(&p->send, r->id, &w);
	/* The shell runs a trap when its read is over. */
	peer_put(p, WIRE_DATA, WIRE_STDIN, r->id, "\n", 1);
	run_wait(p, r);
	has_str(run_text(r, 0), "50 120\r\n", "a new size is a signal");
	is_exit(r, false, 3, "that can be caught");
	r = run_sh(p, "echo; exec cat");
	wire_put_winsize(&p->send, r->id, &w);
	peer_sync(p);
	ok(!p->broken, "without a terminal it means nothing");
	run_input(r, NULL, 0);
	run_wait(p, r);
}

/* All that was written before the end comes out. */
static void complete(struct peer *p)
{
	struct run *r;
	int i, good = 0;

	for (i = 0; i < 30; i++) {
		r = run_tty(p, "seq 1 20000");
		run_wait(p, r);
		good += r->got[0] == 108894 + 20000 &&
			memcmp(r->out[0].data + r->out[0].len - 7, "20000\r\n",
			       7) == 0;
	}
	is_int(good, 30, "20000 lines, 30 times");
}

static void reset(struct peer *p)
{
	int life = life_watch("life");
	struct run *r = run_tty(p, "exec 9>life; trap '' HUP; echo ready; "
				   "sleep 1000");

	until_says(p, r, "ready");
	peer_put(p, WIRE_RESET, 0, r->id, NULL, 0);
	run_wait(p, r);
	is_exit(r, true, SIGKILL, "RESET kills");
	ok(life_ended(life), "all on the terminal");
}

/* An interactive shell: its jobs have process groups of their own. */
static void shell(struct peer *p)
{
	struct run *r = run_tty(p, "PS1=% exec sh -i");

	until_says(p, r, "%");
	peer_put(p, WIRE_DATA, WIRE_STDIN, r->id, "echo A$((1+1))\n", 15);
	ok(until_says(p, r, "A2"), "a shell answers");
	/* What the job itself says, it says in the foreground. */
	peer_put(p, WIRE_DATA, WIRE_STDIN, r->id,
		 "sh -c 'echo B$((1+1)); exec sleep 1000'\n", 40);
	until_says(p, r, "B2");
	buf_clear(&r->out[0]);
	peer_put(p, WIRE_DATA, WIRE_STDIN, r->id, "\003", 1);
	/* What is typed before the prompt is thrown away. */
	until_says(p, r, "%");
	peer_put(p, WIRE_DATA, WIRE_STDIN, r->id, "echo C$((1+2))\n", 15);
	ok(until_says(p, r, "C3"), "Ctrl-C ends its job, not the shell");
	ok(!strstr(run_text(r, 0), "no job control"), "it has job control");
	peer_put(p, WIRE_DATA, WIRE_STDIN, r->id, "exit 9\n", 7);
	run_wait(p, r);
	is_exit(r, false, 9, "and it exits");
}

int main(void)
{
	struct peer *p;

	scratch_enter();
	p = peer_start();
	is_terminal(p);
	typing(p);
	interrupt(p);
	resize(p);
	complete(p);
	reset(p);
	shell(p);
	peer_free(p);
	scratch_leave();
	return tap_done();
}
