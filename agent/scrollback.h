/* SPDX-License-Identifier: MIT
 *
 * The last megabyte of what a terminal said: a ring, allocated once.
 *
 * Every byte has a number, counted from the terminal's first; a reader is one
 * such number, and there may be any number of readers.  A reader who is
 * overtaken goes on with the oldest byte that is left.
 */
#ifndef AGENT_SCROLLBACK_H
#define AGENT_SCROLLBACK_H

#include <stddef.h>
#include <stdint.h>

#define SCROLLBACK_SIZE ((size_t)1 << 20) /* a power of two */

struct scrollback {
	uint8_t *data; /* owned */
	uint64_t head; /* number of the next byte */
};

#define SCROLLBACK_INIT                  \
	{                                \
		.data = NULL, .head = 0, \
	}

/* 0 or -ENOMEM. */
int scrollback_init(struct scrollback *b);
void scrollback_free(struct scrollback *b);

/* Where the next bytes go, at most *@n of them, which becomes what fits in one
 * piece; then say how many were written there. */
uint8_t *scrollback_room(struct scrollback *b, size_t *n);
void scrollback_wrote(struct scrollback *b, size_t n);

/* Where a reader who wants all there is begins: at the oldest byte, or, when
 * older ones are lost, at the beginning of the first whole line. */
uint64_t scrollback_start(const struct scrollback *b);

/* Copy up to @n bytes from *@pos on, and move it.  How many. */
size_t scrollback_read(const struct scrollback *b, uint64_t *pos, uint8_t *to,
		       size_t n);

#endif
