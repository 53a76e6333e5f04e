/* SPDX-License-Identifier: MIT
 *
 * Strings counted by length, and numbers read from them without surprises.
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct err;

/* A view of bytes that somebody else owns; may hold NUL, need not end in it. */
struct str {
	const char *p;
	size_t len;
};

#define STR(literal) ((struct str){ (literal), sizeof(literal) - 1 })
/* For printf's "%.*s". */
#define STR_ARG(s) (int)(s).len, (s).p

static inline struct str str_of(const char *z)
{
	return (struct str){ z, strlen(z) };
}

bool str_eq(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);

/* Cut @s at the first @sep: the head is returned, @s becomes the tail.  With
 * no @sep the head is all of it, the tail empty with p == NULL. */
struct str str_cut(struct str *s, char sep);

/* Without blanks (space, tab, CR, LF) at both ends. */
struct str str_trim(struct str s);

/* A copy on the heap with a NUL behind it; NULL when memory is out. */
char *str_dup(struct str s);

/* A decimal number of the whole of @s in [@min, @max]; @what names it in the
 * error.  0 or -EINVAL, -ERANGE. */
int str_u64(struct str s, uint64_t min, uint64_t max, uint64_t *out,
	    const char *what, struct err *e);

/* A size in bytes: a decimal number with an optional K, M, G or T (powers of
 * 1024; a B or iB behind it is allowed).  Same contract. */
int str_size(struct str s, uint64_t min, uint64_t max, uint64_t *out,
	     const char *what, struct err *e);

/* Whether @s is a name fit for a file or a tag of ours:
 * [A-Za-z0-9_][A-Za-z0-9._-]{0,63}. */
bool str_is_name(struct str s);

/* "%s/%s" on the heap, with exactly one slash between; NULL: out of memory. */
char *str_path(const char *dir, const char *name);

/* printf to the heap; NULL: out of memory. */
char *str_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
