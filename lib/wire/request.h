/* SPDX-License-Identifier: MIT
 *
 * One request to an agent, from a program that has bytes for it or wants bytes
 * from it: a stream that is read and written by calls that wait.  For a
 * command with a terminal and signals there is client.h.
 *
 * What comes while writing is taken in and kept, at most a window of it:
 * otherwise the two ends could wait for each other.
 */
#ifndef WIRE_REQUEST_H
#define WIRE_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "wire/frame.h"
#include "wire/msg.h"

struct err;

struct wire_stream {
	int conn;	   /* borrowed: a greeted socket */
	uint64_t deadline; /* clock_now(); UINT64_MAX: none; may be changed */
	struct wire_reader in;
	struct buf out;	 /* frames to be sent */
	struct buf data; /* output that came and was not read yet */
	size_t off;
	struct buf text; /* the end of what came on standard error */
	uint32_t credit; /* bytes that may be written */
	uint32_t taken;	 /* bytes read, not yet credited */
	bool started;	 /* STARTED came */
	bool in_eof;	 /* the other end wants no more input */
	bool out_eof;	 /* there is no more output */
	bool ended;	 /* EXIT, FAILED, or lost */
	int error;	 /* negative errno if not by EXIT */
	struct err *e;
	struct wire_exit exit;
};

/* Send the request @x over @conn.  @e is used by all calls on the stream, and
 * filled by those that fail.  0 or -errno; release with
 * wire_stream_free(). */
int wire_stream_open(struct wire_stream *s, int conn,
		     const struct wire_request *x, struct err *e);
void wire_stream_free(struct wire_stream *s);

/* Wait until what was asked for has begun.  0, or the -errno with which it was
 * refused or lost. */
int wire_stream_started(struct wire_stream *s);

/* Write all @n bytes.  0; -ETIMEDOUT; -EPIPE when the other end wants no more; another
 * -errno. */
int wire_stream_write(struct wire_stream *s, const void *p, size_t n);

/* No more will be written.  0 or -errno. */
int wire_stream_eof(struct wire_stream *s);

/* Up to @n bytes of output.  How many; 0 at its end; or -errno. */
ssize_t wire_stream_read(struct wire_stream *s, void *p, size_t n);

/* Wait for the end.  0 when it exited with 0; -EIO, with what it said on
 * standard error, when otherwise; or the -errno with which it was refused or
 * lost. */
int wire_stream_end(struct wire_stream *s);

/* A request without data, from open to end, until @deadline. */
int wire_ask(int conn, const struct wire_request *x, uint64_t deadline,
	     struct err *e);

#endif
