/* SPDX-License-Identifier: MIT
 *
 * An event loop: descriptors, and what to call when they are ready.  A thread
 * that serves one has it for itself.
 *
 * One event is taken from the kernel at a time: a handler may destroy any
 * other object, and nothing of it is left in a batch that was fetched before.
 * The price is a system call an event, which is less than the read that
 * follows it.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#define container_of(p, type, member) \
	((type *)(void *)((char *)(p)-offsetof(type, member)))

struct loop {
	int epoll;
	bool stop; /* set by a handler: loop_run() returns */
};

#define LOOP_INIT                           \
	{                                   \
		.epoll = -1, .stop = false, \
	}

struct watch {
	struct loop *loop;
	int fd;		/* -1: not watched; owned */
	uint32_t armed; /* EPOLLIN, EPOLLOUT; 0: not in the epoll set */
	void (*ready)(struct watch *w, uint32_t events);
};

#define WATCH_INIT(lp, handler)                                         \
	{                                                               \
		.loop = (lp), .fd = -1, .armed = 0, .ready = (handler), \
	}

/* 0 or -errno. */
int loop_init(struct loop *l);
void loop_free(struct loop *l);

/* Ask for @events (0: none, not even hang-ups).  0 or -errno. */
int loop_arm(struct watch *w, uint32_t events);

/* Stop watching and close the descriptor. */
void loop_close(struct watch *w);

/* Serve until a handler sets l->stop, 0, or something fails for good,
 * -errno. */
int loop_run(struct loop *l);

#endif
