/* SPDX-License-Identifier: MIT
 *
 * Image references: see ref.h.
 *
 * The grammar is docker's (distribution/reference), read from the outside in:
 * the digest is cut off at '@', the tag at the last ':' behind the last '/',
 * the registry is what stands before the first '/' if it looks like a host.
 * A regular expression would say no without saying where.
 */
#include "oci/ref.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/fd.h"

#define DEFAULT_HOST "docker.io"
#define SHOWN_MAX 64 /* bytes of a wrong word that an error quotes */
#define PORT_MAX 65535

static bool is_lower(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
	return is_lower(c) || (c >= 'A' && c <= 'Z');
}

/* @s for an error message: cut, and without anything but plain characters. */
static const char *shown(struct str s, char out[static SHOWN_MAX + 4])
{
	size_t i, n = s.len < SHOWN_MAX ? s.len : SHOWN_MAX;

	for (i = 0; i < n; i++)
		out[i] = (char)(s.p[i] >= ' ' && s.p[i] <= '~' ? s.p[i] : '?');
	snprintf(out + n, 4, "%s", s.len > SHOWN_MAX ? "..." : "");
	return out;
}

static int bad(struct err *e, struct str s, const char *why)
{
	char text[SHOWN_MAX + 4];

	return err_set(e, EINVAL, "image reference '%s': %s", shown(s, text),
		       why);
}

/* ---- the parts --------------------------------------------------------- */

static bool is_port(struct str s)
{
	uint64_t port;

	return s.len <= 5 && str_u64(s, 1, PORT_MAX, &port, "", NULL) == 0;
}

static bool is_domain(struct str s)
{
	while (s.p) {
		struct str label = str_cut(&s, '.');
		size_t i;

		if (label.len == 0 || label.len > 63 || !is_alnum(label.p[0]) ||
		    !is_alnum(label.p[label.len - 1]))
			return false;
		for (i = 0; i < label.len; i++) {
			if (!is_alnum(label.p[i]) && label.p[i] != '-')
				return false;
		}
	}
	return true;
}

/* "[::1]"; what is between is for the resolver to judge. */
static bool is_ipv6(struct str s)
{
	size_t i;

	if (s.len < 4 || s.len > 48 || s.p[0] != '[' || s.p[s.len - 1] != ']')
		return false;
	for (i = 1; i + 1 < s.len; i++) {
		if (!strchr("0123456789abcdefABCDEF:.", s.p[i]))
			return false;
	}
	return true;
}

static bool is_host(struct str s)
{
	const char *colon = s.len ? memrchr(s.p, ':', s.len) : NULL;
	const char *bracket = s.len ? memrchr(s.p, ']', s.len) : NULL;

	if (colon && (!bracket || colon > bracket)) {
		struct str port = { colon + 1,
				    s.len - (size_t)(colon + 1 - s.p) };

		if (!is_port(port))
			return false;
		s.len = (size_t)(colon - s.p);
	}
	return s.len && (s.p[0] == '[' ? is_ipv6(s) : is_domain(s));
}

/* Whether the word before the first slash is a registry, by docker's rule. */
static bool looks_like_host(struct str s)
{
	size_t i;

	if (str_eq(s, STR("localhost")))
		return true;
	for (i = 0; i < s.len; i++) {
		/* An upper-case letter cannot be in a repository's name. */
		if (strchr(".:[", s.p[i]) || (s.p[i] >= 'A' && s.p[i] <= 'Z'))
			return true;
	}
	return false;
}

/* Bytes of the separator at @s: '.', '_', '__', or any number of '-'. */
static size_t separator(struct str s)
{
	size_t n = 0;

	if (s.p[0] == '.')
		return 1;
	if (s.p[0] == '_')
		return s.len > 1 && s.p[1] == '_' ? 2 : 1;
	while (n < s.len && s.p[n] == '-')
		n++;
	return n;
}

static bool is_component(struct str s)
{
	if (s.len == 0 || !is_lower(s.p[0]) || !is_lower(s.p[s.len - 1]))
		return false;
	while (s.len) {
		size_t n = is_lower(s.p[0]) ? 1 : separator(s);

		if (n == 0)
			return false;
		s.p += n;
		s.len -= n;
		/* After a separator comes a letter or a digit. */
		if (s.len && !is_lower(s.p[0]) && !is_lower(s.p[-1]))
			return false;
	}
	return true;
}

static bool is_repo(struct str s)
{
	while (s.p) {
		if (!is_component(str_cut(&s, '/')))
			return false;
	}
	return true;
}

static bool is_tag(struct str s)
{
	size_t i;

	if (s.len == 0 || s.len > REF_TAG_MAX)
		return false;
	for (i = 0; i < s.len; i++) {
		if (!is_alnum(s.p[i]) && s.p[i] != '_' &&
		    (i == 0 || (s.p[i] != '.' && s.p[i] != '-')))
			return false;
	}
	return true;
}

/* ---- the whole --------------------------------------------------------- */

/* Cut what follows @sep off @s, if it is behind the last slash. */
static bool cut_tail(struct str *s, char sep, struct str *tail)
{
	const char *at = s->len ? memrchr(s->p, sep, s->len) : NULL;
	const char *slash = s->len ? memrchr(s->p, '/', s->len) : NULL;

	if (!at || (slash && slash > at))
		return false;
	*tail = (struct str){ at + 1, s->len - (size_t)(at + 1 - s->p) };
	s->len = (size_t)(at - s->p);
	return true;
}

static int set(char **out, struct str s, struct err *e)
{
	*out = str_dup(s);
	return *out ? 0 : err_sys(e, ENOMEM, "cannot read a reference");
}

static int no_memory(struct err *e)
{
	return err_sys(e, ENOMEM, "cannot read a reference");
}

