/* SPDX-License-Identifier: MIT
 *
 * config.json: what a sandbox was made with.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "sandbox/start.h"

#define CONFIG_MAX ((size_t)8 << 20)
#define FORMAT 1
#define MACHINE_ID 16 /* bytes */

/* ---- environment -------------------------------------------------------- */

/* Whether both set the same variable. */
static bool same_name(const char *a, const char *b)
{
	size_t n = strcspn(a, "=");

	return strncmp(a, b, n) == 0 && b[n] == '=';
}

static bool overridden(const char *var, const char *const *by)
{
	for (; by && *by; by++) {
		if (same_name(var, *by))
			return true;
	}
	return false;
}

/* The variables of @below, an array of strings, under those of @own. */
static json_t *merge_env(const json_t *below, const char *const *own)
{
	json_t *list = json_array();
	const char *var;
	const json_t *v;
	size_t i;

	json_array_foreach(below, i, v)
	{
		var = json_string_value(v);
		if (list && var && !overridden(var, own))
			json_array_append_new(list, json_string(var));
	}
	for (; list && own && *own; own++) {
		if (!overridden(*own, own + 1))
			json_array_append_new(list, json_string(*own));
	}
	return list;
}

/* ---- the object --------------------------------------------------------- */

uint64_t config_number(const json_t *config, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(config, key));

	return v < 0 ? 0 : (uint64_t)v;
}

const char *config_text(const json_t *config, const char *key)
{
	const char *s = json_string_value(json_object_get(config, key));

	return s ? s : "";
}

json_t *config_make(const struct config_spec *s, const struct needs *n)
{
	return json_pack("{si ss ss ss ss sI sI sI sI ss s{so ss ss}}",
			 "format", FORMAT, "image", s->image, "digest",
			 n->digest.text, "rootfs", n->rootfs, "kernel",
			 n->release, "vcpus", (json_int_t)s->vcpus, "memory",
			 (json_int_t)s->memory, "disk", (json_int_t)s->disk,
			 "timeout", (json_int_t)s->idle_s, "snapshot", "",
			 "setup", "env",
			 merge_env(json_object_get(n->record, "env"), s->env),
			 "user", config_text(n->record, "user"), "cwd",
			 config_text(n->record, "workdir"));
}

json_t *config_derive(const json_t *from, uint64_t idle_s,
		      const char *const *env)
{
	json_t *o = json_deep_copy(from);
	json_t *setup = json_object_get(o, "setup");
	json_t *all = merge_env(json_object_get(setup, "env"), env);
	int r = all ? json_object_set_new(setup, "env", all) : -1;

	/* Those are its own. */
	json_object_del(o, "created");
	json_object_del(o, "machine_id");
	if (r == 0 && idle_s != CONFIG_SAME)
		r = json_object_set_new(o, "timeout",
					json_integer((json_int_t)idle_s));
	if (r == 0)
		return o;
	json_decref(o);
	return NULL;
}

static int set_text(json_t *o, const char *key, const char *value)
{
	return json_object_set_new(o, key, json_string(value));
}

int config_identify(json_t *config, const char *id, const char *name,
		    struct err *e)
{
	char machine[2 * MACHINE_ID + 1];
	int r = 0;

	if (!json_object_get(config, "machine_id")) {
		r = id_random_hex(machine, MACHINE_ID, e);
		if (r < 0)
			return r;
		r = set_text(config, "machine_id", machine);
	}
	if (r == 0 && !json_object_get(config, "created"))
		r = json_object_set_new(config, "created",
					json_integer(time(NULL)));
	if (r < 0 || set_text(config, "id", id) < 0 ||
	    set_text(config, "name", name ? name : "") < 0)
		return err_sys(e, ENOMEM, "cannot describe the sandbox");
	return 0;
}

/* ---- the file ----------------------------------------------------------- */

int config_write(const struct box *b, const json_t *config, struct err *e)
{
	mem_auto char *text = json_dumps(config, JSON_INDENT(2));
	fd_auto int fd = openat(b->dir, "config.json",
				O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : 0;

	if (!text)
		return err_sys(e, ENOMEM, "cannot write config.json");
	if (r == 0)
		r = io_write_full(fd, text, strlen(text));
	if (r == 0)
		r = io_write_full(fd, "\n", 1);
	return r < 0 ? err_sys(e, -r, "cannot write config.json") : 0;
}

json_t *config_read(const struct box *b, struct err *e)
{
	buf_auto struct buf t = BUF_INIT_MAX(CONFIG_MAX);
	json_t *o = NULL;

	if (io_read_file(b->dir, "config.json", &t, e) < 0) {
		err_in(e, "%s", b->id);
		return NULL;
	}
	o = json_loadb((const char *)t.data, t.len, 0, NULL);
	if (json_integer_value(json_object_get(o, "format")) == FORMAT)
		return o;
	json_decref(o);
	err_set(e, EBADMSG, "%s: config.json makes no sense", b->id);
	return NULL;
}
