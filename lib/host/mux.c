/* SPDX-License-Identifier: MIT
 *
 * Many clients, one agent: see mux.h.
 */
#include "host/mux.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "wire/msg.h"

/* Towards the agent: above this, clients are not read. */
#define AGENT_HIGH ((size_t)1 << 20)
/* Towards a client: above this, it is not read itself. */
#define CLIENT_HIGH ((size_t)1 << 20)
/* So many written bytes are kept before the rest is moved to the front: in a
 * busy buffer there is never none. */
#define COMPACT ((size_t)1 << 18)

struct mux_client {
	int fd;
	bool greeted;	/* its HELLO has come */
	bool answered;	/* ours has been sent */
	bool closing;	/* close when all is written */
	uint32_t last;	/* highest stream that it opened */
	struct buf out; /* to the client */
	size_t out_off;
	size_t polled; /* its place in the poll array */
	struct wire_reader in;
};

void mux_init(struct mux *m, int agent, int listen)
{
	memset(m, 0, sizeof(*m));
	m->agent = agent;
	m->listen = listen;
	m->out = (struct buf)BUF_INIT;
	wire_reader_init(&m->in, WIRE_AGENT);
	wire_put_hello(&m->out, "iso-host " ISO_VERSION);
	fd_nonblock(agent, true);
	fd_nonblock(listen, true);
}

static void compact(struct buf *b, size_t *off)
{
	if (*off < COMPACT)
		return;
	buf_shift(b, *off);
	*off = 0;
}

