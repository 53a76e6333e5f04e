/* SPDX-License-Identifier: MIT
 *
 * The environment of commands: see env.h.
 *
 * An image with a shell has its own tools, and its PATH stays what it says.
 * One without gets the agent's tools behind its own directories, unless the
 * request has a PATH of its own.
 */
#include "agent/env.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/setup.h"
#include "agent/user.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "wire/msg.h"

#define DEFAULT_PATH \
	"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

void env_free(struct env *env)
{
	while (env->nown)
		mem_free(&env->own[--env->nown]);
	mem_free(&env->v);
}

/* Whether @var, "NAME=value", is of the variable with this name. */
static bool is_of(const char *var, const char *name, size_t n)
{
	return strncmp(var, name, n) == 0 && var[n] == '=';
}

static const char *value_in(const char *const *v, size_t n, const char *name)
{
	size_t len = strlen(name);

	while (n--) {
		if (is_of(v[n], name, len))
			return v[n] + len + 1;
	}
	return NULL;
}

/* Make "@name=@value", in place of one that is there. */
static void env_set(struct env *env, const char *name, const char *value)
{
	char *var = str_printf("%s=%s", name, value);
	size_t i, n = strlen(name);

	if (!var)
		return;
	env->own[env->nown++] = var;
	for (i = 0; i < env->n && !is_of(env->v[i], name, n); i++)
		;
	env->v[i] = var;
	env->n += i == env->n;
}

static void env_default(struct env *env, const char *name, const char *value)
{
	if (value && *value && !value_in(env->v, env->n, name))
		env_set(env, name, value);
}

static void set_path(struct env *env, const struct wire_request *x)
{
	const char *path = value_in(env->v, env->n, "PATH");
	mem_auto char *longer = NULL;

	if (value_in(x->envp, x->envc, "PATH"))
		return;
	env_default(env, "PATH", DEFAULT_PATH);
	if (access("/bin/sh", X_OK) == 0)
		return;
	longer = str_printf("%s:" ENV_TOOLS, path ? path : DEFAULT_PATH);
	if (longer)
		env_set(env, "PATH", longer);
}

static void set_login(struct env *env, uid_t uid)
{
	buf_auto struct buf name = BUF_INIT_MAX(4096);
	buf_auto struct buf home = BUF_INIT_MAX(4096);
	buf_auto struct buf shell = BUF_INIT_MAX(4096);
	char host[65] = "";

	user_entry(uid, &name, &home, &shell);
	env_default(env, "HOME", home.len ? buf_str(&home) : "/");
	env_default(env, "USER", buf_str(&name));
	env_default(env, "LOGNAME", buf_str(&name));
	env_default(env, "SHELL", buf_str(&shell));
	gethostname(host, sizeof(host) - 1);
	env_default(env, "HOSTNAME", host);
}

/* Whether the request says something else of @var's variable. */
static bool is_overlaid(const struct wire_request *x, const char *var)
{
	size_t i, n = strcspn(var, "=");

	for (i = 0; i < x->envc; i++) {
		if (is_of(x->envp[i], var, n))
			return true;
	}
	return false;
}

int env_make(struct env *env, const struct wire_request *x, uid_t uid, bool tty,
	     struct err *e)
{
	const struct wire_request *image = setup_last();
	size_t i, n = image ? image->envc : 0;

	env->n = 0;
	env->v = calloc(n + x->envc + ENV_OWN_MAX + 1, sizeof(*env->v));
	if (!env->v)
		return err_sys(e, ENOMEM, "environment of %zu", n + x->envc);
	for (i = 0; i < n; i++) {
		if (!is_overlaid(x, image->envp[i]))
			env->v[env->n++] = image->envp[i];
	}
	for (i = 0; i < x->envc; i++)
		env->v[env->n++] = x->envp[i];
	if (!image)
		return 0;
	set_path(env, x);
	set_login(env, uid);
	if (tty)
		env_default(env, "TERM", "xterm");
	return 0;
}
