/* SPDX-License-Identifier: MIT
 *
 * The agent's flow control, many commands at once, and that it does not grow.
 */
#include "tests/tap.h"

#include "tests/unit/agent_peer.h"

/* ---- windows ---- */

/* What the peer gave no credit for is not sent, to the byte. */
static void window(struct peer *p)
{
	struct run *r = run_sh(p, "yes out & yes err >&2");

	r->hold = true;
	peer_until(p, r->got[0] == WIRE_WINDOW && r->got[1] == WIRE_WINDOW);
	peer_put_u32(p, WIRE_CREDIT, WIRE_STDOUT, r->id, 1000);
	peer_until(p, r->got[0] >= WIRE_WINDOW + 1000);
	peer_put_u32(p, WIRE_CREDIT, WIRE_STDERR, r->id, 1);
	peer_until(p, r->got[1] >= WIRE_WINDOW + 1);
	run_wait(p, run_sh(p, "true"));
	peer_sync(p);
	is_int(r->got[0], WIRE_WINDOW + 1000, "stdout: the window, no more");
	is_int(r->got[1], WIRE_WINDOW + 1, "stderr: its own window");
	peer_put_u32(p, WIRE_CREDIT, WIRE_STDOUT, r->id, 0);
	peer_sync(p);
	ok(!p->broken, "credit for nothing is no breach");
	peer_put(p, WIRE_RESET, 0, r->id, NULL, 0);
	run_wait(p, r);
}

/* One output that nobody takes does not hold the other one up. */
static void one_stalled(struct peer *p)
{
	struct run *r = run_sh(p, "yes >&2 & head -c 200000 /dev/zero; "
				  "read x; echo more; exec sleep 1000");

	r->hold = true;
	peer_until(p, r->got[1] == WIRE_WINDOW && r->got[0] == 200000);
	run_input(r, "\n", 1);
	peer_until(p, r->got[0] == 200005);
	is_int(r->got[0], 200005, "stdout flows while stderr stands");
	peer_put(p, WIRE_RESET, 0, r->id, NULL, 0);
	run_wait(p, r);
}

/* The process ends with more in its pipe than it may send. */
static void credit_after_exit(struct peer *p)
{
	struct run *r = run_sh(p, "head -c 300000 /dev/zero");

	r->hold = true;
	peer_until(p, r->got[0] == WIRE_WINDOW);
	run_wait(p, run_sh(p, "true"));
	ok(!r->exited, "EXIT waits for what was written");
	peer_put_u32(p, WIRE_CREDIT, WIRE_STDOUT, r->id, 10);
	peer_until(p, r->got[0] >= WIRE_WINDOW + 10);
	peer_put_u32(p, WIRE_CREDIT, WIRE_STDOUT, r->id, 100000);
	run_wait(p, r);
	is_int(r->got[0], 300000, "and all of that comes before it");
	is_exit(r, false, 0, "then it comes");
}

/* Input goes on as the command takes it. */
static void slow_reader(struct peer *p)
{
	static uint8_t data[1 << 20];
	struct run *r = run_sh(p, "head -c 500000 >&2; read x; wc -c");
	size_t i;

	for (i = 0; i < sizeof(data); i++)
		data[i] = 'a' + (uint8_t)(i % 26);
	data[500001] = '\n';
	run_input(r, data, sizeof(data));
	run_wait(p, r);
	is_mem(r->out[1].data, r->out[1].len, data, 500000, "the first half");
	is_int(atoi(run_text(r, 0)), sizeof(data) - 500002, "and the rest");
}

/* A command that reads nothing: the peer is given no credit past the pipe. */
static void never_reads(struct peer *p)
{
	static uint8_t data[2 * WIRE_WINDOW];
	struct run *r = run_sh(p, "echo; exec sleep 1000");

	run_input(r, data, sizeof(data));
	peer_until(p, r->in_left <= sizeof(data) - WIRE_WINDOW);
	peer_sync(p);
	is_int(r->in_left, sizeof(data) - WIRE_WINDOW,
	       "a window's worth is taken, no more");
	r->in_left = 0;
	r->in_end = false;
	peer_put(p, WIRE_RESET, 0, r->id, NULL, 0);
	run_wait(p, r);
}

/* ---- a peer that is slower than the commands ---- */

/* There is never a moment when nothing waits to be sent: all commands have
 * their part all the same.  How soon is for the scheduler to say, so the bound
 * is one that only a command which is never served meets. */
