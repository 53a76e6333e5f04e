/* SPDX-License-Identifier: MIT
 *
 * Who a guest is: name, machine id, time, entropy, and the defaults of what
 * runs in it.  Given to it as its first request, before it takes any other; a
 * guest that is restored or forked will be given another one the same way.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "sandbox/start.h"
#include "wire/request.h"

#define ENTROPY 64
#define SETUP_PATIENCE CLOCK_S(60)

static int take_env(struct wire_request *x, const json_t *env)
{
	const json_t *v;
	size_t i;

	x->envp = calloc(json_array_size(env) + 1, sizeof(*x->envp));
	if (!x->envp)
		return -ENOMEM;
	json_array_foreach(env, i, v)
	{
		if (json_is_string(v))
			x->envp[x->envc++] = json_string_value(v);
	}
	return 0;
}

static const char *text_or_null(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s && *s ? s : NULL;
}

int identity_give(int conn, const json_t *config, struct err *e)
{
	wire_request_auto struct wire_request x = WIRE_REQUEST_INIT;
	const json_t *setup = json_object_get(config, "setup");
	uint8_t entropy[ENTROPY];
	struct timespec now;
	int r;

	if (getrandom(entropy, sizeof(entropy), 0) != sizeof(entropy))
		return err_sys(e, errno, "cannot get random bytes");
	if (take_env(&x, json_object_get(setup, "env")) < 0)
		return err_sys(e, ENOMEM, "cannot set the guest up");
	x.op = WIRE_OP_SETUP;
	x.hostname = text_or_null(config, "name");
	if (!x.hostname)
		x.hostname = config_text(config, "id");
	x.machine_id = config_text(config, "machine_id");
	x.entropy = entropy;
	x.entropy_len = sizeof(entropy);
	x.user = text_or_null(setup, "user");
	x.cwd = text_or_null(setup, "cwd");
	clock_gettime(CLOCK_REALTIME, &now);
	x.clock_ns = (uint64_t)now.tv_sec * CLOCK_S(1) + (uint64_t)now.tv_nsec;
	r = wire_ask(conn, &x, clock_now() + SETUP_PATIENCE, e);
	explicit_bzero(entropy, sizeof(entropy));
	return r < 0 ? err_in(e, "the guest cannot be set up") : 0;
}
