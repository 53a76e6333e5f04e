/* SPDX-License-Identifier: MIT
 *
 * What registries say in headers: see challenge.h.
 */
#include "oci/challenge.h"

#include <curl/curl.h>
#include <stdio.h>

#include "base/fd.h"

static bool is_token_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static struct str take_token(struct str *s)
{
	struct str t = { s->p, 0 };

	while (t.len < s->len && is_token_char(s->p[t.len]))
		t.len++;
	s->p += t.len;
	s->len -= t.len;
	return t;
}

static void skip(struct str *s, const char *set)
{
	while (s->len && s->p[0] && strchr(set, s->p[0])) {
		s->p++;
		s->len--;
	}
}

static bool same(struct str s, const char *word)
{
	return s.len == strlen(word) && strncasecmp(s.p, word, s.len) == 0;
}

/* A quoted string, its escapes undone, into @out; false when it does not end,
 * or does not fit. */
static bool take_quoted(struct str *s, char out[static CHALLENGE_TEXT_MAX])
{
	size_t n = 0, i;

	for (i = 1; i < s->len && s->p[i] != '"'; i++) {
		if (s->p[i] == '\\' && i + 1 < s->len)
			i++;
		if (n + 1 >= CHALLENGE_TEXT_MAX || s->p[i] == '\0')
			return false;
		out[n++] = s->p[i];
	}
	if (i >= s->len)
		return false;
	out[n] = '\0';
	s->p += i + 1;
	s->len -= i + 1;
	return true;
}

static bool take_value(struct str *s, char out[static CHALLENGE_TEXT_MAX])
{
	struct str t;

	if (s->len && s->p[0] == '"')
		return take_quoted(s, out);
	t = take_token(s);
	if (t.len >= CHALLENGE_TEXT_MAX)
		return false;
	snprintf(out, CHALLENGE_TEXT_MAX, "%.*s", STR_ARG(t));
	return t.len > 0;
}

static void keep(struct challenge *c, struct str name, const char *value)
{
	char *out = same(name, "realm")	  ? c->realm :
		    same(name, "service") ? c->service :
					    NULL;

	if (out)
		snprintf(out, CHALLENGE_TEXT_MAX, "%s", value);
}

void challenge_parse(struct challenge *c, struct str s)
{
	char value[CHALLENGE_TEXT_MAX];
	bool wanted = false; /* the parameters are the bearer's */

	*c = (struct challenge){ .basic = false };
	for (;;) {
		struct str name;

		skip(&s, " \t,");
		name = take_token(&s);
		if (name.len == 0)
			return;
		skip(&s, " \t");
		/* NAME=VALUE belongs to the scheme before; a NAME alone is the
		 * next scheme. */
		if (s.len && s.p[0] == '=') {
			s.p++;
			s.len--;
			skip(&s, " \t");
			if (!take_value(&s, value))
				return;
			if (wanted)
				keep(c, name, value);
			continue;
		}
		wanted = same(name, "bearer") && !c->bearer;
		c->bearer = c->bearer || wanted;
		c->basic = c->basic || same(name, "basic");
	}
}

static bool take_number(struct str *s, uint64_t *out)
{
	struct str digits = { s->p, 0 };

	while (digits.len < s->len && s->p[digits.len] >= '0' &&
	       s->p[digits.len] <= '9')
		digits.len++;
	s->p += digits.len;
	s->len -= digits.len;
	return str_u64(digits, 0, UINT64_MAX - 1, out, "", NULL) == 0;
}

static bool take_char(struct str *s, char c)
{
	if (!s->len || s->p[0] != c)
		return false;
	s->p++;
	s->len--;
	return true;
}

bool content_range_parse(struct str s, uint64_t *from, uint64_t *to,
			 uint64_t *total)
{
	uint64_t last;

	s = str_trim(s);
	if (s.len < 6 || strncasecmp(s.p, "bytes ", 6) != 0)
		return false;
	s.p += 6;
	s.len -= 6;
	if (!take_number(&s, from) || !take_char(&s, '-') ||
	    !take_number(&s, &last) || !take_char(&s, '/'))
		return false;
	if (take_char(&s, '*'))
		*total = UINT64_MAX;
	else if (!take_number(&s, total))
		return false;
	*to = last + 1;
	return s.len == 0 && *from <= last && last < *total;
}

uint64_t retry_after_parse(struct str s, int64_t now)
{
	mem_auto char *z = NULL;
	uint64_t seconds;
	time_t at;

	s = str_trim(s);
	if (str_u64(s, 0, UINT64_MAX, &seconds, "", NULL) == 0)
		return seconds;
	z = s.len && s.len < 64 ? str_dup(s) : NULL;
	at = z ? curl_getdate(z, NULL) : -1;
	return at > now ? (uint64_t)(at - now) : 0;
}
