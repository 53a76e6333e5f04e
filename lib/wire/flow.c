/* SPDX-License-Identifier: MIT
 *
 * The agent protocol: what a client may send on a stream.  See flow.h.
 */
#include "wire/flow.h"

#include "base/err.h"

static int broken(struct err *e, const struct wire_frame *f, const char *what)
{
	return err_set(e, EPROTO,
		       "protocol broken: %s (type %u, channel %u, stream %u)",
		       what, f->type, f->channel, f->stream);
}

static int in_data(struct wire_flow *w, const struct wire_frame *f,
		   struct err *e)
{
	if (f->channel != WIRE_STDIN)
		return broken(e, f, "data for an output");
	if (w->in_eof)
		return broken(e, f, "data after the end");
	if (f->len > w->in_window)
		return broken(e, f, "data past the window");
	w->in_window -= f->len;
	return 0;
}

static int in_credit(struct wire_flow *w, const struct wire_frame *f,
		     struct err *e)
{
	uint32_t n = wire_get32(f->data);
	uint32_t *credit;

	if (f->channel == WIRE_STDIN)
		return broken(e, f, "credit for standard input");
	credit = &w->credit[f->channel - WIRE_STDOUT];
	if (n > WIRE_WINDOW - *credit)
		return broken(e, f, "credit past the window");
	*credit += n;
	return 0;
}

int wire_flow_in(struct wire_flow *w, const struct wire_frame *f,
		 struct err *e)
{
	if (f->type == WIRE_OPEN) {
		if (w->opened)
			return broken(e, f, "opened twice");
		w->opened = !(f->channel & WIRE_OPEN_MORE);
		return 0;
	}
	if (!w->opened && f->type != WIRE_RESET)
		return broken(e, f, "not open yet");
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
	uint32_t *credit;

	if (f->type == WIRE_CREDIT && f->channel == WIRE_STDIN) {
		w->in_window += wire_get32(f->data);
	} else if (f->type == WIRE_DATA && f->channel != WIRE_STDIN) {
		credit = &w->credit[f->channel - WIRE_STDOUT];
		*credit -= f->len < *credit ? f->len : *credit;
	}
}
