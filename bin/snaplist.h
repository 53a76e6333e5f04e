/* SPDX-License-Identifier: MIT
 *
 * Snapshots as iso-snap shows them.
 */
#ifndef BIN_SNAPLIST_H
#define BIN_SNAPLIST_H

#include <stdbool.h>

struct err;
struct snapshot;

enum snaplist_form {
	SNAPLIST_TABLE, /* for people */
	SNAPLIST_IDS,
	SNAPLIST_JSON,
};

/* All of them to standard output, the oldest first.  0 or -errno, @e filled. */
int snaplist_print(const char *root, enum snaplist_form form, struct err *e);

/* All about one, as a JSON object.  0 or -errno, @e filled. */
int snaplist_show(const char *root, const struct snapshot *s, struct err *e);

#endif
