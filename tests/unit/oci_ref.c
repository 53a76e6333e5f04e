/* SPDX-License-Identifier: MIT
 *
 * Image references and digests.
 */
#include "tests/tap.h"

#include "base/err.h"
#include "base/fd.h"
#include "oci/ref.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DIGEST "sha256:" HEX

struct good {
	const char *text, *host, *repo, *tag;
	bool digest;
};

static void registries(void)
{
	static const struct good t[] = {
		{ "debian", "docker.io", "library/debian", NULL, false },
		{ "debian:12", "docker.io", "library/debian", "12", false },
		{ "a/b", "docker.io", "a/b", NULL, false },
		{ "docker.io/a", "docker.io", "library/a", NULL, false },
		{ "docker.io/a/b:1", "docker.io", "a/b", "1", false },
		{ "index.docker.io/a", "docker.io", "library/a", NULL, false },
		{ "docker://a:1", "docker.io", "library/a", "1", false },
		{ "localhost/a", "localhost", "a", NULL, false },
		{ "localhost:5000/a:5000", "localhost:5000", "a", "5000",
		  false },
		{ "a.b/c", "a.b", "c", NULL, false },
		{ "a:1/c", "a:1", "c", NULL, false },
		{ "A/c", "A", "c", NULL, false },
		{ "[::1]:5000/c:x", "[::1]:5000", "c", "x", false },
		{ "[::1]/c", "[::1]", "c", NULL, false },
		{ "x.y/a/b/c/d:V_1.2-3", "x.y", "a/b/c/d", "V_1.2-3", false },
		{ "a@" DIGEST, "docker.io", "library/a", NULL, true },
		{ "a:1@" DIGEST, "docker.io", "library/a", "1", true },
		{ "a__b.c-d--e_f", "docker.io", "library/a__b.c-d--e_f", NULL,
		  false },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(t); i++) {
		ref_auto struct ref r = REF_INIT;
		struct err e = ERR_INIT;
		bool fine = ref_parse(&r, str_of(t[i].text), &e) == 0 &&
			    r.kind == REF_REGISTRY &&
			    !strcmp(r.host, t[i].host) &&
			    !strcmp(r.repo, t[i].repo) &&
			    !strcmp(r.tag ? r.tag : "-",
				    t[i].tag ? t[i].tag : "-") &&
			    !digest_none(&r.digest) == t[i].digest;

		ok(fine, "%s", t[i].text) || (diag("%s", e.text), 0);
	}
}

static void is_refused(const char *text, size_t number)
{
	ref_auto struct ref r = REF_INIT;
	struct err e = ERR_INIT;

	ok(ref_parse(&r, str_of(text), &e) == -EINVAL && e.text[0] && !r.repo &&
		   !r.path,
	   "refused: number %zu", number);
}

static void bad_names(void)
{
	static const char *const t[] = {
		"",
		"/",
		"a/",
		"/a",
		"a//b",
		":1",
		"a:",
		"a:.1",
		"a:-1",
		"a:1:2",
		"a b",
		"Debian",
		"a.b/C",
		"-a",
		"a-",
		"a..b",
		"a___b",
		"a._b",
		"a/.b",
		"../a",
		"a/../b",
		"\xc3\xa4",
		"a\n",
		"a\x7f",
		"docker://",
		"oci:",
		"oci::x",
		"oci:a:b c",
		"docker-archive:",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(t); i++)
		is_refused(t[i], i);
}

static void bad_hosts_and_digests(void)
{
	static const char two[] = "a@b@" DIGEST;
	static const char upper[] = "a@SHA256:" HEX;
	static const char longer[] = "a@" DIGEST "0";
	static const char *const t[] = {
		"localhost:0/a",
		"localhost:x/a",
		"localhost:65536/a",
		"-a.b/c",
		"a..b/c",
		"[::1/c",
		"[x]/c",
		"http://a/b",
		"user@host/a",
		"a@",
		"a@sha256:",
		"a@sha256:abc",
		two,
		upper,
		longer,
		"a.b:99999999999999999999/c",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(t); i++)
		is_refused(t[i], i);
}

static void hostile(void)
{
	static const char prefix[] = { 'o', 'c', 'i', ':' };
	static char big[8192];
	ref_auto struct ref r = REF_INIT;
	struct err e = ERR_INIT;

	is_int(ref_parse(&r, (struct str){ "a\0b", 3 }, &e), -EINVAL, "NUL");
	has_str(e.text, "'a?b'", "is shown as what it is not");
	memset(big, 'a', sizeof(big));
	is_int(ref_parse(&r, (struct str){ big, 4096 }, &e), -EINVAL,
	       "4096 bytes");
	ok(strlen(e.text) < 200, "are not all quoted");
	is_int(ref_parse(&r, (struct str){ big, 237 }, &e), 0,
	       "the longest name: 255 with docker.io/library/");
	ref_free(&r);
	is_int(ref_parse(&r, (struct str){ big, 238 }, &e), -EINVAL, "longer");
	memcpy(big, prefix, sizeof(prefix));
	is_int(ref_parse(&r, (struct str){ big, 4 + 4095 }, &e), 0,
	       "the longest path");
	ref_free(&r);
	is_int(ref_parse(&r, (struct str){ big, 4 + 4096 }, &e), -EINVAL,
	       "a longer one");
}

