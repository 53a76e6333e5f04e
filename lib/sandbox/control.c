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
#include "base/str.h"
#include "sandbox/box.h"

#define ANSWER_MAX 65536
#define FDS_MAX 16 /* that a request may bring */

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

int box_control_open(const struct box *b, struct err *e)
{
	int fd = connect_control(b);

	if (fd == -ENOENT || fd == -ECONNREFUSED)
		return box_ended(b, e);
	return fd < 0 ? err_sys(e, -fd, "cannot reach the monitor of %s",
				b->id) :
			fd;
}

static int send_request(int fd, const char *request, const int *fds, size_t n)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = { (void *)(uintptr_t)request, strlen(request) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n > FDS_MAX)
		return -EINVAL;
	if (n) {
		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE(n * sizeof(int));
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(&control.head), fds, n * sizeof(int));
	}
	return sendmsg(fd, &m, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int receive_answer(const struct box *b, int fd, struct buf *answer,
			  uint64_t deadline, struct err *e)
{
	ssize_t n;
	int r = wait_for(fd, deadline);

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

int box_control_ask(const struct box *b, int control, const char *request,
		    const int *fds, size_t nfds, struct buf *answer,
		    uint64_t deadline, struct err *e)
{
	int r = send_request(control, request, fds, nfds);
	struct str s;

	if (r < 0)
		return err_sys(e, -r, "cannot ask the monitor of %s", b->id);
	r = receive_answer(b, control, answer, deadline, e);
	if (r < 0)
		return r;
	s = (struct str){ (const char *)answer->data, answer->len };
	if (str_starts(s, STR("error: "))) {
		s = str_trim((struct str){ s.p + 7, s.len - 7 });
		err_set(e, EREMOTEIO, "%s: %.*s", b->id, STR_ARG(s));
		return -EREMOTEIO;
	}
	if (str_starts(s, STR("ok")))
		buf_shift(answer, 2);
	return 0;
}

int box_control(const struct box *b, const char *request, struct buf *answer,
		uint64_t deadline, struct err *e)
{
	fd_auto int fd = box_control_open(b, e);
	int r = fd < 0 ? fd : send_request(fd, request, NULL, 0);

	if (fd < 0)
		return fd;
	if (r < 0)
		return err_sys(e, -r, "cannot ask the monitor of %s", b->id);
	return receive_answer(b, fd, answer, deadline, e);
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
