/* SPDX-License-Identifier: MIT
 *
 * iso-ps: lists sandboxes.
 *
 * What can be said of one is a table of fields, from which come the columns
 * for people, the TAB-separated values for scripts and the members of the JSON
 * objects alike.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/fd.h"
#include "bin/tool.h"
#include "sandbox/rundir.h"
#include "sandbox/usage.h"

#define CELL 256
#define SHOWN_MAX 32 /* fields at a time */

static const char *chosen;
static bool json, ids;

/* One sandbox. */
struct row {
	struct usage u;
	char name[NAME_SIZE];
	char dir[4096];
};

struct rows {
	struct row **v; /* owned, and each */
	size_t n, room;
};

/* ---- fields ------------------------------------------------------------- */

enum field_kind {
	FIELD_TEXT,
	FIELD_COUNT,
	FIELD_BYTES,
	FIELD_SECONDS,
};

/* Either text, or a number; NULL and -1: there is none. */
struct value {
	const char *text;
	json_int_t n;
};

struct field {
	const char *name;
	const char *title; /* over the column for people */
	enum field_kind kind;
	struct value (*get)(const struct row *r);
};

static struct value text(const char *s)
{
	return (struct value){ s && *s ? s : NULL, -1 };
}

static struct value count(uint64_t n)
{
	return (struct value){ NULL, (json_int_t)n };
}

static struct value config_text(const struct row *r, const char *key)
{
	return text(json_string_value(json_object_get(r->u.config, key)));
}

static struct value config_count(const struct row *r, const char *key)
{
	const json_t *v = json_object_get(r->u.config, key);

	return (struct value){ NULL, json_is_integer(v) ?
					     json_integer_value(v) :
					     -1 };
}

static const struct value none = { NULL, -1 };

#define GET(what, expression)                               \
	static struct value get_##what(const struct row *r) \
	{                                                   \
		return expression;                          \
	}

GET(id, text(r->u.id))
GET(name, text(r->name))
GET(state, text(usage_state_name(r->u.state)))
GET(reason, text(r->u.end.reason))
GET(detail, text(r->u.end.detail))
GET(image, config_text(r, "image"))
GET(digest, config_text(r, "digest"))
GET(kernel, config_text(r, "kernel"))
GET(vcpus, config_count(r, "vcpus"))
GET(memory, config_count(r, "memory"))
GET(disk, config_count(r, "disk"))
GET(timeout, config_count(r, "timeout"))
GET(created, config_count(r, "created"))
GET(uptime, count(r->u.up_s))
GET(pid, r->u.pid ? count((uint64_t)r->u.pid) : none)
GET(cpu_us, r->u.counted ? count(r->u.cpu_us) : none)
GET(memory_used, r->u.counted ? count(r->u.memory) : none)
GET(memory_peak, r->u.counted ? count(r->u.memory_peak) : none)
GET(disk_used, count(r->u.disk))
GET(dir, text(r->dir))

static const struct field fields[] = {
	{ "id", "ID", FIELD_TEXT, get_id },
	{ "name", "NAME", FIELD_TEXT, get_name },
	{ "state", "STATE", FIELD_TEXT, get_state },
	{ "reason", "REASON", FIELD_TEXT, get_reason },
	{ "detail", "DETAIL", FIELD_TEXT, get_detail },
	{ "image", "IMAGE", FIELD_TEXT, get_image },
	{ "digest", "DIGEST", FIELD_TEXT, get_digest },
	{ "kernel", "KERNEL", FIELD_TEXT, get_kernel },
	{ "vcpus", "VCPUS", FIELD_COUNT, get_vcpus },
	{ "memory", "MEMORY", FIELD_BYTES, get_memory },
	{ "disk", "DISK", FIELD_BYTES, get_disk },
	{ "timeout", "TIMEOUT", FIELD_SECONDS, get_timeout },
	{ "created", "CREATED", FIELD_COUNT, get_created },
	{ "uptime", "UP", FIELD_SECONDS, get_uptime },
	{ "pid", "PID", FIELD_COUNT, get_pid },
	{ "cpu_us", "CPU_US", FIELD_COUNT, get_cpu_us },
	{ "memory_used", "USED", FIELD_BYTES, get_memory_used },
	{ "memory_peak", "PEAK", FIELD_BYTES, get_memory_peak },
	{ "disk_used", "DISK_USED", FIELD_BYTES, get_disk_used },
	{ "dir", "DIR", FIELD_TEXT, get_dir },
};

