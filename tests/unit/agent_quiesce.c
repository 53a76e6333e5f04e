/* SPDX-License-Identifier: MIT
 *
 * The agent has all commands stand still, and knows afterwards whether it is in
 * the machine that stood still or in a copy of it.
 */
#include "tests/tap.h"

#include "tests/unit/agent_box.h"

#define ID_1 "0123456789abcdef0123456789abcdef"
#define ID_2 "ffffffffffffffffffffffffffffffff"

static struct run *quiesce(struct peer *p)
{
	struct wire_request x = WIRE_REQUEST_INIT;

	x.op = WIRE_OP_QUIESCE;
	return run_exec(p, &x);
}

static struct run *setup(struct peer *p, const char *name, const char *id)
{
	struct wire_request x = WIRE_REQUEST_INIT;
	struct run *r;

	x.op = WIRE_OP_SETUP;
	x.hostname = name;
	x.machine_id = id;
	x.entropy = (const uint8_t *)ID_1;
	x.entropy_len = 32;
	x.clock_ns = 1;
	unlink("log");
	r = run_exec(p, &x);
	run_wait(p, r);
	return r;
}

static void is_refused(struct peer *p, struct run *r, int num, const char *what)
{
	run_wait(p, r);
	if (!ok(r->failed && r->why.num == num, "%s", what))
		diag("%s: %d, %s", r->failed ? "failed" : "did not fail",
		     r->why.num, r->why.text);
}

static struct run *hold(struct peer *p)
{
	struct run *r = quiesce(p);

	peer_until(p, r->started || r->failed);
	if (!r->started)
		diag("failed: %s", r->why.text);
	return r;
}

static void let_go(struct peer *p, struct run *r)
{
	peer_put(p, WIRE_RESET, 0, r->id, NULL, 0);
	run_wait(p, r);
	is_exit(r, false, 0, "let go");
}

/* Nothing has come for it that it did not take. */
static bool hears_nothing(const struct peer *p)
{
	struct pollfd pf = { p->fd, POLLIN, 0 };

	return poll(&pf, 1, 0) == 0;
}

/* Send what is queued. */
static void send_off(struct peer *p)
{
	while (p->send.len > p->sent)
		peer_flush(p);
}

static void run_detached(struct peer *p, const char *script)
{
	const char *argv[] = { "sh", "-c", script, NULL };
	struct wire_request x = WIRE_REQUEST_INIT;
	struct run *r;

	x.argv = argv;
	x.argc = 3;
	x.envp = (const char **)(uintptr_t)run_env();
	x.envc = 1;
	x.cwd = scratch_dir;
	x.flags = WIRE_FLAG_DETACH;
	r = run_exec(p, &x);
	/* Its shell has gone over to the FIFO. */
	peer_until(p, r->eof[0]);
}

