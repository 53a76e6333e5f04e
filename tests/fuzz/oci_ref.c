/* SPDX-License-Identifier: MIT
 *
 * Image references: whatever is accepted prints as something that is accepted
 * and means the same.
 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fd.h"
#include "oci/ref.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void check(const struct ref *r)
{
	mem_auto char *name = ref_name(r);
	mem_auto char *stored = ref_store_name(r);
	mem_auto char *canonical = ref_canonical(r, &r->digest);
	ref_auto struct ref again = REF_INIT;

	if (!name || !stored || !canonical || !*stored)
		abort();
	if (r->tag)
		(void)ref_tag_floats(r->tag);
	(void)ref_check_pinned(r, "x", NULL);
	(void)ref_is_loopback(r);
	if (digest_none(&r->digest))
		return;
	if (ref_parse(&again, str_of(canonical), NULL) < 0 ||
	    again.kind != r->kind || !digest_eq(&again.digest, &r->digest))
		abort();
	if (r->kind == REF_REGISTRY && (strcmp(again.host, r->host) != 0 ||
					strcmp(again.repo, r->repo) != 0))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	ref_auto struct ref r = REF_INIT;
	struct err e = ERR_INIT;

	if (ref_parse(&r, (struct str){ (const char *)p, n }, &e) == 0)
		check(&r);
	else if (!e.num || !e.text[0] || r.host || r.repo || r.path || r.tag)
		abort();
	return 0;
}
