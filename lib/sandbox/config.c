/* SPDX-License-Identifier: MIT
 *
 * config.json: what a sandbox was booted with.
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

static json_t *env_list(const char *const *env)
{
	json_t *list = json_array();

	for (; list && env && *env; env++)
		json_array_append_new(list, json_string(*env));
	return list;
}

json_t *config_make(const struct box *b, const struct start_spec *s,
		    const struct needs *n)
{
	return json_pack("{si ss ss ss ss ss ss sI sI sI sI so sI}", "format",
			 FORMAT, "id", b->id, "name", s->name ? s->name : "",
			 "image", s->image, "digest", n->digest.text, "rootfs",
			 n->rootfs, "kernel", n->release, "vcpus",
			 (json_int_t)s->vcpus, "memory", (json_int_t)s->memory,
			 "disk", (json_int_t)s->disk, "timeout",
			 (json_int_t)s->idle_s, "env", env_list(s->env),
			 "created", (json_int_t)time(NULL));
}

int config_write(const struct box *b, const struct start_spec *s,
		 const struct needs *n, struct err *e)
{
	json_t *o = config_make(b, s, n);
	mem_auto char *text = o ? json_dumps(o, JSON_INDENT(2)) : NULL;
	fd_auto int fd = openat(b->dir, "config.json",
				O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : 0;

	json_decref(o);
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
