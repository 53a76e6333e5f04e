/* SPDX-License-Identifier: MIT
 *
 * Headers and maps of the archive that a snapshot travels as: see snaptar.h.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "sandbox/snaptar_parts.h"

/* ---- headers ------------------------------------------------------------ */

static_assert(sizeof(struct tar_header) == TAR_BLOCK,
	      "POSIX.1-2008, pax, ustar");

void tar_header_make(struct tar_header *h, const char *id, const char *name,
		     enum tar_kind kind, uint64_t size)
{
	const uint8_t *p = (const uint8_t *)h;
	unsigned int sum = 0;
	size_t i;

	memset(h, 0, sizeof(*h));
	snprintf(h->name, sizeof(h->name), "%s/%s", id, name);
	memcpy(h->mode, "0000400", 8);
	memcpy(h->uid, "0000000", 8);
	memcpy(h->gid, "0000000", 8);
	memcpy(h->mtime, "00000000000", 12);
	/* A longer one is in the pax header, which counts. */
	snprintf(h->size, sizeof(h->size), "%011llo",
		 (unsigned long long)(size > TAR_OCTAL_MAX ? 0 : size));
	h->type = (char)kind;
	memcpy(h->magic, "ustar", 6);
	memcpy(h->version, "00", 2);
	memset(h->sum, ' ', sizeof(h->sum));
	for (i = 0; i < sizeof(*h); i++)
		sum += p[i];
	snprintf(h->sum, sizeof(h->sum), "%06o", sum & 0777777);
}

/* "LENGTH KEY=VALUE\n", whose length counts itself. */
static void pax_add(struct buf *b, const char *key, const char *value)
{
	size_t rest = strlen(key) + strlen(value) + 3, n = rest + 1;

	while (n != rest + (size_t)snprintf(NULL, 0, "%zu", n))
		n = rest + (size_t)snprintf(NULL, 0, "%zu", n);
	buf_printf(b, "%zu %s=%s\n", n, key, value);
}

int tar_pax_make(struct buf *b, const char *id, const char *name, uint64_t size,
		 uint64_t stored)
{
	char value[64];

	pax_add(b, "GNU.sparse.major", "1");
	pax_add(b, "GNU.sparse.minor", "0");
	snprintf(value, sizeof(value), "%s/%s", id, name);
	pax_add(b, "GNU.sparse.name", value);
	snprintf(value, sizeof(value), "%ju", (uintmax_t)size);
	pax_add(b, "GNU.sparse.realsize", value);
	snprintf(value, sizeof(value), "%ju", (uintmax_t)stored);
	pax_add(b, "size", value);
	return b->failed ? -ENOMEM : 0;
}

/* ---- maps --------------------------------------------------------------- */

int tar_map_add(struct tar_map *m, uint64_t at, uint64_t len)
{
	if (m->n == m->room) {
		size_t room = m->room ? 2 * m->room : 64;
		void *v = NULL;

		if (m->n == TAR_MAP_MAX)
			return -E2BIG;
		v = reallocarray(m->v, room, sizeof(*m->v));
		if (!v)
			return -ENOMEM;
		m->v = v;
		m->room = room;
	}
	m->v[m->n++] = (struct tar_extent){ at, len };
	m->bytes += len;
	return 0;
}
