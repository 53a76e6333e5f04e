/* SPDX-License-Identifier: MIT
 *
 * The agent runs commands: what goes in, what comes out, how they end.
 */
#include "tests/tap.h"

#include "tests/unit/agent_peer.h"

static uint8_t *pattern(size_t n)
{
	uint8_t *p = malloc(n);
	uint32_t x = 1;
	size_t i;

	for (i = 0; p && i < n; i++) {
		x = x * 1664525 + 1013904223;
		p[i] = (uint8_t)(x >> 24);
	}
	return p;
}

static void outputs(struct peer *p)
{
	struct run *r = run_sh(p, "echo out; echo err >&2; exit 7");

	run_wait(p, r);
	is_str(run_text(r, 0), "out\n", "stdout");
	is_str(run_text(r, 1), "err\n", "stderr, apart");
	is_exit(r, false, 7, "exit status");
	ok(r->started && r->eof[0] && r->eof[1], "started, both ended");
	ok(r->exit.maxrss_kib > 0, "what it used is told");
	r = run_sh(p, "kill -TERM $$");
	run_wait(p, r);
	is_exit(r, true, SIGTERM, "death by signal");
}

static void echo(struct peer *p)
{
	size_t n = 10 << 20;
	mem_auto uint8_t *data = pattern(n);
	const char *const argv[] = { "cat", NULL };
	struct run *r = run_argv(p, argv);

	run_input(r, data, n);
	run_wait(p, r);
	is_mem(r->out[0].data, r->out[0].len, data, n, "10 MB there and back");
	is_exit(r, false, 0, "and cat ends");
}

static void both_outputs(struct peer *p)
{
	struct run *r = run_sh(p, "yes out | head -c 3000000 &"
				  "yes err | head -c 3000000 >&2; wait");

	run_wait(p, r);
	ok(r->got[0] == 3000000 && r->got[1] == 3000000,
	   "3 MB on both at once");
	ok(memmem(r->out[0].data, r->out[0].len, "err", 3) == NULL &&
		   memmem(r->out[1].data, r->out[1].len, "out", 3) == NULL,
	   "nothing of one in the other");
}

/* ---- ends of files ---- */

static void ends(struct peer *p)
{
	struct run *r = run_sh(p, "exec >&-; cat >&2; exit 3");

	peer_until(p, r->eof[0]);
	ok(!r->exited, "closed output is told while the command runs on");
	run_input(r, "more", 4);
	run_wait(p, r);
	is_str(run_text(r, 1), "more", "which it does");
	r = run_sh(p, "cat; echo end");
	run_input(r, NULL, 0);
	run_wait(p, r);
	is_str(run_text(r, 0), "end\n", "no input at all");
}

static void reader_gone(struct peer *p)
{
	struct run *r = run_sh(p, "exec yes");

	r->drop = true;
	peer_until(p, r->got[0] > 100000);
	peer_put(p, WIRE_EOF, WIRE_STDOUT, r->id, NULL, 0);
	run_wait(p, r);
	is_exit(r, true, SIGPIPE, "a command that nobody reads gets SIGPIPE");
}

/* Its process has written all and ended; what it wrote waits for credit. */
static void reader_gone_late(struct peer *p)
{
	int life = life_watch("life");
	struct run *r = run_sh(p, "exec 9>life; head -c 300000 /dev/zero");

	r->hold = true;
	peer_until(p, r->got[0] == WIRE_WINDOW);
	ok(life_ended(life), "a command has written all");
	/* The agent hears of ends in their order. */
	run_wait(p, run_sh(p, "exit 0"));
	peer_put(p, WIRE_EOF, WIRE_STDOUT, r->id, NULL, 0);
	run_wait(p, r);
	is_exit(r, false, 0, "output that nobody wants keeps no EXIT back");
}

