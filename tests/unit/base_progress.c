/* SPDX-License-Identifier: MIT
 *
 * Progress in its three styles, written to a pipe.  Time is made to pass by
 * setting back when the work was started and last drawn.
 */
#include "tests/tap.h"

#include "base/clock.h"
#include "base/progress.h"

#include <fcntl.h>
#include <unistd.h>

struct pipe_end {
	int p[2];
	char text[1024];
};

/* What has been written since the last call. */
static const char *written(struct pipe_end *t)
{
	ssize_t n = read(t->p[0], t->text, sizeof(t->text) - 1);

	t->text[n > 0 ? n : 0] = '\0';
	return t->text;
}

static void later(struct progress *p, uint64_t ns)
{
	p->started -= ns;
	p->drawn -= ns;
}

static void quiet(struct pipe_end *t)
{
	struct progress p = { .fd = t->p[1],
			      .style = PROGRESS_QUIET,
			      .prog = "iso-x" };

	progress_begin(&p, "reading", 100);
	later(&p, CLOCK_S(60));
	progress_update(&p, 50);
	progress_end(&p, true);
	is_str(written(t), "", "quiet says nothing");
	is_int(p.done, 50, "but counts");
}

static void lines(struct pipe_end *t)
{
	struct progress p = { .fd = t->p[1],
			      .style = PROGRESS_LINES,
			      .prog = "iso-x" };
	const char *got;

	progress_begin(&p, "reading", 10 << 20);
	is_str(written(t), "iso-x: reading\n", "a line at the start");
	later(&p, CLOCK_MS(4900));
	progress_update(&p, 1 << 20);
	is_str(written(t), "", "none before five seconds");
	later(&p, CLOCK_MS(100));
	progress_update(&p, 6 << 20);
	got = written(t);
	has_str(got, "iso-x: reading: 6.0 MiB of 10.0 MiB, ", "then one");
	has_str(got, "1.2 MiB/s, 3 s left\n", "with rate and time left");
	progress_update(&p, 6 << 20);
	is_str(written(t), "", "and not another at once");
	progress_end(&p, true);
	is_str(written(t), "iso-x: reading: done, 6.0 MiB in 5.0 s\n",
	       "the end says what it took");
	progress_begin(&p, "reading", 0);
	written(t);
	progress_end(&p, false);
	is_str(written(t), "", "of a failure others tell");
}

static void bar(struct pipe_end *t)
{
	struct progress p = { .fd = t->p[1],
			      .style = PROGRESS_BAR,
			      .prog = "iso-x" };

	progress_begin(&p, "reading", 4096);
	is_str(written(t), "\r\033[Kreading", "a bar starts as a word");
	later(&p, CLOCK_S(1));
	progress_update(&p, 1024);
	has_str(written(t),
		"\r\033[Kreading [######..................] "
		"1.0 KiB of 4.0 KiB",
		"a quarter of it");
	later(&p, CLOCK_S(1));
	progress_update(&p, 1 << 20);
	has_str(written(t), "[########################] 1.0 MiB of 4.0 KiB",
		"more than all of it is full");
	progress_end(&p, true);
	has_str(written(t), "\r\033[Kiso-x: reading: done, 1.0 MiB in 2.0 s\n",
		"the end leaves one line");
	progress_begin(&p, "waiting", 0);
	written(t);
	later(&p, CLOCK_S(1));
	progress_update(&p, UINT64_MAX);
	has_str(written(t), "waiting  16777216.0 TiB, ", "no total, no bar");
	progress_end(&p, false);
	is_str(written(t), "\r\033[K", "a failure wipes the bar away");
}

static void nowhere(void)
{
	struct progress p = { .fd = -1, .style = PROGRESS_LINES, .prog = "x" };
	char what[200];

	memset(what, 'w', sizeof(what) - 1);
	what[sizeof(what) - 1] = '\0';
	progress_begin(&p, what, 1);
	progress_update(&p, 1);
	progress_end(&p, true);
	is_int(strlen(p.what), sizeof(p.what) - 1,
	       "a long name is cut; nowhere to write is no failure");
}

int main(void)
{
	struct pipe_end t;

	if (pipe2(t.p, O_NONBLOCK) < 0)
		bail("no pipe");
	is_int(progress_style_of(t.p[1], false), PROGRESS_LINES,
	       "a pipe gets lines");
	is_int(progress_style_of(t.p[1], true), PROGRESS_QUIET, "or nothing");
	quiet(&t);
	lines(&t);
	bar(&t);
	nowhere();
	return tap_done();
}
