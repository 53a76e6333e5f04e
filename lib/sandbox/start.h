/* SPDX-License-Identifier: MIT
 *
 * Starting a sandbox: from an image's root file system and a kernel to a guest
 * that takes commands.
 */
#ifndef SANDBOX_START_H
#define SANDBOX_START_H

#include <stdbool.h>
#include <stdint.h>

#include "sandbox/box.h"
#include "sandbox/needs.h"
#include "sandbox/rundir.h"

struct err;

#define START_VCPUS_MAX 32
#define START_MEMORY_MIN ((uint64_t)64 << 20)
#define START_MEMORY_MAX ((uint64_t)64 << 30)
#define START_MEMORY_ALIGN ((uint64_t)2 << 20)

struct start_spec {
	const char *root;  /* $ISO_ROOT, absolute */
	const char *image; /* what it was called, for the record */
	const char *name;  /* NULL: none */
	uint64_t vcpus;
	uint64_t memory;	/* bytes, a multiple of START_MEMORY_ALIGN */
	uint64_t disk;		/* bytes, a multiple of SCRATCH_ALIGN */
	uint64_t idle_s;	/* 0: for ever */
	const char *const *env; /* NULL at its end: over the image's */
	const char *cmdline;	/* behind the kernel's usual; or NULL */
	uint64_t patience;	/* ns for the guest to answer */
	int cancel; /* descriptor: readable means to give up; or -1 */
	/* Told of what is missing but not needed. */
	void (*on_lack)(const struct err *e);
};

/* When each was reached, clock_now(). */
struct start_times {
	uint64_t begun, made, vmm, agent, ready;
};

/* Start it.  0 with @b open; -EINTR when cancelled; or another -errno; @e
 * filled.  When it fails, nothing of it is left. */
int start_sandbox(const struct start_spec *s, const struct needs *n,
		  struct box *b, struct start_times *t, struct err *e);

/* ---- config.c ----------------------------------------------------------- */

/* Write config.json. */
int config_write(const struct box *b, const struct start_spec *s,
		 const struct needs *n, struct err *e);

/* The object that config.json is made of.  NULL: out of memory. */
json_t *config_make(const struct box *b, const struct start_spec *s,
		    const struct needs *n);

/* Read it.  NULL with @e filled. */
json_t *config_read(const struct box *b, struct err *e);

/* ---- monitor.c ---------------------------------------------------------- */

struct proc;

/* Start the monitor, in the cgroup @cgroup (or -1), and wait until it is about
 * to run the guest.  0 or -errno, @e filled. */
int monitor_start(struct proc *p, const struct start_spec *s,
		  const struct needs *n, const struct rundir *d,
		  const struct box *b, int cgroup, struct err *e);

/* Add what the monitor or the guest said last to an error that has no better
 * explanation. */
void monitor_explain(const struct box *b, struct err *e);

/* ---- identity.c --------------------------------------------------------- */

/* Tell the guest who it is.  0 or -errno, @e filled. */
int identity_give(int conn, const struct start_spec *s, const struct needs *n,
		  const struct box *b, struct err *e);

#endif