static void slow_peer(void)
{
	struct peer *p = peer_start();
	struct run *r[8];
	uint64_t sum = 0, least = 0;
	size_t i;

	p->bite = 32768;
	for (i = 0; i < ARRAY_SIZE(r); i++) {
		r[i] = run_sh(p, "exec cat /dev/zero");
		r[i]->drop = true;
	}
	while (!p->closed && least < 1000000 && sum < 4000000000) {
		peer_step(p);
		least = r[0]->got[0];
		for (i = 0, sum = 0; i < ARRAY_SIZE(r); i++) {
			sum += r[i]->got[0];
			if (r[i]->got[0] < least)
				least = r[i]->got[0];
		}
	}
	ok(!p->closed, "a peer that is slower than the commands");
	ok(least >= 1000000, "gets something of each");
	peer_free(p);
}

/* ---- many at once ---- */

static void many(struct peer *p, size_t n, size_t size)
{
	const char *const argv[] = { "cat", NULL };
	struct run **r = calloc(n, sizeof(struct run *));
	uint8_t *data = malloc(size + n);
	size_t i, same = 0, ended = 0;

	for (i = 0; i < size + n; i++)
		data[i] = (uint8_t)(i * 31 ^ i >> 8);
	for (i = 0; i < n; i++) {
		r[i] = run_argv(p, argv);
		run_input(r[i], data + i, size);
	}
	for (i = 0; i < n; i++) {
		run_wait(p, r[i]);
		ended += r[i]->exited && r[i]->exit.code == 0;
		same += r[i]->out[0].len == size &&
			memcmp(r[i]->out[0].data, data + i, size) == 0;
	}
	ok(ended == n && same == n, "%zu commands at once, %zu bytes each", n,
	   size);
	free(data);
	free(r);
}

static void too_many(struct peer *p)
{
	struct run *r[257];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(r); i++)
		r[i] = run_sh(p, "exec cat");
	run_wait(p, r[256]);
	ok(r[256]->failed && r[256]->why.num == EAGAIN,
	   "one more than there may be");
	has_str(r[256]->why.text, "256 commands are running", "says so");
	for (i = 0; i < 256; i++) {
		run_input(r[i], NULL, 0);
		run_wait(p, r[i]);
	}
	for (i = 0; i < 256 && r[i]->exited; i++)
		;
	is_int(i, 256, "the others are all right");
	r[0] = run_sh(p, "exit 3");
	run_wait(p, r[0]);
	is_exit(r[0], false, 3, "and there is room again");
}

/* ---- growth ---- */

static int agent_fds(const struct peer *p)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd", p->agent);
	return count_entries(path);
}

static long agent_rss_kib(const struct peer *p)
{
	char path[64], line[256];
	long kib = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", p->agent);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "VmRSS: %ld", &kib) == 1)
			break;
	}
	if (f)
		fclose(f);
	return kib;
}

/* A round of every way in which a command begins and ends, @n times. */
static void rounds(struct peer *p, int n)
{
	const char *const yes[] = { "true", NULL };
	const char *const none[] = { "no-such-command", NULL };
	struct run *r;
	int i;

	for (i = 0; i < n; i++) {
		run_wait(p, run_argv(p, yes));
		run_wait(p, run_argv(p, none));
		r = run_argv(p, yes);
		run_input(r, "x", 1);
		run_wait(p, r);
		r = run_argv(p, yes);
		peer_put(p, WIRE_RESET, 0, r->id, NULL, 0);
		run_wait(p, r);
	}
}

static void growth(struct peer *p)
{
	int fds = agent_fds(p);
	long before, after;

	rounds(p, 100);
	before = agent_rss_kib(p);
	rounds(p, 500);
	after = agent_rss_kib(p);
	is_int(agent_fds(p), fds, "after 2400 commands no descriptor is left");
	if (!ok(after - before < 2000, "nor has the agent grown"))
		diag("from %ld to %ld KiB", before, after);
}

int main(void)
{
	struct peer *p;

	scratch_enter();
	p = peer_start();
	window(p);
	one_stalled(p);
	credit_after_exit(p);
	slow_reader(p);
	never_reads(p);
	many(p, 100, 300000);
	many(p, 250, 1000);
	peer_free(p);
	p = peer_start();
	too_many(p);
	growth(p);
	peer_free(p);
	slow_peer();
	scratch_leave();
	return tap_done();
}
