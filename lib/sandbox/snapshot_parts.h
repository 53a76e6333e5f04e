/* SPDX-License-Identifier: MIT
 *
 * What the files snapshot*.c share of one snapshot: its manifest, the note that
 * it was verified, and, with libcrypto, digests and MAC.
 */
#ifndef SANDBOX_SNAPSHOT_PARTS_H
#define SANDBOX_SNAPSHOT_PARTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/str.h"
#include "sandbox/snapdir.h"
#include "sandbox/snapshot.h"

struct buf;
struct err;

#define SNAPSHOT_PAGE 4096
#define SNAPSHOT_HEX 65 /* of a digest: 64 digits and the NUL */

/* ---- snapshot_manifest.c ------------------------------------------------ */

#define MANIFEST_FILE "manifest.json"
#define MANIFEST_TEXT_MAX ((size_t)8 << 20)

/* The manifest that @text is, checked to be one, and to be that of @id (NULL:
 * of any).  0 with @m new; -EBADMSG, -ENOTSUP, -ENOMEM, @e filled. */
int snapshot_parse(json_t **m, struct str text, const char *id, struct err *e);

/* A new one of all but digests and MAC.  NULL: out of memory. */
json_t *manifest_make(const char *id, const char *parent, const json_t *config);
int manifest_set_file(json_t *m, enum snapshot_file f, uint64_t size,
		      const char *hex);
const char *manifest_digest(const json_t *m, enum snapshot_file f);

/* As it stands in the file, on the heap; with or without the MAC.  NULL: out of
 * memory. */
char *manifest_text(const json_t *m, bool mac);

/* HEX.erofs of what @config says of the root file system, or NULL. */
const char *manifest_rootfs(const json_t *config);

/* ---- the note: snapshot.c ----------------------------------------------- */

/* What "verified" is to say if all is well, and when the last change of the
 * three files was.  0 or -errno. */
int snapshot_note(const struct snapshot *s, struct buf *b,
		  struct timespec *last);

/* Now, by the clock that changes of files are dated with, which goes in ticks
 * of milliseconds. */
struct timespec snapshot_tick(void);
bool snapshot_is_before(struct timespec a, struct timespec b);

/* ---- snapshot_sum.c, with libcrypto ------------------------------------- */

/* The digest of the @size bytes of @fd; of @text, the plain SHA-256.  0 or
 * -errno. */
int snapsum_file(int fd, uint64_t size, char hex[static SNAPSHOT_HEX]);

int snapsum_text(struct str text, char hex[static SNAPSHOT_HEX]);

/* The MAC of a manifest under the host's key; with @make, one is made if there
 * is none.  0; -ENOENT: no key; another -errno; @e filled. */
int snapsum_mac(const struct snapdir *d, bool make, const json_t *m,
		char hex[static SNAPSHOT_HEX], struct err *e);

/* Whether the manifest's own MAC is that.  0, -EBADMSG, or as above. */
int snapsum_check_mac(const struct snapdir *d, const json_t *m, struct err *e);

/* Whether the files are those of the manifest.  0, -EBADMSG, -errno; @e
 * filled. */
int snapsum_check_files(const struct snapshot *s, struct err *e);

/* ---- snapshot_make.c ---------------------------------------------------- */

/* As snapshot_make(), but of the id s->id.  -EEXIST when it is there. */
int snapmake_begin(struct snapshot *s, const struct snapdir *d, struct err *e);

/* The link to the root file system of @config. */
int snapmake_rootfs(const struct snapshot *s, const json_t *config,
		    struct err *e);

/* The three files are as they are to be: read-only, on disk. */
int snapmake_seal(const struct snapshot *s, struct err *e);

/* s->manifest lacks nothing but its MAC: the rest of snapshot_commit(). */
int snapmake_end(struct snapshot *s, const struct snapdir *d, const char *name,
		 struct err *e);

/* Note that all is well, if no file was changed at or after @since: a later
 * change might be dated the same.  0 or -errno. */
int snapmake_note(const struct snapshot *s, struct timespec since);

#endif
