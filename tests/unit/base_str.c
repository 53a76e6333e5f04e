/* SPDX-License-Identifier: MIT
 *
 * Strings counted by length, and the numbers in them.
 */
#include "tests/tap.h"

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"

static bool same(struct str s, const char *want)
{
	return str_eq(s, str_of(want));
}

static void comparing(void)
{
	struct str none = { NULL, 0 };

	ok(str_eq(STR("a"), STR("a")) && !str_eq(STR("a"), STR("b")) &&
		   !str_eq(STR("a"), STR("ab")),
	   "equal is equal");
	ok(str_eq(none, STR("")), "empty is empty, whatever it points to");
	ok(str_eq(STR("a\0b"), STR("a\0b")) &&
		   !str_eq(STR("a\0b"), STR("a\0c")),
	   "NUL is a byte as others");
	ok(str_starts(STR("abc"), STR("ab")) && str_starts(none, none) &&
		   !str_starts(STR("a"), STR("ab")),
	   "starts");
	ok(str_ends(STR("abc"), STR("bc")) && str_ends(STR("a"), STR("")) &&
		   !str_ends(STR("c"), STR("bc")),
	   "ends");
}

static void cutting(void)
{
	struct str s = STR("a::b");

	ok(same(str_cut(&s, ':'), "a"), "the first");
	ok(same(str_cut(&s, ':'), "") && s.p, "an empty one between");
	ok(same(str_cut(&s, ':'), "b") && !s.p && s.len == 0,
	   "the last, after which there is none");
	ok(same(str_cut(&s, ':'), "") && !s.p, "cutting nothing is harmless");
	s = STR("a:");
	str_cut(&s, ':');
	ok(s.p && s.len == 0, "a separator at the end has an empty tail");
	ok(same(str_trim(STR(" \t\r\na b\n ")), "a b"), "trimmed");
	ok(same(str_trim(STR(" \n")), ""), "nothing but blanks");
}

struct number {
	const char *text;
	int r;
	uint64_t v;
};

static void numbers(void)
{
	static const struct number t[] = {
		{ "0", 0, 0 },
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "18446744073709551616", -ERANGE, 0 },
		{ "18446744073709551620", -ERANGE, 0 },
		{ "99999999999999999999999", -ERANGE, 0 },
		{ "00000000000000000000000000000000007", 0, 7 },
		{ "", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "+1", -EINVAL, 0 },
		{ " 1", -EINVAL, 0 },
		{ "1 ", -EINVAL, 0 },
		{ "0x10", -EINVAL, 0 },
		{ "1e3", -EINVAL, 0 },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(t); i++) {
		uint64_t v = 0;
		int r = str_u64(str_of(t[i].text), 0, UINT64_MAX, &v, "n",
				NULL);

		ok(r == t[i].r && v == t[i].v, "number '%s'", t[i].text);
	}
}

static void ranges(void)
{
	struct err e = ERR_INIT;
	uint64_t v = 99;

	is_int(str_u64(STR("4"), 5, 7, &v, "--cpus", &e), -ERANGE, "too few");
	is_str(e.text, "--cpus: '4' is not a whole number from 5 to 7",
	       "names the option, the value and the range");
	is_int(e.num, ERANGE, "with the number of the failure");
	is_int(str_u64(STR("8"), 5, 7, &v, "--cpus", &e), -ERANGE, "too many");
	is_int(v, 99, "a refused number is not stored");
	ok(str_u64(STR("5"), 5, 7, &v, "n", &e) == 0 && v == 5 &&
		   str_u64(STR("7"), 5, 7, &v, "n", &e) == 0 && v == 7,
	   "both ends of the range are in it");
	ok(str_u64((struct str){ "123", 2 }, 0, 99, &v, "n", &e) == 0 &&
		   v == 12,
	   "only the bytes of the string count");
}

static void sizes(void)
{
	static const struct number t[] = {
		{ "0", 0, 0 },
		{ "512", 0, 512 },
		{ "512B", 0, 512 },
		{ "1K", 0, 1024 },
		{ "1k", 0, 1024 },
		{ "1KB", 0, 1024 },
		{ "3MiB", 0, 3 << 20 },
		{ "2G", 0, 2ULL << 30 },
		{ "16777215T", 0, 16777215ULL << 40 },
		{ "16777216T", -ERANGE, 0 },
		{ "18446744073709551616", -ERANGE, 0 },
		{ "1P", -EINVAL, 0 },
		{ "1Ki", -EINVAL, 0 },
		{ "1KiBs", -EINVAL, 0 },
		{ "1iB", -EINVAL, 0 },
		{ "1 K", -EINVAL, 0 },
		{ "1.5G", -EINVAL, 0 },
		{ "K", -EINVAL, 0 },
		{ "", -EINVAL, 0 },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(t); i++) {
		uint64_t v = 0;
		int r = str_size(str_of(t[i].text), 0, UINT64_MAX, &v, "n",
				 NULL);

		ok(r == t[i].r && v == t[i].v, "size '%s'", t[i].text);
	}
}

static void size_ranges(void)
{
	struct err e = ERR_INIT;
	uint64_t v = 0;

	is_int(str_size(STR("1M"), 0, 1048575, &v, "--mem", &e), -ERANGE,
	       "the range is in bytes");
	has_str(e.text, "--mem: '1M' is not a size", "and says so");
	is_int(str_size(STR("1\xcb"), 0, 99, &v, "--mem", NULL), -EINVAL,
	       "a foreign letter is no unit");
	is_int(str_size(STR("1M"), 1048576, 1048576, &v, "--mem", &e), 0,
	       "with both ends in it");
}

static void names(void)
{
	char big[66];

	memset(big, 'a', sizeof(big));
	ok(str_is_name((struct str){ big, 64 }), "64 characters");
	ok(!str_is_name((struct str){ big, 65 }), "65 are too many");
	ok(str_is_name(STR("A_z.9-")) && str_is_name(STR("_")), "names");
	ok(!str_is_name(STR("")) && !str_is_name(STR(".a")) &&
		   !str_is_name(STR("-a")) && !str_is_name(STR("..")),
	   "not hidden, no option, not the parent");
	ok(!str_is_name(STR("a/b")) && !str_is_name(STR("a b")) &&
		   !str_is_name(STR("a\0b")) && !str_is_name(STR("\xc3\xa4")),
	   "no slash, blank, NUL or foreign letter");
}

static void is_path(const char *dir, const char *name, const char *want)
{
	mem_auto char *got = str_path(dir, name);

	is_str(got, want, want);
}

static void heap(void)
{
	mem_auto char *dup = str_dup((struct str){ "abc", 2 });
	mem_auto char *none = str_dup((struct str){ NULL, 0 });
	mem_auto char *f = str_printf("%s-%d", "a", 1);

	is_str(dup, "ab", "a copy ends where the view did");
	is_str(none, "", "of nothing, too");
	is_str(f, "a-1", "printf");
	is_path("a", "b", "a/b");
	is_path("a//", "/b", "a/b");
	is_path("/", "b", "/b");
	is_path("//", "b", "/b");
	is_path("/a", "b/c", "/a/b/c");
}

int main(void)
{
	comparing();
	cutting();
	numbers();
	ranges();
	sizes();
	size_ranges();
	names();
	heap();
	return tap_done();
}
