/* SPDX-License-Identifier: MIT
 *
 * The agent protocol: what a client may send on a stream.  See flow.h.
 */
#include "wire/flow.h"

#include "base/err.h"

static int in_open(struct wire_flow *w, const struct wire_frame *f,
		   struct err *e)
{
	if (w->opened)
		return err_set(e, EPROTO,
			       "protocol broken: stream %u opened twice",
			       f->stream);
	w->opened = !(f->channel & WIRE_OPEN_MORE);
	return 0;
}

static int in_data(struct wire_flow *w, const struct wire_frame *f,
		   struct err *e)
{
	if (f->channel != WIRE_STDIN || w->in_eof)
		return err_set(e, EPROTO,
			       "protocol broken: data on channel %u "
			       "of stream %u",
			       f->channel, f->stream);
	if (f->len > w->in_window)
		return err_set(e, EPROTO,
			       "protocol broken: stream %u sent %u bytes "
			       "past its window",
			       f->stream, f->len - w->in_window);
	w->in_window -= f->len;
	return 0;
}

static int in_credit(struct wire_flow *w, const struct wire_frame *f,
		     struct err *e)
{
	uint32_t n = wire_get32(f->data);
	uint32_t *credit;

	if (f->channel == WIRE_STDIN)
		return err_set(e, EPROTO,
			       "protocol broken: credit for standard input");
	credit = &w->credit[f->channel - WIRE_STDOUT];
	if (n > WIRE_WINDOW - *credit)
		return err_set(e, EPROTO,
			       "protocol broken: credit of %u on stream %u "
			       "exceeds the window",
			       n, f->stream);
	*credit += n;
	return 0;
}

int wire_flow_not_open(const struct wire_frame *f, struct err *e)
{
	return err_set(e, EPROTO,
		       "protocol broken: type %u on stream %u, "
		       "which is not open",
		       f->type, f->stream);
}

int wire_flow_in(struct wire_flow *w, const struct wire_frame *f, struct err *e)
{
	if (f->type == WIRE_OPEN)
		return in_open(w, f, e);
	if (!w->opened && f->type != WIRE_RESET)
		return wire_flow_not_open(f, e);
	if (f->type == WIRE_DATA)
		return in_data(w, f, e);
	if (f->type == WIRE_CREDIT)
		return in_credit(w, f, e);
	if (f->type == WIRE_EOF && f->channel == WIRE_STDIN)
		w->in_eof = true;
	return 0;
}

void wire_flow_out(struct wire_flow *w, const struct wire_frame *f)
{
	uint32_t room = WIRE_WINDOW - w->in_window;
	uint32_t *credit, n;

	if (f->type == WIRE_CREDIT && f->channel == WIRE_STDIN) {
		n = wire_get32(f->data);
		w->in_window += n < room ? n : room;
	} else if (f->type == WIRE_DATA && f->channel != WIRE_STDIN) {
		credit = &w->credit[f->channel - WIRE_STDOUT];
		*credit -= f->len < *credit ? f->len : *credit;
	}
}
