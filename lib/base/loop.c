/* SPDX-License-Identifier: MIT
 *
 * An event loop: see loop.h.
 */
#include "base/loop.h"

#include <errno.h>

#include "base/fd.h"

int loop_init(struct loop *l)
{
	l->stop = false;
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	return l->epoll < 0 ? -errno : 0;
}

void loop_free(struct loop *l)
{
	fd_close(&l->epoll);
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
	if (epoll_ctl(w->loop->epoll, op, w->fd, &ev) < 0)
		return -errno;
	w->armed = events;
	return 0;
}

void loop_close(struct watch *w)
{
	loop_arm(w, 0);
	fd_close(&w->fd);
}

int loop_run(struct loop *l)
{
	struct epoll_event ev;
	struct watch *w;
	int n;

	while (!l->stop) {
		n = epoll_wait(l->epoll, &ev, 1, -1);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 1) {
			w = ev.data.ptr;
			w->ready(w, ev.events);
		}
	}
	return 0;
}
