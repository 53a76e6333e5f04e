/* SPDX-License-Identifier: MIT
 *
 * The tar archive that a snapshot travels as, member by member.  What is read
 * is a stranger's: whatever does not look as what is written here is refused,
 * and no number in it makes us take memory or disk space that the stream does
 * not fill itself.
 *
 *	ID/manifest.json	a plain file, and
 *	ID/manifest.sha256	its digest, as sha256sum(1) has it
 *	ID/NAME			three times: a pax header that says how long it
 *				is, and a sparse file of GNU's version 1.0: its
 *				map, and the data
 *	two blocks of zeros
 */
#ifndef SANDBOX_SNAPTAR_H
#define SANDBOX_SNAPTAR_H

#include <stddef.h>
#include <stdint.h>

#include "sandbox/snapshot.h"

struct buf;
struct err;

/* A small file of @n bytes.  0 or -errno, @e filled. */
int snaptar_put(int out, const char *id, const char *name, const void *p,
		size_t n, struct err *e);

/* The @size bytes of @fd. */
int snaptar_put_sparse(int out, const char *id, const char *name, int fd,
		       uint64_t size, struct err *e);

int snaptar_put_end(int out, struct err *e);

/* The same way back.  0; -EBADMSG when something else comes; -errno; @e filled.
 * The first learns the id. */
int snaptar_get(int in, char id[static SNAPSHOT_ID_SIZE], const char *name,
		struct buf *b, struct err *e);

/* To the empty file @fd, exactly @size bytes; holes where pages are zeros. */
int snaptar_get_sparse(int in, const char *id, const char *name, int fd,
		       uint64_t size, struct err *e);

int snaptar_get_end(int in, struct err *e);

#endif
