/* SPDX-License-Identifier: MIT
 *
 * The agent's event loop.
 *
 * One event is taken from the kernel at a time: a handler may destroy any
 * other object, and nothing of it is left in a batch that was fetched before.
 * The price is a system call an event, which is less than the read that
 * follows it.
 */
#ifndef AGENT_LOOP_H
#define AGENT_LOOP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#define container_of(p, type, member) \
	((type *)(void *)((char *)(p)-offsetof(type, member)))

struct watch {
	int fd;		/* -1: not watched; owned */
	uint32_t armed; /* EPOLLIN, EPOLLOUT; 0: not in the epoll set */
	void (*ready)(struct watch *w, uint32_t events);
};

#define WATCH_INIT(handler)                              \
	{                                                \
		.fd = -1, .armed = 0, .ready = (handler) \
	}

/* 0 or -errno. */
int loop_init(void);

/* Ask for @events (0: none, not even hang-ups).  0 or -errno. */
int loop_arm(struct watch *w, uint32_t events);

/* Stop watching and close the descriptor. */
void loop_close(struct watch *w);

/* Serve until something fails for good.  -errno. */
int loop_run(void);

#endif
