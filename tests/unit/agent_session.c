/* SPDX-License-Identifier: MIT
 *
 * The agent's sessions: shells that keep their state and outlive their
 * clients.
 */
#include "tests/tap.h"

#include "base/sha256.h"
#include "base/sock.h"
#include "base/str.h"
#include "tests/unit/agent_peer.h"

#define BIG (5U << 20)
#define JOB "sh -c 'echo; exec sleep 1000'"

static const char *shell; /* the one that is tested */

/* ---- asking ---- */

static struct run *session_ask(struct peer *p, const char *name, uint32_t verb,
			       const char *const *argv, bool tty)
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

static struct run *attach(struct peer *p, const char *name)
{
	return session_ask(p, name, WIRE_SESSION_RUN, NULL, true);
}

static struct run *in_session(struct peer *p, const char *name,
			      const char *script)
{
	const char *const argv[] = { "eval", script, NULL };

	return session_ask(p, name, WIRE_SESSION_RUN, argv, false);
}

/* Run it to its end. */
static struct run *say(struct peer *p, const char *name, const char *script)
{
	struct run *r = in_session(p, name, script);

	run_input(r, NULL, 0);
	run_wait(p, r);
	return r;
}

static void end(struct peer *p, const char *name)
{
	struct run *r = session_ask(p, name, WIRE_SESSION_END, NULL, false);

	run_wait(p, r);
	is_exit(r, false, 0, "session ended");
}

static void type(struct peer *p, struct run *r, const char *text)
{
	peer_put(p, WIRE_DATA, WIRE_STDIN, r->id, text, strlen(text));
}

static bool until_says(struct peer *p, struct run *r, const char *text)
{
	peer_until(p, strstr(run_text(r, 0), text) || r->exited || r->failed);
	return strstr(run_text(r, 0), text);
}

/* Whatever the shell's own prompt is, here is one. */
static void until_ready(struct peer *p, struct run *r)
{
	type(p, r, "PS1='%'\\ ; echo P$((7*7))\n");
	until_says(p, r, "P49");
}

static void detach(struct peer *p, struct run *r)
{
	peer_put(p, WIRE_EOF, WIRE_STDIN, r->id, NULL, 0);
	run_wait(p, r);
}

/* ---- commands ---- */

static void state(struct peer *p)
{
	const char *const cd[] = { "cd", "/usr", NULL };
	const char *const words[] = { "printf", "%s|", "a b", "it's", "$HOME",
				      "",	"*",   "\n",  "\\",   NULL };
	struct run *r = session_ask(p, "s", WIRE_SESSION_RUN, cd, false);

	run_input(r, NULL, 0);
	run_wait(p, r);
	is_exit(r, false, 0, "cd");
	ok(r->started && r->eof[0] && r->eof[1], "started, both ended");
	say(p, "s", "v=42; f() { echo \"f $1\"; return 3; }");
	r = say(p, "s", "pwd; echo $v; echo err >&2; f x");
	is_str(run_text(r, 0), "/usr\n42\nf x\n",
	       "directory, variables and functions are kept");
	is_str(run_text(r, 1), "err\n", "standard error apart");
	is_exit(r, false, 3, "exit status");
	is_exit(say(p, "s", "return 4"), false, 4, "of a return, too");
	is_exit(say(p, "s", "no-such-command"), false, 127, "not found");
	is_exit(say(p, "s", "sh -c 'kill -9 $$'"), false, 137, "killed");
	is_exit(say(p, "s", "(exit 255)"), false, 255, "255");
	r = session_ask(p, "s", WIRE_SESSION_RUN, words, false);
	run_input(r, NULL, 0);
	run_wait(p, r);
	is_str(run_text(r, 0), "a b|it's|$HOME||*|\n|\\|",
	       "words arrive as they are");
	r = say(p, "s", "set -C; export A='b c'; echo $-; set +C");
	is_exit(r, false, 0, "noclobber");
	is_str(run_text(say(p, "s", "sh -c 'echo $A'"), 0), "b c\n", "export");
	r = say(p, "t", "echo $v.; pwd");
	has_str(run_text(r, 0), ".\n", "another session knows nothing of it");
	end(p, "t");
	end(p, "s");
	is_str(run_text(say(p, "s", "echo ${v-none}"), 0), "none\n",
	       "nor does a later one of the same name");
	end(p, "s");
}

