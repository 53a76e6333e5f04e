/* SPDX-License-Identifier: MIT
 *
 * Running tiny guests: the time limit above all, for a guest must never be able
 * to keep us.  Needs a KVM, but only 32-bit code: a software one will do.
 */
#include "tests/tap.h"

#include "base/clock.h"
#include "base/err.h"
#include "vmm/tiny.h"

#include <errno.h>
#include <sys/time.h>

extern const uint8_t guest_spin[], guest_spin_end[];
extern const uint8_t guest_halt[], guest_halt_end[];
extern const uint8_t guest_stray[], guest_stray_end[];
extern const uint8_t guest_chatter[], guest_chatter_end[];

#define IMAGE(name) guest_##name, (size_t)(guest_##name##_end - guest_##name)

static struct kvm_dev dev = KVM_DEV_INIT;

static void run(const uint8_t *image, size_t size, uint64_t limit_ns,
		struct tiny_result *r)
{
	tiny_auto struct tiny t = TINY_INIT;
	struct err e = ERR_INIT;

	if (tiny_create(&t, &dev, image, size, &e) < 0 ||
	    tiny_run(&t, limit_ns, r, &e) < 0)
		bail("%s", e.text);
}

static void expect_hung(const struct tiny_result *r, uint64_t limit_ns,
			const char *what)
{
	is_int(r->end, TINY_HUNG, what);
	is_int(r->step, 1, "after it began");
	ok(r->total_ns >= limit_ns, "not before the limit");
	ok(r->total_ns < limit_ns + CLOCK_S(2), "and not long after it");
}

static void test_limit(void)
{
	struct tiny_result r;

	run(IMAGE(spin), CLOCK_MS(30), &r);
	expect_hung(&r, CLOCK_MS(30), "a guest that computes for ever");
	run(IMAGE(halt), CLOCK_MS(30), &r);
	expect_hung(&r, CLOCK_MS(30), "a guest that sleeps for ever");
	run(IMAGE(spin), 1, &r);
	is_int(r.end, TINY_HUNG, "a limit that is over before the run");
}

static volatile sig_atomic_t alarms;

static void on_alarm(int sig)
{
	(void)sig;
	alarms++;
}

/* Other signals are delivered as ever and end nothing. */
static void test_other_signals(void)
{
	const struct itimerval often = { { 0, 2000 }, { 0, 2000 } };
	const struct itimerval never = { { 0, 0 }, { 0, 0 } };
	struct sigaction sa = { .sa_handler = on_alarm };
	struct tiny_result r;

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	run(IMAGE(spin), CLOCK_MS(50), &r);
	setitimer(ITIMER_REAL, &never, NULL);
	expect_hung(&r, CLOCK_MS(50), "a run with other signals coming in");
	ok(alarms > 1, "their handler ran");
}

/* Nothing of the limit is left behind, not even the signal. */
static void test_signals_restored(void)
{
	sigset_t before, after, pending;
	struct tiny_result r;

	pthread_sigmask(SIG_SETMASK, NULL, &before);
	run(IMAGE(spin), CLOCK_MS(5), &r);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	sigpending(&pending);
	is_int(sigismember(&after, SIGRTMAX), sigismember(&before, SIGRTMAX),
	       "the signal mask is what it was");
	is_int(sigismember(&pending, SIGRTMAX), 0, "no signal is pending");
}

static void test_ends(void)
{
	struct tiny_result r;
	char end[64];

	run(IMAGE(stray), CLOCK_S(2), &r);
	is_int(r.end, TINY_STRAY, "a port that nobody has");
	is_str(tiny_end_text(&r, end), "unexpected exit 2", "in words");
	run(IMAGE(chatter), CLOCK_S(10), &r);
	is_int(r.end, TINY_EXITED, "a guest that prints too much ends");
	is_int(r.code, GUEST_EXIT_OK, "well");
	is_int(r.text_len, sizeof(r.text) - 1, "its text is cut off");
	is_int(r.text[r.text_len], 0, "and terminated");
	is_int(r.exits, 1001, "every exit is counted");
}

static void test_too_big(void)
{
	static const uint8_t big[GUEST_RAM];
	tiny_auto struct tiny t = TINY_INIT;
	struct err e = ERR_INIT;

	is_int(tiny_create(&t, &dev, big, sizeof(big), &e), -EFBIG,
	       "an image that does not fit");
	has_str(e.text, "262144", "the error has its size");
}

int main(void)
{
	struct err e = ERR_INIT;

	if (kvm_dev_open(&dev, KVM_PATH, &e) < 0) {
		skip("tiny guests", e.text);
		return tap_done();
	}
	test_ends();
	test_limit();
	test_other_signals();
	test_signals_restored();
	test_too_big();
	kvm_dev_close(&dev);
	return tap_done();
}
