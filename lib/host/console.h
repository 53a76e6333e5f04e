/* SPDX-License-Identifier: MIT
 *
 * The emulated host's serial console: into a bounded log, and its last line
 * kept for whoever has to explain an end.
 */
#ifndef HOST_CONSOLE_H
#define HOST_CONSOLE_H

#include <stddef.h>

struct console {
	int fd; /* from QEMU's serial port; owned; -1: closed */
	int log;
	size_t written;
	char line[160]; /* the last one that was not empty */
	size_t len;	/* of the one being received, in next[] */
	char next[160];
};

#define CONSOLE_INIT                \
	{                           \
		.fd = -1, .log = -1 \
	}

/* Begin a new DIR/console.log; the one before becomes console.log.1. */
void console_rotate(struct console *c, const char *dir);

/* Take what is there on c->fd. */
void console_input(struct console *c, const char *dir);

#endif
