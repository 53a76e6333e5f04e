/* SPDX-License-Identifier: MIT
 *
 * What the peer sends, on its way to the command.  See server.h.
 */
#include <errno.h>
#include <unistd.h>

#include "agent/server.h"
#include "base/err.h"

/* Tell the peer, in big steps, that its bytes were taken. */
static void in_credit(struct stream *s)
{
	if (s->in_taken < WIRE_WINDOW / 2 || !s->conn)
		return;
	wire_put_u32(&s->conn->out, WIRE_CREDIT, WIRE_STDIN, s->id,
		     s->in_taken);
	s->flow.in_window += s->in_taken;
	s->in_taken = 0;
}

/* Nobody reads the command's standard input any more. */
static void in_closed(struct stream *s)
{
	loop_close(&s->in_w);
	buf_free(&s->in);
	if (s->conn && !s->in_eof)
		wire_put(&s->conn->out, WIRE_EOF, WIRE_STDIN, s->id, NULL, 0);
	s->in_eof = true;
}

void in_push(struct stream *s)
{
	if (s->in_wait)
		return;
	while (s->in.len && s->in_w.fd >= 0) {
		ssize_t n = write(s->in_w.fd, s->in.data, s->in.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			in_closed(s);
			return;
		}
		buf_shift(&s->in, (size_t)n);
		s->in_taken += (uint32_t)n;
	}
	loop_arm(&s->in_w, s->in.len ? EPOLLOUT : 0);
	if (s->in_eof && s->in.len == 0)
		s->ops->in_end(s);
	in_credit(s);
}

void in_ready(struct watch *w, uint32_t events)
{
	struct stream *s = container_of(w, struct stream, in_w);
	struct conn *c = s->conn;

	(void)events;
	in_push(s);
	if (s->ops->settle)
		s->ops->settle(s);
	if (c)
		conn_flush(c);
}

int in_data(struct stream *s, const struct wire_frame *f, struct err *e)
{
	/* The command reads no more, of which the peer does not know yet. */
	if (s->in_w.fd < 0)
		return 0;
	if (buf_add(&s->in, f->data, f->len) < 0)
		return err_sys(e, ENOMEM, "cannot keep input");
	if (s->ops->input)
		s->ops->input(s, f->data, f->len);
	in_push(s);
	return 0;
}

void in_init(struct stream *s)
{
	s->in_w = (struct watch)WATCH_INIT(&agent_loop, in_ready);
	s->in = (struct buf)BUF_INIT_MAX(WIRE_WINDOW);
}
