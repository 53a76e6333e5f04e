/* SPDX-License-Identifier: MIT
 *
 * The agent protocol: frames.  iso-agent(7) is its specification.
 *
 * A connection is a byte stream each way, cut into frames: a header of eight
 * bytes, then up to WIRE_PAYLOAD_MAX bytes.  Numbers are little-endian.
 *
 *	offset 0  u16  length of the payload
 *	       2  u8   type
 *	       3  u8   channel (DATA, EOF, CREDIT), more-follows (OPEN), or 0
 *	       4  u32  stream; 0: the connection itself
 *
 * What each type may carry, and who may send it, stands in one table in
 * frame.c and is checked in one place, wire_next(): code behind it sees valid
 * frames only.  A varint header (as in HTTP/3) would save four bytes in 32768
 * and cost the fixed-offset parsing.
 */
#ifndef WIRE_FRAME_H
#define WIRE_FRAME_H

#include <stddef.h>
#include <stdint.h>

struct buf;
struct err;

#define WIRE_VERSION 1
#define WIRE_MAGIC 0x616f7369U /* "isoa" */
#define WIRE_HEADER 8
#define WIRE_PAYLOAD_MAX 32768
/* Bytes of one channel that may be under way before the receiver says it took
 * some: enough for a stream to run at memory speed across two context
 * switches, little enough that 256 stalled ones are not a burden. */
#define WIRE_WINDOW 262144

enum wire_type {
	WIRE_HELLO = 1, /* both, first: u32 magic, u16 version, u16 0, text */
	WIRE_PING = 2,	/* both: up to 64 bytes */
	WIRE_PONG = 3,	/* both: the same bytes */
	WIRE_ERROR = 4, /* agent: u32 errno, text; the connection ends */
	WIRE_SHUTDOWN = 5, /* client: power off */
	WIRE_OPEN = 16,	   /* client: a request or a piece of one (msg.h) */
	WIRE_STARTED = 17, /* agent: u32 pid */
	WIRE_FAILED = 18,  /* agent, last: u32 errno, text */
	WIRE_DATA = 19,	   /* both */
	WIRE_EOF = 20,	   /* both: writer: no more; reader: wants no more */
	WIRE_CREDIT = 21,  /* both: u32 bytes taken */
	WIRE_SIGNAL = 22,  /* client: u32 number */
	WIRE_WINSIZE = 23, /* client: u16 rows, columns, x, y pixels */
	WIRE_EXIT = 24,	   /* agent, last: struct wire_exit */
	WIRE_RESET = 25,   /* client: kill it, say only EXIT */
};

enum wire_side {
	WIRE_CLIENT = 1,
	WIRE_AGENT = 2,
};

enum wire_channel {
	WIRE_STDIN = 0,
	WIRE_STDOUT = 1,
	WIRE_STDERR = 2,
};

#define WIRE_OPEN_MORE 1 /* in the channel byte of OPEN: more pieces follow */

struct wire_frame {
	enum wire_type type;
	uint8_t channel;
	uint32_t stream;
	const uint8_t *data; /* into the reader; valid until the next call */
	uint16_t len;
};

/* Cuts what one side sent into frames.  Room for two of the largest, so that
 * one read takes in a whole frame however the bytes fall. */
struct wire_reader {
	enum wire_side from; /* who is at the other end */
	size_t start, end;   /* the bytes not yet looked at */
	uint8_t data[2 * (WIRE_HEADER + WIRE_PAYLOAD_MAX)];
};

void wire_reader_init(struct wire_reader *r, enum wire_side from);

/* One read(2) into the reader; call it when wire_next() has returned 0.
 * Bytes, 0 at the end of the stream, or -errno (-EAGAIN included). */
int wire_read(struct wire_reader *r, int fd);

/* Append bytes by hand; how many fitted. */
size_t wire_feed(struct wire_reader *r, const void *p, size_t n);

/* The next frame: 1 with @f filled, 0 when more bytes are wanted, or -EPROTO
 * with @e saying which rule was broken; the stream is then past repair. */
int wire_next(struct wire_reader *r, struct wire_frame *f, struct err *e);

/* Append a frame to @b.  @len <= WIRE_PAYLOAD_MAX.  0, -ENOMEM, -EMSGSIZE. */
int wire_put(struct buf *b, enum wire_type type, uint8_t channel,
	     uint32_t stream, const void *p, size_t len);

/* Write a header for @len bytes of payload at @at. */
void wire_header(uint8_t at[static WIRE_HEADER], enum wire_type type,
		 uint8_t channel, uint32_t stream, size_t len);

static inline uint16_t wire_get16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t wire_get32(const uint8_t *p)
{
	return wire_get16(p) | (uint32_t)wire_get16(p + 2) << 16;
}

static inline uint64_t wire_get64(const uint8_t *p)
{
	return wire_get32(p) | (uint64_t)wire_get32(p + 4) << 32;
}

static inline void wire_set16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static inline void wire_set32(uint8_t *p, uint32_t v)
{
	wire_set16(p, (uint16_t)v);
	wire_set16(p + 2, (uint16_t)(v >> 16));
}

static inline void wire_set64(uint8_t *p, uint64_t v)
{
	wire_set32(p, (uint32_t)v);
	wire_set32(p + 4, (uint32_t)(v >> 32));
}

#endif
