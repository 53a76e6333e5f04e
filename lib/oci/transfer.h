/* SPDX-License-Identifier: MIT
 *
 * Blobs from a registry into the store: many at a time, big ones in ranges,
 * all on one event loop.
 */
#ifndef OCI_TRANSFER_H
#define OCI_TRANSFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "oci/registry.h"
#include "oci/store.h"

struct err;

enum transfer_state {
	TRANSFER_TODO,
	TRANSFER_ELSEWHERE, /* another process is at it */
	TRANSFER_RUNNING,
	TRANSFER_DONE,
};

#define TRANSFER_RANGES 4

struct transfer_range {
	struct transfer_job *job;
	struct http_req req;
	uint64_t pos, end; /* what is still to come */
	uint64_t skip;	   /* bytes to drop, of a server that began at 0 */
	uint64_t tried;	   /* pos at the last failure */
	unsigned int tries, signed_with;
	uint64_t delay;
	bool active, parked;
};

struct transfer_job {
	/* What the caller sets. */
	struct desc desc;
	const char *what; /* "layer 2 of 5", for errors; borrowed */

	enum transfer_state state;
	struct blob blob;
	struct transfer *t;
	struct transfer_range range[TRANSFER_RANGES];
	uint64_t next;	 /* no range has been given out behind this */
	bool ranges_ok;	 /* the server has shown that it knows ranges */
	bool resumed;	 /* some of it is from an earlier run */
	uint64_t done;	 /* bytes, for progress */
	char *moved_url; /* owned: where a redirect led */
};

struct transfer {
	struct registry *registry;
	const struct images *store;
	struct transfer_job *jobs;
	size_t njobs;
	/* A job made progress, changed its state, or is done.  A negative
	 * return ends everything, with the error in @e. */
	int (*on_job)(void *arg, struct transfer_job *job, struct err *e);
	/* About to wait for another process to bring this job's blob. */
	void (*on_wait)(void *arg, struct transfer_job *job);
	void *arg;

	unsigned int active; /* ranges in flight or waiting */
	bool failed;
	struct err *e;
};

/* Bring all jobs into the store.  0 or -errno, @e (not NULL) filled; what has
 * arrived by then is kept. */
int transfer_run(struct transfer *t, struct err *e);

#endif
