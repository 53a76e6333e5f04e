/* SPDX-License-Identifier: MIT
 *
 * Connections of the agent: see server.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
/* After sys/socket.h, which it wants. */
#include <linux/vm_sockets.h>

#include "agent/server.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"

struct loop agent_loop = LOOP_INIT;

static struct conn *conns;
static int nconns;
static void (*on_shutdown)(void);
static void (*on_last)(void);
static struct watch listener;
/* The only one that is read; NULL: all are. */
static const struct conn *holder;

void conn_on_shutdown(void (*fn)(void))
{
	on_shutdown = fn;
}

void conn_on_last(void (*fn)(void))
{
	on_last = fn;
}

static void conn_destroy(struct conn *c)
{
	struct conn **at;

	for (at = &conns; *at != c; at = &(*at)->next)
		;
	*at = c->next;
	nconns--;
	stream_abandon_all(c);
	loop_close(&c->w);
	buf_free(&c->out);
	free(c);
	if (!conns && on_last)
		on_last();
}

static size_t pending(const struct conn *c)
{
	return c->out.len - c->out_off;
}

bool conn_full(const struct conn *c)
{
	return pending(c) >= CONN_OUT_HIGH;
}

/* A busy connection is never empty: what is written must go all the same, but
 * now and then, for moving the rest is not free. */
static void compact(struct conn *c)
{
	if (c->out_off < CONN_OUT_HIGH)
		return;
	buf_shift(&c->out, c->out_off);
	c->out_off = 0;
}

/* Write until all is out or the peer is full.  -errno when it has gone. */
static int write_out(struct conn *c)
{
	while (pending(c)) {
		ssize_t n =
			write(c->w.fd, c->out.data + c->out_off, pending(c));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return -errno;
		if (n < 0) {
			compact(c);
			return 0;
		}
		c->out_off += (size_t)n;
	}
	buf_clear(&c->out);
	c->out_off = 0;
	return 0;
}

/* Let streams go on that were held back when there was no room.  True when
 * there is something new to write. */
static bool release(struct conn *c)
{
	const struct stream *first = c->held;

	if (!first || conn_full(c))
		return false;
	c->held = NULL;
	stream_resume_all(c, first);
	return pending(c) > 0;
}

static bool is_held(const struct conn *c)
{
	return holder && holder != c;
}

static int arm(struct conn *c)
{
	uint32_t want = pending(c) ? EPOLLOUT : 0;

	/* A peer that sends and never reads is not read either. */
	if (!c->closing && !conn_full(c) && !is_held(c))
		want |= EPOLLIN;
	return loop_arm(&c->w, want);
}

void conn_hold(const struct conn *c)
{
	struct conn *each;

	holder = c;
	for (each = conns; each; each = each->next)
		arm(each);
}

void conn_flush(struct conn *c)
{
	do {
		/* A failed append means memory is out: the peer cannot be
		 * told. */
		if (c->out.failed || write_out(c) < 0 ||
		    (c->closing && !pending(c))) {
			conn_destroy(c);
			return;
		}
	} while (release(c));
	arm(c);
}

static int conn_frame(struct conn *c, const struct wire_frame *f, struct err *e)
{
	if (!c->greeted) {
		c->greeted = true;
		return wire_check_hello(f, e);
	}
	switch (f->type) {
	case WIRE_PING:
		return wire_put(&c->out, WIRE_PONG, 0, 0, f->data, f->len);
	case WIRE_PONG:
		return 0;
	case WIRE_SHUTDOWN:
		if (on_shutdown)
			on_shutdown();
		return 0;
	case WIRE_HELLO:
		return err_set(e, EPROTO, "protocol broken: second HELLO");
	case WIRE_ERROR:
	case WIRE_OPEN:
	case WIRE_STARTED:
	case WIRE_FAILED:
	case WIRE_DATA:
	case WIRE_EOF:
	case WIRE_CREDIT:
	case WIRE_SIGNAL:
	case WIRE_WINSIZE:
	case WIRE_EXIT:
	case WIRE_RESET:
		break;
	}
	return stream_frame(c, f, e);
}

static void conn_input(struct conn *c)
{
	struct err e = ERR_INIT;
	struct wire_frame f;
	int r = wire_read(&c->in, c->w.fd);

	if (r == -EAGAIN)
		return;
	if (r <= 0) {
		/* Nobody is there to be told anything. */
		buf_clear(&c->out);
		c->out_off = 0;
		c->closing = true;
		return;
	}
	while ((r = wire_next(&c->in, &f, &e)) > 0) {
		r = conn_frame(c, &f, &e);
		if (r < 0)
			break;
	}
	if (r < 0) {
		/* First, so that nothing comes after the ERROR. */
		stream_abandon_all(c);
		wire_put_error(&c->out, 0, &e);
		c->closing = true;
	}
}

static void conn_ready(struct watch *w, uint32_t events)
{
	struct conn *c = container_of(w, struct conn, w);

	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !c->closing &&
	    !is_held(c))
		conn_input(c);
	conn_flush(c);
}

static int greet(int fd)
{
	buf_auto struct buf b = BUF_INIT_MAX(256);

	if (wire_put_hello(&b, "iso-agent " ISO_VERSION) < 0)
		return -ENOMEM;
	return io_write_full(fd, b.data, b.len);
}

int conn_open(int fd)
{
	fd_auto int own = fd;
	struct conn *c;
	int r;

	if (nconns >= CONNS_MAX)
		return -EUSERS;
	/* Before the descriptor stops blocking: a virtio port says "end of
	 * file" until the host has connected, but a blocking write waits. */
	r = greet(own);
	if (r == 0)
		r = fd_nonblock(own, true);
	if (r < 0)
		return r;
	/* Not cleared: that would touch all of the reader, of which most peers
	 * fill a page or two. */
	c = malloc(sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->greeted = c->closing = false;
	c->held = NULL;
	c->last = 0;
	c->out_off = 0;
	c->w = (struct watch)WATCH_INIT(&agent_loop, conn_ready);
	c->out = (struct buf)BUF_INIT;
	wire_reader_init(&c->in, WIRE_CLIENT);
	c->next = conns;
	conns = c;
	nconns++;
	c->w.fd = fd_steal(&own);
	return arm(c);
}

/* The host, or where there is no vsock whoever may.  The guest has ways to
 * connect to itself, and every user of it may use them. */
static bool is_welcome(const struct sockaddr_vm *peer)
{
	return peer->svm_family != AF_VSOCK || peer->svm_cid == VMADDR_CID_HOST;
}

static void listener_ready(struct watch *w, uint32_t events)
{
	struct sockaddr_vm peer = { .svm_family = AF_UNSPEC };
	socklen_t n = sizeof(peer);
	fd_auto int fd = accept4(w->fd, (struct sockaddr *)&peer, &n,
				 SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd >= 0 && is_welcome(&peer))
		conn_open(fd_steal(&fd));
}

int conn_listen(int fd)
{
	listener = (struct watch)WATCH_INIT(&agent_loop, listener_ready);
	listener.fd = fd;
	return loop_arm(&listener, EPOLLIN);
}
