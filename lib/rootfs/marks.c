/* SPDX-License-Identifier: MIT
 *
 * A set of (directory, name): see marks.h.
 *
 * Open addressing over 64-bit digests, eight bytes an entry at most three
 * quarters full: 16 MB for a million entries, where the paths themselves would
 * take a hundred.  The digest is SipHash-1-3 under a random key, so that nobody
 * can make a layer whose names collide.
 */
#include "rootfs/marks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/fd.h"

#define CAP_FIRST 1024

static uint64_t rotl(uint64_t x, int n)
{
	return x << n | x >> (64 - n);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;
}

/* Of the inode number and the name behind it; never 0. */
static uint64_t digest(const struct marks *m, uint64_t dir, const char *name)
{
	uint64_t v[4] = { m->key[0] ^ 0x736f6d6570736575,
			  m->key[1] ^ 0x646f72616e646f6d,
			  m->key[0] ^ 0x6c7967656e657261,
			  m->key[1] ^ 0x7465646279746573 };
	size_t len = strlen(name), left = len;
	uint64_t word;

	sip_word(v, dir);
	for (; left >= sizeof(word); left -= sizeof(word)) {
		memcpy(&word, name + (len - left), sizeof(word));
		sip_word(v, word);
	}
	word = 0;
	memcpy(&word, name + (len - left), left);
	sip_word(v, word | (uint64_t)len << 56);
	v[2] ^= 0xff;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	word = v[0] ^ v[1] ^ v[2] ^ v[3];
	return word ? word : 1;
}

/* Where @d is, or where it would go. */
static size_t place(const uint64_t *v, size_t cap, uint64_t d)
{
	size_t i = d & (cap - 1);

	while (v[i] && v[i] != d)
		i = (i + 1) & (cap - 1);
	return i;
}

static int grow(struct marks *m)
{
	size_t cap = m->cap ? 2 * m->cap : CAP_FIRST;
	uint64_t *v = calloc(cap, sizeof(*v));
	size_t i;

	if (!v)
		return -ENOMEM;
	for (i = 0; i < m->cap; i++) {
		if (m->v[i])
			v[place(v, cap, m->v[i])] = m->v[i];
	}
	free(m->v);
	m->v = v;
	m->cap = cap;
	return 0;
}

int marks_add(struct marks *m, uint64_t dir, const char *name)
{
	uint64_t d;
	size_t i;

	if (!m->cap &&
	    getrandom(m->key, sizeof(m->key), 0) != sizeof(m->key))
		return -EIO;
	if (4 * (m->n + 1) > 3 * m->cap && grow(m) < 0)
		return -ENOMEM;
	d = digest(m, dir, name);
	i = place(m->v, m->cap, d);
	m->n += !m->v[i];
	m->v[i] = d;
	return 0;
}

bool marks_has(const struct marks *m, uint64_t dir, const char *name)
{
	uint64_t d;

	if (!m->n)
		return false;
	d = digest(m, dir, name);
	return m->v[place(m->v, m->cap, d)] == d;
}

void marks_clear(struct marks *m)
{
	if (m->n)
		memset(m->v, 0, m->cap * sizeof(*m->v));
	m->n = 0;
}

void marks_free(struct marks *m)
{
	mem_free(&m->v);
	m->n = m->cap = 0;
}
