/* SPDX-License-Identifier: MIT
 *
 * The image store, $ISO_ROOT/images: one OCI image layout that other programs
 * (skopeo, umoci) can read.
 *
 *	oci-layout
 *	index.json		the names, and nothing else says what is kept
 *	blobs/sha256/HEX	whole, verified, never changed, mode 0444
 *	.index.lock		held exclusively by whoever writes index.json
 *	.users.lock		shared: a user of blobs; exclusive: prune
 *	.partial/HEX		a blob on its way; kept after a failure, resumed
 *	.partial/HEX.lock	held by whoever writes HEX; how far it is whole
 *	.tmp.*			left over when nobody holds .index.lock
 *
 * Who may use what, when:
 *
 * - images_open() takes .users.lock shared and keeps it until images_free().
 *   As long as any process has the store open, prune waits: so a pull is never
 *   robbed of the blobs that no name has yet, nor a build of its layers.
 *   A program that runs for long closes the store when it has what it wants.
 * - A root file system $ISO_ROOT/rootfs/HEX.erofs is used by whoever holds a
 *   shared flock(2) on the file itself (rootfs_open() takes it, and makes sure
 *   that the name still leads to the file).  prune removes only what it can
 *   lock exclusively at once.
 *
 * The names here start with images_ and blob_: store_ is lib/guest's.
 */
#ifndef OCI_STORE_H
#define OCI_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/sha256.h"
#include "oci/digest.h"
#include "oci/manifest.h"
#include "oci/ref.h"

struct buf;
struct err;

struct images {
	char *root; /* owned: $ISO_ROOT */
	char *path; /* owned: $ISO_ROOT/images */
	int dir;
	int users; /* .users.lock */
};

#define IMAGES_INIT                                  \
	{                                            \
		.root = NULL, .dir = -1, .users = -1 \
	}
#define images_auto __attribute__((cleanup(images_free)))

/* Open the store below @root; it is made if it is not there.  0 or -errno, @e
 * filled. */
int images_open(struct images *s, const char *root, struct err *e);
void images_free(struct images *s);

/* ---- names: lib/oci/names.c --------------------------------------------- */

/* The manifest that @r names in the store: by its digest, be it the manifest's
 * or that of the index it was chosen from; otherwise by its tag.  0; -ENOENT
 * when it is not there; another -errno, @e filled. */
int images_find(const struct images *s, const struct ref *r,
		const struct platform *p, struct desc *out, struct err *e);

/* Name the manifest @d, whose media type is @type, @name in index.json; it
 * takes the place of another of that name.  @from: the index it was chosen
 * from, or none.  0 or -errno, @e filled. */
struct image_name {
	const char *name;
	const char *type;
	struct desc desc;
	struct digest from;
	struct platform platform;
};
int images_name(const struct images *s, const struct image_name *n,
		struct err *e);

/* Call @fn for every name, until it returns non-zero, which is returned. */
int images_each(const struct images *s,
		int (*fn)(const struct image_name *n, void *arg), void *arg,
		struct err *e);

/* Forget @name.  -ENOENT if there is none.  What only it named is left for
 * images_prune(). */
int images_unname(const struct images *s, const char *name, struct err *e);

/* ---- blobs: lib/oci/store.c, lib/oci/blob.c ------------------------------ */

/* Whether the blob is there, with its size. */
bool images_has(const struct images *s, const struct desc *d);

/* Open a blob for reading; its size is checked, its digest was when it got its
 * name.  The descriptor, or -errno (-ENOENT) with @e filled. */
int images_blob(const struct images *s, const struct desc *d, struct err *e);

/* A blob of at most MANIFEST_MAX bytes into @b, and its digest verified.
 * d->size 0: not known. */
int images_read(const struct images *s, const struct desc *d, struct buf *b,
		struct err *e);

/* Store @n bytes under their digest, which goes to @d.  0 or -errno. */
int images_put(const struct images *s, const void *p, size_t n,
	       struct digest *d, struct err *e);

/* A blob that comes into being.  Bytes are appended in order and hashed on the
 * way; or, by blob_write_at(), in any order, and hashed as the gap closes. */
struct blob {
	const struct images *store;
	struct desc want;
	int fd, lock;
	bool sparse;	  /* written out of order at some time */
	uint64_t front;	  /* all bytes before it are there and hashed */
	uint64_t saved;	  /* what HEX.lock says of it */
	uint64_t flushed; /* up to here writing to the disk has begun */
	struct sha256 sum;
};

#define BLOB_INIT                                                       \
	{                                                               \
		.store = NULL, .fd = -1, .lock = -1, .sum = SHA256_INIT \
	}
#define blob_auto __attribute__((cleanup(blob_free)))

/* Begin or resume @want; b->front says how much is there.
 * 1: it is there whole, nothing is to be done; 0: go on at b->front;
 * -EWOULDBLOCK without @wait when another process is at it; -errno, @e
 * filled. */
int blob_begin(struct blob *b, const struct images *s, const struct desc *want,
	       bool wait, struct err *e);

/* Bytes at b->front.  More than the blob may have is -EFBIG. */
int blob_append(struct blob *b, const void *p, size_t n, struct err *e);

/* Bytes somewhere; the front moves only by blob_advance(), to which the caller
 * says that everything before @to has been written. */
int blob_write_at(struct blob *b, uint64_t at, const void *p, size_t n,
		  struct err *e);
int blob_advance(struct blob *b, uint64_t to, struct err *e);

/* Everything is there: verify, sync, give it its name, let go of the lock.
 * (That the name outlives a power cut is made sure by images_name().)
 * -EBADMSG: other bytes than the digest says; they are thrown away. */
int blob_commit(struct blob *b, struct err *e);

/* Throw away what is there and begin again at 0. */
int blob_restart(struct blob *b, struct err *e);

/* Let go; what is there stays to be resumed. */
void blob_free(struct blob *b);

/* ---- root file systems and garbage: lib/oci/prune.c --------------------- */

/* $ISO_ROOT/rootfs/HEX@suffix of the image whose manifest is @d, on the heap;
 * suffix ".erofs" or ".json". */
char *rootfs_path(const char *root, const struct digest *d, const char *suffix);

/* Open $ISO_ROOT/rootfs/HEX.erofs for use: a descriptor with a shared lock on
 * it, which keeps it from being pruned.  -ENOENT, @e filled, when there is
 * none. */
int rootfs_open(const char *root, const struct digest *d, struct err *e);

struct prune_report {
	uint64_t blobs, rootfs, partial; /* removed */
	uint64_t bytes;
	uint64_t in_use; /* root file systems kept only because of a user */
};

/* Remove blobs and root file systems that nothing in index.json and no snapshot
 * leads to, and what is left of downloads.  Root file systems in use stay.  Waits until
 * nobody else has the store open; @waiting, if not NULL, is called once before
 * it does.  @s is open, and stays so. */
int images_prune(struct images *s, void (*waiting)(void),
		 struct prune_report *report, struct err *e);

#endif
