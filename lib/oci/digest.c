/* SPDX-License-Identifier: MIT
 *
 * Content digests: see digest.h.
 *
 * Only SHA-256.  SHA-512 is in the specification too, but no registry is known
 * to serve it, and a second algorithm would give one blob two names.
 */
#include "oci/digest.h"

#include <stdio.h>

#include "base/err.h"
#include "base/fd.h"

#define PREFIX "sha256:"
#define SHOWN_MAX 80 /* bytes of a wrong digest that an error quotes */

static bool is_hex(struct str s)
{
	size_t i;

	for (i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
			return false;
	}
	return true;
}

/* The name of an algorithm, if @s begins with one and a colon. */
static bool has_algorithm(struct str s, struct str *name)
{
	size_t i;

	*name = str_cut(&s, ':');
	if (!s.p || name->len == 0 || name->len > 32)
		return false;
	for (i = 0; i < name->len; i++) {
		char c = name->p[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') &&
		    !strchr("+._-", c))
			return false;
	}
	return true;
}

int digest_parse(struct digest *d, struct str s, const char *what,
		 struct err *e)
{
	struct str rest = s, name;

	d->text[0] = '\0';
	if (has_algorithm(s, &name) && !str_eq(name, STR("sha256")))
		return err_set(e, EINVAL,
			       "%s: digest algorithm '%.*s' is not sha256",
			       what, STR_ARG(name));
	if (str_starts(s, STR(PREFIX))) {
		rest.p += strlen(PREFIX);
		rest.len -= strlen(PREFIX);
		if (rest.len == SHA256_HEX - 1 && is_hex(rest)) {
			memcpy(d->text, s.p, s.len);
			d->text[s.len] = '\0';
			return 0;
		}
	}
	return err_set(e, EINVAL,
		       "%s: '%.*s' is not sha256: and 64 lower-case "
		       "hexadecimal digits",
		       what, (int)(s.len < SHOWN_MAX ? s.len : SHOWN_MAX),
		       s.p ? s.p : "");
}

const char *digest_hex(const struct digest *d)
{
	return digest_none(d) ? "" : d->text + strlen(PREFIX);
}

bool digest_eq(const struct digest *a, const struct digest *b)
{
	return strcmp(a->text, b->text) == 0;
}

bool digest_none(const struct digest *d)
{
	return d->text[0] == '\0';
}
