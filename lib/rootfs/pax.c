/* SPDX-License-Identifier: MIT
 *
 * What libarchive does not tell of a tar header: see pax.h.
 *
 * It hands names out as C strings.  A PAX record counts its bytes, and may have
 * a NUL among them: what libarchive then calls "passwd" others call
 * "passwd\0.txt", and who checks one name may get the other.  So the records
 * are looked at a second time, where they lie: in the blocks that libarchive
 * was given last.
 */
#include "rootfs/pax.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"

#define RECORD ((uint64_t)512)
#define TYPE_AT 156
#define SIZE_AT 124
#define SIZE_LEN 12
/* Of one entry: global, extended, long name, long link are four. */
#define HEADERS_MAX 16

static int too_large(struct err *e)
{
	return err_set(e, EINVAL, "its extended headers are too large");
}

/* Copy @n bytes from @at on. */
static bool copy(const struct pax_view *v, uint64_t at, uint8_t *out, size_t n)
{
	uint64_t off = at - v->at;
	size_t i;

	if (at < v->at || off > v->n[0] + v->n[1] ||
	    n > v->n[0] + v->n[1] - off)
		return false;
	for (i = 0; i < n; i++, off++)
		out[i] = off < v->n[0] ? v->p[0][off] : v->p[1][off - v->n[0]];
	return true;
}

static bool octal(const uint8_t *p, size_t n, uint64_t *out)
{
	size_t i = 0;

	*out = 0;
	while (i < n && p[i] == ' ')
		i++;
	for (; i < n && p[i] >= '0' && p[i] <= '7'; i++)
		*out = *out << 3 | (p[i] - '0');
	return i == n || p[i] == '\0' || p[i] == ' ';
}

static bool is_name(struct str key)
{
	return str_eq(key, STR("path")) || str_eq(key, STR("linkpath")) ||
	       str_eq(key, STR("GNU.sparse.name"));
}

/* One record, "LENGTH KEY=VALUE\n"; its length goes to *@len. */
static int check_record(struct str s, size_t *len, struct err *e)
{
	size_t i = 0, n = 0;
	struct str key;

	while (i < s.len && i < 8 && s.p[i] >= '0' && s.p[i] <= '9')
		n = n * 10 + (size_t)(s.p[i++] - '0');
	if (n <= i + 1 || n > s.len || s.p[i] != ' ' || s.p[n - 1] != '\n')
		return err_set(e, EINVAL, "it has a damaged extended header");
	s = (struct str){ s.p + i + 1, n - i - 2 };
	key = str_cut(&s, '=');
	if (memchr(key.p, '\0', key.len) ||
	    (is_name(key) && s.len && memchr(s.p, '\0', s.len)))
		return err_set(e, EINVAL, "its name has a NUL in it");
	*len = n;
	return 0;
}

static int check_body(struct str s, struct err *e)
{
	while (s.len) {
		size_t n = 0;

		if (check_record(s, &n, e) < 0)
			return -e->num;
		s.p += n;
		s.len -= n;
	}
	return 0;
}

/* The body of a header of type 'x' or 'g'. */
static int check_pax(const struct pax_view *v, uint64_t at, uint64_t n,
		     struct err *e)
{
	mem_auto uint8_t *body = NULL;

	if (n == 0)
		return 0;
	if (n > v->n[0] + v->n[1])
		return too_large(e);
	body = malloc(n);
	if (!body)
		return err_sys(e, ENOMEM, "cannot read its header");
	if (!copy(v, at, body, n))
		return too_large(e);
	return check_body((struct str){ (const char *)body, n }, e);
}

int pax_check(const struct pax_view *v, uint64_t at, struct err *e)
{
	uint8_t header[RECORD];
	uint64_t size;
	int i;

	for (i = 0; i < HEADERS_MAX; i++) {
		if (!copy(v, at, header, sizeof(header)))
			return too_large(e);
		if (!header[TYPE_AT] || !strchr("xgXLK", header[TYPE_AT]))
			return 0;
		if (!octal(header + SIZE_AT, SIZE_LEN, &size) ||
		    size > v->n[0] + v->n[1])
			return too_large(e);
		at += RECORD;
		if (header[TYPE_AT] != 'L' && header[TYPE_AT] != 'K' &&
		    check_pax(v, at, size, e) < 0)
			return -e->num;
		at += (size + RECORD - 1) & ~(RECORD - 1);
	}
	return too_large(e);
}
