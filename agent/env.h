/* SPDX-License-Identifier: MIT
 *
 * The environment of commands.
 *
 * Before a setup it is the request's.  With one, the image's variables come
 * first and the request's over them; then what a login would set, where neither
 * has said anything: PATH, HOME, USER, LOGNAME, SHELL, HOSTNAME and, on a
 * terminal, TERM.
 */
#ifndef AGENT_ENV_H
#define AGENT_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct err;
struct wire_request;

#define ENV_TOOLS "/run/iso/bin" /* busybox and its names */
#define ENV_OWN_MAX 8

struct env {
	const char **v; /* owned; NULL at the end */
	size_t n;
	char *own[ENV_OWN_MAX]; /* those that were made for it */
	size_t nown;
};

#define ENV_INIT        \
	{               \
		.n = 0, \
	}
#define env_auto __attribute__((cleanup(env_free)))

/* For @x as user @uid.  Valid as long as the request and the setup are.  0 or
 * -ENOMEM with @e filled. */
int env_make(struct env *env, const struct wire_request *x, uid_t uid, bool tty,
	     struct err *e);
void env_free(struct env *env);

#endif
