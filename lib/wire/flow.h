/* SPDX-License-Identifier: MIT
 *
 * The agent protocol: what a client may send on a stream, and when.
 *
 * The rules that need memory (windows, ends, whether the request is complete)
 * are kept here for whoever takes frames from a client: the agent, and the
 * multiplexer in front of one, for which a client's breach must not become
 * its own.
 */
#ifndef WIRE_FLOW_H
#define WIRE_FLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/frame.h"

struct err;

struct wire_flow {
	bool opened;	    /* the last piece of the request has come */
	bool in_eof;	    /* the client said EOF on stdin */
	uint32_t in_window; /* bytes it may still send on stdin */
	uint32_t credit[2]; /* bytes that may still be sent to it: stdout,
			       stderr */
};

#define WIRE_FLOW_INIT                                \
	{                                             \
		.in_window = WIRE_WINDOW, .credit = { \
			WIRE_WINDOW,                  \
			WIRE_WINDOW                   \
		}                                     \
	}

/* A frame of this stream from the client: counted, 0; or -EPROTO with @e
 * saying which rule it breaks. */
int wire_flow_in(struct wire_flow *w, const struct wire_frame *f,
		 struct err *e);

/* The error for a frame of a stream that nobody opened.  -EPROTO. */
int wire_flow_not_open(const struct wire_frame *f, struct err *e);

/* A frame of this stream to the client.  What an agent sends that breaks the
 * rules is its client's to notice; here it only cannot do harm. */
void wire_flow_out(struct wire_flow *w, const struct wire_frame *f);

#endif
