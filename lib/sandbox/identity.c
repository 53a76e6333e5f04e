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

/* Whether both set the same variable. */
static bool same_name(const char *a, const char *b)
{
	size_t n = strcspn(a, "=");

	return strncmp(a, b, n) == 0 && b[n] == '=';
}

static bool overridden(const char *var, const char *const *by)
{
	for (; by && *by; by++) {
		if (same_name(var, *by))
			return true;
	}
	return false;
}

/* The image's environment under the sandbox's: pointers into both. */
static int merge_env(struct wire_request *x, const json_t *image,
		     const char *const *own)
{
	size_t n = json_array_size(image), i;

	for (i = 0; own && own[i]; i++)
		n++;
	x->envp = calloc(n + 1, sizeof(*x->envp));
	if (!x->envp)
		return -ENOMEM;
	for (i = 0; i < json_array_size(image); i++) {
		const char *var = json_string_value(json_array_get(image, i));

		if (var && !overridden(var, own))
			x->envp[x->envc++] = var;
	}
	for (i = 0; own && own[i]; i++) {
		if (!overridden(own[i], own + i + 1))
			x->envp[x->envc++] = own[i];
	}
	return 0;
}

static const char *text_or_null(const json_t *record, const char *key)
{
	const char *s = json_string_value(json_object_get(record, key));

	return s && *s ? s : NULL;
}

int identity_give(int conn, const struct start_spec *s, const struct needs *n,
		  const struct box *b, struct err *e)
{
	wire_request_auto struct wire_request x = WIRE_REQUEST_INIT;
	char machine[WIRE_MACHINE_ID + 1];
	uint8_t entropy[ENTROPY];
	struct timespec now;
	int r = id_random_hex(machine, WIRE_MACHINE_ID / 2, e);

	if (r < 0)
		return r;
	if (getrandom(entropy, sizeof(entropy), 0) != sizeof(entropy))
		return err_sys(e, errno, "cannot get random bytes");
	if (merge_env(&x, json_object_get(n->record, "env"), s->env) < 0)
		return err_sys(e, ENOMEM, "cannot set the guest up");
	x.op = WIRE_OP_SETUP;
	x.hostname = s->name ? s->name : b->id;
	x.machine_id = machine;
	x.entropy = entropy;
	x.entropy_len = sizeof(entropy);
	x.user = text_or_null(n->record, "user");
	x.cwd = text_or_null(n->record, "workdir");
	clock_gettime(CLOCK_REALTIME, &now);
	x.clock_ns = (uint64_t)now.tv_sec * CLOCK_S(1) + (uint64_t)now.tv_nsec;
	r = wire_ask(conn, &x, clock_now() + SETUP_PATIENCE, e);
	explicit_bzero(entropy, sizeof(entropy));
	return r < 0 ? err_in(e, "the guest cannot be set up") : 0;
}