static void stdin_closed(struct peer *p)
{
	static const uint8_t data[WIRE_PAYLOAD_MAX];
	struct run *r = run_sh(p, "exec <&-; echo closed; exec sleep 1000");

	peer_until(p, r->got[0] == 7);
	peer_put(p, WIRE_DATA, WIRE_STDIN, r->id, data, sizeof(data));
	peer_until(p, r->in_refused);
	ok(r->in_refused, "input that nobody takes is refused");
	peer_put(p, WIRE_DATA, WIRE_STDIN, r->id, "late", 4);
	peer_sync(p);
	ok(!p->broken, "what crosses the refusal is no breach");
	peer_put_u32(p, WIRE_SIGNAL, 0, r->id, SIGTERM);
	run_wait(p, r);
	is_exit(r, true, SIGTERM, "the command lived on");
}

/* ---- children that stay ---- */

static void background(struct peer *p)
{
	int life = life_watch("life"), keep = open("life", O_WRONLY);
	struct pollfd pf = { life, POLLIN, 0 };
	struct run *r;

	mkfifo("hold", 0600);
	r = run_sh(p, "{ read x <hold; echo x; } >life & echo $!");
	run_wait(p, r);
	is_exit(r, false, 0, "a child in the background keeps no EXIT back");
	is_int(poll(&pf, 1, 0), 0, "nor is it ended");
	close(open("hold", O_WRONLY)); /* now it is */
	close(keep);
	ok(life_ended(life), "it lived on");
}

static void background_flood(struct peer *p)
{
	int life = life_watch("life");
	struct run *r = run_sh(p, "exec 9>life; yes 9>&- & "
				  "read x; exit 4");
	/* What is in the pipe, and what comes before the end is seen. */
	uint64_t limit = WIRE_WINDOW + 10 * 65536;

	r->hold = r->drop = true;
	peer_until(p, r->got[0] == WIRE_WINDOW);
	run_input(r, "\n", 1);
	run_wait(p, run_sh(p, "exit 0"));
	ok(life_ended(life), "a command ends and its child does not");
	run_wait(p, run_sh(p, "exit 0"));
	/* A little at a time, so that the pipe is never empty. */
	while (!p->closed && !r->exited && r->got[0] <= limit) {
		uint64_t want = r->got[0] + 4096;

		peer_put_u32(p, WIRE_CREDIT, WIRE_STDOUT, r->id, 4096);
		peer_until(p, r->exited || r->got[0] == want);
	}
	is_exit(r, false, 4, "nor does one that writes without end");
}

/* ---- refusals ---- */

static void refused(struct peer *p, const char *name, const char *cwd, int num,
		    const char *text)
{
	const char *argv[] = { name, NULL };
	struct wire_request x = WIRE_REQUEST_INIT;
	struct run *r;

	x.argv = argv;
	x.argc = 1;
	x.cwd = cwd;
	r = run_exec(p, &x);
	run_wait(p, r);
	ok(r->failed && r->why.num == num && !r->started, "refused: %s", text);
	has_str(r->why.text, text, "with the reason");
}

static void refusals(struct peer *p)
{
	struct run *r;
	uint8_t *big = calloc(1, WIRE_REQUEST_MAX + 1);
	struct buf b = { .data = big, .len = WIRE_REQUEST_MAX + 1 };

	refused(p, "no-such-command", "/", ENOENT,
		"cannot run no-such-command: No such file");
	refused(p, "/etc/passwd", "/", EACCES, "Permission denied");
	refused(p, "true", "/none/such", ENOTDIR, "/none/such");
	r = run_new(p);
	peer_put(p, WIRE_OPEN, 0, r->id, "\1\0\0\0garbage", 11);
	run_wait(p, r);
	ok(r->failed && r->why.num == EPROTO, "no request at all");
	r = run_new(p);
	wire_put_open(&p->send, r->id, &b);
	run_wait(p, r);
	ok(r->failed && r->why.num == E2BIG, "a request too long");
	peer_sync(p);
	is_int(r->after_end, 0, "and one answer only");
	ok(!p->broken, "none of this is a breach");
	free(big);
}

/* ---- surroundings ---- */

