/* SPDX-License-Identifier: MIT
 *
 * A running sandbox, captured: for a snapshot, or to be put to sleep; and the
 * way back from both.
 */
#ifndef SANDBOX_CAPTURE_H
#define SANDBOX_CAPTURE_H

#include <stdint.h>

#include "sandbox/box.h"
#include "sandbox/snapshot.h"
#include "sandbox/start.h"

struct err;

struct capture_report {
	uint64_t pause_ns;  /* that no processor ran */
	uint64_t frozen_ns; /* that no command did */
	uint64_t memory;    /* bytes that were written */
};

/* ---- capture.c ---------------------------------------------------------- */

/* Make the snapshot @s, as yet without a manifest (snapshot_make() was called),
 * of @b, whose configuration is @config: all three files.  The sandbox runs on,
 * as soon as that has begun and whatever comes of it.  0 or -errno, @e
 * filled. */
int capture_files(const char *root, const struct box *b, const json_t *config,
		  const struct snapshot *s, struct capture_report *report,
		  struct err *e);

/* Put @b to sleep: its monitor ends, and its directory holds all of it.  0; or
 * -errno, @e filled, and it runs on. */
int capture_hibernate(const char *root, const struct box *b,
		      struct capture_report *report, struct err *e);

/* ---- restore.c ---------------------------------------------------------- */

/* What a machine that was captured begins with. */
struct restore {
	struct snapshot snap;
	json_t *config;
	char *paths[SNAPSHOT_FILES], *prefetch;
	int lock; /* on the memory file */
	struct start_source from;
};

#define RESTORE_INIT                              \
	{                                         \
		.snap = SNAPSHOT_INIT, .lock = -1 \
	}
#define restore_auto __attribute__((cleanup(restore_free)))
void restore_free(struct restore *r);

/* The snapshot @word, which is kept from being deleted: found to be whole and
 * ours, which is checked by another program unless it was, and fit for this
 * machine.  Its configuration is that of a sandbox that is made of it, with
 * @env over what the snapshot has, and @idle_s unless it is CONFIG_SAME.  0 or
 * -errno, @e filled; -EREMOTEIO when who checked has said why not. */
int restore_find(struct restore *r, const char *root, const char *word,
		 uint64_t idle_s, const char *const *env, struct err *e);

/* @b, asleep, goes on as it was.  0 or -errno, @e filled: then it sleeps on. */
int restore_wake(const struct start_spec *s, struct box *b,
		 struct start_times *t, struct err *e);

/* @b becomes what the snapshot @word is.  0; or -errno, @e filled, and it is as
 * it was. */
int restore_rollback(const struct start_spec *s, const char *word,
		     struct box *b, struct start_times *t, struct err *e);

#endif