static const char *log_of_setup(void)
{
	static char text[128];
	int fd = open("log", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	close(fd);
	text[n < 0 ? 0 : n] = '\0';
	return text;
}

/* ---- before, and elsewhere ---- */

static void not_a_sandbox(void)
{
	struct peer *p = peer_start();
	struct run *r = quiesce(p);

	run_wait(p, r);
	ok(r->failed, "an agent that is not the machine's freezes nothing");
	diag("%s", r->why.text);
	peer_free(p);
}

static void first_setup(struct peer *p)
{
	is_refused(p, quiesce(p), EAGAIN, "nothing to freeze before a setup");
	is_exit(setup(p, "one", ID_1), false, 0, "a setup");
	is_str(log_of_setup(), "add reseed hostname clock ",
	       "entropy first, the clock last");
}

/* ---- the same machine ---- */

static void stands_still(struct peer *p, int fd)
{
	struct peer *q = join(), *late;
	struct run *r, *other;

	ok(ticks(fd), "a command runs");
	r = hold(q);
	ok(r->started, "all commands stand still");
	ok(box_is_frozen(), "says the kernel");
	ok(ticks_not(fd), "and so does the command");
	is_refused(q, quiesce(q), EBUSY, "not twice");
	is_refused(q, run_sh(q, "exit 0"), EBUSY, "nothing is started");
	is_refused(q, setup(q, "two", ID_2), EBUSY, "nor set up");
	other = run_sh(p, "exit 3");
	send_off(p);
	late = join();
	ok(late->greeted, "who comes now is greeted");
	peer_put(late, WIRE_PING, 0, 0, "x", 1);
	send_off(late);
	peer_sync(q);
	peer_sync(q);
	ok(hears_nothing(p) && hears_nothing(late), "but nobody is read");
	ok(ticks_not(fd) && box_is_frozen(), "still, they stand still");
	let_go(q, r);
	ok(ticks(fd), "it goes on");
	run_wait(p, other);
	is_exit(other, false, 3, "what others asked for is done");
	peer_until(late, late->pongs);
	ok(late->pongs == 1, "whoever they are");
	r = hold(q);
	ok(r->started && ticks_not(fd), "once more");
	peer_free(q);
	ok(ticks(fd), "a client that dies lets go");
	peer_free(late);
}

/* STARTED comes when all stand still; nobody waits for it in vain. */
static void waits(struct peer *p, int fd, struct stall *s)
{
	struct peer *q = join();
	struct run *stalled = run_sh(p, "exec cat stall/x"), *r;

	peer_until(p, stalled->started);
	stall_wait(s);
	r = quiesce(q);
	peer_sync(q);
	ok(!r->started && !r->failed && !box_is_frozen(),
	   "a command in a system call does not stand still yet");
	is_refused(q, run_sh(q, "exit 0"), EBUSY, "nothing is started");
	peer_put(p, WIRE_PING, 0, 0, "x", 1);
	send_off(p);
	peer_sync(q);
	peer_sync(q);
	ok(hears_nothing(p), "nobody else is read");
	peer_put(q, WIRE_RESET, 0, r->id, NULL, 0);
	is_refused(q, r, ECANCELED, "it may be taken back");
	ok(ticks_drain(fd) + 1 && ticks(fd), "all go on");
	peer_until(p, p->pongs > 0);
	r = quiesce(q);
	peer_sync(q);
	stall_end(s);
	peer_until(q, r->started || r->failed);
	ok(r->started && box_is_frozen(), "begun when the last one stands");
	ok(ticks_not(fd), "and they do");
	let_go(q, r);
	run_wait(p, stalled);
	is_exit(stalled, false, 1, "that command as well");
	peer_free(q);
}

static void dies_waiting(struct peer *p, int fd, struct stall *s)
{
	struct peer *q = join();
	struct run *stalled = run_sh(p, "exec cat stall/y"), *r;

	send_off(p);
	stall_wait(s);
	r = quiesce(q);
	peer_sync(q);
	ok(!r->started, "waiting again");
	peer_free(q);
	peer_sync(p);
	ticks_drain(fd);
	ok(ticks(fd), "a client that dies meanwhile lets go");
	stall_end(s);
	run_wait(p, stalled);
	is_exit(stalled, false, 1, "that command as well");
}

#define STARTS 20

/* Commands on their way into their program, those of other users in two
 * steps. */
static void starting(struct peer *p)
{
	const char *argv[] = { "sh", "-c", "exit 5", NULL };
	struct wire_request x = WIRE_REQUEST_INIT;
	unsigned int i, good = 0, held = 0;
	struct peer *q = join();
	struct run *r, *h;

	x.argv = argv;
	x.argc = 3;
	x.envp = (const char **)(uintptr_t)run_env();
	x.envc = 1;
	x.has_cred = true;
	for (i = 0; i < STARTS; i++) {
		x.uid = x.gid = i % 2 ? 4242 : 0;
		r = run_exec(p, &x);
		send_off(p);
		h = hold(q);
		held += h->started;
		peer_put(q, WIRE_RESET, 0, h->id, NULL, 0);
		run_wait(q, h);
		run_wait(p, r);
		good += r->exited && r->exit.code == 5;
	}
	is_int(held, STARTS, "a start on its way holds nothing up");
	is_int(good, STARTS, "and comes to its end");
	peer_free(q);
}

/* ---- a copy ---- */

/* The monitor has made one while @q holds on: that sees its connections reset,
 * and its number is another. */
static struct peer *become_copy(struct peer *q, const char *cid)
{
	struct peer *p;

	if (cid)
		scratch_file("cid", cid);
	else
		unlink("cid");
	peer_free(q);
	p = join();
	/* It is read again. */
	peer_sync(p);
	return p;
}

static void fails_at(struct peer *p, const char *step, const char *done, int fd)
{
	struct run *r;

	scratch_file("fail", step);
	r = setup(p, "two", ID_2);
	ok(r->failed && r->why.num == EIO, "a setup that fails: %s", step);
	is_str(log_of_setup(), done, "goes no further");
	/* Not that all are: those that were killed may still be on their way
	 * out. */
	ok(ticks_not(fd) && box_says("cgroup.freeze", "1"),
	   "and nothing goes on");
	is_refused(p, run_sh(p, "exit 0"), EAGAIN, "nor is begun");
	unlink("fail");
}

static void is_new_machine(struct peer *p, const char *old_boot_id)
{
	struct run *r = run_sh(p, "hostname; cat /etc/machine-id; "
				  "grep this.machine /etc/hosts; "
				  "cat /proc/sys/kernel/random/boot_id");

	run_wait(p, r);
	has_str(run_text(r, 0),
		"two\n" ID_2 "\n127.0.1.1\ttwo\t# this machine\n",
		"host name, machine ID and /etc/hosts are new");
	ok(!strstr(run_text(r, 0), old_boot_id), "and the boot ID");
}

static void copy(struct agent_box *b, struct peer *p, int fd)
{
	int life = life_watch("life"), session_fd = ticks_open("session");
	struct peer *q = join();
	char boot_id[64];
	struct run *boot = run_sh(p, "cat /proc/sys/kernel/random/boot_id"),
		   *lost = run_sh(p, "sleep 1000 & exec 9>life; echo; wait");

	run_wait(p, boot);
	snprintf(boot_id, sizeof(boot_id), "%s", run_text(boot, 0));
	is_int((int64_t)strlen(boot_id), 37, "a boot ID");
	peer_until(p, lost->got[0]);
	in_session(p, "s", "exec yes >session");
	send_off(p);
	ok(ticks(session_fd), "a command in a session");
	ok(hold(q)->started && ticks_not(fd), "all stand still");
	q = become_copy(q, "101");
	ok(box_is_frozen() && ticks_not(fd), "a copy does not go on");
	ok(ticks_not(session_fd), "nor its session");
	is_refused(q, run_sh(q, "exit 0"), EAGAIN, "nothing can be started");
	is_refused(q, quiesce(q), EAGAIN, "nor frozen");
	peer_free(p);
	ok(life_ended(life), "lost clients' commands are killed, frozen");
	fails_at(q, "add", "add ", fd);
	fails_at(q, "reseed", "add reseed ", fd);
	fails_at(q, "hostname", "add reseed hostname ", fd);
	fails_at(q, "clock", "add reseed hostname clock ", fd);
	is_exit(setup(q, "two", ID_2), false, 0, "set up");
	is_str(log_of_setup(), "add reseed hostname clock ", "all of it");
	ok(ticks(fd) && ticks(session_fd), "it goes on");
	is_new_machine(q, boot_id);
	end(q, "s");
	is_int(box_status(b), 'B', "something runs without a client");
	box_status_accept(b);
	is_int(box_status(b), 'B', "which a new status channel is told");
	close(session_fd);
	peer_free(q);
}

/* Of which nobody can say whether it is one. */
static void doubtful(int fd)
{
	struct peer *p = join();

	unlink("cid");
	run_wait(p, quiesce(p));
	ok(ticks(fd), "a machine without a number is not frozen");
	scratch_file("cid", "101");
	ok(hold(p)->started, "one that has one is");
	p = become_copy(p, NULL);
	ok(box_is_frozen() && ticks_not(fd), "without it, it is a copy");
	is_refused(p, run_sh(p, "exit 0"), EAGAIN, "nothing can be started");
	is_exit(setup(p, "three", ID_1), false, 0, "set up");
	ok(ticks(fd), "it goes on");
	peer_free(p);
}

static void all(void)
{
	int fd = ticks_open("ticks");
	struct agent_box b;
	struct stall s;
	struct peer *p;

	if (!stall_make(&s))
		s.fd = -1;
	box_start(&b);
	is_int(box_status(&b), 'I', "the host is told that nothing runs");
	p = join();
	first_setup(p);
	run_detached(p, "exec yes >ticks");
	stands_still(p, fd);
	if (s.fd >= 0) {
		waits(p, fd, &s);
		dies_waiting(p, fd, &s);
	} else {
		diag("no FUSE: nothing is stalled");
	}
	starting(p);
	copy(&b, p, fd);
	doubtful(fd);
	box_end(&b);
	close(fd);
	if (s.fd >= 0)
		umount2("stall", MNT_DETACH);
	fd_close(&s.fd);
}

int main(void)
{
	not_a_sandbox();
	scratch_enter();
	if (box_surroundings()) {
		all();
		umount2("cgroups", MNT_DETACH);
	} else {
		diag("no namespaces or cgroups: no sandbox's agent is tried");
	}
	scratch_leave();
	return tap_done();
}
