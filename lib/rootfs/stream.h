/* SPDX-License-Identifier: MIT
 *
 * The layers of an image as one stream of uncompressed blocks.
 *
 * One thread unpacks, one hashes, the caller's applies.  They share a ring of
 * blocks, which bounds the memory: a block is free again when it is both
 * hashed and applied.  The unpacker goes on to the next layer while the last
 * blocks of one are still being applied.
 */
#ifndef ROOTFS_STREAM_H
#define ROOTFS_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/sha256.h"

struct err;
struct limits;
struct stream;

struct layer {
	int fd;			  /* borrowed; of the blob, at its beginning */
	uint64_t size;		  /* of the blob, as its manifest says */
	char diff_id[SHA256_HEX]; /* of the uncompressed layer */
	const char *name;	  /* for messages, borrowed: "sha256:..." */
};

/* A piece of a layer.  Never empty, except for a layer that is. */
struct block {
	const uint8_t *data;
	size_t len;
	bool last; /* of its layer */
};

/* Start on the @n layers at @v, which stay the caller's and in place.  NULL
 * with @e filled when that cannot be done. */
struct stream *stream_start(const struct layer *v, size_t n,
			    const struct limits *limits, struct err *e);

/* Wait for the next block.  The one before the last one given is no longer
 * valid after this; the last one is.  0 or -errno; then stream_error() has the
 * reason. */
int stream_next(struct stream *s, struct block *b);

/* The blocks given are no longer needed. */
void stream_release(struct stream *s);

/* Whether unpacking or hashing has failed, and @e filled with how. */
bool stream_error(struct stream *s, struct err *e);

/* After the last block: wait until all is hashed.  0, or -errno (-EBADMSG for
 * a digest that is not the one expected) with @e filled. */
int stream_finish(struct stream *s, struct err *e);

/* Bytes of the blobs read, and bytes they unpacked to, so far. */
uint64_t stream_taken(struct stream *s);
uint64_t stream_given(struct stream *s);

/* End the threads wherever they are, and free everything.  NULL is allowed. */
void stream_stop(struct stream **s);
#define stream_auto __attribute__((cleanup(stream_stop)))

#endif