#define FIELD_WORDS                                                            \
	"id name state reason detail image digest kernel vcpus memory disk "   \
	"timeout created uptime pid cpu_us memory_used memory_peak disk_used " \
	"dir"

static const char for_people[] =
	"id,name,state,reason,image,vcpus,memory,memory_used,disk_used,uptime";

static const struct field *field_of(struct str name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fields); i++) {
		if (str_eq(name, str_of(fields[i].name)))
			return &fields[i];
	}
	return NULL;
}

/* The fields of "a,b,c" into @out; how many, or -EINVAL. */
static int choose(const char *list, const struct field *out[static SHOWN_MAX],
		  struct err *e)
{
	struct str rest = str_of(list);
	int n = 0;

	while (rest.p) {
		struct str name = str_cut(&rest, ',');

		if (n == SHOWN_MAX) {
			err_set(e, EINVAL, "--output: more than %d fields",
				SHOWN_MAX);
			return -EINVAL;
		}
		out[n] = field_of(name);
		if (!out[n]) {
			err_set(e, EINVAL, "--output: no field '%.*s'",
				STR_ARG(name));
			return err_fix(e, FIELD_WORDS);
		}
		n++;
	}
	return n;
}

/* ---- output ------------------------------------------------------------- */

/* @people: units, and nothing that a terminal would obey. */
static void cell(const struct field *f, const struct row *r, bool people,
		 char out[static CELL])
{
	struct value v = f->get(r);
	char word[24];

	if (v.text)
		snprintf(out, CELL, "%s", v.text);
	else if (v.n < 0)
		snprintf(out, CELL, "-");
	else if (people && f->kind == FIELD_BYTES)
		snprintf(out, CELL, "%s", usage_size((uint64_t)v.n, word));
	else if (people && f->kind == FIELD_SECONDS)
		snprintf(out, CELL, "%s", usage_time((uint64_t)v.n, word));
	else
		snprintf(out, CELL, "%lld", (long long)v.n);
}

static void print_values(const struct rows *l, const struct field *const *shown,
			 int n)
{
	char c[CELL];
	size_t i;
	int k;

	for (i = 0; i < l->n; i++) {
		for (k = 0; k < n; k++) {
			cell(shown[k], l->v[i], false, c);
			printf("%s%s", c, k + 1 < n ? "\t" : "\n");
		}
	}
}

static void print_table(const struct rows *l, const struct field *const *shown,
			int n)
{
	int width[SHOWN_MAX];
	char c[CELL];
	size_t i;
	int k;

	for (k = 0; k < n; k++) {
		width[k] = (int)strlen(shown[k]->title);
		for (i = 0; i < l->n; i++) {
			cell(shown[k], l->v[i], true, c);
			if ((int)strlen(c) > width[k])
				width[k] = (int)strlen(c);
		}
	}
	for (k = 0; k < n; k++)
		printf("%-*s%s", k + 1 < n ? width[k] : 0, shown[k]->title,
		       k + 1 < n ? "  " : "\n");
	for (i = 0; i < l->n; i++) {
		for (k = 0; k < n; k++) {
			cell(shown[k], l->v[i], true, c);
			printf("%-*s%s", k + 1 < n ? width[k] : 0, c,
			       k + 1 < n ? "  " : "\n");
		}
	}
}

static json_t *object(const struct row *r)
{
	json_t *o = json_object();
	size_t i;

	for (i = 0; o && i < ARRAY_SIZE(fields); i++) {
		struct value v = fields[i].get(r);

		json_object_set_new(o, fields[i].name,
				    v.text   ? json_string(v.text) :
				    v.n >= 0 ? json_integer(v.n) :
					       json_null());
	}
	return o;
}

static int print_json(const struct rows *l)
{
	json_t *list = json_array();
	size_t i;
	int r;

	for (i = 0; list && i < l->n; i++)
		json_array_append_new(list, object(l->v[i]));
	r = list ? json_dumpf(list, stdout, JSON_INDENT(2)) : -1;
	json_decref(list);
	putchar('\n');
	return r < 0 ? EXIT_FAILED : EXIT_DONE;
}

