/* SPDX-License-Identifier: MIT
 *
 * A command in the emulated host, as if it were here.
 */
#ifndef HOST_RUN_H
#define HOST_RUN_H

#include <stdbool.h>

#include "wire/client.h"

struct err;

/* Run @argv over the greeted connection @conn with this process's directory,
 * environment, identity, umask and standard streams; with @tty on a terminal
 * of its own.  See wire_run(). */
enum wire_outcome host_run(int conn, const char *const *argv, bool tty,
			   struct wire_exit *ended, struct err *e);

#endif