static void binary(struct peer *p)
{
	mem_auto uint8_t *data = malloc(BIG);
	mem_auto char *word = malloc(100001);
	const char *const argv[] = { "cat", NULL };
	const char *const longer[] = { "echo", word, NULL };
	char want[SHA256_HEX], got[SHA256_HEX];
	sha256_auto struct sha256 a = SHA256_INIT, b = SHA256_INIT;
	uint32_t x = 1;
	struct run *r;
	size_t i;

	for (i = 0; i < BIG; i++) {
		x = x * 1664525 + 1013904223;
		data[i] = (uint8_t)(x >> 24);
	}
	r = session_ask(p, "s", WIRE_SESSION_RUN, argv, false);
	run_input(r, data, BIG);
	run_wait(p, r);
	is_exit(r, false, 0, "cat in a session");
	sha256_begin(&a);
	sha256_add(&a, data, BIG);
	sha256_end(&a, want);
	sha256_begin(&b);
	sha256_add(&b, r->out[0].data, r->out[0].len);
	sha256_end(&b, got);
	is_str(got, want, "5 MB come back as they went in");
	memset(word, 'w', 100000);
	word[100000] = '\0';
	r = session_ask(p, "s", WIRE_SESSION_RUN, longer, false);
	run_wait(p, r);
	is_int(r->got[0], 100001, "a command longer than a terminal's line");
	r = in_session(p, "s", "exec 5<&0; read x; echo got $x");
	run_input(r, "line\n", 5);
	run_wait(p, r);
	is_str(run_text(r, 0), "got line\n", "a builtin reads its input");
	say(p, "s", "exec 5<&-");
	end(p, "s");
}

/* A client that wants no more, and shells that must not die of it. */
static void unwanted(struct peer *p)
{
	struct run *r = in_session(p, "s", "yes");

	r->drop = true;
	peer_until(p, r->got[0] > 100000);
	peer_put(p, WIRE_EOF, WIRE_STDOUT, r->id, NULL, 0);
	run_wait(p, r);
	is_exit(r, false, 128 + SIGPIPE, "a job nobody reads gets SIGPIPE");
	r = in_session(p, "s",
		       "i=0; while [ $i -lt 20000 ]; do echo $i; "
		       "i=$((i+1)); done; v=1");
	r->drop = true;
	peer_until(p, r->got[0] > 10);
	peer_put(p, WIRE_EOF, WIRE_STDOUT, r->id, NULL, 0);
	run_wait(p, r);
	is_exit(r, false, 0, "the shell itself is spared");
	is_str(run_text(say(p, "s", "echo $v"), 0), "1\n", "and lives on");
	end(p, "s");
}

static void background(struct peer *p)
{
	struct run *r;
	int life = life_watch("life");

	r = say(p, "s", "(exec 9>life; echo; sleep 1000) & v=$!");
	is_exit(r, false, 0, "a job in the background keeps no EXIT back");
	r = say(p, "s", "kill $v; wait $v; echo gone");
	has_str(run_text(r, 0), "gone\n", "its shell knows it still");
	ok(life_ended(life), "and ends it");
	end(p, "s");
}

static void killing(struct peer *p)
{
	int life = life_watch("life");
	struct run *r = in_session(p, "s",
				   "v=7; (exec 9>life; trap '' INT TERM;"
				   "echo ready; sleep 1000); echo no");

	until_says(p, r, "ready");
	peer_put(p, WIRE_RESET, 0, r->id, NULL, 0);
	run_wait(p, r);
	is_exit(r, true, SIGKILL, "RESET of a stubborn one");
	ok(life_ended(life), "it is gone");
	ok(!strstr(run_text(r, 0), "no"), "what comes behind it does not");
	r = in_session(p, "s", "echo; while :; do :; done");
	peer_until(p, r->got[0]);
	peer_put(p, WIRE_RESET, 0, r->id, NULL, 0);
	run_wait(p, r);
	is_exit(r, true, SIGKILL, "RESET of a loop of the shell's own");
	r = in_session(p, "s", "sleep 1000");
	peer_put(p, WIRE_RESET, 0, r->id, NULL, 0);
	run_wait(p, r);
	is_exit(r, true, SIGKILL, "RESET of what has hardly begun");
	/* What the job itself says, it says in the foreground. */
	r = in_session(p, "s", JOB "; sleep 1000; sleep 1000");
	peer_until(p, r->got[0]);
	peer_put_u32(p, WIRE_SIGNAL, 0, r->id, SIGINT);
	run_wait(p, r);
	is_exit(r, false, 128 + SIGINT, "SIGINT ends a list");
	r = in_session(p, "s",
		       "echo; sh -c 'trap \"exit 9\" TERM; echo; "
		       "sleep 1000 & wait'");
	peer_until(p, r->got[0] == 2);
	peer_put_u32(p, WIRE_SIGNAL, 0, r->id, SIGTERM);
	run_wait(p, r);
	is_exit(r, false, 9, "SIGTERM may be answered");
	is_str(run_text(say(p, "s", "echo $v"), 0), "7\n",
	       "the shell has survived it all");
	end(p, "s");
}

