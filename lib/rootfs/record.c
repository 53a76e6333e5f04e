/* SPDX-License-Identifier: MIT
 *
 * HEX.json: see record.h.
 *
 * It has no times and no paths in it: the same image gives the same record.
 */
#include "rootfs/record.h"

#include <archive.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "rootfs/image.h"

#define RECORD_FORMAT 1
/* A config has 4 MiB at most, which may be written with escapes. */
#define RECORD_MAX ((size_t)32 << 20)

static json_t *layers(const struct image *i)
{
	json_t *list = json_array();
	size_t n;

	for (n = 0; n < i->nlayers; n++) {
		const struct desc *d = &i->manifest.layers[n];
		const struct digest *diff = &i->config.diff_ids[n];

		json_array_append_new(list, json_pack("{ss ss sI}", "digest",
						      d->digest.text, "diff_id",
						      diff->text, "size",
						      (json_int_t)d->size));
	}
	return list;
}

/* What the bytes depend on besides the image: nothing, if they are plain. */
static json_t *made_by(const struct record_facts *f)
{
	json_t *o = json_pack("{ss ss}", "iso-mkrootfs", ISO_VERSION,
			      "libarchive", archive_version_string());

	if (f->packed)
		json_object_set_new(o, "mkfs.erofs", json_string(f->mkfs));
	return o;
}

json_t *record_make(const struct image *i, const struct record_facts *f)
{
	const struct image_config *c = &i->config;

	return json_pack("{si ss sI ss ss sO ss ss sO sO sO so s{sI sI} so}",
			 "format", RECORD_FORMAT, "manifest", i->digest.text,
			 "size", (json_int_t)f->size, "sha256", f->sha256,
			 "compression", f->packed ? "lz4hc" : "none", "env",
			 c->env, "user", c->user, "workdir", c->workdir,
			 "entrypoint", c->entrypoint, "cmd", c->cmd, "labels",
			 c->labels, "layers", layers(i), "unpacked", "entries",
			 (json_int_t)f->entries, "bytes", (json_int_t)f->bytes,
			 "made_by", made_by(f));
}

static bool says(const json_t *o, const char *key, const char *value)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s && strcmp(s, value) == 0;
}

static bool matches(int dir, const char *hex, bool packed, const json_t *o)
{
	const json_t *size = json_object_get(o, "size");
	char name[SHA256_HEX + sizeof("sha256:.erofs")];
	struct stat st;

	snprintf(name, sizeof(name), "sha256:%s", hex);
	if (json_integer_value(json_object_get(o, "format")) != RECORD_FORMAT ||
	    !says(o, "manifest", name) ||
	    !says(o, "compression", packed ? "lz4hc" : "none"))
		return false;
	snprintf(name, sizeof(name), "%s.erofs", hex);
	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISREG(st.st_mode) && json_is_integer(size) &&
	       st.st_size == json_integer_value(size);
}

json_t *record_load(int dir, const char *hex, bool packed)
{
	buf_auto struct buf b = BUF_INIT_MAX(RECORD_MAX);
	char name[SHA256_HEX + sizeof(".json")];
	json_t *o;

	snprintf(name, sizeof(name), "%s.json", hex);
	if (io_read_file(dir, name, &b, NULL) < 0)
		return NULL;
	o = json_loadb((const char *)b.data, b.len, 0, NULL);
	if (o && matches(dir, hex, packed, o))
		return o;
	json_decref(o);
	return NULL;
}

int record_write(int dir, const char *name, const json_t *record, struct err *e)
{
	mem_auto char *text = json_dumps(record, JSON_INDENT(2));
	buf_auto struct buf b = BUF_INIT_MAX(RECORD_MAX);

	if (!text || buf_puts(&b, text) < 0 || buf_puts(&b, "\n") < 0)
		return err_sys(e, ENOMEM, "cannot write %s", name);
	return io_write_atomic(dir, name, b.data, b.len, 0644, e);
}
