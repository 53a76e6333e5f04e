/* SPDX-License-Identifier: MIT
 *
 * The serial console: a 16550A whose output goes to a file of bounded size.
 * It has no input; its receiver is for ever empty.
 */
#ifndef VMM_SERIAL_H
#define VMM_SERIAL_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

struct err;

/* ---- the file ---- */

#define RING_LOG_BUF 4096
#define RING_LOG_LIMIT_MIN ((uint64_t)2 * RING_LOG_BUF)
#define RING_LOG_LIMIT ((uint64_t)1 << 20) /* for a console */

/* A text file that keeps the last of what is written to it.  Before it would
 * exceed its limit, the older half of it goes (up to the end of a line).  Not
 * for several threads at once. */
struct ring_log {
	int fd; /* borrowed */
	uint64_t size;
	uint64_t limit;
	uint64_t written; /* bytes of all times, those cut off included */
	uint64_t lost;	  /* bytes that the file system refused */
	size_t len;	  /* bytes that wait in buf */
	char buf[RING_LOG_BUF];
};

/* Append to what is in @fd, a file open for reading and writing, without
 * O_APPEND.  @limit is at least RING_LOG_LIMIT_MIN.  0 or -errno, @e filled. */
int ring_log_init(struct ring_log *l, int fd, uint64_t limit, struct err *e);

/* Add a byte; it is in the file after the next newline, at the latest when the
 * buffer is full, or after ring_log_flush(). */
void ring_log_add(struct ring_log *l, char c);
void ring_log_flush(struct ring_log *l);

/* ---- the device ---- */

#define SERIAL_PORTS 8

/* What a snapshot has of it.  Flush before. */
struct serial_state {
	uint8_t ier, lcr, mcr, fcr, scr;
	uint8_t dll, dlm;
	uint8_t thre; /* 1: the transmitter went empty, and nobody has seen */
};

struct serial {
	struct serial_state s;
	pthread_mutex_t lock; /* around all that follows, and s */
	struct ring_log log;
	int irq; /* borrowed eventfd that KVM turns into an edge; -1: none */
};

/* After reset, writing to @fd (see ring_log_init()).  0 or -errno, @e
 * filled. */
int serial_init(struct serial *d, int fd, int irq, struct err *e);
/* Flushes; closes nothing. */
void serial_free(struct serial *d);

/* The guest's accesses of @len bytes at port @off (0 to 7) of the device; from
 * any thread.  Wider ones than a byte are as many accesses of a byte. */
void serial_read(struct serial *d, unsigned off, void *p, unsigned len);
void serial_write(struct serial *d, unsigned off, const void *p, unsigned len);

/* Bring a line that has no end yet to the file: for when somebody wants to see
 * it.  Linux needs that rarely, see serial.c. */
void serial_flush(struct serial *d);

/* Its section of the state file: see vmm/state.h. */
struct state_io;
void serial_state_io(struct serial *d, struct state_io *io);

#endif
