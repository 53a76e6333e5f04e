/* SPDX-License-Identifier: MIT
 *
 * Image references, as `docker pull` takes them, and those of local files:
 *
 *	[HOST[:PORT]/]NAME[:TAG][@DIGEST]	docker.io and library/ implied
 *	oci:DIR[:TAG][@DIGEST]			an OCI image layout
 *	docker-archive:FILE[@DIGEST]		what `docker save` wrote
 *	DIGEST					an image of the store
 *
 * A pure parser: it opens nothing and asks nobody.
 */
#ifndef OCI_REF_H
#define OCI_REF_H

#include <stdbool.h>

#include "base/str.h"
#include "oci/digest.h"

struct err;

enum ref_kind {
	REF_REGISTRY,
	REF_LAYOUT,
	REF_ARCHIVE,
	REF_DIGEST,
};

#define REF_MAX 1024	  /* of a registry reference, in bytes */
#define REF_PATH_MAX 4095 /* of a path */
#define REF_NAME_MAX 255  /* of HOST/NAME, as in docker */
#define REF_TAG_MAX 128	  /* as in the distribution specification */

struct ref {
	enum ref_kind kind;
	char *host; /* owned: "docker.io", "[::1]:5000"; registries only */
	char *repo; /* owned: "library/debian"; registries only */
	char *path; /* owned: of the directory or file; local kinds only */
	char *tag;  /* owned, or NULL */
	struct digest digest; /* or none */
};

#define REF_INIT                                   \
	{                                          \
		.kind = REF_REGISTRY, .host = NULL \
	}
#define ref_auto __attribute__((cleanup(ref_free)))

/* Read the whole of @s.  0, or -EINVAL (-ENOMEM) with @e filled. */
int ref_parse(struct ref *r, struct str s, struct err *e);
void ref_free(struct ref *r);

/* Refuse a reference whose meaning changes under its reader: no tag at all, or
 * one that floats (ref_tag_floats), and no digest.  0, or -EINVAL with @e
 * saying why and what to write. */
int ref_check_pinned(const struct ref *r, const char *given, struct err *e);

/* Whether a tag is made to be moved.  Its words (between '-', '_' and '.')
 * decide:
 *
 * - "latest" anywhere;
 * - lts, stable, edge, nightly, main, ... as the first word, unless a date or
 *   a commit follows: "lts-alpine3.19" and "stable-slim" float,
 *   "stable-20240110-slim" does not;
 * - the same as the last word of a tag without a digit: "alpine-edge" floats,
 *   "v1.25-stable" does not.
 *
 * That "3" or "bookworm" move too is known, and left alone: they promise to
 * stay what they are in kind, which these do not. */
bool ref_tag_floats(const char *tag);

/* HOST/NAME of a registry's image, oci:DIR, docker-archive:FILE; on the heap,
 * NULL: out of memory.  For a REF_DIGEST: "". */
char *ref_name(const struct ref *r);

/* "NAME@DIGEST", the form that names one image for ever: what iso-pull
 * prints. */
char *ref_canonical(const struct ref *r, const struct digest *d);

/* What the image is called in the store's index.json, fit for the grammar of
 * org.opencontainers.image.ref.name: HOST/NAME:TAG, or HOST/NAME@DIGEST when
 * the reference has a digest; for local files localhost/BASENAME:TAG. */
char *ref_store_name(const struct ref *r);

/* Whether the registry is this machine itself (localhost, 127.x, ::1), where
 * plain HTTP is nobody's loss. */
bool ref_is_loopback(const struct ref *r);

#endif
