/* SPDX-License-Identifier: MIT
 *
 * The last megabyte of what a terminal said: see scrollback.h.
 */
#include "agent/scrollback.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"

#define MASK (SCROLLBACK_SIZE - 1)
/* A line longer than this is no line, but somebody's progress bar. */
#define LINE_MAX_LOOK 4096

int scrollback_init(struct scrollback *b)
{
	b->head = 0;
	b->data = malloc(SCROLLBACK_SIZE);
	return b->data ? 0 : -ENOMEM;
}

void scrollback_free(struct scrollback *b)
{
	mem_free(&b->data);
}

uint8_t *scrollback_room(struct scrollback *b, size_t *n)
{
	size_t at = b->head & MASK;

	if (*n > SCROLLBACK_SIZE - at)
		*n = SCROLLBACK_SIZE - at;
	return b->data + at;
}

void scrollback_wrote(struct scrollback *b, size_t n)
{
	b->head += n;
}

static uint64_t oldest(const struct scrollback *b)
{
	return b->head > SCROLLBACK_SIZE ? b->head - SCROLLBACK_SIZE : 0;
}

uint64_t scrollback_start(const struct scrollback *b)
{
	uint64_t first = oldest(b);
	uint64_t pos;

	for (pos = first; first && pos < first + LINE_MAX_LOOK; pos++) {
		if (b->data[pos & MASK] == '\n')
			return pos + 1;
	}
	return first;
}

size_t scrollback_read(const struct scrollback *b, uint64_t *pos, uint8_t *to,
		       size_t n)
{
	size_t at, one;

	if (*pos < oldest(b))
		*pos = oldest(b);
	if (n > b->head - *pos)
		n = (size_t)(b->head - *pos);
	at = *pos & MASK;
	one = n < SCROLLBACK_SIZE - at ? n : SCROLLBACK_SIZE - at;
	memcpy(to, b->data + at, one);
	memcpy(to + one, b->data, n - one);
	*pos += n;
	return n;
}
