/* SPDX-License-Identifier: MIT
 *
 * Descriptors and heap pointers that release themselves.
 *
 * The rule of the house: tools and libraries declare a resource with fd_auto,
 * mem_auto (or the _auto of its type) and hand it on with a steal; the ordered
 * label ladder is for bringing up a virtual machine, where order is the
 * meaning.  No function mixes the two.
 */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <stdbool.h>
#include <stddef.h>

struct err;

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define fd_auto __attribute__((cleanup(fd_close)))
#define mem_auto __attribute__((cleanup(mem_free)))

/* Close *@fd unless it is negative, set it to -1, leave errno alone. */
void fd_close(int *fd);

/* Free what the pointer at @p points to; leaves errno alone. */
void mem_free(void *p);

/* Take the descriptor out of *@fd, which becomes -1. */
static inline int fd_steal(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* Take the pointer out of *@pp (of any pointer type), which becomes NULL. */
#define ptr_steal(pp)                             \
	__extension__({                           \
		__typeof__(*(pp)) taken_ = *(pp); \
		*(pp) = NULL;                     \
		taken_;                           \
	})

/* Set O_NONBLOCK on @fd to @on.  0 or -errno. */
int fd_nonblock(int fd, bool on);

/* Open /dev/null on whichever of 0, 1 and 2 is closed, so that no descriptor
 * opened later is taken for standard output.  0 or -errno. */
int fd_ensure_stdio(void);

#endif