static void shell_ends(struct peer *p)
{
	struct run *r = say(p, "s", "echo bye; exit 7; echo no"), *a;

	is_exit(r, false, 7, "a shell that exits in a command");
	is_str(run_text(r, 0), "bye\n", "has said what it said");
	say(p, "s", "true");
	r = in_session(p, "s", "exec cat");
	run_input(r, "through", 7);
	run_wait(p, r);
	is_str(run_text(r, 0), "through", "a shell that becomes another");
	is_exit(r, false, 0, "ends with it");
	r = say(p, "s", "kill -9 $$");
	is_exit(r, true, SIGKILL, "a shell that kills itself");
	a = attach(p, "s");
	until_ready(p, a);
	type(p, a, "exec sh -c 'echo Q$((6+6)); exec cat'\n");
	until_says(p, a, "Q12");
	r = in_session(p, "s", "true");
	until_says(p, a, "/run.");
	peer_put(p, WIRE_RESET, 0, r->id, NULL, 0);
	run_wait(p, r);
	is_exit(r, true, SIGKILL, "of cat there is no way but RESET");
	run_wait(p, a);
	is_exit(a, true, SIGINT, "which ends it");
}

static void hostile(struct peer *p)
{
	struct run *r;

	say(p, "s", "set +m; exec 2>&1");
	r = in_session(p, "s", "kill -STOP $$; echo on");
	peer_sync(p);
	is_exit(say(p, "t", "true"), false, 0, "a stopped shell stops nobody");
	peer_put(p, WIRE_RESET, 0, r->id, NULL, 0);
	peer_put(p, WIRE_RESET, 0, r->id, NULL, 0);
	run_wait(p, r);
	is_exit(r, true, SIGKILL, "a second RESET does not wait for it");
	r = say(p, "s", "true");
	ok(r->failed && r->why.num == EBUSY, "it is busy");
	end(p, "s");
	r = say(p, "t",
		"for f in */report ${TMPDIR}/*/*/report; do "
		"[ -p $f ] && { echo junk; echo 1 2 3; echo 999 0; "
		"echo; head -c 100000 /dev/zero; } >$f; done; exit 3");
	is_exit(r, false, 3, "lies in the report are not heard");
	r = say(p, "t", "exec <&- >&- 2>&-; exec sleep 0");
	is_exit(r, false, 0, "a shell without descriptors");
	r = say(p, "t", "rm -rf ${TMPDIR}/iso-agent.*/t; true");
	run_wait(p, r);
	end(p, "t");
}

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

static struct peer *join(void)
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
	/* Its report may come after its descriptor's end. */
	do {
		r = say(p, "s", "echo $v");
	} while (r->failed && r->why.num == EBUSY);
	is_str(run_text(r, 0), "10\n", "to its own end");
	end(p, "s");
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

static void users(struct peer *p)
{
	const char *const argv[] = { "eval", "id -u; cat; echo err >&2", NULL };
	struct wire_request x = WIRE_REQUEST_INIT;
	struct run *r;

	if (geteuid() != 0) {
		diag("not root: users are not changed");
		return;
	}
	chmod(scratch_dir, 0755);
	x.op = WIRE_OP_SESSION;
	x.verb = WIRE_SESSION_RUN;
	x.session = "u";
	x.user = "daemon";
	x.argv = (const char **)(uintptr_t)argv;
	x.argc = 2;
	r = run_exec(p, &x);
	run_input(r, "in", 2);
	run_wait(p, r);
	is_str(run_text(r, 0), "1\nin", "as another user");
	is_str(run_text(r, 1), "err\n", "whose shell is taken from the image");
	x.user = "root";
	r = run_exec(p, &x);
	run_wait(p, r);
	refused(r, EPERM, "belongs to user 1");
	end(p, "u");
}

static void all(struct peer *p, const char *path)
{
	shell = path;
	diag("shell %s", path);
	state(p);
	binary(p);
	unwanted(p);
	background(p);
	killing(p);
	shell_ends(p);
	attached(p);
	interrupted(p);
	vanished(p);
	hostile(p);
}

int main(void)
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
	all(p, "/bin/bash");
	all(p, "/bin/dash");
	all(p, "/usr/bin/busybox");
	shell = "/bin/sh";
	scrollback(p);
	stalled(p);
	refusals(p);
	sixteen(p);
	users(p);
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
