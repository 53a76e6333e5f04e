/* SPDX-License-Identifier: MIT
 *
 * $ISO_ROOT/run: a directory for each sandbox, and nothing else says which
 * sandboxes there are.
 *
 *	ID/		a sandbox that was booted, alive or dead
 *	.boot.ID/	one that is being booted, under its name when it is up
 *	.gone.ID/	one that is being removed
 *	.names/NAME	-> ID
 *	.lock		held, for microseconds, by who makes, names or sweeps
 *
 * A directory that begins with a dot belongs to the process that holds a
 * flock(2) on it, and is a leftover when nobody does.  What a sandbox's own
 * directory holds is in box.h.
 *
 * The monitor's pid is not looked up in a list of processes, which may have
 * given the number to another: the living monitor holds a lock on its vmm.pid,
 * and the kernel says who.
 */
#ifndef SANDBOX_RUNDIR_H
#define SANDBOX_RUNDIR_H

#include <stdbool.h>

#include "sandbox/id.h"

struct err;
struct box;

struct rundir {
	char *path; /* owned; absolute */
	int dir;    /* -1: there is none, so no sandbox either */
};

#define RUNDIR_INIT                     \
	{                               \
		.path = NULL, .dir = -1 \
	}
#define rundir_auto __attribute__((cleanup(rundir_free)))

#define NAME_SIZE 65

/* Open it below @root; with @make, make it if it is not there.  0 or -errno,
 * @e filled. */
int rundir_open(struct rundir *d, const char *root, bool make, struct err *e);
void rundir_free(struct rundir *d);

/* rundir_find.c.  Find a sandbox by @word: its id, a beginning of it that no other has, or its
 * name; and open it.  0; -ENOENT or -ENOTUNIQ; another -errno; @e filled. */
int rundir_find(const struct rundir *d, const char *word, struct box *b,
		struct err *e);

/* The id that a name stands for, whether that sandbox is there or not. */
bool rundir_named(const struct rundir *d, const char *name,
		  char id[static ID_SIZE]);

/* Call @fn with the id of each sandbox, in their order, until it returns
 * non-zero, which is returned.  @starting: those being booted too. */
int rundir_each(const struct rundir *d, bool starting,
		int (*fn)(const struct rundir *d, const char *id, bool starting,
			  void *arg),
		void *arg, struct err *e);

/* Make .boot.ID for a new sandbox, locked, and give it @name (NULL: none).
 * -EEXIST, @e filled, when the name is another sandbox's. */
int rundir_make(const struct rundir *d, const char *name, struct box *b,
		struct err *e);

/* Make .boot.ID for what is to take the place of the sandbox @id, of which it
 * will be the same to all others.  -EBUSY when that is being done already. */
int rundir_make_again(const struct rundir *d, const char *id, struct box *b,
		      struct err *e);

/* It is up: .boot.ID becomes ID.  What was ID is no more. */
int rundir_commit(const struct rundir *d, struct box *b, struct err *e);

/* End what is left of the sandbox (its monitor, its cgroup) and remove all
 * trace of it.  0 or -errno, @e filled. */
int rundir_remove(const struct rundir *d, struct box *b, struct err *e);

/* Remove sandboxes that ended because they were idle, and leftovers of
 * programs that were killed: boots, removals, names.  What cannot be removed
 * stays for the next one. */
void rundir_sweep(const struct rundir *d);

/* The sandbox's name by the links in .names; "" if it has none. */
void rundir_name_of(const struct rundir *d, const char *id,
		    char name[static NAME_SIZE]);

#endif
