/* SPDX-License-Identifier: MIT
 *
 * Having commands stand still: see quiesce.h.
 *
 * The guest thaws when the connection ends, however it does.  So there is
 * nothing to say in the end, and a program that dies leaves no machine frozen.
 */
#include "sandbox/quiesce.h"

#include <errno.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/fd.h"
#include "sandbox/box.h"
#include "wire/request.h"

static int ask(struct quiesce *q, uint64_t deadline, struct err *e)
{
	struct wire_request x = WIRE_REQUEST_INIT;
	int r;

	/* Too big for a small stack. */
	q->s = calloc(1, sizeof(*q->s));
	if (!q->s)
		return err_sys(e, ENOMEM, "cannot ask the agent");
	x.op = WIRE_OP_QUIESCE;
	r = wire_stream_open(q->s, q->conn, &x, e);
	q->s->deadline = deadline;
	if (r == 0)
		r = wire_stream_started(q->s);
	if (r != -ETIMEDOUT)
		return r;
	err_set(e, ETIMEDOUT, "its commands do not come to a standstill");
	return err_fix(e, "a command may wait for a disk, or another program "
			  "may be capturing it: try again");
}

int quiesce_begin(struct quiesce *q, const struct box *b, uint64_t deadline,
		  struct err *e)
{
	const struct box_wait w = { .deadline = deadline, .cancel = -1 };
	int r;

	*q = (struct quiesce)QUIESCE_INIT;
	q->conn = box_connect(b, &w, e);
	if (q->conn < 0)
		return q->conn;
	r = ask(q, deadline, e);
	if (r == 0)
		return 0;
	quiesce_end(q);
	return err_in(e, "%s", b->id);
}

void quiesce_end(struct quiesce *q)
{
	fd_close(&q->conn);
	if (q->s)
		wire_stream_free(q->s);
	mem_free(&q->s);
}