/* Write as much of @b as goes; -errno when the other end is gone. */
static int push(int fd, struct buf *b, size_t *off)
{
	while (*off < b->len) {
		ssize_t n =
			send(fd, b->data + *off, b->len - *off, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return -errno;
		if (n < 0) {
			compact(b, off);
			return 0;
		}
		*off += (size_t)n;
	}
	buf_clear(b);
	*off = 0;
	return 0;
}

/* ---- slots ---- */

static struct mux_slot *slot_of(struct mux *m, uint32_t id)
{
	struct mux_slot *s = &m->slots[id % MUX_SLOTS];

	return id && s->id == id ? s : NULL;
}

static struct mux_slot *slot_find(struct mux *m, const struct mux_client *c,
				  uint32_t client_id)
{
	size_t i;

	for (i = 0; i < MUX_SLOTS; i++) {
		if (m->slots[i].id && m->slots[i].owner == c &&
		    m->slots[i].client_id == client_id)
			return &m->slots[i];
	}
	return NULL;
}

/* A new number for the agent's side: it only ever rises, and its place in the
 * table is its remainder, so numbers whose place is taken are passed over. */
static struct mux_slot *slot_new(struct mux *m, struct mux_client *c,
				 uint32_t client_id)
{
	size_t tries;

	for (tries = 0; tries < MUX_SLOTS; tries++) {
		uint32_t id = ++m->last_id;
		struct mux_slot *s = &m->slots[id % MUX_SLOTS];

		if (s->id || id == 0)
			continue;
		*s = (struct mux_slot){
			.id = id,
			.client_id = client_id,
			.owner = c,
			.flow = WIRE_FLOW_INIT,
		};
		return s;
	}
	return NULL;
}

/* ---- clients ---- */

/* What it started is to end, and nobody is told of it. */
static void client_reset(struct mux *m, struct mux_client *c)
{
	size_t k;

	for (k = 0; k < MUX_SLOTS; k++) {
		struct mux_slot *s = &m->slots[k];

		if (s->id == 0 || s->owner != c)
			continue;
		wire_put(&m->out, WIRE_RESET, 0, s->id, NULL, 0);
		s->owner = NULL;
	}
}

static void client_drop(struct mux *m, size_t i)
{
	struct mux_client *c = m->clients[i];

	client_reset(m, c);
	fd_close(&c->fd);
	buf_free(&c->out);
	free(c);
	m->clients[i] = NULL;
}

/* One too many is told so, and not merely cut off. */
static void refuse(int fd)
{
	buf_auto struct buf b = BUF_INIT_MAX(1024);
	struct err why = ERR_INIT;

	err_set(&why, EAGAIN, "%d clients are connected, as many as can",
		MUX_CLIENTS_MAX);
	if (wire_put_error(&b, 0, &why) == 0)
		(void)!send(fd, b.data, b.len, MSG_NOSIGNAL);
}

static void client_accept(struct mux *m)
{
	fd_auto int fd =
		accept4(m->listen, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct mux_client *c;
	size_t i;

	if (fd < 0)
		return;
	for (i = 0; i < MUX_CLIENTS_MAX && m->clients[i]; i++)
		;
	c = i < MUX_CLIENTS_MAX ? calloc(1, sizeof(*c)) : NULL;
	if (!c) {
		refuse(fd);
		return;
	}
	c->fd = fd_steal(&fd);
	c->out = (struct buf)BUF_INIT;
	wire_reader_init(&c->in, WIRE_CLIENT);
	m->clients[i] = c;
}

/* The first piece of a request.  NULL: refused, the client is told. */
static struct mux_slot *client_new(struct mux *m, struct mux_client *c,
				   const struct wire_frame *f)
{
	struct mux_slot *s = slot_new(m, c, f->stream);
	struct err why = ERR_INIT;

	c->last = f->stream;
	if (s)
		return s;
	err_set(&why, EAGAIN, "%d commands are running, as many as can",
		MUX_SLOTS);
	wire_put_error(&c->out, f->stream, &why);
	return NULL;
}

static int client_stream(struct mux *m, struct mux_client *c,
			 const struct wire_frame *f, struct err *e)
{
	struct mux_slot *s = slot_find(m, c, f->stream);
	int r;

	/* What crosses the stream's end on the way means nothing any more. */
	if (!s && f->stream <= c->last)
		return 0;
	if (!s && f->type != WIRE_OPEN)
		return wire_flow_not_open(f, e);
	if (!s)
		s = client_new(m, c, f);
	if (!s)
		return 0;
	r = wire_flow_in(&s->flow, f, e);
	return r < 0 ? r :
		       wire_put(&m->out, f->type, f->channel, s->id, f->data,
				f->len);
}

static int client_frame(struct mux *m, struct mux_client *c,
			const struct wire_frame *f, struct err *e)
{
	if (!c->greeted) {
		c->greeted = true;
		return wire_check_hello(f, e);
	}
	if (f->type == WIRE_SHUTDOWN) {
		mux_shutdown(m);
		return 0;
	}
	if (f->type == WIRE_PING)
		return wire_put(&c->out, WIRE_PONG, 0, 0, f->data, f->len);
	if (f->stream == 0)
		return f->type == WIRE_PONG ?
			       0 :
			       err_set(e, EPROTO,
				       "protocol broken: second HELLO");
	return client_stream(m, c, f, e);
}

/* False when the client has to go. */
static bool client_input(struct mux *m, struct mux_client *c)
{
	struct err e = ERR_INIT;
	struct wire_frame f;
	int r = wire_read(&c->in, c->fd);

	if (r == -EAGAIN)
		return true;
	if (r <= 0)
		return false;
	while ((r = wire_next(&c->in, &f, &e)) > 0) {
		r = client_frame(m, c, &f, &e);
		if (r < 0)
			break;
	}
	if (r < 0) {
		/* First, so that nothing comes after the ERROR. */
		client_reset(m, c);
		wire_put_error(&c->out, 0, &e);
		c->closing = true;
	}
	return true;
}

static bool client_serve(struct mux *m, struct mux_client *c, short revents)
{
	if (revents & (POLLIN | POLLHUP | POLLERR) && !c->closing &&
	    !client_input(m, c))
		return false;
	if (m->ready && !c->answered) {
		c->answered = true;
		wire_put_hello(&c->out, "iso-host " ISO_VERSION);
	}
	if (c->out.failed || push(c->fd, &c->out, &c->out_off) < 0)
		return false;
	return !(c->closing && c->out.len == 0);
}

/* ---- the agent ---- */

static int agent_frame(struct mux *m, const struct wire_frame *f, struct err *e)
{
	struct mux_slot *s;
	int r = 0;

	if (f->type == WIRE_ERROR) {
		wire_get_error(f, e);
		return -ECONNABORTED;
	}
	if (!m->ready) {
		m->ready = true;
		return wire_check_hello(f, e);
	}
	if (f->type == WIRE_PING)
		return wire_put(&m->out, WIRE_PONG, 0, 0, f->data, f->len);
	s = slot_of(m, f->stream);
	if (!s)
		return 0;
	wire_flow_out(&s->flow, f);
	if (s->owner)
		r = wire_put(&s->owner->out, f->type, f->channel, s->client_id,
			     f->data, f->len);
	if (f->type == WIRE_EXIT || f->type == WIRE_FAILED)
		s->id = 0;
	/* A client for which there is no memory is dropped by its own turn. */
	(void)r;
	return 0;
}

static int agent_input(struct mux *m, struct err *e)
{
	struct wire_frame f;
	int r = wire_read(&m->in, m->agent);

	if (r == -EAGAIN)
		return 0;
	if (r <= 0)
		return err_sys(e, r ? -r : ECONNRESET,
			       "the agent's port was closed");
	while ((r = wire_next(&m->in, &f, e)) > 0) {
		r = agent_frame(m, &f, e);
		if (r < 0)
			return r;
	}
	return r;
}

/* ---- the loop's two halves ---- */

size_t mux_want(struct mux *m, struct pollfd *pf)
{
	bool full = m->out.len - m->out_off >= AGENT_HIGH;
	size_t i, n = 0;

	pf[n++] = (struct pollfd){ m->agent, POLLIN, 0 };
	if (m->out.len)
		pf[0].events |= POLLOUT;
	pf[n++] = (struct pollfd){ m->listen, POLLIN, 0 };
	for (i = 0; i < MUX_CLIENTS_MAX; i++) {
		struct mux_client *c = m->clients[i];

		if (!c)
			continue;
		c->polled = n;
		pf[n] = (struct pollfd){ c->fd, 0, 0 };
		if (!full && !c->closing &&
		    c->out.len - c->out_off < CLIENT_HIGH)
			pf[n].events |= POLLIN;
		if (c->out.len || (m->ready && !c->answered))
			pf[n].events |= POLLOUT;
		n++;
	}
	return n;
}

int mux_serve(struct mux *m, const struct pollfd *pf, size_t n, struct err *e)
{
	size_t i;
	int r;

	if (pf[0].revents & (POLLIN | POLLHUP | POLLERR)) {
		r = agent_input(m, e);
		if (r < 0)
			return r;
	}
	for (i = 0; i < MUX_CLIENTS_MAX; i++) {
		struct mux_client *c = m->clients[i];

		/* All of them, not only those that poll named: the agent's
		 * frames above may have given any of them something. */
		if (c && c->polled < n &&
		    !client_serve(m, c, pf[c->polled].revents))
			client_drop(m, i);
	}
	if (pf[1].revents)
		client_accept(m);
	if (m->out.failed)
		return err_sys(e, ENOMEM, "frames for the agent");
	r = push(m->agent, &m->out, &m->out_off);
	return r < 0 ? err_sys(e, -r, "the agent's port was closed") : 0;
}

void mux_shutdown(struct mux *m)
{
	if (!m->shutdown)
		wire_put(&m->out, WIRE_SHUTDOWN, 0, 0, NULL, 0);
	m->shutdown = true;
}

void mux_close(struct mux *m, const struct err *why)
{
	size_t i;

	for (i = 0; i < MUX_CLIENTS_MAX; i++) {
		struct mux_client *c = m->clients[i];

		if (!c)
			continue;
		wire_put_error(&c->out, 0, why);
		push(c->fd, &c->out, &c->out_off);
		client_drop(m, i);
	}
	buf_free(&m->out);
	fd_close(&m->agent);
	fd_close(&m->listen);
}
