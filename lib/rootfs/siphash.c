/* SPDX-License-Identifier: MIT
 *
 * SipHash-1-3: see siphash.h.  J.-P. Aumasson and D. J. Bernstein, "SipHash: a
 * fast short-input PRF"; one round a word and three at the end, as hash tables
 * of the kernel and of many languages have it.
 */
#include "rootfs/siphash.h"

#include <string.h>

static uint64_t rotl(uint64_t x, int n)
{
	return x << n | x >> (64 - n);
}

static void sip_round(uint64_t v[static 4])
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

static void sip_word(uint64_t v[static 4], uint64_t word)
{
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;
}

uint64_t siphash(const uint64_t key[static 2], uint64_t first, const void *p,
		 size_t n)
{
	uint64_t v[4] = { key[0] ^ 0x736f6d6570736575,
			  key[1] ^ 0x646f72616e646f6d,
			  key[0] ^ 0x6c7967656e657261,
			  key[1] ^ 0x7465646279746573 };
	const uint8_t *at = p;
	size_t left = n;
	uint64_t word;

	sip_word(v, first);
	for (; left >= sizeof(word); left -= sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		sip_word(v, word);
		at += sizeof(word);
	}
	word = 0;
	memcpy(&word, at, left);
	sip_word(v, word | (uint64_t)(n + sizeof(first)) << 56);
	v[2] ^= 0xff;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
