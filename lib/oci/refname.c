/* SPDX-License-Identifier: MIT
 *
 * Image references: which of them float, and what they are called: see ref.h.
 */
#include <stdlib.h>

#include "base/err.h"
#include "base/fd.h"
#include "oci/ref.h"

/* ---- tags that float --------------------------------------------------- */

#define NAME_CHARS "abcdefghijklmnopqrstuvwxyz0123456789"

static const char *const moving[] = {
	"lts",	    "stable",  "edge",	   "nightly", "main",	  "master",
	"dev",	    "devel",   "develop",  "canary",  "rolling",  "testing",
	"unstable", "current", "mainline", "head",    "snapshot",
};

static bool is_moving(struct str word)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(moving); i++) {
		if (word.len == strlen(moving[i]) &&
		    strncasecmp(word.p, moving[i], word.len) == 0)
			return true;
	}
	return false;
}

/* A year, a date, or a commit: four digits or more and nothing else, or seven
 * hexadecimal digits or more with a decimal one among them. */
static bool is_dated(struct str word)
{
	size_t i, digits = 0, hex = 0;

	for (i = 0; i < word.len; i++) {
		if (word.p[i] >= '0' && word.p[i] <= '9')
			digits++;
		else if (word.p[i] >= 'a' && word.p[i] <= 'f')
			hex++;
	}
	return (digits >= 4 && digits == word.len) ||
	       (digits && digits + hex == word.len && word.len >= 7);
}

static struct str next_word(const char **at)
{
	size_t n = strcspn(*at, "-_.");
	struct str word = { *at, n };

	*at += n;
	if (**at)
		(*at)++;
	return word;
}

bool ref_tag_floats(const char *tag)
{
	bool first_moves = false, last_moves = false, dated = false;
	const char *at = tag;
	int i;

	for (i = 0; *at; i++) {
		struct str word = next_word(&at);

		if (word.len == strlen("latest") &&
		    strncasecmp(word.p, "latest", word.len) == 0)
			return true;
		last_moves = is_moving(word);
		if (i == 0)
			first_moves = last_moves;
		dated = dated || is_dated(word);
	}
	if (first_moves)
		return !dated;
	return last_moves && !strpbrk(tag, "0123456789");
}

int ref_check_pinned(const struct ref *r, const char *given, struct err *e)
{
	if (r->kind != REF_REGISTRY || !digest_none(&r->digest))
		return 0;
	if (r->tag && !ref_tag_floats(r->tag))
		return 0;
	if (!r->tag)
		err_set(e, EINVAL,
			"%s: no tag means 'latest', which is another image "
			"tomorrow",
			given);
	else
		err_set(e, EINVAL,
			"%s: the tag '%s' floats: it is another image tomorrow",
			given, r->tag);
	err_fix(e,
		"a version (%s:1.2.3) or a digest (%s@sha256:...), or "
		"--allow-floating",
		r->repo, r->repo);
	return -EINVAL;
}

/* ---- printing ---------------------------------------------------------- */

/* What follows a ':' in the last component would be read as a tag. */
static char *layout_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *colon = strrchr(path, ':');

	return str_printf("oci:%s%s", path,
			  colon && (!slash || colon > slash) ? "/" : "");
}

char *ref_name(const struct ref *r)
{
	switch (r->kind) {
	case REF_REGISTRY:
		return str_printf("%s/%s", r->host, r->repo);
	case REF_LAYOUT:
		return layout_name(r->path);
	case REF_ARCHIVE:
		return str_printf("docker-archive:%s", r->path);
	case REF_DIGEST:
		break;
	}
	return str_dup(STR(""));
}

char *ref_canonical(const struct ref *r, const struct digest *d)
{
	mem_auto char *name = ref_name(r);

	if (!name)
		return NULL;
	return str_printf("%s%s%s", name, *name ? "@" : "", d->text);
}

/* The last component of a path, made to fit into a repository's name. */
static char *local_name(const char *path)
{
	size_t n = strlen(path), from, len, i;
	char *name;

	while (n && path[n - 1] == '/')
		n--;
	for (from = n; from && path[from - 1] != '/';)
		from--;
	name = str_dup((struct str){ path + from, n - from });
	len = name ? strlen(name) : 0;
	for (i = 0; i < len; i++) {
		if (name[i] >= 'A' && name[i] <= 'Z')
			name[i] = (char)(name[i] - 'A' + 'a');
		if (!strchr(NAME_CHARS, name[i]))
			name[i] = i == 0 || i + 1 == len ? '0' : '-';
	}
	return name;
}

char *ref_store_name(const struct ref *r)
{
	mem_auto char *base = NULL;

	if (r->kind == REF_DIGEST)
		return str_dup(str_of(r->digest.text));
	if (r->kind == REF_REGISTRY && !digest_none(&r->digest))
		return str_printf("%s/%s@%s", r->host, r->repo, r->digest.text);
	if (r->kind == REF_REGISTRY)
		return str_printf("%s/%s:%s", r->host, r->repo,
				  r->tag ? r->tag : "latest");
	base = local_name(r->path);
	if (!base)
		return NULL;
	return str_printf("localhost/%s:%s", *base ? base : "image",
			  r->tag ? r->tag : "local");
}
