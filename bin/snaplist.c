/* SPDX-License-Identifier: MIT
 *
 * Snapshots as iso-snap shows them: see snaplist.h.
 *
 * The object that --json prints is what the table is made from too, so the two
 * cannot differ.
 */
#include "bin/snaplist.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "sandbox/snapshot.h"
#include "sandbox/usage.h"

#define CELL 256

/* ---- objects ------------------------------------------------------------ */

/* What its files take of the disk, bytes. */
static json_int_t disk_of(const struct snapshot *s)
{
	struct stat st;
	json_int_t sum = 0;
	int f;

	for (f = 0; f < SNAPSHOT_FILES; f++) {
		if (fstatat(s->dir, snapshot_file_names[f], &st,
			    AT_SYMLINK_NOFOLLOW) == 0)
			sum += (json_int_t)st.st_blocks * 512;
	}
	return sum;
}

static const char *state_of(const struct snapshot *s)
{
	if (!s->manifest)
		return "damaged";
	return snapshot_is_verified(s) ? "verified" : "unverified";
}

static void copy(json_t *to, const json_t *from, const char *key)
{
	json_t *v = json_object_get(from, key);

	json_object_set(to, key, v ? v : json_null());
}

static json_t *object_of(const char *root, const struct snapshot *s)
{
	static const char *const of_config[] = { "image", "digest", "kernel",
						 "vcpus", "memory", "disk" };
	char name[SNAPSHOT_NAME_SIZE];
	json_t *o;
	size_t i;

	snapshot_name_of(root, s->id, name);
	o = json_pack("{ss ss ss ss sI sb sb}", "id", s->id, "name", name,
		      "path", s->path, "state", state_of(s), "disk_used",
		      disk_of(s), "golden", snapshot_is_golden(root, s->id),
		      "imported",
		      json_is_true(json_object_get(s->manifest, "imported")));
	if (!o)
		return NULL;
	copy(o, s->manifest, "created");
	copy(o, s->manifest, "parent");
	for (i = 0; i < ARRAY_SIZE(of_config); i++)
		copy(o, snapshot_config(s), of_config[i]);
	return o;
}

static int print_json(const json_t *o, struct err *e)
{
	int r = json_dumpf(o, stdout, JSON_INDENT(2));

	putchar('\n');
	return r < 0 ? err_set(e, EIO, "cannot write to standard output") : 0;
}

int snaplist_show(const char *root, const struct snapshot *s, struct err *e)
{
	json_t *o = object_of(root, s);
	int r;

	if (!o || json_object_set(o, "manifest", s->manifest) < 0) {
		json_decref(o);
		return err_sys(e, ENOMEM, "cannot show %s", s->id);
	}
	r = print_json(o, e);
	json_decref(o);
	return r;
}

/* ---- the table ---------------------------------------------------------- */

static const char *const titles[] = { "ID",    "NAME", "STATE", "AGE",
				      "IMAGE", "DISK", "PARENT" };

/* A snapshot from elsewhere has had a part in the text. */
static void plain(char *text)
{
	for (; *text; text++) {
		if (*text < ' ' || *text > '~')
			*text = '?';
	}
}

static void text_cell(const json_t *o, const char *key, char out[static CELL])
{
	const char *text = json_string_value(json_object_get(o, key));

	snprintf(out, CELL, "%s", text && *text ? text : "-");
	plain(out);
}

static void cell(const json_t *o, size_t column, char out[static CELL])
{
	static const char *const keys[] = { "id",      "name",	"state",
					    "created", "image", "disk_used",
					    "parent" };
	const json_t *v = json_object_get(o, keys[column]);
	json_int_t n = json_integer_value(v);
	int64_t age = (int64_t)time(NULL) - n;
	char word[24];

	if (!json_is_integer(v))
		text_cell(o, keys[column], out);
	else if (column == 3)
		snprintf(out, CELL, "%s",
			 usage_time(age > 0 ? (uint64_t)age : 0, word));
	else
		snprintf(out, CELL, "%s", usage_size((uint64_t)n, word));
}

static void print_row(const json_t *o, const int width[])
{
	char c[CELL];
	size_t k;

	for (k = 0; k < ARRAY_SIZE(titles); k++) {
		bool last = k + 1 == ARRAY_SIZE(titles);

		if (o)
			cell(o, k, c);
		printf("%-*s%s", last ? 0 : width[k], o ? c : titles[k],
		       last ? "\n" : "  ");
	}
}

static void print_table(const json_t *list)
{
	int width[ARRAY_SIZE(titles)];
	char c[CELL];
	size_t i, k;

	for (k = 0; k < ARRAY_SIZE(titles); k++) {
		width[k] = (int)strlen(titles[k]);
		for (i = 0; i < json_array_size(list); i++) {
			cell(json_array_get(list, i), k, c);
			if ((int)strlen(c) > width[k])
				width[k] = (int)strlen(c);
		}
	}
	print_row(NULL, width);
	for (i = 0; i < json_array_size(list); i++)
		print_row(json_array_get(list, i), width);
}

static void print_ids(const json_t *list)
{
	size_t i;

	for (i = 0; i < json_array_size(list); i++)
		puts(json_string_value(
			json_object_get(json_array_get(list, i), "id")));
}

/* ---- all of them -------------------------------------------------------- */

struct listing {
	const char *root;
	json_t *list; /* owned */
};

static json_int_t created(const json_t *o)
{
	return json_integer_value(json_object_get(o, "created"));
}

/* They come in the order of ids, and there are not many. */
static int add(const struct snapshot *s, void *arg)
{
	struct listing *l = arg;
	json_t *o = object_of(l->root, s);
	size_t i = json_array_size(l->list);

	while (i && created(json_array_get(l->list, i - 1)) > created(o))
		i--;
	return o && json_array_insert_new(l->list, i, o) == 0 ? 0 : -ENOMEM;
}

int snaplist_print(const char *root, enum snaplist_form form, struct err *e)
{
	struct listing l = { root, json_array() };
	int r = l.list ? snapshot_each(root, add, &l, e) : -ENOMEM;

	if (r == -ENOMEM)
		err_sys(e, ENOMEM, "cannot list snapshots");
	else if (r == 0 && form == SNAPLIST_JSON)
		r = print_json(l.list, e);
	else if (r == 0 && form == SNAPLIST_IDS)
		print_ids(l.list);
	else if (r == 0)
		print_table(l.list);
	json_decref(l.list);
	return r;
}
