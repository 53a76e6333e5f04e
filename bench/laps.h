/* SPDX-License-Identifier: MIT
 *
 * Where the time of a restore or a fork goes: the linker (--wrap) puts us in
 * front of the functions that vm_create() and vm_clone() are made of, of
 * ioctl(2), and of what serves the guest's exits.  So what is measured is the
 * library as every other program has it, with a look at the clock before and
 * after each step.
 *
 * Rejected: hooks in lib/vmm.  A program that is not measured would have them,
 * too.
 */
#ifndef BENCH_LAPS_H
#define BENCH_LAPS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum lap {
	/* A process of its own. */
	LAP_SPAWN,
	LAP_READY,
	/* A restore. */
	LAP_OPEN,
	LAP_READ,
	LAP_MAP,
	LAP_DEVICES,
	/* A fork, up to its second return. */
	LAP_STOP,
	LAP_SAVE,
	LAP_FORK,
	LAP_OWN,
	/* Both. */
	LAP_VM,
	LAP_IRQCHIP,
	LAP_CPUS,
	LAP_SLOTS,
	LAP_BELLS,
	LAP_LOAD,
	LAP_REST,
	LAP_THREADS,
	/* The parent goes on. */
	LAP_RESUME,
	/* Until the guest is seen to run. */
	LAP_FIRST,
	LAPS
};

enum laps_bytes {
	LAPS_UNIQUE, /* pages that no other process has */
	LAPS_HUGE,   /* in huge pages */
	LAPS_TABLES, /* page tables */
	LAPS_BYTES
};

#define CALLS_MAX 32 /* kinds of ioctl(2) that are told apart */

/* One restore, or one side of a fork; times in ns. */
struct laps {
	uint64_t begun, last;
	enum lap gap; /* whose is what passes between two steps */
	uint64_t ns[LAPS];
	uint64_t call_ns[CALLS_MAX]; /* parts of the above */
	uint32_t calls[CALLS_MAX];
	uint64_t bytes[LAPS_BYTES]; /* of the process, at the end */
};

/* The one that is under way, of the main thread.  fork(2) copies it. */
extern struct laps laps;

void laps_begin(void);
/* What has passed since the last one was @l; until now, or until @when. */
void laps_end(enum lap l);
void laps_end_at(enum lap l, uint64_t when);

/* ---- the guest's steps (tests/guests/steps.c) ---- */

enum steps {
	STEPS_LEAVE, /* take no notice */
	STEPS_GO_ON, /* the next one counts */
	STEPS_STOP,  /* the same, and the guest stands still at it */
};

/* For the next vm_resume(). */
void steps_arm(enum steps s);
/* When that step came; 0: it did not for long. */
uint64_t steps_wait(void);

/* ---- figures ---- */

/* The file of figures for machines, an object a line, or NULL. */
extern FILE *figures_json;

void figures_title(const char *what);
/* p50, p90 and p99 of @n times in ns, which are sorted. */
void figures_row(const char *what, const char *line, uint64_t *ns, size_t n);
/* The sum of the laps from @from to the last, of @n runs. */
void figures_since(const char *what, const char *line, const struct laps *v,
		   size_t n, enum lap from);
/* Each lap, then the calls of ioctl(2) in them that are worth a line. */
void figures_laps(const char *what, const struct laps *v, size_t n);
/* p50 of their sizes. */
void figures_bytes(const char *what, const char *line, const struct laps *v,
		   size_t n, enum laps_bytes of);

#endif
