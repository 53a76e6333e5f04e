/* SPDX-License-Identifier: MIT
 *
 * What the parts of bench/machine share.
 */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "vmm/layout.h"

/* How the memory came to be that is forked. */
enum machine_memory {
	MACHINE_READ,	 /* that of a snapshot, all of it read since */
	MACHINE_WRITTEN, /* or written */
	MACHINE_BOOTED,	 /* no snapshot; all of it written */
	MACHINE_MEMORIES
};

struct machine {
	const char *monitor, *guest; /* iso-vmm, and the guest's file */
	const char *path;	     /* the directory of all other files */
	int dir;
	size_t rounds;
	uint64_t touched; /* bytes of its memory that the guest touches */
	uint64_t memory;  /* all there are */
};

extern struct machine machine;
extern struct err machine_err;

/* What returns less than 0, with errno or machine_err, ends the process. */
int must(int r);

/* Memory that our processes have in common, of zeros. */
void *shared(size_t n);

/* Do @what in a process of its own. */
void apart(void (*what)(void *), void *arg);
void await(int pid);

/* As openat(2), of our directory; NAME.OF. */
int open_here(const char *name, int flags);
int open_of(const char *name, const char *of, int flags);

/* ---- machine_floors.c ---- */

/* iso-vmm, and what it adds to a restore. */
void measure_program(void);
void measure_jail(void);
/* What nobody who does the same can be faster than. */
void measure_floors(void);

#endif
