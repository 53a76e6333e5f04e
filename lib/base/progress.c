/* SPDX-License-Identifier: MIT
 *
 * Progress of long work: see progress.h.
 */
#include "base/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"

#define BAR_WIDTH 24
#define REDRAW_BAR CLOCK_MS(100)
#define REDRAW_LINES CLOCK_S(5)

enum progress_style progress_style_of(int fd, bool quiet)
{
	if (quiet)
		return PROGRESS_QUIET;
	return isatty(fd) ? PROGRESS_BAR : PROGRESS_LINES;
}

/* "12.3 MiB" */
static void human_bytes(char out[16], uint64_t n)
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double v = (double)n;
	size_t i = 0;

	/* What would be rounded to 1024.0 is one of the next unit. */
	while (v >= 1023.95 && i < 4) {
		v /= 1024;
		i++;
	}
	snprintf(out, 16, i ? "%.1f %s" : "%.0f %s", v, unit[i]);
}

static void put(const struct progress *p, const char *line)
{
	/* Progress that cannot be shown is no reason to fail the work. */
	(void)io_write_full(p->fd, line, strlen(line));
}

static void bar_of(char out[BAR_WIDTH + 3], uint64_t done, uint64_t total)
{
	size_t full =
		total ? (size_t)((double)done / (double)total * BAR_WIDTH) : 0;
	size_t i;

	if (full > BAR_WIDTH)
		full = BAR_WIDTH;
	out[0] = '[';
	for (i = 0; i < BAR_WIDTH; i++)
		out[i + 1] = i < full ? '#' : '.';
	out[BAR_WIDTH + 1] = ']';
	out[BAR_WIDTH + 2] = '\0';
}

/* " 12.3 MiB of 40.0 MiB, 8.1 MiB/s, 3 s left" */
static void figures(const struct progress *p, char *out, size_t size)
{
	double secs = (double)(clock_now() - p->started) / 1e9;
	double rate = secs > 0 ? (double)p->done / secs : 0;
	char done[16], total[16], per[16];

	human_bytes(done, p->done);
	human_bytes(total, p->total);
	human_bytes(per, (uint64_t)rate);
	if (!p->total)
		snprintf(out, size, "%s, %s/s", done, per);
	else if (p->done < p->total && rate > 0)
		snprintf(out, size, "%s of %s, %s/s, %.0f s left", done, total,
			 per, (double)(p->total - p->done) / rate);
	else
		snprintf(out, size, "%s of %s, %s/s", done, total, per);
}

static void draw(struct progress *p)
{
	char line[256], text[128], bar[BAR_WIDTH + 3];

	p->drawn = clock_now();
	figures(p, text, sizeof(text));
	if (p->style == PROGRESS_LINES) {
		snprintf(line, sizeof(line), "%s: %s: %s\n", p->prog, p->what,
			 text);
	} else {
		bar_of(bar, p->done, p->total);
		snprintf(line, sizeof(line), "\r\033[K%s %s %s", p->what,
			 p->total ? bar : "", text);
	}
	put(p, line);
}

void progress_begin(struct progress *p, const char *what, uint64_t total)
{
	char line[128];

	snprintf(p->what, sizeof(p->what), "%s", what);
	p->total = total;
	p->done = 0;
	p->started = clock_now();
	p->drawn = p->started;
	if (p->style == PROGRESS_QUIET)
		return;
	snprintf(line, sizeof(line),
		 p->style == PROGRESS_BAR ? "\r\033[K%.0s%s" : "%s: %s\n",
		 p->prog, p->what);
	put(p, line);
}

void progress_update(struct progress *p, uint64_t done)
{
	uint64_t every = p->style == PROGRESS_BAR ? REDRAW_BAR : REDRAW_LINES;

	p->done = done;
	if (p->style != PROGRESS_QUIET && clock_now() - p->drawn >= every)
		draw(p);
}

void progress_end(struct progress *p, bool ok)
{
	double secs = (double)(clock_now() - p->started) / 1e9;
	char line[160], done[16];

	if (p->style == PROGRESS_QUIET)
		return;
	human_bytes(done, p->done);
	if (p->style == PROGRESS_BAR)
		put(p, "\r\033[K");
	/* A failure is told by whoever prints the error. */
	if (!ok)
		return;
	if (p->done)
		snprintf(line, sizeof(line), "%s: %s: done, %s in %.1f s\n",
			 p->prog, p->what, done, secs);
	else
		snprintf(line, sizeof(line), "%s: %s: done in %.1f s\n",
			 p->prog, p->what, secs);
	put(p, line);
}
