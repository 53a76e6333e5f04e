/* SPDX-License-Identifier: MIT
 *
 * The directory of snapshots, as the files snapshot*.c share it: entries,
 * names, the lock.  What it looks like is in snapshot.h.
 */
#ifndef SANDBOX_SNAPDIR_H
#define SANDBOX_SNAPDIR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"
#include "sandbox/snapshot.h"

#define SNAPDIR_HEAD "snap" /* of an id */
#define SNAPDIR_MAKE ".make."
#define SNAPDIR_GONE ".gone."
#define SNAPDIR_ENTRY (SNAPSHOT_ID_SIZE + 8)

struct snapdir {
	char *path; /* owned; absolute */
	int dir;    /* -1: there is none, so no snapshot either */
};

#define SNAPDIR_INIT                    \
	{                               \
		.path = NULL, .dir = -1 \
	}
#define snapdir_auto __attribute__((cleanup(snapdir_free)))

/* Open it below @root; with @make, make it if it is not there.  0 or -errno,
 * @e filled. */
int snapdir_open(struct snapdir *d, const char *root, bool make, struct err *e);
void snapdir_free(struct snapdir *d);

/* The lock: a descriptor that holds it, or -errno, @e filled. */
int snapdir_lock(const struct snapdir *d, struct err *e);

bool snapdir_is_id(struct str s);

/* Make @s of the directory's entry @entry, open.  0 or -errno, @e filled. */
int snapdir_enter(const struct snapdir *d, struct snapshot *s,
		  const char *entry, struct err *e);

/* All entries about snapshots, in order. */
struct snapids {
	char (*v)[SNAPDIR_ENTRY]; /* owned */
	size_t n, room;
};

#define snapids_auto __attribute__((cleanup(snapids_free)))

int snapdir_list(const struct snapdir *d, struct snapids *l, struct err *e);
void snapids_free(struct snapids *l);

/* The id that @word stands for.  0, -ENOENT, -ENOTUNIQ; another -errno; @e
 * filled. */
int snapdir_resolve(const struct snapdir *d, const char *word,
		    char id[static SNAPSHOT_ID_SIZE], struct err *e);

/* Remove leftovers of programs that were killed; what cannot be removed stays
 * for the next one. */
void snapdir_sweep(const struct snapdir *d);

/* ---- names: all but the first under the lock ----------------------------- */

/* "" if it has none. */
void snapdir_name_of(const struct snapdir *d, const char *id,
		     char name[static SNAPSHOT_NAME_SIZE]);

/* Give @name to @id.  0; -EEXIST when it is the name of another that is there;
 * another -errno; @e filled. */
int snapdir_name(const struct snapdir *d, const char *name, const char *id,
		 struct err *e);

/* Take away the names of @id. */
void snapdir_unname(const struct snapdir *d, const char *id);

#endif
