/* SPDX-License-Identifier: MIT
 *
 * The state file: see state.h.
 */
#include "vmm/state.h"

#include <assert.h>
#include <elf.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MAGIC "isostate"
#define HEADER 16
#define SECTION_HEADER (STATE_NAME + 12)
#define CRC_AT (STATE_NAME + 8)

/* CRC-32C (Castagnoli), bit by bit: some 100 KiB of state are 1 ms; a table
 * would be 8 times faster and 1 KiB larger.  Four bits at a time is between. */
static uint32_t crc32c(uint32_t crc, const uint8_t *p, size_t n)
{
	static const uint32_t table[16] = {
		0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
		0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
		0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
		0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
	};

	crc = ~crc;
	while (n--) {
		crc ^= *p++;
		crc = (crc >> 4) ^ table[crc & 15];
		crc = (crc >> 4) ^ table[crc & 15];
	}
	return ~crc;
}

static void vfail(struct state_io *io, const char *fmt, va_list ap)
{
	char what[256];

	if (io->failed)
		return;
	vsnprintf(what, sizeof(what), fmt, ap);
	if (*io->name)
		io->failed = err_set(&io->e, EBADMSG, "state, section '%s': %s",
				     io->name, what);
	else
		io->failed = err_set(&io->e, EBADMSG, "state: %s", what);
}

void state_refuse(struct state_io *io, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfail(io, fmt, ap);
	va_end(ap);
}

/* @n bytes at io->at, or NULL.  Within the section when one is being read. */
static uint8_t *step(struct state_io *io, size_t n)
{
	size_t limit = io->loading && *io->name ? io->end : io->cap;
	uint8_t *p = io->buf + io->at;

	if (io->failed)
		return NULL;
	if (io->at > limit || n > limit - io->at) {
		state_refuse(io, io->loading ? "is too short" : "does not fit");
		return NULL;
	}
	io->at += n;
	return p;
}

static void number(struct state_io *io, uint64_t *x, size_t n)
{
	uint8_t *p = step(io, n);
	size_t i;

	if (io->loading)
		*x = 0;
	for (i = 0; p && i < n; i++) {
		if (io->loading)
			*x |= (uint64_t)p[i] << (8 * i);
		else
			p[i] = (uint8_t)(*x >> (8 * i));
	}
}

void state_u8(struct state_io *io, uint8_t *x)
{
	uint64_t v = *x;

	number(io, &v, 1);
	*x = (uint8_t)v;
}

void state_u16(struct state_io *io, uint16_t *x)
{
	uint64_t v = *x;

	number(io, &v, 2);
	*x = (uint16_t)v;
}

void state_u32(struct state_io *io, uint32_t *x)
{
	uint64_t v = *x;

	number(io, &v, 4);
	*x = (uint32_t)v;
}

void state_u64(struct state_io *io, uint64_t *x)
{
	number(io, x, 8);
}

void state_bool(struct state_io *io, bool *x)
{
	uint8_t v = *x;

	state_u8(io, &v);
	if (v > 1)
		state_refuse(io, "%u is neither yes nor no", v);
	*x = v == 1;
}

void state_bytes(struct state_io *io, void *p, size_t n)
{
	uint8_t *at = step(io, n);

	if (!at && io->loading)
		memset(p, 0, n);
	else if (at && io->loading)
		memcpy(p, at, n);
	else if (at)
		memcpy(at, p, n);
}

void state_same(struct state_io *io, uint64_t x, const char *what)
{
	uint64_t v = x;

	state_u64(io, &v);
	if (v != x)
		state_refuse(io, "%s is 0x%llx there and 0x%llx here", what,
			     (unsigned long long)v, (unsigned long long)x);
}

/* ---- sections ---- */

static uint32_t section_crc(const uint8_t *header, const uint8_t *end)
{
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
	/* A fuzzer is to get past it. */
	(void)header;
	(void)end;
	return 0;
#else
	const uint8_t *body = header + SECTION_HEADER;
	uint32_t crc = crc32c(0, header, CRC_AT);

	return crc32c(crc, body, (size_t)(end - body));
#endif
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
	       (uint32_t)p[3] << 24;
}

