/* SPDX-License-Identifier: MIT
 *
 * What registries say in headers.
 */
#include "tests/tap.h"

#include "base/fd.h"
#include "oci/challenge.h"

static struct challenge c;

static void read_it(const char *text)
{
	challenge_parse(&c, str_of(text));
}

static void challenges(void)
{
	read_it("Bearer realm=\"https://a/t\",service=\"s\",scope=\"x:y:z\"");
	ok(c.bearer && !c.basic && !strcmp(c.realm, "https://a/t") &&
		   !strcmp(c.service, "s"),
	   "a bearer challenge");
	read_it("bearer  realm = \"a\\\"b\" , service=x");
	ok(c.bearer && !strcmp(c.realm, "a\"b") && !strcmp(c.service, "x"),
	   "blanks, escapes, a bare value");
	read_it("Basic realm=\"x, Bearer y\"");
	ok(c.basic && !c.bearer && !*c.realm, "a realm that looks like one");
	read_it("Basic realm=\"b\", Bearer realm=\"t\",service=\"s\"");
	ok(c.basic && c.bearer && !strcmp(c.realm, "t"), "both");
	read_it("Bearer realm=\"t\", Basic realm=\"b\"");
	ok(c.basic && c.bearer && !strcmp(c.realm, "t"), "the other way round");
	read_it("Bearer realm=\"1\", Bearer realm=\"2\"");
	is_str(c.realm, "1", "the first counts");
	read_it("Negotiate abc==, Digest realm=\"d\", Basic realm=\"b\"");
	ok(!c.bearer && !*c.realm, "other schemes");
}

static void nonsense(void)
{
	static const char *const t[] = {
		"",
		",",
		"Bearer",
		"=",
		"\"",
		"Bearer =",
		"Bearer realm",
		"Bearer realm=",
		"\\",
		"Bearer \"x",
		"Bearer realm=,",
		"Bearer realm=\"x",
		"\xff\xfe",
		"Bearer realm=\"x\\",
	};
	char big[CHALLENGE_TEXT_MAX * 2];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(t); i++) {
		read_it(t[i]);
		ok(!*c.realm, "no realm in %s", t[i]);
	}
	memset(big, 'x', sizeof(big));
	memcpy(big, "Bearer realm=\"", 14);
	big[sizeof(big) - 2] = '"';
	big[sizeof(big) - 1] = '\0';
	read_it(big);
	ok(!*c.realm, "a realm that is too long");
	challenge_parse(&c, (struct str){ "Bearer realm=\"a\0b\"", 18 });
	ok(!*c.realm, "a realm with NUL in it");
}

static bool range(const char *text, uint64_t from, uint64_t to, uint64_t total)
{
	uint64_t f = 0, t = 0, all = 0;

	return content_range_parse(str_of(text), &f, &t, &all) && f == from &&
	       t == to && all == total;
}

static bool no_range(const char *text)
{
	uint64_t f, t, all;

	return !content_range_parse(str_of(text), &f, &t, &all);
}

static void ranges(void)
{
	ok(range("bytes 0-0/1", 0, 1, 1) && range("bytes 5-9/10", 5, 10, 10) &&
		   range("Bytes 5-9/*", 5, 10, UINT64_MAX),
	   "ranges");
	ok(no_range("") && no_range("bytes */10") && no_range("bytes 5-4/10") &&
		   no_range("bytes 5-10/10") && no_range("bytes 1-2/") &&
		   no_range("bytes 1-2/3x") && no_range("items 1-2/3") &&
		   no_range("bytes -1-2/3") &&
		   no_range("bytes 0-18446744073709551615/*"),
	   "none of them");
}

static void waits(void)
{
	is_int(retry_after_parse(STR("7"), 0), 7, "seconds");
	is_int(retry_after_parse(STR("Thu, 01 Jan 1970 00:01:40 GMT"), 40), 60,
	       "a date");
	is_int(retry_after_parse(STR("Thu, 01 Jan 1970 00:01:40 GMT"), 400), 0,
	       "a date that is past");
	is_int(retry_after_parse(STR("soon"), 0), 0, "neither");
	is_int(retry_after_parse(STR("-5"), 0), 0, "nor less than nothing");
}

int main(void)
{
	challenges();
	nonsense();
	ranges();
	waits();
	return tap_done();
}
