/* SPDX-License-Identifier: MIT
 *
 * Names of sandboxes: what is an id, and the beginning of one.
 */
#include "base/err.h"
#include "base/fd.h"
#include "sandbox/id.h"
#include "tests/tap.h"

static void made(void)
{
	char a[ID_SIZE], b[ID_SIZE], hex[33];

	is_int(id_make(a, NULL), 0, "an id is made");
	is_int(id_make(b, NULL), 0, "and another");
	ok(id_is(str_of(a)) && id_is(str_of(b)), "both are ids");
	ok(strcmp(a, b) != 0, "and not the same");
	is_int(id_random_hex(hex, 16, NULL), 0, "random digits");
	is_int((int64_t)strlen(hex), 32, "as many as asked for");
	is_int((int64_t)strspn(hex, "0123456789abcdef"), 32, "all lower case");
}

static void taken(void)
{
	static const char *const no[] = {
		"",
		"run",
		"run0123456789abcde",
		"run0123456789abcdef0",
		"run0123456789abcdeF",
		"run0123456789abcdeg",
		"RUN0123456789abcdef",
		"ran0123456789abcdef",
		"/un0123456789abcdef",
		"../0123456789abcdef",
	};
	size_t i;

	ok(id_is(STR("run0123456789abcdef")), "sixteen digits make an id");
	for (i = 0; i < ARRAY_SIZE(no); i++)
		ok(!id_is(str_of(no[i])), "'%s' is none", no[i]);
	ok(id_is_prefix(STR("run0")), "run and a digit may stand for an id");
	ok(id_is_prefix(STR("run0123456789abcdef")), "so may all of it");
	ok(!id_is_prefix(STR("run")), "run alone may not");
	ok(!id_is_prefix(STR("runner")), "a word may not");
	ok(!id_is_prefix(STR("run0123456789abcdef0")), "nor one too many");
}

int main(void)
{
	made();
	taken();
	return tap_done();
}