static void set32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
	p[2] = (uint8_t)(v >> 16);
	p[3] = (uint8_t)(v >> 24);
}

/* The header at @h is that of the section io->name. */
static void check_header(struct state_io *io, const uint8_t *h,
			 uint32_t version)
{
	uint32_t len = get32(h + STATE_NAME + 4);
	char want[STATE_NAME] = { 0 };

	memcpy(want, io->name, strlen(io->name));
	if (memcmp(h, want, STATE_NAME) != 0)
		state_refuse(io, "another section is in its place");
	else if (len > io->cap - io->at)
		state_refuse(io, "is cut off");
	else if (section_crc(h, h + SECTION_HEADER + len) != get32(h + CRC_AT))
		state_refuse(io, "is damaged: its checksum is wrong");
	else if (get32(h + STATE_NAME) != version)
		state_refuse(io, "has version %u; this program knows %u",
			     get32(h + STATE_NAME), version);
	else
		io->end = io->at + len;
}

void state_begin(struct state_io *io, const char *name, uint32_t version)
{
	uint8_t *h;

	if (io->failed)
		return;
	assert(strlen(name) <= STATE_NAME);
	io->section = io->at;
	*io->name = '\0';
	h = step(io, SECTION_HEADER);
	snprintf(io->name, sizeof(io->name), "%s", name);
	if (!h) {
		/* Say of which section. */
		io->failed = 0;
		state_refuse(io, io->loading ? "is missing" : "does not fit");
		return;
	}
	if (io->loading) {
		check_header(io, h, version);
		return;
	}
	memset(h, 0, SECTION_HEADER);
	/* NOLINTNEXTLINE(bugprone-not-null-terminated-result) NULs follow */
	memcpy(h, name, strlen(name));
	set32(h + STATE_NAME, version);
}

void state_end(struct state_io *io)
{
	uint8_t *h = io->buf + io->section;
	uint8_t *body = h + SECTION_HEADER;

	if (!io->failed && io->loading && io->at != io->end) {
		state_refuse(io, "has %zu bytes more than it should",
			     io->end - io->at);
	} else if (!io->failed && !io->loading) {
		set32(h + STATE_NAME + 4, (uint32_t)(io->buf + io->at - body));
		set32(h + CRC_AT, section_crc(h, io->buf + io->at));
	}
	*io->name = '\0';
}

/* ---- the file ---- */

void state_save(struct state_io *io, void *buf, size_t n)
{
	uint32_t version = STATE_VERSION, machine = EM_X86_64;

	*io = (struct state_io){ .buf = buf, .cap = n };
	state_bytes(io, (char[]){ MAGIC }, strlen(MAGIC));
	state_u32(io, &version);
	state_u32(io, &machine);
}

void state_load(struct state_io *io, const void *buf, size_t n)
{
	uint32_t version = 0, machine = 0;
	char magic[sizeof(MAGIC)] = { 0 };

	/* Nothing is written while loading. */
	*io = (struct state_io){ .loading = true,
				 .buf = (uint8_t *)(uintptr_t)buf,
				 .cap = n };
	state_bytes(io, magic, strlen(MAGIC));
	state_u32(io, &version);
	state_u32(io, &machine);
	if (memcmp(magic, MAGIC, strlen(MAGIC)) != 0)
		state_refuse(io, "this is no state file");
	if (version != STATE_VERSION)
		state_refuse(io, "format %u; this program knows %u", version,
			     STATE_VERSION);
	if (machine != EM_X86_64)
		state_refuse(io, "of machine type %u; this is %u", machine,
			     EM_X86_64);
}

int state_done(struct state_io *io, struct err *e)
{
	if (!io->failed && io->loading && io->at != io->cap)
		state_refuse(io, "%zu bytes too many", io->cap - io->at);
	if (io->failed && e)
		*e = io->e;
	return io->failed;
}
