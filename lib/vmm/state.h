/* SPDX-License-Identifier: MIT
 *
 * The state file of a virtual machine: everything but memory and disks.
 *
 *	offset 0   8 bytes	"isostate"
 *	       8   u32		version of the format
 *	      12   u32		architecture: the ELF machine, 62 for x86-64
 *	      16		sections, in a fixed order
 *
 *	section:   16 bytes	name, padded with NULs
 *		   u32		version of the section
 *		   u32		length of what follows
 *		   u32		CRC-32C of name to length, and of what follows
 *		   ...		numbers, little-endian, one after the other
 *
 * A device describes its section in one function, which is run to save and to
 * load: each call of state_u32() and its kind writes the number or reads it.
 * So the two cannot differ; what the numbers may be is checked after that.
 * Separate functions, as other monitors have, were rejected for that.
 *
 * Errors are kept: the first one is what state_done() returns, and after it
 * nothing is read or written any more (numbers read as 0).
 */
#ifndef VMM_STATE_H
#define VMM_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define STATE_VERSION 1
#define STATE_NAME 16
/* A machine of 32 processors has less than 800 KiB. */
#define STATE_MAX ((size_t)2 << 20)

struct state_io {
	bool loading;
	uint8_t *buf;	/* borrowed */
	size_t cap;	/* saving: room; loading: bytes there are */
	size_t at;	/* next byte */
	size_t section; /* where the section's header begins */
	size_t end;	/* loading: where the section ends */
	char name[STATE_NAME + 1];
	int failed; /* -errno of the first error */
	struct err e;
};

/* Begin to save to, or to load from, the @n bytes at @buf. */
void state_save(struct state_io *io, void *buf, size_t n);
void state_load(struct state_io *io, const void *buf, size_t n);

/* Enter and leave a section.  Loading, it must be the next one, whole, and of
 * this version, and all of it must be read. */
void state_begin(struct state_io *io, const char *name, uint32_t version);
void state_end(struct state_io *io);

void state_u8(struct state_io *io, uint8_t *x);
void state_u16(struct state_io *io, uint16_t *x);
void state_u32(struct state_io *io, uint32_t *x);
void state_u64(struct state_io *io, uint64_t *x);
void state_bool(struct state_io *io, bool *x);
/* Bytes whose meaning is the architecture's. */
void state_bytes(struct state_io *io, void *p, size_t n);

/* A number that must be the same on both sides; @what names it. */
void state_same(struct state_io *io, uint64_t x, const char *what);

/* Something that was read cannot be. */
void state_refuse(struct state_io *io, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* 0, or the first error, with @e filled; loading, also when bytes are left. */
int state_done(struct state_io *io, struct err *e);

#endif
