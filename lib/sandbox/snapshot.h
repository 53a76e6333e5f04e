/* SPDX-License-Identifier: MIT
 *
 * $ISO_ROOT/snapshots: sandboxes as they were at one moment.
 *
 *	ID/		a snapshot, whole
 *		state		the machine, but for memory: vmm/state.h
 *		memory		as long as the guest's memory, sparse
 *		scratch		its disk, sparse
 *		manifest.json	what it is of, and the digests of the three
 *				files; authenticated
 *		rootfs		-> the EROFS file that it needs
 *		prefetch	of a golden one: what of its memory a first
 *				command wants, vmm/prefetch.h; advice, and so
 *				not in the manifest
 *		verified	what stat(2) said of the three files, and what
 *				the manifest was, when all of the above was
 *				last found to hold
 *	.make.ID/	one that is being written
 *	.gone.ID/	one that is being removed
 *	.names/NAME	-> ID
 *	.key		32 random bytes: the host's, of mode 0600
 *	.lock		held, for microseconds, by who makes, names or deletes
 *
 * ID is "snap" and 16 hexadecimal digits.  A directory that begins with a dot
 * belongs to the process that holds a flock(2) on it, and is a leftover when
 * nobody does.  A memory file that a monitor has mapped has a shared flock(2)
 * on it.
 *
 * Digests are SHA-256 of a file's pages that are not all zeros, each page (4096
 * bytes; the last one may be shorter) preceded by its offset as 8 little-endian
 * bytes: the same wherever the holes are.  The manifest's "mac" is HMAC-SHA-256
 * under the host's key of the manifest without it (sorted keys, compact), which
 * is also how the file itself is written.
 *
 * A snapshot is code that runs and secrets that it knows.  Whoever has it
 * restored trusts who made it: the key says that it was this host.
 */
#ifndef SANDBOX_SNAPSHOT_H
#define SANDBOX_SNAPSHOT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "sandbox/rundir.h"

struct err;

#define SNAPSHOT_ID_SIZE 21 /* "snap", 16 digits, NUL */
#define SNAPSHOT_NAME_SIZE NAME_SIZE

enum snapshot_file {
	SNAPSHOT_STATE,
	SNAPSHOT_MEMORY,
	SNAPSHOT_SCRATCH,
	SNAPSHOT_FILES
};

#define SNAPSHOT_PREFETCH "prefetch"

extern const char *const snapshot_file_names[SNAPSHOT_FILES];

struct snapshot {
	char id[SNAPSHOT_ID_SIZE];
	char *path;	  /* owned, absolute: its directory */
	int dir;	  /* owned; locked while it is being made */
	bool making;	  /* its directory is .make.ID */
	json_t *manifest; /* owned; NULL: none yet */
};

#define SNAPSHOT_INIT                                     \
	{                                                 \
		.path = NULL, .dir = -1, .manifest = NULL \
	}
#define snapshot_auto __attribute__((cleanup(snapshot_free)))

void snapshot_free(struct snapshot *s);

/* ---- reading: snapshot.c, without libcrypto ----------------------------- */

/* Find one below @root by @word: its id, a beginning of it that no other has,
 * or its name; open it, and read its manifest.  What it says is to be believed
 * only if snapshot_is_verified().  0; -ENOENT or -ENOTUNIQ; -EBADMSG when the
 * manifest is damaged, -ENOTSUP when its format is a newer one; another -errno;
 * @e filled. */
int snapshot_find(struct snapshot *s, const char *root, const char *word,
		  struct err *e);

/* The same, but do not read the manifest. */
int snapshot_locate(struct snapshot *s, const char *root, const char *word,
		    struct err *e);

/* Remove leftovers; then call @fn with each snapshot, in the order of their
 * ids, until it returns non-zero, which is returned.  One whose manifest cannot
 * be read has none. */
int snapshot_each(const char *root,
		  int (*fn)(const struct snapshot *s, void *arg), void *arg,
		  struct err *e);

