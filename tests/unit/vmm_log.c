/* SPDX-License-Identifier: MIT
 *
 * The monitor's log, which a guest can have written to for years.
 */
#include "tests/tap.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "vmm/log.h"

static struct vmm_log l;
static char text[2 * LOG_MAX];

static void begin(void)
{
	vmm_log_init(&l, memfd_create("log", MFD_CLOEXEC));
	if (l.fd < 0)
		bail("no file");
}

/* What was written, as a string. */
static size_t contents(void)
{
	ssize_t n = pread(l.fd, text, sizeof(text) - 1, 0);

	if (n < 0)
		bail("cannot read the log");
	text[n] = '\0';
	return (size_t)n;
}

static unsigned lines(void)
{
	unsigned n = 0;
	const char *p;

	contents();
	for (p = text; (p = strchr(p, '\n')); p++)
		n++;
	return n;
}

static void rate(void)
{
	unsigned i;

	begin();
	for (i = 0; i < 1000; i++)
		vmm_log(&l, "line %u", i);
	ok(lines() >= LOG_BURST && lines() < LOG_BURST + 10,
	   "so many lines at once, and no more");
	l.filled_at -= CLOCK_S(1);
	vmm_log(&l, "later");
	contents();
	ok(strstr(text, " lines left out) later\n") != NULL,
	   "a second later one more, which counts the others");
	close(l.fd);
}

static void size(void)
{
	char long_line[2 * LOG_LINE];
	size_t full, now;
	unsigned i;

	begin();
	memset(long_line, 'x', sizeof(long_line) - 1);
	long_line[sizeof(long_line) - 1] = '\0';
	for (i = 0; i < 2 * LOG_MAX / LOG_LINE; i++) {
		l.tokens = LOG_BURST; /* years pass */
		vmm_log(&l, "%s", long_line);
	}
	full = contents();
	ok(full > LOG_MAX - 4 * LOG_LINE && full < LOG_MAX - LOG_LINE,
	   "it has an end");
	ok(strstr(text, "\niso-vmm: this log is full: "
			"nothing more is said but the end\n") != NULL,
	   "which is said");
	vmm_log_last(&l, "power-off: %s", long_line);
	now = contents();
	ok(now > full && now <= LOG_MAX &&
		   strncmp(text + full, "iso-vmm: power-off: x", 21) == 0,
	   "and the last line is written");
	close(l.fd);
}

int main(void)
{
	rate();
	size();
	return tap_done();
}
