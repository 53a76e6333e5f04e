/* SPDX-License-Identifier: MIT
 *
 * What registries say in headers: each input is read as all of them, and as a
 * platform.
 */
#include <stdlib.h>
#include <string.h>

#include "oci/challenge.h"
#include "oci/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct str s = { (const char *)p, n };
	uint64_t from, to, total;
	struct challenge c;
	struct platform pl;

	challenge_parse(&c, s);
	if (strnlen(c.realm, sizeof(c.realm)) == sizeof(c.realm) ||
	    (*c.realm && !c.bearer))
		abort();
	if (content_range_parse(s, &from, &to, &total) &&
	    (from >= to || to > total))
		abort();
	(void)retry_after_parse(s, 0);
	if (platform_parse(&pl, s, NULL) == 0 && (!*pl.os || !*pl.arch))
		abort();
	return 0;
}
