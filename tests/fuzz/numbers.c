/* SPDX-License-Identifier: MIT
 *
 * Numbers, sizes, names and paths: what people type.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"

#define must(what)               \
	do {                     \
		if (!(what))     \
			abort(); \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* A number that is taken is the number that the C library reads there. */
static void number(struct str s, const char *z)
{
	struct err e = ERR_INIT;
	uint64_t v = 0, size = 0;

	if (str_u64(s, 1, UINT64_MAX - 1, &v, "n", &e) == 0) {
		must(v >= 1 && v <= UINT64_MAX - 1 && strlen(z) == s.len);
		must(v == strtoull(z, NULL, 10));
		must(str_size(s, 0, UINT64_MAX, &size, "n", NULL) == 0);
		must(size == v);
	} else {
		must(e.num == EINVAL || e.num == ERANGE);
	}
	if (str_size(s, 0, UINT64_MAX, &size, "n", NULL) == 0)
		must(size >> 40 <= strtoull(z, NULL, 10));
}

static void pieces(struct str s)
{
	struct str rest = s;
	size_t n = 0;

	while (rest.p)
		n += str_cut(&rest, '/').len + 1;
	must(n == s.len + 1);
	must(str_trim(s).len <= s.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	/* An end that ASan watches, and a copy that ends in NUL. */
	mem_auto char *bytes = malloc(n ? n : 1);
	mem_auto char *z = NULL;
	mem_auto char *path = NULL;
	struct str s = { bytes, n };

	must(bytes);
	memcpy(bytes, p, n);
	z = str_dup(s);
	must(z);
	number(s, z);
	pieces(s);
	if (str_is_name(s))
		must(n && n <= 64 && !strpbrk(z, "/ \n") && z[0] != '.');
	path = str_path("/a/", z);
	must(path && strncmp(path, "/a/", 3) == 0 && path[3] != '/');
	return 0;
}
