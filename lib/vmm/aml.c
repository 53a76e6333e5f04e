/* SPDX-License-Identifier: MIT
 *
 * ACPI machine language: see aml.h.
 *
 * A term's length stands before it and takes one to four bytes, itself
 * included.  Its body is therefore written first and moved when its size is
 * known; to compute sizes ahead would say everything twice.
 */
#include "vmm/aml.h"

#include <assert.h>
#include <string.h>

#define OP_NAME 0x08
#define OP_BYTE 0x0a
#define OP_WORD 0x0b
#define OP_DWORD 0x0c
#define OP_STRING 0x0d
#define OP_QWORD 0x0e

void aml_bytes(struct aml *a, const void *p, size_t n)
{
	if (a->full || n > a->max - a->len) {
		a->full = true;
		return;
	}
	memcpy(a->data + a->len, p, n);
	a->len += n;
}

void aml_byte(struct aml *a, uint8_t v)
{
	aml_bytes(a, &v, 1);
}

/* x86 only: the host's order of bytes is AML's. */
static void add_le(struct aml *a, uint64_t v, size_t n)
{
	aml_bytes(a, &v, n);
}

/* ---- terms with a length ---- */

size_t aml_begin(struct aml *a, unsigned op)
{
	if (op > 0xff)
		aml_byte(a, (uint8_t)(op >> 8));
	aml_byte(a, (uint8_t)op);
	return a->len;
}

/* 20.2.4: up to 63 in six bits; else four bits and one to three bytes, whose
 * number stands in the upper two bits. */
static size_t encode_length(size_t body, uint8_t out[static 4])
{
	size_t n = 1, total = body + 1, i;

	if (total < 0x40) {
		out[0] = (uint8_t)total;
		return 1;
	}
	do
		total = body + ++n;
	while (n < 4 && total >> (8 * n - 4));
	out[0] = (uint8_t)((n - 1) << 6 | (total & 0xf));
	for (i = 1; i < n; i++)
		out[i] = (uint8_t)(total >> (8 * i - 4));
	return n;
}

void aml_end(struct aml *a, size_t begun)
{
	uint8_t length[4];
	size_t body = a->len - begun;
	size_t n = encode_length(body, length);

	/* Grows it by as much as the move needs. */
	aml_bytes(a, length, n);
	if (a->full)
		return;
	memmove(a->data + begun + n, a->data + begun, body);
	memcpy(a->data + begun, length, n);
}

/* ---- names and data ---- */

void aml_path(struct aml *a, const char *path)
{
	assert(strlen(path) == 4);
	aml_bytes(a, path, 4);
}

void aml_name(struct aml *a, const char *path)
{
	aml_byte(a, OP_NAME);
	aml_path(a, path);
}

void aml_number(struct aml *a, uint64_t v)
{
	static const struct {
		uint8_t op, bytes;
	} form[] = {
		{ OP_BYTE, 1 }, { OP_WORD, 2 }, { OP_DWORD, 4 }, { OP_QWORD, 8 }
	};
	size_t i = 0;

	/* ZeroOp and OneOp are what they mean. */
	if (v <= 1) {
		aml_byte(a, (uint8_t)v);
		return;
	}
	while (form[i].bytes < 8 && v >> (8 * form[i].bytes))
		i++;
	aml_byte(a, form[i].op);
	add_le(a, v, form[i].bytes);
}

void aml_string(struct aml *a, const char *s)
{
	aml_byte(a, OP_STRING);
	aml_bytes(a, s, strlen(s) + 1);
}

static unsigned hex_digit(char c)
{
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'A') + 10;
}

/* 19.3.4: three letters of five bits, four digits of four, most significant
 * byte first. */
void aml_eisaid(struct aml *a, const char id[static 7])
{
	uint32_t v = 0;
	int i;

	for (i = 0; i < 3; i++)
		v = v << 5 | (uint32_t)(id[i] - '@');
	for (i = 3; i < 7; i++)
		v = v << 4 | hex_digit(id[i]);
	aml_byte(a, OP_DWORD);
	add_le(a, __builtin_bswap32(v), 4);
}

/* ---- resources ---- */

struct aml_crs aml_crs_begin(struct aml *a)
{
	struct aml_crs c;

	aml_name(a, "_CRS");
	c.buffer = aml_begin(a, AML_BUFFER);
	/* Always a byte: two resources are 20 or so. */
	aml_byte(a, OP_BYTE);
	c.count = a->len;
	aml_byte(a, 0);
	return c;
}

void aml_crs_end(struct aml *a, struct aml_crs c)
{
	static const uint8_t end_tag[] = { 0x79, 0 }; /* not summed */
	size_t n;

	aml_bytes(a, end_tag, sizeof(end_tag));
	if (!a->full) {
		n = a->len - c.count - 1;
		assert(n <= UINT8_MAX);
		a->data[c.count] = (uint8_t)n;
	}
	aml_end(a, c.buffer);
}

/* 6.4.3.4, read and write */
void aml_crs_memory(struct aml *a, uint32_t base, uint32_t size)
{
	static const uint8_t head[] = { 0x86, 9, 0, 1 };

	aml_bytes(a, head, sizeof(head));
	add_le(a, base, 4);
	add_le(a, size, 4);
}

/* 6.4.2.5: decodes 16 bits, at @base only, aligned to anything */
void aml_crs_ports(struct aml *a, uint16_t base, uint8_t count)
{
	static const uint8_t head[] = { 0x47, 1 };

	aml_bytes(a, head, sizeof(head));
	add_le(a, base, 2);
	add_le(a, base, 2);
	aml_byte(a, 1);
	aml_byte(a, count);
}

/* 6.4.3.6: bit 0 consumer, 1 edge, 2 active low, 3 shared; one interrupt */
void aml_crs_edge(struct aml *a, uint32_t gsi)
{
	static const uint8_t head[] = { 0x89, 6, 0, 0x03, 1 };

	aml_bytes(a, head, sizeof(head));
	add_le(a, gsi, 4);
}