static void surroundings(struct peer *p)
{
	const char *argv[] = { "sh", "-c",
			       "pwd; umask; echo $A; echo ${HOME-none}", NULL };
	const char *env[] = { "A=b c", "PATH=/bin:/usr/bin", NULL };
	struct wire_request x = WIRE_REQUEST_INIT;
	struct run *r;

	x.argv = argv;
	x.argc = 3;
	x.envp = env;
	x.envc = 2;
	x.cwd = "/usr";
	x.umask = 031;
	r = run_exec(p, &x);
	run_wait(p, r);
	is_str(run_text(r, 0), "/usr\n0031\nb c\nnone\n",
	       "directory, umask, environment");
	x.cwd = NULL;
	r = run_exec(p, &x);
	run_wait(p, r);
	has_str(run_text(r, 0), "/\n", "the root when none is asked for");
}

static void users(struct peer *p)
{
	const char *argv[] = { "sh", "-c", "id -u; id -g; id -G", NULL };
	struct wire_request x = WIRE_REQUEST_INIT;
	struct run *r;

	if (geteuid() != 0) {
		diag("not root: users are not changed");
		return;
	}
	x.argv = argv;
	x.argc = 3;
	x.has_cred = true;
	x.uid = 4242;
	x.gid = 4343;
	x.groups[0] = 4444;
	x.ngroups = 1;
	r = run_exec(p, &x);
	run_wait(p, r);
	is_str(run_text(r, 0), "4242\n4343\n4343 4444\n", "numbers as given");
	x.user = "daemon";
	r = run_exec(p, &x);
	run_wait(p, r);
	has_str(run_text(r, 0), "1\n1\n", "a name goes before numbers");
	x.user = "no-such-user";
	r = run_exec(p, &x);
	run_wait(p, r);
	ok(r->failed && r->why.num == ENOENT, "one that is not there");
	x.user = "daemon";
	argv[0] = "no-such-command";
	r = run_exec(p, &x);
	run_wait(p, r);
	ok(r->failed && r->why.num == ENOENT, "a user's command likewise");
	is_str(r->why.text,
	       "cannot run no-such-command: No such file or directory",
	       "and why");
	argv[0] = "sh";
	x.cwd = "/root/none";
	r = run_exec(p, &x);
	run_wait(p, r);
	ok(r->failed && r->why.num == ENOTDIR, "a directory it cannot enter");
}

/* A user who stops whatever is his, again and again, must not get hold of the
 * agent while that starts something for him. */
static void stopper(struct peer *p)
{
	const char *stop[] = { "sh", "-c", "while :; do kill -STOP -1; done",
			       NULL };
	const char *victim[] = { "true", NULL };
	struct wire_request x = WIRE_REQUEST_INIT;
	struct run *r;
	int i;

	if (geteuid() != 0)
		return;
	x.has_cred = true;
	x.uid = x.gid = 54321;
	x.argv = stop;
	x.argc = 3;
	run_exec(p, &x);
	x.argv = victim;
	x.argc = 1;
	for (i = 0; i < 100; i++)
		run_exec(p, &x);
	r = run_sh(p, "echo alive");
	run_wait(p, r);
	is_str(run_text(r, 0), "alive\n", "nobody can stop the agent");
}

static void many_arguments(struct peer *p)
{
	enum { N = 16, LEN = 120000 };
	const char *argv[N + 4] = { "sh", "-c", "echo $# ${#15}" };
	char *word = malloc(LEN + 1);
	struct run *r;
	int i;

	memset(word, 'w', LEN);
	word[LEN] = '\0';
	argv[3] = "sh";
	for (i = 0; i < N - 1; i++)
		argv[4 + i] = word;
	r = run_argv(p, argv);
	run_wait(p, r);
	is_str(run_text(r, 0), "15 120000\n", "1.8 MB of arguments");
	free(word);
}

/* ---- killing ---- */

#define STUBBORN                                           \
	"exec 9>life; trap '' TERM INT HUP; sleep 1000 & " \
	"(sleep 1000) & echo ready; wait; wait; wait"

