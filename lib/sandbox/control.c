/* SPDX-License-Identifier: MIT
 *
 * Asking a sandbox's monitor, and ending it: see box.h.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "sandbox/box.h"

#define ANSWER_MAX 65536

static int connect_control(const struct box *b)
{
	fd_auto int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	if (fd < 0)
		return -errno;
	snprintf(sa.sun_path, sizeof(sa.sun_path),
		 "/proc/self/fd/%d/control.sock", b->dir);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -errno;
	return fd_steal(&fd);
}

/* Wait for @fd to become readable.  0, -ETIMEDOUT, or another -errno. */
static int wait_for(int fd, uint64_t deadline)
{
	struct pollfd pf = { fd, POLLIN, 0 };
	int n;

	do {
		n = poll(&pf, 1, clock_until_ms(deadline));
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n == 0 ? -ETIMEDOUT : 0;
}

int box_control(const struct box *b, const char *request, struct buf *answer,
		uint64_t deadline, struct err *e)
{
	fd_auto int fd = connect_control(b);
	ssize_t n;
	int r;

	if (fd == -ENOENT || fd == -ECONNREFUSED)
		return box_ended(b, e);
	if (fd < 0)
		return err_sys(e, -fd, "cannot reach the monitor of %s", b->id);
	if (send(fd, request, strlen(request), MSG_NOSIGNAL) < 0)
		return err_sys(e, errno, "cannot ask the monitor of %s", b->id);
	r = wait_for(fd, deadline);
	if (r < 0)
		return err_sys(e, -r, "the monitor of %s does not answer",
			       b->id);
	buf_clear(answer);
	r = buf_reserve(answer, ANSWER_MAX);
	n = r < 0 ? r : recv(fd, answer->data, ANSWER_MAX, 0);
	if (n < 0)
		return err_sys(e, r < 0 ? -r : errno,
			       "no answer from the monitor of %s", b->id);
	answer->len = (size_t)n;
	return n ? 0 : box_ended(b, e);
}

int box_stop(const struct box *b, uint64_t deadline, struct err *e)
{
	fd_auto int pidfd = box_pidfd(b);
	fd_auto int control = -1;

	if (pidfd == -ESRCH)
		return 0;
	if (pidfd < 0)
		return err_sys(e, -pidfd, "cannot end the monitor of %s",
			       b->id);
	if (deadline > clock_now()) {
		control = connect_control(b);
		if (control >= 0 &&
		    send(control, "quit", 4, MSG_NOSIGNAL) == 4 &&
		    wait_for(pidfd, deadline) == 0)
			return 0;
	}
	if (syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) < 0 &&
	    errno != ESRCH)
		return err_sys(e, errno, "cannot end the monitor of %s", b->id);
	/* It has no say in this any more: no deadline. */
	return wait_for(pidfd, UINT64_MAX);
}

void box_explain_loss(const struct box *b, uint64_t deadline, struct err *e)
{
	fd_auto int pidfd = box_pidfd(b);

	if (pidfd >= 0 && !box_is_over(b))
		wait_for(pidfd, deadline);
	if (box_is_over(b))
		box_ended(b, e);
}
