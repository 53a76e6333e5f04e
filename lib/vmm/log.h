/* SPDX-License-Identifier: MIT
 *
 * What the monitor says while it runs: lines in the sandbox's vmm.log.
 *
 * A guest can provoke most of them, so there is a limit to what it can write:
 * a burst of LOG_BURST lines, and one more a second after that.  What was left
 * out is counted and said with the next line that passes.  And there is an end
 * to it, after LOG_MAX bytes: a guest may live for years.
 */
#ifndef VMM_LOG_H
#define VMM_LOG_H

#include <pthread.h>
#include <stdint.h>

#define LOG_BURST 32
#define LOG_LINE 256
#define LOG_MAX ((uint64_t)1 << 20)

struct vmm_log {
	int fd; /* borrowed; -1: nobody listens */
	pthread_mutex_t lock;
	uint64_t filled_at; /* clock_now() when tokens was right */
	unsigned tokens;
	uint64_t dropped;
	uint64_t written; /* bytes */
};

void vmm_log_init(struct vmm_log *l, int fd);

/* One line, "iso-vmm: " in front.  Any thread. */
void vmm_log(struct vmm_log *l, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* The same, whatever was said before: for the line that says how it ended. */
void vmm_log_last(struct vmm_log *l, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
