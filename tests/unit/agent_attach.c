/* SPDX-License-Identifier: MIT
 *
 * The agent's sessions: their terminals, clients that come and go, limits.
 */
#include "tests/tap.h"

#include "tests/unit/agent_ask.h"

/* ---- terminals ---- */

static void attached(struct peer *p)
{
	struct run *a = attach(p, "s"), *b, *r;
	struct wire_winsize w = { 50, 120, 0, 0 };

	until_ready(p, a);
	type(p, a, "stty size; v=1\n");
	ok(until_says(p, a, "33 99"), "of the attacher's size");
	b = attach(p, "s");
	ok(until_says(p, b, "33 99"), "the second sees what was before");
	wire_put_winsize(&p->send, b->id, &w);
	type(p, b, "stty size; echo A$((1+1))\n");
	ok(until_says(p, a, "A2") && until_says(p, b, "A2"),
	   "both see the same");
	ok(strstr(run_text(a, 0), "50 120"), "the latest size counts");
	peer_sync(p);
	type(p, a, "echo half");
	until_says(p, b, "echo half");
	r = say(p, "s", "v=2; echo run");
	is_str(run_text(r, 0), "run\n", "a command beside them");
	type(p, a, "echo v$v.\n");
	ok(until_says(p, b, "v2."), "in the same shell");
	detach(p, a);
	is_exit(a, false, 0, "one leaves");
	ok(a->eof[0] && !a->eof[1], "with one end of its one output");
	type(p, b, "echo B$((1+2))\n");
	ok(until_says(p, b, "B3"), "the other stays");
	a = attach(p, "s");
	type(p, a, "exit 6\n");
	run_wait(p, a);
	run_wait(p, b);
	is_exit(a, false, 6, "the shell's end is told");
	is_exit(b, false, 6, "to all");
}

static void interrupted(struct peer *p)
{
	struct run *a = attach(p, "s"), *r;

	until_ready(p, a);
	type(p, a, "sh -c 'echo C$((1+2)); exec sleep 1000'\n");
	until_says(p, a, "C3");
	r = say(p, "s", "true");
	ok(r->failed && r->why.num == EBUSY, "busy with what was typed");
	type(p, a, "\003");
	type(p, a, "echo D$((1+3))\n");
	ok(until_says(p, a, "D4"), "Ctrl-C");
	r = in_session(p, "s", JOB "; sleep 1000");
	peer_until(p, r->got[0]);
	type(p, a, "\003");
	run_wait(p, r);
	is_exit(r, false, 128 + SIGINT, "Ctrl-C in a terminal beside it");
	detach(p, a);
	end(p, "s");
}

static void scrollback(struct peer *p)
{
	struct run *a = attach(p, "s");
	const char *last;

	until_ready(p, a);
	type(p, a, "seq 1 300000; echo E$((2+3))\n");
	ok(until_says(p, a, "E5"), "2 MB of output");
	ok(a->got[0] > 2000000, "of which a lone client misses nothing");
	detach(p, a);
	a = attach(p, "s");
	type(p, a, "echo F$((2+4))\n");
	ok(until_says(p, a, "F6"), "attached again");
	ok(a->got[0] > (1 << 20) - 4096 && a->got[0] < (1 << 20) + 4096,
	   "the last megabyte is shown");
	last = strstr(run_text(a, 0), "\r\n");
	ok(last && last - run_text(a, 0) == 6 &&
		   strtol(run_text(a, 0), NULL, 10) > 100000,
	   "from a whole line on");
	ok(strstr(run_text(a, 0), "299999\r\n300000\r\n"), "to the end");
	detach(p, a);
	end(p, "s");
}

/* One that takes nothing does not hold the other up. */
static void stalled(struct peer *p)
{
	struct run *a = attach(p, "s"), *b;

	a->hold = true;
	until_ready(p, a);
	b = attach(p, "s");
	until_ready(p, b);
	type(p, b, "seq 1 400000; echo E$((2+3))\n");
	ok(until_says(p, b, "E5"), "beside a client that takes nothing");
	ok(b->got[0] > 2700000, "the other has all");
	is_int(a->got[0], WIRE_WINDOW, "which that one has not");
	detach(p, b);
	end(p, "s");
	peer_put_u32(p, WIRE_CREDIT, WIRE_STDOUT, a->id, WIRE_WINDOW);
	peer_sync(p);
	ok(!a->exited, "its end comes when it has taken the rest");
	peer_put_u32(p, WIRE_CREDIT, WIRE_STDOUT, a->id, WIRE_WINDOW);
	a->hold = false;
	run_wait(p, a);
	is_exit(a, true, SIGKILL, "so");
}

/* ---- clients that vanish ---- */

