/* SPDX-License-Identifier: MIT
 *
 * A sandbox as its directory shows it: whether it lives, why it ended, and
 * connections to it.
 *
 *	config.json	what it was booted with, by iso-boot
 *	vmm.pid		locked by the monitor as long as it lives
 *	control.sock	to the monitor
 *	vsock.sock	to the guest
 *	console.log	what the guest wrote to its console
 *	vmm.log		what the monitor said
 *	scratch		the disk
 *	ended		empty, or why it ended
 */
#ifndef SANDBOX_BOX_H
#define SANDBOX_BOX_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/clock.h"
#include "sandbox/id.h"

struct buf;
struct err;

#define BOX_REASON 32
#define BOX_DETAIL 256

struct box {
	char id[ID_SIZE];
	char entry[ID_SIZE + 8]; /* its directory's name in the run directory */
	int dir;		 /* owned; locked while its name has a dot */
};

#define BOX_INIT          \
	{                 \
		.dir = -1 \
	}
#define box_auto __attribute__((cleanup(box_free)))

void box_free(struct box *b);

/* Open @entry of the run directory @rundir: ID, .boot.ID or .gone.ID.  0 or
 * -errno (-ENOENT), @e filled. */
int box_open(struct box *b, int rundir, const char *entry, struct err *e);

/* ---- life: box.c -------------------------------------------------------- */

/* The monitor's pid; 0: there is none that lives. */
pid_t box_pid(const struct box *b);

/* A pidfd of the living monitor, or -ESRCH, or another -errno. */
int box_pidfd(const struct box *b);

/* Whether it has ended, or is just about to: it has said why. */
bool box_is_over(const struct box *b);

struct box_end {
	char reason[BOX_REASON]; /* "killed" when nobody wrote one */
	char detail[BOX_DETAIL]; /* or "" */
};

/* Whether it is over because nobody used it: it is to be removed by who sees
 * it first. */
bool box_ended_idle(const struct box *b);

/* Whether it was put to sleep: it is over, and can go on. */
bool box_sleeps(const struct box *b);

/* Why it ended; only sensible when it is over. */
void box_end_of(const struct box *b, struct box_end *end);

/* ---- the monitor: control.c --------------------------------------------- */

/* Send the monitor @request, a line, and read its answer into @answer, waiting
 * until @deadline (clock_now()).  0 or -errno, @e filled. */
int box_control(const struct box *b, const char *request, struct buf *answer,
		uint64_t deadline, struct err *e);

/* The same over a connection of its own, box_control_open()'s, whose descriptor
 * stays the caller's: who pauses the machine must stay connected.  @fds go with
 * the request, and stay the caller's too.  @answer without its "ok".
 * -EREMOTEIO when the monitor refuses, with its reason in @e. */
int box_control_open(const struct box *b, struct err *e);
int box_control_ask(const struct box *b, int control, const char *request,
		    const int *fds, size_t nfds, struct buf *answer,
		    uint64_t deadline, struct err *e);

/* End the monitor: asked to until @deadline, then killed.  0 when it lives no
 * longer. */
int box_stop(const struct box *b, uint64_t deadline, struct err *e);

/* ---- the guest: connect.c ----------------------------------------------- */

struct box_wait {
	uint64_t deadline; /* clock_now(); UINT64_MAX: for ever */
	int cancel;	   /* descriptor: readable means to give up; or -1 */
};

/* How long a guest that is up may take to answer: on a machine that is busy
 * with many others a while, but one that hangs is to be told from it. */
#define BOX_PATIENCE CLOCK_S(120)

/* Until then, from now. */
struct box_wait box_wait_usual(void);

/* A connection to the guest's agent, greeted, waiting for it to answer.  The
 * descriptor, or -errno, @e filled: -ECONNREFUSED when the sandbox has ended,
 * -ETIMEDOUT, -EINTR. */
int box_connect(const struct box *b, const struct box_wait *w, struct err *e);

/* The guest has hung up: if the sandbox ends until @deadline (for the guest's
 * end comes a moment before its machine's), say so and why in @e, in place of
 * what it says. */
void box_explain_loss(const struct box *b, uint64_t deadline, struct err *e);

/* Describe in @e that the sandbox has ended, and why. */
int box_ended(const struct box *b, struct err *e);

#endif
