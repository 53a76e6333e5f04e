/* SPDX-License-Identifier: MIT
 *
 * Progress of long work: a bar with rate and time left on a terminal, a plain
 * line now and then in a log, nothing when quiet.  The caller names the
 * descriptor; nothing is drawn by a timer, so work that stands still draws a
 * bar that stands still.
 */
#ifndef BASE_PROGRESS_H
#define BASE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

enum progress_style {
	PROGRESS_QUIET,
	PROGRESS_LINES,
	PROGRESS_BAR,
};

struct progress {
	int fd; /* borrowed */
	enum progress_style style;
	const char *prog; /* before each line of a log; borrowed */
	char what[64];	  /* what is being done */
	uint64_t total;	  /* bytes; 0: not known */
	uint64_t done;
	uint64_t started; /* clock_now() */
	uint64_t drawn;	  /* clock_now() of the last drawing */
};

/* The style that suits @fd: a bar on a terminal, lines elsewhere. */
enum progress_style progress_style_of(int fd, bool quiet);

void progress_begin(struct progress *p, const char *what, uint64_t total);
void progress_update(struct progress *p, uint64_t done);
/* Finish the line; says the time it took when @ok. */
void progress_end(struct progress *p, bool ok);

#endif
