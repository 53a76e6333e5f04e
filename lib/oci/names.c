/* SPDX-License-Identifier: MIT
 *
 * The names in the image store, index.json: see store.h.
 *
 * It is read whole, changed as JSON and replaced: entries and members that
 * other programs put there stay as they are.  Readers take no lock, for a file
 * that is replaced is never seen half.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "oci/json.h"
#include "oci/store.h"

#define NAME_KEY "org.opencontainers.image.ref.name"
#define FROM_KEY "io.isokit.index"
#define INDEX_JSON "index.json"

static json_t *load(const struct images *s, struct err *e)
{
	buf_auto struct buf b = BUF_INIT_MAX(MANIFEST_MAX);
	json_t *o;

	if (io_read_file(s->dir, INDEX_JSON, &b, e) < 0) {
		err_in(e, "%s", s->path);
		return NULL;
	}
	o = json_object_of((struct str){ (const char *)b.data, b.len },
			   INDEX_JSON, e);
	if (o && json_is_array(json_object_get(o, "manifests")))
		return o;
	if (o)
		err_set(e, EBADMSG, INDEX_JSON " has no list of manifests");
	err_in(e, "%s", s->path);
	json_decref(o);
	return NULL;
}

static const char *annotation(const json_t *m, const char *key)
{
	const json_t *a = json_object_get(m, "annotations");
	const char *v = json_string_value(json_object_get(a, key));

	return v ? v : "";
}

static void read_platform(const json_t *m, struct platform *p)
{
	const json_t *o = json_object_get(m, "platform");
	const char *os = json_text(o, "os", "", NULL);
	const char *arch = json_text(o, "architecture", "", NULL);
	const char *variant = json_text(o, "variant", "", NULL);

	snprintf(p->os, sizeof(p->os), "%s", os ? os : "");
	snprintf(p->arch, sizeof(p->arch), "%s", arch ? arch : "");
	snprintf(p->variant, sizeof(p->variant), "%s", variant ? variant : "");
}

/* An entry that another program made may be anything. */
static bool read_entry(const json_t *m, struct image_name *n)
{
	const char *type = json_text(m, "mediaType", "", NULL);
	const char *digest = json_text(m, "digest", "", NULL);

	*n = (struct image_name){ .name = annotation(m, NAME_KEY),
				  .type = type };
	if (!type || !digest ||
	    digest_parse(&n->desc.digest, str_of(digest), "", NULL) < 0 ||
	    json_u64(m, "size", MANIFEST_MAX, &n->desc.size, "", NULL) < 0)
		return false;
	n->desc.media = media_of(str_of(type));
	digest_parse(&n->from, str_of(annotation(m, FROM_KEY)), "", NULL);
	read_platform(m, &n->platform);
	return true;
}

int images_each(const struct images *s,
		int (*fn)(const struct image_name *n, void *arg), void *arg,
		struct err *e)
{
	json_auto json_t *o = load(s, e);
	const json_t *list = json_object_get(o, "manifests");
	struct image_name n;
	size_t i;
	int r = 0;

	if (!o)
		return e ? -e->num : -EBADMSG;
	for (i = 0; r == 0 && i < json_array_size(list); i++) {
		if (read_entry(json_array_get(list, i), &n))
			r = fn(&n, arg);
	}
	return r;
}

/* ---- finding ----------------------------------------------------------- */

struct find {
	const struct digest *digest;
	const char *name;
	const struct platform *platform;
	struct desc *out;
};

static bool platform_fits(const struct platform *have,
			  const struct platform *want)
{
	if (!*have->os || !want)
		return true;
	return !strcmp(have->os, want->os) && !strcmp(have->arch, want->arch) &&
	       (!*want->variant || !strcmp(have->variant, want->variant));
}

static int find_one(const struct image_name *n, void *arg)
{
	struct find *f = arg;

	if (n->desc.media != MEDIA_MANIFEST ||
	    !platform_fits(&n->platform, f->platform))
		return 0;
	if (f->name ? strcmp(n->name, f->name) != 0 :
		      !digest_eq(f->digest, &n->desc.digest) &&
			      !digest_eq(f->digest, &n->from))
		return 0;
	*f->out = n->desc;
	return 1;
}

