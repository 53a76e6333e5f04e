/* SPDX-License-Identifier: MIT
 *
 * The monitor's log: see log.h.
 */
#include "vmm/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

void vmm_log_init(struct vmm_log *l, int fd)
{
	*l = (struct vmm_log){ .fd = fd,
			       .filled_at = clock_now(),
			       .tokens = LOG_BURST };
	pthread_mutex_init(&l->lock, NULL);
}

/* Whether a line may pass now. */
static int take(struct vmm_log *l)
{
	const uint64_t now = clock_now();
	const uint64_t earned = (now - l->filled_at) / CLOCK_S(1);

	if (earned) {
		l->filled_at += earned * CLOCK_S(1);
		l->tokens = earned > LOG_BURST - l->tokens ?
				    LOG_BURST :
				    l->tokens + (unsigned)earned;
	}
	if (l->tokens == 0) {
		l->dropped++;
		return 0;
	}
	l->tokens--;
	return 1;
}

static int begin(struct vmm_log *l, char *line)
{
	int n = snprintf(line, LOG_LINE, "iso-vmm: ");

	if (l->dropped)
		n = snprintf(line, LOG_LINE, "iso-vmm: (%llu lines left out) ",
			     (unsigned long long)l->dropped);
	l->dropped = 0;
	return n;
}

static void write_line(struct vmm_log *l, const char *fmt, va_list ap)
{
	char line[LOG_LINE];
	int n = begin(l, line);
	int m = vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);

	n += m < 0 ? 0 : m;
	if (n > LOG_LINE - 2)
		n = LOG_LINE - 2;
	line[n++] = '\n';
	(void)!write(l->fd, line, (size_t)n);
	l->written += (uint64_t)n;
}

/* With room for the line that says so, and for the last one. */
static bool is_full(const struct vmm_log *l)
{
	return l->written > LOG_MAX - 3UL * LOG_LINE;
}

void vmm_log(struct vmm_log *l, const char *fmt, ...)
{
	static const char full[] = "iso-vmm: this log is full: nothing more is "
				   "said but the end\n";
	va_list ap;

	if (l->fd < 0)
		return;
	pthread_mutex_lock(&l->lock);
	if (!is_full(l) && take(l)) {
		va_start(ap, fmt);
		write_line(l, fmt, ap);
		va_end(ap);
		if (is_full(l))
			(void)!write(l->fd, full, sizeof(full) - 1);
	}
	pthread_mutex_unlock(&l->lock);
}

void vmm_log_last(struct vmm_log *l, const char *fmt, ...)
{
	va_list ap;

	if (l->fd < 0)
		return;
	pthread_mutex_lock(&l->lock);
	va_start(ap, fmt);
	write_line(l, fmt, ap);
	va_end(ap);
	pthread_mutex_unlock(&l->lock);
}
