/* SPDX-License-Identifier: MIT
 *
 * Connections to a sandbox's guest: see box.h.
 *
 * The monitor takes a connection when the guest's agent is up and not before,
 * so that connecting is at the same time waiting for it.  The deadline holds
 * until the agent's greeting is there, all of it: neither a monitor that takes
 * nobody nor a guest that says half of it keeps anybody waiting for ever.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "sandbox/box.h"
#include "wire/client.h"

#define LINE_ROOM 64

struct box_wait box_wait_usual(void)
{
	return (struct box_wait){ .deadline = clock_now() + BOX_PATIENCE,
				  .cancel = -1 };
}

/* Where the monitor's queue is full connect(2) waits, as long as a write may
 * take (unix(7)); nothing that is written later is to have that limit. */
static int limit_writes(int fd, uint64_t deadline)
{
	int ms = clock_until_ms(deadline);
	struct timeval t = { 0, 0 }; /* for ever */

	if (ms >= 0) {
		t.tv_sec = ms / 1000;
		t.tv_usec = ms % 1000 * 1000L + 1;
	}

	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)) < 0)
		return -errno;
	return 0;
}

static int connect_vsock(const struct box *b, const struct box_wait *w)
{
	fd_auto int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int r;

	if (fd < 0)
		return -errno;
	r = limit_writes(fd, w->deadline);
	if (r < 0)
		return r;
	snprintf(sa.sun_path, sizeof(sa.sun_path),
		 "/proc/self/fd/%d/vsock.sock", b->dir);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	r = limit_writes(fd, UINT64_MAX);
	return r < 0 ? r : fd_steal(&fd);
}

static int wait_readable(int fd, const struct box_wait *w)
{
	struct pollfd pf[2] = { { fd, POLLIN, 0 }, { w->cancel, POLLIN, 0 } };
	int n;

	do {
		n = poll(pf, 2, clock_until_ms(w->deadline));
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n == 0 ? -ETIMEDOUT : pf[1].revents ? -EINTR : 0;
}

/* The answer to CONNECT and not a byte more: what is behind it is the
 * guest's.  0 or -errno: -ECONNRESET when the connection ended instead. */
static int read_ok(int fd)
{
	char line[LINE_ROOM];
	ssize_t n = recv(fd, line, sizeof(line), MSG_PEEK);
	char *end;

	/* It comes in one piece, for it is written in one. */
	if (n <= 0)
		return n < 0 ? -errno : -ECONNRESET;
	end = memchr(line, '\n', (size_t)n);
	if (n < 3 || memcmp(line, "OK ", 3) != 0 || !end)
		return -EPROTO;
	n = io_read_full(fd, line, (size_t)(end - line) + 1);
	return n < 0 ? (int)n : 0;
}

static int failed(const struct box *b, int num, struct err *e)
{
	switch (num) {
	case ENOENT:
	case ECONNREFUSED:
	case ECONNRESET:
	case EPIPE:
		if (box_is_over(b))
			return box_ended(b, e);
		break;
	case ETIMEDOUT:
		return err_set(e, ETIMEDOUT, "the guest of %s does not answer",
			       b->id);
	case EINTR:
		return err_set(e, EINTR, "interrupted");
	case EPROTO:
		return err_set(e, EPROTO,
			       "the monitor of %s speaks another language than "
			       "this program",
			       b->id);
	default:
		break;
	}
	return err_sys(e, num, "cannot connect to the guest of %s", b->id);
}

int box_connect(const struct box *b, const struct box_wait *w, struct err *e)
{
	static const char request[] = "CONNECT 1024\n";
	fd_auto int fd = connect_vsock(b, w);
	int r = fd < 0 ? fd : io_write_full(fd, request, strlen(request));

	if (r == 0)
		r = wait_readable(fd, w);
	if (r == 0)
		r = read_ok(fd);
	if (r == 0)
		r = wait_readable(fd, w);
	if (r < 0)
		return failed(b, -r, e);
	r = wire_greet_until(fd, w->deadline, e);
	if (r == -ECONNRESET || r == -ETIMEDOUT)
		return failed(b, -r, e);
	return r < 0 ? err_in(e, "%s", b->id) : fd_steal(&fd);
}