static void local(void)
{
	ref_auto struct ref r = REF_INIT;
	mem_auto char *name = NULL, *stored = NULL;

	ok(ref_parse(&r, STR("oci:/a:b/c"), NULL) == 0 &&
		   r.kind == REF_LAYOUT && !strcmp(r.path, "/a:b/c") && !r.tag,
	   "a colon in a directory is no tag");
	name = ref_name(&r);
	is_str(name, "oci:/a:b/c", "nor in its name");
	mem_free(&name);
	ref_free(&r);
	ref_parse(&r, STR("oci:/x/a:b:1"), NULL);
	name = ref_name(&r);
	is_str(name, "oci:/x/a:b/", "a name is read as it was meant");
	mem_free(&name);
	ref_free(&r);
	ok(ref_parse(&r, STR("docker-archive:/a:b@c.tar"), NULL) == 0 &&
		   r.kind == REF_ARCHIVE && !strcmp(r.path, "/a:b@c.tar"),
	   "an archive's path is all of it");
	ref_free(&r);
	ok(ref_parse(&r, STR(DIGEST), NULL) == 0 && r.kind == REF_DIGEST,
	   "a digest alone");
	ref_free(&r);
	ok(ref_parse(&r, STR("oci:/x/My Dir:1@" DIGEST), NULL) == 0 &&
		   !strcmp(r.tag, "1") && !digest_none(&r.digest),
	   "a directory, tag and digest");
	name = ref_canonical(&r, &r.digest);
	stored = ref_store_name(&r);
	is_str(name, "oci:/x/My Dir@" DIGEST, "its name for ever");
	is_str(stored, "localhost/my-dir:1", "its name in the store");
}

static void is_stored(const char *text, const char *want)
{
	ref_auto struct ref r = REF_INIT;
	mem_auto char *got = NULL;

	if (ref_parse(&r, str_of(text), NULL) == 0)
		got = ref_store_name(&r);
	is_str(got, want, text);
}

static void stored(void)
{
	is_stored("debian:12", "docker.io/library/debian:12");
	is_stored("debian", "docker.io/library/debian:latest");
	is_stored("a.b/c:1@" DIGEST, "a.b/c@" DIGEST);
	is_stored("oci:/", "localhost/image:local");
	is_stored("oci:/x/.hidden/", "localhost/0hidden:local");
	is_stored("docker-archive:a b.tar", "localhost/a-b-tar:local");
}

static void floating(void)
{
	static const char *const moves[] = {
		"latest",	  "Latest",	 "lts",
		"stable",	  "stable-slim", "lts-slim",
		"lts-alpine3.19", "20-latest",	 "alpine-edge",
		"edge",		  "nightly",	 "main",
		"master",	  "unstable",	 "stable_x",
		"rolling",	  "latest-2024", "dev",
		"lts-iron",
	};
	static const char *const stays[] = {
		"12",	   "12-slim",	    "v1.25-stable",
		"1.2.3",   "bookworm",	    "stable-20240110-slim",
		"alpine3", "mainframe",	    "nightly-2024-05-01",
		"edger",   "20-lts",	    "main-1a2b3c4",
		"devices", "bullseye-slim",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(moves); i++)
		ok(ref_tag_floats(moves[i]), "floats: %s", moves[i]);
	for (i = 0; i < ARRAY_SIZE(stays); i++)
		ok(!ref_tag_floats(stays[i]), "stays: %s", stays[i]);
}

static int pinned(const char *text, struct err *e)
{
	ref_auto struct ref r = REF_INIT;

	if (ref_parse(&r, str_of(text), e) < 0)
		return -1;
	return ref_check_pinned(&r, text, e);
}

static void pins(void)
{
	struct err e = ERR_INIT;

	is_int(pinned("debian", &e), -EINVAL, "no tag is no pin");
	has_str(e.text, "no tag means 'latest'", "says why");
	has_str(e.fix, "library/debian@sha256:", "and what to write");
	is_int(pinned("debian:stable", &e), -EINVAL, "stable is none");
	is_int(pinned("debian:12", &e), 0, "a version is one");
	is_int(pinned("debian@" DIGEST, &e), 0, "a digest is");
	is_int(pinned("debian:latest@" DIGEST, &e), 0, "whatever the tag");
	is_int(pinned("oci:/x", &e), 0, "a file is");
}

static bool loopback(const char *text)
{
	ref_auto struct ref r = REF_INIT;

	return ref_parse(&r, str_of(text), NULL) == 0 && ref_is_loopback(&r);
}

static void near_or_far(void)
{
	ok(loopback("localhost/a") && loopback("localhost:5/a") &&
		   loopback("127.0.0.1/a") && loopback("127.1.2.3:4/a") &&
		   loopback("[::1]:5/a") && loopback("x.localhost/a"),
	   "this machine");
	ok(!loopback("a") && !loopback("127.0.0.1.example.com/a") &&
		   !loopback("localhost.example.com/a") &&
		   !loopback("[::2]/a") && !loopback("oci:localhost") &&
		   !loopback("xlocalhost:1/a"),
	   "another");
}

static void digests(void)
{
	struct digest d, empty;
	struct err e = ERR_INIT;

	is_int(digest_parse(&d, STR(DIGEST), "x", &e), 0, "a digest");
	is_str(digest_hex(&d), HEX, "its digits");
	is_int(digest_parse(&d,
			    STR("sha256:"
				"ABCDEF"),
			    "x", &e),
	       -EINVAL, "upper case");
	ok(digest_none(&d) && !*digest_hex(&d), "leaves none");
	is_int(digest_parse(&d, STR("sha512:" HEX), "x", &e), -EINVAL,
	       "another algorithm");
	has_str(e.text, "x: digest algorithm 'sha512'", "is named");
	is_int(digest_of(&empty, "", 0, &e), 0, "of nothing");
	is_str(empty.text,
	       "sha256:e3b0c44298fc1c149afbf4c8996fb924"
	       "27ae41e4649b934ca495991b7852b855",
	       "is known");
}

int main(void)
{
	registries();
	bad_names();
	bad_hosts_and_digests();
	hostile();
	local();
	stored();
	floating();
	pins();
	near_or_far();
	digests();
	return tap_done();
}
