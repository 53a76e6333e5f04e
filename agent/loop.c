/* SPDX-License-Identifier: MIT
 *
 * The agent's event loop: see loop.h.
 */
#include "agent/loop.h"

#include <errno.h>

#include "base/fd.h"

static int epfd = -1;

int loop_init(void)
{
	epfd = epoll_create1(EPOLL_CLOEXEC);
	return epfd < 0 ? -errno : 0;
}

int loop_arm(struct watch *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };
	int op = EPOLL_CTL_MOD;

	if (w->fd < 0 || w->armed == events)
		return 0;
	if (w->armed == 0)
		op = EPOLL_CTL_ADD;
	else if (events == 0)
		op = EPOLL_CTL_DEL;
	if (epoll_ctl(epfd, op, w->fd, &ev) < 0)
		return -errno;
	w->armed = events;
	return 0;
}

void loop_close(struct watch *w)
{
	loop_arm(w, 0);
	fd_close(&w->fd);
}

int loop_run(void)
{
	struct epoll_event ev;
	struct watch *w;
	int n;

	for (;;) {
		n = epoll_wait(epfd, &ev, 1, -1);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 1) {
			w = ev.data.ptr;
			w->ready(w, ev.events);
		}
	}
}
