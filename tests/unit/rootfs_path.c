/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/err.h"
#include "rootfs/path.h"
#include "tests/tap.h"

static void cleans(const char *raw, const char *want, const char *dir,
		   const char *name)
{
	struct err e = ERR_INIT;
	struct path p;

	if (!ok(path_clean(&p, raw, &e) == 0, "'%s' is a path", raw))
		return;
	is_str(p.text, want, "  cleaned");
	ok(str_eq(path_dir(&p), str_of(dir)), "  in '%s'", dir);
	ok(str_eq(path_name(&p), str_of(name)), "  by the name of '%s'", name);
}

static void refuses(const char *raw, const char *text)
{
	struct err e = ERR_INIT;
	struct path p;

	ok(path_clean(&p, raw, &e) < 0, "'%.20s' is refused", raw);
	has_str(e.text, text, "  for what it is");
}

static void test_clean(void)
{
	cleans("", "", "", "");
	cleans("/", "", "", "");
	cleans("./", "", "", "");
	cleans("a", "a", "", "a");
	cleans("a/", "a", "", "a");
	cleans("/a//b/./c/", "a/b/c", "a/b", "c");
	cleans("..a/b..", "..a/b..", "..a", "b..");
	cleans("...", "...", "", "...");
	refuses("..", "'..'");
	refuses("a/../b", "'..'");
	refuses("/..", "'..'");
}

static void test_lengths(void)
{
	static char raw[2 * PATH_MAX];
	struct err e = ERR_INIT;
	struct path p;
	size_t i;

	memset(raw, 'n', 256);
	refuses(raw, "256 bytes");
	raw[255] = '\0';
	ok(path_clean(&p, raw, &e) == 0, "a name of 255 bytes");
	for (i = 0; i < PATH_MAX; i++)
		raw[i] = i % 2 ? '/' : 'a';
	raw[PATH_MAX - 1] = '\0';
	ok(path_clean(&p, raw, &e) == 0, "a path of 4095 bytes");
	is_int(p.len, PATH_MAX - 1, "all of it");
	raw[PATH_MAX - 1] = 'a';
	refuses(raw, "4095 bytes");
}

static void is_kind(const char *raw, enum whiteout want)
{
	struct err e = ERR_INIT;
	enum whiteout kind;
	struct path p;

	path_clean(&p, raw, &e);
	ok(path_whiteout(&p, &kind, &e) == 0 && kind == want,
	   "'%s' is of kind %d", raw, want);
}

static void makes_no_sense(const char *raw)
{
	struct err e = ERR_INIT;
	enum whiteout kind;
	struct path p;

	path_clean(&p, raw, &e);
	ok(path_whiteout(&p, &kind, &e) < 0 && e.text[0],
	   "'%s' is a whiteout of nothing", raw);
}

static void test_whiteouts(void)
{
	is_kind("", WHITEOUT_NONE);
	is_kind("a/b", WHITEOUT_NONE);
	is_kind("a.wh.b", WHITEOUT_NONE);
	is_kind(".wh", WHITEOUT_NONE);
	is_kind(".wh.a", WHITEOUT_NAME);
	is_kind("d/.wh.a", WHITEOUT_NAME);
	is_kind("d/.wh....", WHITEOUT_NAME);
	is_kind(".wh..wh..opq", WHITEOUT_OPAQUE);
	is_kind("d/e/.wh..wh..opq", WHITEOUT_OPAQUE);
	is_kind(".wh..wh.aufs", WHITEOUT_IGNORE);
	is_kind(".wh..wh.plnk/1.2", WHITEOUT_IGNORE);
	is_kind(".wh..wh..opq/a", WHITEOUT_IGNORE);
	is_kind(".wh..wh..opqx", WHITEOUT_IGNORE);
	makes_no_sense(".wh.");
	makes_no_sense("d/.wh..");
	makes_no_sense(".wh...");
	makes_no_sense(".wh.a/b");
}

int main(void)
{
	test_clean();
	test_lengths();
	test_whiteouts();
	return tap_done();
}
