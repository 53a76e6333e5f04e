/* SPDX-License-Identifier: MIT
 *
 * The emulated host's serial console: see console.h.
 */
#include "host/console.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"

/* So much of the newest, and as much before it. */
#define CONSOLE_MAX ((size_t)1 << 20)

void console_rotate(struct console *c, const char *dir)
{
	mem_auto char *now = str_path(dir, "console.log");
	mem_auto char *old = str_path(dir, "console.log.1");

	fd_close(&c->log);
	c->written = 0;
	if (!now || !old)
		return;
	/* The first time: what is there belongs to the run before. */
	rename(now, old);
	c->log = open(now, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

static void console_char(struct console *c, char ch)
{
	if (ch == '\n' || ch == '\r') {
		if (c->len) {
			memcpy(c->line, c->next, c->len);
			c->line[c->len] = '\0';
		}
		c->len = 0;
	} else if (c->len < sizeof(c->next) - 1 && ch >= ' ' && ch != 0x7f) {
		c->next[c->len++] = ch;
	}
}

void console_input(struct console *c, const char *dir)
{
	char chunk[4096];
	ssize_t i, n = read(c->fd, chunk, sizeof(chunk));

	if (n <= 0) {
		if (n == 0 || (errno != EAGAIN && errno != EINTR))
			fd_close(&c->fd);
		return;
	}
	if (c->written + (size_t)n > CONSOLE_MAX)
		console_rotate(c, dir);
	if (c->log >= 0)
		(void)io_write_full(c->log, chunk, (size_t)n);
	c->written += (size_t)n;
	for (i = 0; i < n; i++)
		console_char(c, chunk[i]);
}