/* ---- collecting --------------------------------------------------------- */

static void rows_free(struct rows *l)
{
	size_t i;

	for (i = 0; i < l->n; i++) {
		usage_free(&l->v[i]->u);
		free(l->v[i]);
	}
	free((void *)l->v);
}

static int add_box(struct rows *l, const struct rundir *d, const struct box *b)
{
	struct row *r = calloc(1, sizeof(*r));

	if (r && l->n == l->room) {
		size_t room = l->room ? 2 * l->room : 32;
		void *v =
			reallocarray((void *)l->v, room, sizeof(struct row *));

		if (!v) {
			free(r);
			return -ENOMEM;
		}
		l->v = v;
		l->room = room;
	}
	if (!r)
		return -ENOMEM;
	usage_of(&r->u, b);
	rundir_name_of(d, b->id, r->name);
	snprintf(r->dir, sizeof(r->dir), "%s/%s", d->path, b->entry);
	l->v[l->n++] = r;
	return 0;
}

static int add_each(const struct rundir *d, const char *id, bool starting,
		    void *arg)
{
	char entry[ID_SIZE + 8];
	box_auto struct box b = BOX_INIT;

	snprintf(entry, sizeof(entry), "%s%s", starting ? ".boot." : "", id);
	/* It may be gone since it was listed, or have got its name. */
	if (box_open(&b, d->dir, entry, NULL) < 0 &&
	    (!starting || box_open(&b, d->dir, id, NULL) < 0))
		return 0;
	return add_box(arg, d, &b);
}

static int by_age(const void *a, const void *b)
{
	const struct row *x = *(struct row *const *)a;
	const struct row *y = *(struct row *const *)b;

	if (x->u.created != y->u.created)
		return x->u.created < y->u.created ? -1 : 1;
	return strcmp(x->u.id, y->u.id);
}

static int collect(struct rows *l, const struct rundir *d, int argc,
		   const char *const *argv, struct err *e)
{
	int i, r = 0;

	rundir_sweep(d);
	for (i = 0; r == 0 && i < argc; i++) {
		box_auto struct box b = BOX_INIT;

		r = rundir_find(d, argv[i], &b, e);
		if (r == 0 && add_box(l, d, &b) < 0)
			r = err_sys(e, ENOMEM, "cannot list");
	}
	if (argc == 0)
		r = rundir_each(d, true, add_each, l, e);
	if (l->n)
		qsort((void *)l->v, l->n, sizeof(struct row *), by_age);
	return r;
}

static int run(int argc, const char *const *argv)
{
	__attribute__((cleanup(rows_free))) struct rows l = { .v = NULL };
	rundir_auto struct rundir d = RUNDIR_INIT;
	const struct field *shown[SHOWN_MAX];
	struct err e = ERR_INIT;
	int n = choose(ids ? "id" : chosen ? chosen : for_people, shown, &e);

	if (n < 0) {
		tool_warn(&e);
		return EXIT_WRONG;
	}
	if (rundir_open(&d, tool_root(), false, &e) < 0 ||
	    collect(&l, &d, argc, argv, &e) < 0)
		return tool_fail(&e);
	if (json)
		return tool_done(print_json(&l));
	if (chosen || ids)
		print_values(&l, shown, n);
	else
		print_table(&l, shown, n);
	return tool_done(EXIT_DONE);
}

static const struct opt options[] = {
	{ .name = "output",
	  .letter = 'o',
	  .kind = OPT_TEXT,
	  .out = &chosen,
	  .arg = "FIELD,...",
	  .help = "these fields, with a TAB between them, and no header",
	  .offer = OFFER_WORDS,
	  .words = FIELD_WORDS },
	{ .name = "quiet",
	  .letter = 'q',
	  .kind = OPT_FLAG,
	  .out = &ids,
	  .help = "only ids" },
	{ .name = "json",
	  .letter = 'j',
	  .kind = OPT_FLAG,
	  .out = &json,
	  .help = "print an array of objects, with all fields" },
	{ .name = NULL },
};

static const struct opt_prog prog = {
	.self = {
		.name = "iso-ps",
		.args = "[SANDBOX...]",
		.help = "list sandboxes",
		.opts = options,
		.max_args = -1,
		.run = run,
	},
};

int main(int argc, char **argv)
{
	return tool_main(&prog, argc, argv);
}
