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

static void same(const struct wire_request *a, const struct wire_request *b)
{
	size_t i;

	must(a->argc == b->argc && a->envc == b->envc);
	must(!a->argv[a->argc] && !a->envp[a->envc]);
	for (i = 0; i < a->argc; i++)
		must(strcmp(a->argv[i], b->argv[i]) == 0);
	for (i = 0; i < a->envc; i++)
		must(strcmp(a->envp[i], b->envp[i]) == 0);
	must(same_text(a->cwd, b->cwd) && same_text(a->user, b->user));
	must(same_text(a->session, b->session) && same_text(a->path, b->path));
	must(same_text(a->hostname, b->hostname));
	must(same_text(a->machine_id, b->machine_id));
	must(a->has_cred == b->has_cred && a->uid == b->uid);
	must(a->gid == b->gid && a->ngroups == b->ngroups);
	must(a->ngroups <= WIRE_GROUPS_MAX);
	for (i = 0; i < a->ngroups; i++)
		must(a->groups[i] == b->groups[i]);
	must(a->umask == b->umask && a->umask <= 0777 && a->tty == b->tty);
	must(a->op == b->op && a->op < WIRE_OP_COUNT && a->verb == b->verb);
	must(a->flags == b->flags && a->port == b->port && a->mode == b->mode);
	must(a->port <= 65535 && a->mode <= 07777);
	must(a->clock_ns == b->clock_ns && a->entropy_len == b->entropy_len);
	must(a->entropy_len <= WIRE_ENTROPY_MAX);
	must(!a->entropy_len ||
	     memcmp(a->entropy, b->entropy, a->entropy_len) == 0);
	must(a->has_owner == b->has_owner && a->owner_uid == b->owner_uid);
	must(a->owner_gid == b->owner_gid);
	must(memcmp(&a->winsize, &b->winsize, sizeof(a->winsize)) == 0);
}

/* What an operation's code relies on. */
static void needs(const struct wire_request *x)
{
	must(x->op != WIRE_OP_EXEC || (x->argc && x->argv[0][0]));
	must(x->op != WIRE_OP_PORT || x->port);
	must(x->op != WIRE_OP_FILE || (x->path && x->path[0] && x->verb));
	must(x->op == WIRE_OP_FILE || (!x->path && !x->has_owner));
	must(x->op != WIRE_OP_QUIESCE ||
	     (!x->argc && !x->envc && !x->cwd && !x->user && !x->tty));
	must(x->op != WIRE_OP_SETUP ||
	     (x->hostname && strlen(x->machine_id) == WIRE_MACHINE_ID &&
	      x->entropy_len && x->clock_ns));
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	wire_request_auto struct wire_request x = WIRE_REQUEST_INIT;
	wire_request_auto struct wire_request y = WIRE_REQUEST_INIT;
	buf_auto struct buf b = BUF_INIT;
	buf_auto struct buf again = BUF_INIT;
	struct err e = ERR_INIT;
	int r = wire_request_decode(&x, p, n, &e);

	if (r == 0)
		needs(&x);
	if (r < 0) {
		must(r == -EPROTO && e.num == EPROTO && e.text[0]);
		return 0;
	}
	must(wire_request_encode(&b, &x, &e) == 0 && b.len <= n);
	must(wire_request_decode(&y, b.data, b.len, &e) == 0);
	same(&x, &y);
	must(wire_request_encode(&again, &y, &e) == 0);
	must(again.len == b.len && memcmp(again.data, b.data, b.len) == 0);
	return 0;
}