/* HOST and NAME, from what is left when tag and digest are off. */
static int parse_name(struct ref *r, struct str name, struct str all,
		      struct err *e)
{
	struct str rest = name, host = str_cut(&rest, '/');
	bool official;

	if (!rest.p || !looks_like_host(host)) {
		rest = name;
		host = STR(DEFAULT_HOST);
	}
	if (!is_host(host))
		return bad(e, all,
			   "the registry before the first '/' is not "
			   "HOST or HOST:PORT");
	/* The old name of the same. */
	if (str_eq(host, STR("index.docker.io")))
		host = STR(DEFAULT_HOST);
	if (!is_repo(rest)) {
		bad(e, all,
		    "a name has lower-case letters and digits, and "
		    "'.', '_', '__' or '-' between them");
		return e ? -e->num : -EINVAL;
	}
	official = str_eq(host, STR(DEFAULT_HOST)) &&
		   !memchr(rest.p, '/', rest.len);
	/* As it will be written in full: what iso-pull prints must be taken
	 * again. */
	if (host.len + 1 + (official ? strlen("library/") : 0) + rest.len >
	    REF_NAME_MAX)
		return bad(e, all, "the name is longer than 255 characters");
	if (official)
		r->repo = str_printf("library/%.*s", STR_ARG(rest));
	else
		r->repo = str_dup(rest);
	return r->repo ? set(&r->host, host, e) : no_memory(e);
}

static int parse_registry(struct ref *r, struct str s, struct err *e)
{
	struct str all = s, tag;
	const char *at = memchr(s.p, '@', s.len);
	int ret;

	r->kind = REF_REGISTRY;
	if (s.len > REF_MAX)
		return bad(e, all, "longer than 1024 characters");
	if (at) {
		struct str d = { at + 1, s.len - (size_t)(at + 1 - s.p) };

		ret = digest_parse(&r->digest, d, "image reference", e);
		if (ret < 0)
			return ret;
		s.len = (size_t)(at - s.p);
	}
	if (cut_tail(&s, ':', &tag)) {
		if (!is_tag(tag))
			return bad(e, all,
				   "a tag has up to 128 letters, digits, '_', "
				   "'.' and '-', and does not begin with the "
				   "last two");
		ret = set(&r->tag, tag, e);
		if (ret < 0)
			return ret;
	}
	return parse_name(r, s, all, e);
}

/* DIR[:TAG][@DIGEST] and FILE[@DIGEST]. */
static int parse_local(struct ref *r, enum ref_kind kind, struct str s,
		       struct err *e)
{
	struct str all = s, tag;
	const char *at = s.len ? memrchr(s.p, '@', s.len) : NULL;
	struct str d = { NULL, 0 };
	int ret;

	r->kind = kind;
	if (at)
		d = (struct str){ at + 1, s.len - (size_t)(at + 1 - s.p) };
	if (str_starts(d, STR("sha256:"))) {
		ret = digest_parse(&r->digest, d, "image reference", e);
		if (ret < 0)
			return ret;
		s.len = (size_t)(at - s.p);
	}
	if (kind == REF_LAYOUT && cut_tail(&s, ':', &tag)) {
		if (!is_tag(tag))
			return bad(e, all,
				   "what follows the last ':' is not "
				   "a tag");
		ret = set(&r->tag, tag, e);
		if (ret < 0)
			return ret;
	}
	if (s.len == 0)
		return bad(e, all, "no path");
	if (s.len > REF_PATH_MAX)
		return bad(e, all, "the path is longer than 4095 characters");
	return set(&r->path, s, e);
}

static int check_bytes(struct str s, struct err *e)
{
	size_t i;

	if (s.len == 0)
		return err_set(e, EINVAL, "an empty image reference");
	for (i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c < ' ' || c == 0x7f)
			return bad(e, s, "a control character");
	}
	return 0;
}

static struct str behind(struct str s, struct str prefix)
{
	return (struct str){ s.p + prefix.len, s.len - prefix.len };
}

static int parse(struct ref *r, struct str s, struct err *e)
{
	static const struct str layout = { "oci:", 4 };
	static const struct str archive = { "docker-archive:", 15 };
	static const struct str docker = { "docker://", 9 };
	int ret = check_bytes(s, e);

	if (ret < 0)
		return ret;
	if (str_starts(s, layout))
		return parse_local(r, REF_LAYOUT, behind(s, layout), e);
	if (str_starts(s, archive))
		return parse_local(r, REF_ARCHIVE, behind(s, archive), e);
	if (str_starts(s, docker)) /* skopeo's way to say it */
		s = behind(s, docker);
	if (str_starts(s, STR("sha256:")) && s.len == DIGEST_TEXT - 1) {
		r->kind = REF_DIGEST;
		return digest_parse(&r->digest, s, "image reference", e);
	}
	if (s.len == 0)
		return err_set(e, EINVAL, "an empty image reference");
	return parse_registry(r, s, e);
}

int ref_parse(struct ref *r, struct str s, struct err *e)
{
	int ret = parse(r, s, e);

	if (ret < 0)
		ref_free(r);
	return ret;
}

void ref_free(struct ref *r)
{
	mem_free(&r->host);
	mem_free(&r->repo);
	mem_free(&r->path);
	mem_free(&r->tag);
	r->digest.text[0] = '\0';
}

bool ref_is_loopback(const struct ref *r)
{
	struct str host = str_of(r->kind == REF_REGISTRY ? r->host : "");
	struct str port;

	if (str_starts(host, STR("[::1]")))
		return true;
	cut_tail(&host, ':', &port);
	return str_eq(host, STR("localhost")) ||
	       str_ends(host, STR(".localhost")) ||
	       (str_starts(host, STR("127.")) &&
		strspn(host.p, "0123456789.") >= host.len);
}
