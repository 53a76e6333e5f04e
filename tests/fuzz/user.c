/* SPDX-License-Identifier: MIT
 *
 * An image's passwd and group files, and the user asked for: three texts with
 * a NUL between them.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/user.h"
#include "base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	char *copy = malloc(n + 1);
	struct str rest = { copy, n };
	struct str spec, passwd;
	struct err e = ERR_INIT;
	struct user u;

	if (!copy)
		return 0;
	memcpy(copy, p, n);
	copy[n] = '\0';
	spec = str_cut(&rest, '\0');
	passwd = str_cut(&rest, '\0');
	if (user_resolve(spec.p, passwd, rest, &u, &e) < 0) {
		if (!e.num || !e.text[0])
			abort();
	} else if (u.uid == (uid_t)-1 || u.gid == (gid_t)-1 ||
		   u.ngroups > WIRE_GROUPS_MAX) {
		abort();
	}
	free(copy);
	return 0;
}