int images_find(const struct images *s, const struct ref *r,
		const struct platform *p, struct desc *out, struct err *e)
{
	bool by_digest = !digest_none(&r->digest);
	mem_auto char *name = by_digest ? NULL : ref_store_name(r);
	mem_auto char *shown = NULL;
	struct find f = {
		.digest = &r->digest, .name = name, .platform = p, .out = out
	};
	int ret = 0;

	if (!by_digest && !name)
		return err_sys(e, ENOMEM, "cannot look for an image");
	/* Two directories of one name are two images. */
	if (by_digest || r->kind == REF_REGISTRY)
		ret = images_each(s, find_one, &f, e);
	if (ret != 0)
		return ret < 0 ? ret : 0;
	shown = by_digest ? ref_canonical(r, &r->digest) : ref_name(r);
	err_set(e, ENOENT, "%s%s%s is not in %s", shown ? shown : "the image",
		!by_digest && r->tag ? ":" : "",
		!by_digest && r->tag ? r->tag : "", s->path);
	return err_fix(e, "iso-pull it first");
}

/* ---- changing ---------------------------------------------------------- */

static int store(const struct images *s, json_t *o, struct err *e)
{
	mem_auto char *text = json_dumps(o, JSON_INDENT(2));

	if (!text)
		return err_sys(e, ENOMEM, "cannot write " INDEX_JSON);
	return io_write_atomic(s->dir, INDEX_JSON, text, strlen(text), 0644, e);
}

static void drop_name(json_t *list, const char *name, size_t *dropped)
{
	size_t i = 0;

	while (i < json_array_size(list)) {
		if (strcmp(annotation(json_array_get(list, i), NAME_KEY),
			   name) == 0) {
			json_array_remove(list, i);
			++*dropped;
		} else {
			i++;
		}
	}
}

static json_t *make_entry(const struct image_name *n)
{
	json_t *m = json_pack("{ss ss sI s{ss}}", "mediaType", n->type,
			      "digest", n->desc.digest.text, "size",
			      (json_int_t)n->desc.size, "annotations", NAME_KEY,
			      n->name);
	json_t *p = m && *n->platform.os ?
			    json_pack("{ss ss}", "os", n->platform.os,
				      "architecture", n->platform.arch) :
			    NULL;

	if (p && *n->platform.variant)
		json_object_set_new(p, "variant",
				    json_string(n->platform.variant));
	if (p)
		json_object_set_new(m, "platform", p);
	if (m && !digest_none(&n->from))
		json_object_set_new(json_object_get(m, "annotations"), FROM_KEY,
				    json_string(n->from.text));
	return m;
}

/* Whether the very entry is there, so that nothing has to be written. */
static bool has_entry(const json_t *list, const json_t *entry)
{
	size_t i;

	for (i = 0; i < json_array_size(list); i++) {
		if (json_equal(json_array_get(list, i), entry))
			return true;
	}
	return false;
}

/* The lock of index.json; what a writer that died left is swept. */
static int lock_index(const struct images *s, struct err *e)
{
	int fd = io_lock(s->dir, ".index.lock", true, e), r;

	if (fd < 0)
		return fd;
	r = io_sweep_tmp(s->path, e);
	if (r < 0)
		fd_close(&fd);
	return r < 0 ? r : fd;
}

int images_name(const struct images *s, const struct image_name *n,
		struct err *e)
{
	/* The blobs' names are on the disk before the one that leads there. */
	int r = io_sync_dir_of(s->dir, "blobs/sha256/.");
	json_auto json_t *entry = make_entry(n);
	json_auto json_t *o = load(s, e);
	fd_auto int lock = -1;
	size_t dropped = 0;
	json_t *list;

	if (r < 0)
		return err_sys(e, -r, "cannot sync %s", s->path);
	if (!entry)
		return err_sys(e, ENOMEM, "cannot write " INDEX_JSON);
	if (!o)
		return e ? -e->num : -EBADMSG;
	if (has_entry(json_object_get(o, "manifests"), entry))
		return 0;
	lock = lock_index(s, e);
	if (lock < 0)
		return lock;
	json_decref(o);
	o = load(s, e);
	if (!o)
		return e ? -e->num : -EBADMSG;
	list = json_object_get(o, "manifests");
	drop_name(list, n->name, &dropped);
	if (json_array_append(list, entry) < 0)
		return err_sys(e, ENOMEM, "cannot write " INDEX_JSON);
	return store(s, o, e);
}

int images_unname(const struct images *s, const char *name, struct err *e)
{
	fd_auto int lock = lock_index(s, e);
	json_auto json_t *o = lock < 0 ? NULL : load(s, e);
	size_t dropped = 0;

	if (!o)
		return e ? -e->num : -EBADMSG;
	drop_name(json_object_get(o, "manifests"), name, &dropped);
	if (!dropped)
		return err_set(e, ENOENT, "no image is called '%.256s'", name);
	return store(s, o, e);
}
