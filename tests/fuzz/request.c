/* SPDX-License-Identifier: MIT
 *
 * Requests: what decodes, encodes again into a request of the same meaning.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "wire/msg.h"

#define must(what)               \
	do {                     \
		if (!(what))     \
			abort(); \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static void same(const struct wire_exec *a, const struct wire_exec *b)
{
	size_t i;

	must(a->argc == b->argc && a->envc == b->envc);
	must(!a->argv[a->argc] && !a->envp[a->envc]);
	for (i = 0; i < a->argc; i++)
		must(strcmp(a->argv[i], b->argv[i]) == 0);
	for (i = 0; i < a->envc; i++)
		must(strcmp(a->envp[i], b->envp[i]) == 0);
	must(same_text(a->cwd, b->cwd) && same_text(a->user, b->user));
	must(a->has_cred == b->has_cred && a->uid == b->uid);
	must(a->gid == b->gid && a->ngroups == b->ngroups);
	must(a->ngroups <= WIRE_GROUPS_MAX);
	for (i = 0; i < a->ngroups; i++)
		must(a->groups[i] == b->groups[i]);
	must(a->umask == b->umask && a->umask <= 0777 && a->tty == b->tty);
	must(memcmp(&a->winsize, &b->winsize, sizeof(a->winsize)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	wire_exec_auto struct wire_exec x = WIRE_EXEC_INIT;
	wire_exec_auto struct wire_exec y = WIRE_EXEC_INIT;
	buf_auto struct buf b = BUF_INIT;
	buf_auto struct buf again = BUF_INIT;
	struct err e = ERR_INIT;
	int r = wire_exec_decode(&x, p, n, &e);

	if (r < 0) {
		must(r == -EPROTO && e.num == EPROTO && e.text[0]);
		return 0;
	}
	must(wire_exec_encode(&b, &x, &e) == 0 && b.len <= n);
	must(wire_exec_decode(&y, b.data, b.len, &e) == 0);
	same(&x, &y);
	must(wire_exec_encode(&again, &y, &e) == 0);
	must(again.len == b.len && memcmp(again.data, b.data, b.len) == 0);
	return 0;
}