static void signals(struct peer *p)
{
	struct run *r = run_sh(p, "trap 'echo got; exit 5' TERM; echo ready; "
				  "sleep 1000 & wait");

	peer_until(p, r->got[0] == 6);
	peer_put_u32(p, WIRE_SIGNAL, 0, r->id, SIGTERM);
	run_wait(p, r);
	is_str(run_text(r, 0), "ready\ngot\n", "a signal arrives");
	is_exit(r, false, 5, "and may be answered");
	r = run_sh(p, "echo; exec sleep 1000");
	peer_until(p, r->got[0]);
	peer_put_u32(p, WIRE_SIGNAL, 0, r->id, 0);
	peer_put_u32(p, WIRE_SIGNAL, 0, r->id, 65);
	peer_put_u32(p, WIRE_SIGNAL, 0, r->id, 0xffffffff);
	peer_put_u32(p, WIRE_SIGNAL, 0, r->id, SIGSTOP);
	peer_sync(p);
	ok(!r->exited, "signals that there are not, are not sent");
	peer_put_u32(p, WIRE_SIGNAL, 0, r->id, SIGKILL);
	run_wait(p, r);
	is_exit(r, true, SIGKILL, "a stopped one can be killed");
}

static void reset(struct peer *p)
{
	int life = life_watch("life");
	struct run *r = run_sh(p, STUBBORN);

	peer_until(p, r->got[0] == 6);
	peer_put(p, WIRE_RESET, 0, r->id, NULL, 0);
	run_wait(p, r);
	is_exit(r, true, SIGKILL, "RESET kills");
	ok(!r->eof[0] && !r->eof[1], "and only EXIT is said");
	ok(life_ended(life), "its children too");
	peer_put(p, WIRE_RESET, 0, r->id, NULL, 0);
	peer_sync(p);
	is_int(r->after_end, 0, "a second RESET means nothing");
}

/* Not a byte of what is written follows the RESET by more than what was on
 * its way. */
static void reset_flood(struct peer *p)
{
	struct run *r = run_sh(p, "exec yes");
	uint64_t before;

	r->drop = true;
	peer_until(p, r->got[0] > 1000000);
	peer_put(p, WIRE_RESET, 0, r->id, NULL, 0);
	peer_sync(p);
	before = r->got[0];
	run_wait(p, r);
	is_exit(r, true, SIGKILL, "RESET of one that writes");
	is_int(r->got[0], before, "ends its output at once");
}

static void reset_opening(struct peer *p)
{
	struct run *r = run_new(p);

	peer_put(p, WIRE_OPEN, WIRE_OPEN_MORE, r->id, "piece", 5);
	peer_put(p, WIRE_RESET, 0, r->id, NULL, 0);
	run_wait(p, r);
	ok(r->failed && r->why.num == ECANCELED, "RESET of half a request");
	peer_put(p, WIRE_OPEN, 0, r->id, "rest", 4);
	peer_sync(p);
	ok(!p->broken && r->after_end == 0, "whose rest is ignored");
}

static void peer_gone(void)
{
	struct peer *p = peer_start();
	int life = life_watch("life");
	struct run *r = run_sh(p, STUBBORN);

	peer_until(p, r->got[0] == 6);
	peer_free(p);
	ok(life_ended(life), "with its peer, all it started is gone");
}

int main(void)
{
	struct peer *p;
	int fds = count_fds();

	scratch_enter();
	p = peer_start();
	outputs(p);
	echo(p);
	both_outputs(p);
	ends(p);
	reader_gone(p);
	reader_gone_late(p);
	stdin_closed(p);
	background(p);
	background_flood(p);
	refusals(p);
	surroundings(p);
	users(p);
	stopper(p);
	many_arguments(p);
	signals(p);
	reset(p);
	reset_flood(p);
	reset_opening(p);
	peer_free(p);
	peer_gone();
	scratch_leave();
	is_int(count_fds(), fds, "no descriptor was left open");
	return tap_done();
}
