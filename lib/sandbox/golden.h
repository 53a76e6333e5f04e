/* SPDX-License-Identifier: MIT
 *
 * Golden snapshots: of an image's machine that has booted and has not been used,
 * which every sandbox of that image begins as.
 *
 *	$ISO_ROOT/golden/KEY		-> ../snapshots/ID
 *	$ISO_ROOT/golden/.KEY.new	the same, of one that is being tried or was
 *					refused; the next to make one deletes it
 *	$ISO_ROOT/golden/.KEY.lock	who makes one holds it
 *
 * KEY is the manifest's digest, and a hash of all else that makes one such
 * machine different from another: kernel, initramfs (and so the agent), monitor,
 * root file system, size, command line, and what it was warmed by.
 */
#ifndef SANDBOX_GOLDEN_H
#define SANDBOX_GOLDEN_H

#include <jansson.h>
#include <stdbool.h>

#include "sandbox/snapshot.h"
#include "sandbox/start.h"

struct err;

#define GOLDEN_KEY 96

struct golden_spec {
	const char *root;
	const json_t *config;	  /* without variables of the user's */
	struct start_source cold; /* what its machine boots with */
	const char *prewarm;	  /* a command; NULL: by what the image has */
	uint64_t patience;	  /* ns, for the guest to answer */
	int cancel;		  /* as in struct start_spec */
	void (*on_lack)(const struct err *e);
};

/* Its key.  0 or -errno, @e filled. */
int golden_key(const struct golden_spec *s, char key[static GOLDEN_KEY],
	       struct err *e);

/* The snapshot that there is.  0, or -ENOENT: it is to be made. */
int golden_look(const char *root, const char *key,
		char id[static SNAPSHOT_ID_SIZE]);

/* @id does not start here: the next that asks for it has to make one, and drops
 * this one. */
void golden_forget(const struct golden_spec *s, const char *id);

/* Wait until nobody makes it, and keep others from it: a descriptor, or -errno
 * with @e filled. */
int golden_lock(const char *root, const char *key, struct err *e);

/* Make it.  0; -EINTR when cancelled; -EREMOTEIO when a program that was run has
 * said why it failed; another -errno, @e filled.  *@booted: whatever it was, the
 * machine came up. */
int golden_build(const struct golden_spec *s, const char *key,
		 char id[static SNAPSHOT_ID_SIZE], bool *booted, struct err *e);

#endif
