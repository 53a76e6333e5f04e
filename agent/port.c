/* SPDX-License-Identifier: MIT
 *
 * Ports: see port.h.
 *
 * A stream's two directions are watched apart, so the socket has two
 * descriptors: in_w writes to it, out[0] reads.  Each end of file goes over by
 * itself; with both, the stream is over.
 */
#include "agent/port.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/server.h"
#include "base/err.h"
#include "base/fd.h"
#include "wire/msg.h"

/* Begin to connect to the address family @family.  A socket or -errno. */
static int begin(int family, uint32_t port)
{
	struct sockaddr_in v4 = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	struct sockaddr_in6 v6 = {
		.sin6_family = AF_INET6,
		.sin6_port = htons((uint16_t)port),
		.sin6_addr = IN6ADDR_LOOPBACK_INIT,
	};
	const struct sockaddr *sa = family == AF_INET ?
					    (const struct sockaddr *)&v4 :
					    (const struct sockaddr *)&v6;
	socklen_t n = family == AF_INET ? sizeof(v4) : sizeof(v6);
	fd_auto int fd =
		socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (connect(fd, sa, n) < 0 && errno != EINPROGRESS)
		return -errno;
	return fd_steal(&fd);
}

static int refused(const struct stream *s, int r, struct err *e)
{
	return err_sys(e, -r, "cannot connect to port %u in the guest",
		       s->port);
}

/* Nothing answers at 127.0.0.1; if there is no ::1 that is the reason. */
static int begin_v6(struct stream *s, int why, struct err *e)
{
	s->in_w.fd = begin(AF_INET6, s->port);
	s->port_v6 = true;
	if (s->in_w.fd < 0)
		return refused(s, why, e);
	return loop_arm(&s->in_w, EPOLLOUT);
}

/* ---- connected ---- */

static void port_in_end(struct stream *s)
{
	if (s->in_w.fd < 0)
		return;
	shutdown(s->in_w.fd, SHUT_WR);
	loop_close(&s->in_w);
}

static void port_more(struct stream *s, int i)
{
	loop_arm(&s->out[i].w, EPOLLIN);
}

static void port_unwanted(struct stream *s, int i)
{
	loop_close(&s->out[i].w);
}

static void port_signal(struct stream *s, int sig)
{
	(void)s;
	(void)sig;
}

static bool port_lost(struct stream *s)
{
	(void)s;
	return true;
}

static void port_reset(struct stream *s)
{
	struct err why = ERR_INIT;

	if (s->in_wait) {
		err_set(&why, ECANCELED, "taken back");
		stream_fail(s, &why);
		return;
	}
	s->reset = true;
	loop_close(&s->in_w);
	stream_ended(s, 0);
}

/* Both directions have ended; or the connection is broken, of which the one
 * that only writes hears nothing. */
static void port_settle(struct stream *s)
{
	struct pollfd pf = { s->in_w.fd, 0, 0 };

	if (s->in_wait || s->out[0].w.fd >= 0)
		return;
	if (s->in_w.fd < 0 ||
	    (poll(&pf, 1, 0) > 0 && pf.revents & (POLLHUP | POLLERR)))
		stream_ended(s, 0);
}

static const struct stream_ops port_ops = {
	.in_end = port_in_end,
	.more = port_more,
	.unwanted = port_unwanted,
	.signal = port_signal,
	.reset = port_reset,
	.lost = port_lost,
	.settle = port_settle,
};

/* ---- connecting ---- */

static int connected(struct stream *s, struct err *e)
{
	s->out[0].w.fd = fcntl(s->in_w.fd, F_DUPFD_CLOEXEC, 0);
	if (s->out[0].w.fd < 0)
		return err_sys(e, errno, "cannot read from port %u", s->port);
	loop_arm(&s->in_w, 0);
	s->in_w.ready = in_ready;
	s->in_wait = false;
	wire_put_u32(&s->conn->out, WIRE_STARTED, 0, s->id, 0);
	/* What has come meanwhile. */
	in_push(s);
	return loop_arm(&s->out[0].w, EPOLLIN);
}

static void connecting(struct watch *w, uint32_t events)
{
	struct stream *s = container_of(w, struct stream, in_w);
	struct conn *c = s->conn;
	struct err why = ERR_INIT;
	socklen_t n = sizeof(int);
	int error = 0, r;

	(void)events;
	if (getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
		error = errno;
	if (error == 0) {
		r = connected(s, &why);
	} else {
		loop_close(w);
		r = s->port_v6 || error != ECONNREFUSED ?
			    refused(s, -error, &why) :
			    begin_v6(s, -error, &why);
	}
	if (r < 0)
		stream_fail(s, &why);
	conn_flush(c);
}

int port_start(struct stream *s, const struct wire_request *x, struct err *e)
{
	int r = 0;

	s->ops = &port_ops;
	s->port = x->port;
	s->in_wait = true;
	s->in_w.ready = connecting;
	s->in_w.fd = begin(AF_INET, x->port);
	if (s->in_w.fd < 0)
		r = begin_v6(s, s->in_w.fd, e);
	else
		r = loop_arm(&s->in_w, EPOLLOUT);
	return r < 0 ? r : RUN_LATER;
}
