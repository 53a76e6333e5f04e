/* SPDX-License-Identifier: MIT
 *
 * The agent's sessions: commands in shells that keep their state.
 */
#include "tests/tap.h"

#include "base/sha256.h"
#include "tests/unit/agent_ask.h"

#define BIG (5U << 20)

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

	mkfifo("sync", 0600);
	r = say(p, "s",
		"(exec 9>life; echo >sync; "
		"exec sleep 1000) & v=$!; read x <sync");
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
	/* Of nothing that is a builtin: BusyBox leaves those for SIGINT with
	 * standard output locked, now and then, and then hangs for ever. */
	r = in_session(p, "s",
		       "echo; while case a in b) ;; esac; do "
		       "case a in b) ;; esac; done");
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
		       "echo; sh -c 'trap \"exit 9\" TERM; "
		       "sh -c \"echo; exec sleep 1000\" & wait'");
	peer_until(p, r->got[0] == 2);
	peer_put_u32(p, WIRE_SIGNAL, 0, r->id, SIGTERM);
	run_wait(p, r);
	is_exit(r, false, 9, "SIGTERM may be answered");
	is_str(run_text(say(p, "s", "echo $v"), 0), "7\n",
	       "the shell has survived it all");
	end(p, "s");
}

/* A signal that comes before the shell has read its line. */
static void early(struct peer *p)
{
	struct run *r;
	int i, good = 0;

	for (i = 0; i < 50; i++) {
		r = in_session(p, "s", "sleep 1000");
		peer_put(p, WIRE_RESET, 0, r->id, NULL, 0);
		run_wait(p, r);
		good += r->exited && r->exit.signaled;
	}
	is_int(good, 50, "50 that are taken back at once");
	r = in_session(p, "s", "echo no");
	peer_put_u32(p, WIRE_SIGNAL, 0, r->id, SIGTERM);
	run_wait(p, r);
	is_exit(r, false, 128 + SIGTERM, "a signal that comes early");
	is_str(run_text(r, 0), "", "is in time");
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
	peer_put(p, WIRE_RESET, 0, r->id, NULL, 0);
	run_wait(p, r);
	is_exit(r, true, SIGKILL, "out of cat there is a second RESET");
	run_wait(p, a);
	is_exit(a, true, SIGINT, "which ends it");
}

static void hostile(struct peer *p)
{
	struct run *r;
	pid_t pid;

	say(p, "s", "set +m; exec 2>&1");
	r = in_session(p, "s", "echo $$; read x");
	peer_until(p, strchr(run_text(r, 0), '\n'));
	pid = (pid_t)atoi(run_text(r, 0));
	if (pid <= 1)
		bail("the shell does not say its number");
	kill(pid, SIGSTOP);
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
	ok(r->failed && r->why.num == EPERM, "another has no part in it");
	has_str(r->why.text, "belongs to user 1", "and is told why");
	end(p, "u");
}

static void in_each_shell(struct peer *p)
{
	static const char *const shells[] = { "/bin/bash", "/bin/dash",
					      "/usr/bin/busybox" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(shells); i++) {
		shell = shells[i];
		diag("%s", shell);
		state(p);
		binary(p);
		unwanted(p);
		background(p);
		killing(p);
		early(p);
		shell_ends(p);
		hostile(p);
	}
	users(p);
}

int main(void)
{
	return with_agent(in_each_shell);
}