static void vanished(struct peer *p)
{
	struct peer *q = join();
	struct run *a = attach(q, "s"), *r;
	int life = life_watch("life"), fd;

	until_ready(q, a);
	type(q, a, "v=9; echo G$((1+6))\n");
	until_says(q, a, "G7");
	peer_free(q);
	r = say(p, "s", "echo $v");
	is_str(run_text(r, 0), "9\n", "a session outlives its client");
	mkfifo("hold", 0600);
	q = join();
	r = in_session(q, "s",
		       "exec 9>life; echo; head -c 1000000 /dev/zero; "
		       "cat <hold >kept; v=10; exec 9>&-");
	peer_until(q, r->got[0]);
	peer_free(q);
	fd = open("hold", O_WRONLY);
	r = say(p, "s", "true");
	ok(r->failed && r->why.num == EBUSY, "its command is still running");
	has_str(r->why.text, "session s is busy", "says the refusal");
	ok(write(fd, "kept", 4) == 4, "it reads on");
	close(fd);
	ok(life_ended(life), "a command outlives its client");
	/* Its report comes after that, and before what the shell does next. */
	a = attach(p, "s");
	type(p, a, "echo K$((5+6))\n");
	until_says(p, a, "K11");
	detach(p, a);
	r = say(p, "s", "echo $v");
	is_str(run_text(r, 0), "10\n", "to its own end");
	end(p, "s");
}

/* A command that is to outlive its client, without a session. */
static void detached(void)
{
	const char *argv[] = { "sh", "-c",
			       "exec 9>life; echo; cat <hold >made; echo more; "
			       "echo done >>made",
			       NULL };
	struct wire_request x = WIRE_REQUEST_INIT;
	int life = life_watch("life"), fd;
	buf_auto struct buf b = BUF_INIT;
	struct peer *q = join();
	struct run *r;

	x.argv = argv;
	x.argc = 3;
	x.envp = (const char **)(uintptr_t)run_env();
	x.envc = 1;
	x.cwd = scratch_dir;
	x.flags = WIRE_FLAG_DETACH;
	r = run_exec(q, &x);
	peer_until(q, r->got[0]);
	peer_free(q);
	fd = open("hold", O_WRONLY);
	ok(write(fd, "kept\n", 5) == 5, "a detached command goes on");
	close(fd);
	ok(life_ended(life), "to its end");
	io_read_file(AT_FDCWD, "made", &b, NULL);
	is_str(buf_str(&b), "kept\ndone\n", "and may write what nobody reads");
}

/* ---- refusals ---- */

static void refused(struct run *r, int num, const char *text)
{
	ok(r->failed && r->why.num == num, "refused: %s", text);
	has_str(r->why.text, text, "with the reason");
}

static void refusals(struct peer *p)
{
	static const char *const bad[] = { "",	  ".",	  "..",	   "a/b", "-a",
					   "a b", "a\nb", "$(id)", NULL };
	const char *const argv[] = { "true", NULL };
	char name[80];
	struct run *r;
	int i, good = 0;

	for (i = 0; bad[i]; i++) {
		r = say(p, bad[i], "true");
		good += r->failed &&
			(r->why.num == EPROTO || r->why.num == EINVAL);
	}
	is_int(good, i, "bad names");
	memset(name, 'n', sizeof(name));
	name[65] = '\0';
	ok(say(p, name, "true")->failed, "a name too long");
	name[64] = '\0';
	is_exit(say(p, name, "true"), false, 0, "as long as may be");
	end(p, name);
	r = session_ask(p, "s", WIRE_SESSION_RUN, argv, true);
	run_wait(p, r);
	refused(r, EINVAL, "no terminal of its own");
	r = session_ask(p, "s", WIRE_SESSION_END, NULL, false);
	run_wait(p, r);
	refused(r, ENOENT, "no session s");
}

static void sixteen(struct peer *p)
{
	char name[16];
	struct run *r;
	int i, n = 0;

	for (i = 0; i < 16; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		r = say(p, name, "exit 0 & true");
		n += r->exited;
	}
	is_int(n, 16, "sixteen sessions");
	refused(say(p, "n16", "true"), EAGAIN, "16 sessions are there");
	is_exit(say(p, "n3", "true"), false, 0, "those that are, serve");
	r = session_ask(p, NULL, WIRE_SESSION_LIST, NULL, false);
	run_wait(p, r);
	for (n = 0, i = 0; i < (int)r->out[0].len; i++)
		n += r->out[0].data[i] == '\n';
	is_int(n, 16, "a list");
	ok(strncmp(run_text(r, 0), "n0\t", 3) == 0 &&
		   strstr(run_text(r, 0), "\t0\tidle\n"),
	   "of names and states");
	say(p, "n5", "exit 1");
	is_exit(say(p, "n16", "true"), false, 0, "room for another");
	for (i = 0; i < 17; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		if (i != 5)
			end(p, name);
	}
}

static void tests(struct peer *p)
{
	static const char *const shells[] = { "/bin/bash", "/bin/dash",
					      "/usr/bin/busybox" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(shells); i++) {
		shell = shells[i];
		diag("%s", shell);
		attached(p);
		interrupted(p);
		vanished(p);
	}
	detached();
	scrollback(p);
	stalled(p);
	refusals(p);
	sixteen(p);
}

int main(void)
{
	return with_agent(tests);
}