/* Whether all of it was checked, and nothing has been changed since, going by
 * sizes, inode numbers and times of change, which a write cannot leave as they
 * were.  False also when it was changed within the same tick of the clock in
 * which it was checked: then it is to be checked once more. */
bool snapshot_is_verified(const struct snapshot *s);

/* The object that its sandbox's config.json held.  Borrowed. */
const json_t *snapshot_config(const struct snapshot *s);

/* How long one of its files is, by the manifest. */
uint64_t snapshot_size(const struct snapshot *s, enum snapshot_file f);

/* Its name by the links in .names; "" if it has none. */
void snapshot_name_of(const char *root, const char *id,
		      char name[static SNAPSHOT_NAME_SIZE]);

/* Whether a snapshot may be called so: str_is_name(), and nothing that could be
 * the beginning of an id.  0 or -EINVAL, @e filled. */
int snapshot_check_name(const char *name, struct err *e);

/* The path, on the heap, of the root file system that it needs, below @root:
 * which is not where its config says when it was made on another host.  0, or
 * -ENOENT when it is not there, with the remedy; another -errno; @e filled. */
int snapshot_rootfs(const struct snapshot *s, const char *root, char **path,
		    struct err *e);

/* Its memory, opened for reading, with a shared lock on it that keeps it from
 * being deleted.  The descriptor or -errno, @e filled. */
int snapshot_memory(const struct snapshot *s, struct err *e);

/* Whether this machine and this isokit can go on with it: architecture, format
 * of the state, processor model.  0 or -EXDEV, what differs, and both values,
 * in @e. */
int snapshot_check(const struct snapshot *s, struct err *e);

/* ---- removing: snapshot_remove.c, without libcrypto --------------------- */

/* Delete the snapshot @word, with its name and the golden link to it.  0;
 * -EBUSY when a monitor has its memory mapped, the sandboxes named in @e;
 * another -errno. */
int snapshot_delete(const char *root, const char *word, struct err *e);

/* Whether a golden link leads to it. */
bool snapshot_is_golden(const char *root, const char *id);

/* ---- writing: snapshot_make.c, with libcrypto --------------------------- */

/* Make .make.ID, locked.  Leftovers of others are removed.  0 or -errno. */
int snapshot_make(struct snapshot *s, const char *root, struct err *e);

/* "state", "memory" and "scratch" are there (made with mode 0400, or they are
 * given it now; their contents are found verified at once only if the last
 * change of them is older than a tick of the clock): make the manifest, of the
 * sandbox's configuration @config and the snapshot @parent (NULL: none), and
 * the rest, bring it to disk, and give it its id, and @name (NULL: none).  0;
 * -EEXIST when the name is another's; -errno; @e filled.  When it fails, all
 * that is left to do is snapshot_drop(). */
int snapshot_commit(struct snapshot *s, const char *root, const json_t *config,
		    const char *parent, const char *name, struct err *e);

/* Take back what snapshot_make() made, unless it was committed. */
void snapshot_drop(struct snapshot *s);

/* Check the MAC and the digests, and note that they hold.  0; -EBADMSG with the
 * file, and what of it is wrong, named in @e. */
int snapshot_verify(const struct snapshot *s, const char *root, struct err *e);

/* ---- moving: snapshot_move.c, with libcrypto ---------------------------- */

/* Write all of it to @fd, as a tar archive; checked before, unless it is known
 * to hold.  0 or -errno, @e filled. */
int snapshot_export(const struct snapshot *s, const char *root, int fd,
		    struct err *e);

/* Read one from @fd into @s, which then is a snapshot of this host.  @trust:
 * even if this host's key did not make it.  @name as above.  0; -EEXIST when
 * its id or the name is there; -EPERM when it is not to be trusted; -EBADMSG;
 * -errno; @e filled. */
int snapshot_import(struct snapshot *s, const char *root, int fd, bool trust,
		    const char *name, struct err *e);

#endif
