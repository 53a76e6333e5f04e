/* SPDX-License-Identifier: MIT
 *
 * Strings counted by length: see str.h.
 */
#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"

bool str_eq(struct str a, struct str b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

bool str_starts(struct str s, struct str prefix)
{
	return s.len >= prefix.len &&
	       str_eq((struct str){ s.p, prefix.len }, prefix);
}

bool str_ends(struct str s, struct str suffix)
{
	return s.len >= suffix.len &&
	       str_eq((struct str){ s.p + (s.len - suffix.len), suffix.len },
		      suffix);
}

struct str str_cut(struct str *s, char sep)
{
	struct str head = *s;
	const char *at = s->len ? memchr(s->p, sep, s->len) : NULL;

	if (!at) {
		*s = (struct str){ NULL, 0 };
		return head;
	}
	head.len = (size_t)(at - s->p);
	s->p = at + 1;
	s->len -= head.len + 1;
	return head;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct str str_trim(struct str s)
{
	while (s.len && is_blank(s.p[0])) {
		s.p++;
		s.len--;
	}
	while (s.len && is_blank(s.p[s.len - 1]))
		s.len--;
	return s;
}

char *str_dup(struct str s)
{
	char *z = malloc(s.len + 1);

	if (!z)
		return NULL;
	if (s.len)
		memcpy(z, s.p, s.len);
	z[s.len] = '\0';
	return z;
}

/* The digits at the front of @s, taken off it. */
static int take_digits(struct str *s, uint64_t *out)
{
	uint64_t v = 0;
	size_t i;

	for (i = 0; i < s->len && s->p[i] >= '0' && s->p[i] <= '9'; i++) {
		if (__builtin_mul_overflow(v, 10U, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(s->p[i] - '0'), &v))
			return -ERANGE;
	}
	if (i == 0)
		return -EINVAL;
	s->p += i;
	s->len -= i;
	*out = v;
	return 0;
}

static int bad_number(int r, struct str s, const char *want, uint64_t min,
		      uint64_t max, const char *what, struct err *e)
{
	return err_set(e, -r, "%s: '%.*s' is not %s from %llu to %llu", what,
		       STR_ARG(s), want, (unsigned long long)min,
		       (unsigned long long)max);
}

int str_u64(struct str s, uint64_t min, uint64_t max, uint64_t *out,
	    const char *what, struct err *e)
{
	struct str rest = s;
	uint64_t v = 0;
	int r = take_digits(&rest, &v);

	if (r == 0 && rest.len)
		r = -EINVAL;
	if (r == 0 && (v < min || v > max))
		r = -ERANGE;
	if (r < 0)
		return bad_number(r, s, "a whole number", min, max, what, e);
	*out = v;
	return 0;
}

/* The power of 1024 that "K", "KiB", "M" ... stand for; -1: none. */
static int size_shift(struct str unit)
{
	static const char letters[] = "KMGT";
	const char *at;

	if (unit.len == 0 || str_eq(unit, STR("B")))
		return 0;
	at = memchr(letters, unit.p[0] & ~0x20, sizeof(letters) - 1);
	unit.p++;
	unit.len--;
	if (!at || !(unit.len == 0 || str_eq(unit, STR("B")) ||
		     str_eq(unit, STR("iB"))))
		return -1;
	return 10 * (int)(at - letters + 1);
}

int str_size(struct str s, uint64_t min, uint64_t max, uint64_t *out,
	     const char *what, struct err *e)
{
	struct str rest = s;
	uint64_t v = 0;
	int shift = 0;
	int r = take_digits(&rest, &v);

	if (r == 0) {
		shift = size_shift(rest);
		if (shift < 0)
			r = -EINVAL;
		else if (v > UINT64_MAX >> shift)
			r = -ERANGE;
	}
	if (r == 0 && (v << shift < min || v << shift > max))
		r = -ERANGE;
	if (r < 0)
		return bad_number(r, s, "a size (512M, 4G) in bytes", min, max,
				  what, e);
	*out = v << shift;
	return 0;
}

static bool is_name_char(char c, bool first)
{
	if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	    (c >= '0' && c <= '9') || c == '_')
		return true;
	return !first && (c == '.' || c == '-');
}

bool str_is_name(struct str s)
{
	size_t i;

	if (s.len == 0 || s.len > 64)
		return false;
	for (i = 0; i < s.len; i++) {
		if (!is_name_char(s.p[i], i == 0))
			return false;
	}
	return true;
}

char *str_path(const char *dir, const char *name)
{
	struct str d = str_of(dir);

	while (d.len > 1 && d.p[d.len - 1] == '/')
		d.len--;
	while (*name == '/')
		name++;
	if (d.len == 1 && d.p[0] == '/')
		d.len = 0;
	return str_printf("%.*s/%s", STR_ARG(d), name);
}

char *str_printf(const char *fmt, ...)
{
	va_list ap;
	char *out;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&out, fmt, ap);
	va_end(ap);
	return n < 0 ? NULL : out;
}
