/* SPDX-License-Identifier: MIT
 *
 * An image from what `docker save` wrote into the store: see pull.h.
 *
 * Such a file has a manifest.json that names a config and layers, in any
 * order: newer ones are OCI layouts besides, with blobs/sha256/HEX for names,
 * older ones have HEX.json and HEX/layer.tar.  There is no OCI manifest that
 * manifest.json could be held against, so one is made, always the same for the
 * same layers and config.
 *
 * The file is read twice: manifest.json is mostly at its end, and the layers,
 * whose digests the config has, are hashed as they stream into the store.
 */
#include <archive.h>
#include <archive_entry.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "oci/json.h"
#include "oci/pull.h"

#define READ_BLOCK ((size_t)256 << 10)
#define ENTRIES_MAX 8192

struct saved_layer {
	const char *path; /* in the archive; borrowed from manifest.json */
	struct desc desc; /* size 0 until it was seen */
};

struct saved {
	const char *file;
	struct images *store;
	struct buf list, config; /* manifest.json; the file it names */
	json_t *json;		 /* the parsed manifest.json, an object */
	const char *config_path;
	struct saved_layer *layers;
	size_t nlayers;
	struct digest config_digest;
};

static struct str text_of(const struct buf *b)
{
	return (struct str){ (const char *)b->data, b->len };
}

/* ---- reading the archive ----------------------------------------------- */

static int archive_failed(const struct saved *s, struct archive *a,
			  struct err *e)
{
	const char *why = archive_error_string(a);

	return err_set(e, EBADMSG, "cannot read %s: %s", s->file,
		       why ? why : "not an archive");
}

static int read_entry_into(const struct saved *s, struct archive *a,
			   struct buf *b, struct err *e)
{
	ssize_t n = 0;

	do {
		if (buf_reserve(b, 16384) < 0)
			return err_set(e, EFBIG,
				       "%s: a document in it is larger than "
				       "%zu bytes",
				       s->file, b->max);
		n = archive_read_data(a, b->data + b->len, 16384);
		if (n > 0)
			b->len += (size_t)n;
	} while (n > 0);
	return n < 0 ? archive_failed(s, a, e) : 0;
}

/* Call @fn for each entry with its name, "./" off; it reads the data, or
 * not. */
static int each_entry(struct saved *s,
		      int (*fn)(struct saved *s, struct archive *a,
				struct archive_entry *entry, const char *name,
				struct err *e),
		      struct err *e)
{
	struct archive *a = archive_read_new();
	struct archive_entry *entry;
	int r = 0, code, n = 0;

	if (!a)
		return err_sys(e, ENOMEM, "cannot read %s", s->file);
	archive_read_support_format_tar(a);
	archive_read_support_filter_gzip(a);
	archive_read_support_filter_zstd(a);
	code = archive_read_open_filename(a, s->file, READ_BLOCK);
	while (code >= ARCHIVE_WARN && r == 0 &&
	       (code = archive_read_next_header(a, &entry)) >= ARCHIVE_WARN &&
	       code != ARCHIVE_EOF) {
		const char *name = archive_entry_pathname(entry);

		if (++n > ENTRIES_MAX)
			r = err_set(e, EFBIG, "%s: more than %d entries",
				    s->file, ENTRIES_MAX);
		else if (name)
			r = fn(s, a, entry,
			       strncmp(name, "./", 2) ? name : name + 2, e);
	}
	if (r == 0 && code < ARCHIVE_WARN)
		r = archive_failed(s, a, e);
	archive_read_free(a);
	return r;
}

/* ---- the first time: what there is ------------------------------------- */

static int take_list(struct saved *s, struct archive *a,
		     struct archive_entry *entry, const char *name,
		     struct err *e)
{
	(void)entry;
	if (strcmp(name, "manifest.json") != 0)
		return 0;
	buf_clear(&s->list);
	return read_entry_into(s, a, &s->list, e);
}

static int take_config(struct saved *s, struct archive *a,
		       struct archive_entry *entry, const char *name,
		       struct err *e)
{
	(void)entry;
	if (strcmp(name, s->config_path) != 0)
		return 0;
	buf_clear(&s->config);
	return read_entry_into(s, a, &s->config, e);
}

static int not_saved(const struct saved *s, struct err *e)
{
	err_set(e, EINVAL,
		"%s is not what docker save writes: no "
		"manifest.json that names a config and layers",
		s->file);
	return err_fix(e, "oci:DIR for an image layout; `docker save -o FILE "
			  "NAME` makes an archive");
}

/* manifest.json is a list; json.h parses objects. */
static int parse_list(struct saved *s, struct err *e)
{
	buf_auto struct buf text = BUF_INIT_MAX(MANIFEST_MAX + 64);
	const json_t *images;

	if (buf_puts(&text, "{\"images\":") < 0 ||
	    buf_add(&text, s->list.data, s->list.len) < 0 ||
	    buf_puts(&text, "}") < 0)
		return err_sys(e, ENOMEM, "cannot read %s", s->file);
	s->json = s->list.len ? json_object_of(text_of(&text), "manifest.json",
					       NULL) :
				NULL;
	images = json_object_get(s->json, "images");
	if (!json_is_array(images))
		return not_saved(s, e);
	if (json_array_size(images) == 1)
		return 0;
	err_set(e, EINVAL, "%s holds %zu images, not one", s->file,
		json_array_size(images));
	return err_fix(e, "`docker save -o FILE NAME:TAG` with one image");
}

static int read_list(struct saved *s, struct err *e)
{
	const json_t *m, *layers;
	size_t i;
	int r = parse_list(s, e);

	if (r < 0)
		return r;
	m = json_array_get(json_object_get(s->json, "images"), 0);
	s->config_path = json_string_value(json_object_get(m, "Config"));
	layers = json_object_get(m, "Layers");
	s->nlayers = json_array_size(layers);
	if (!s->config_path || !json_is_array(layers))
		return not_saved(s, e);
	if (s->nlayers > MANIFEST_LAYERS_MAX)
		return err_set(e, EBADMSG, "%s: %zu layers, more than %d",
			       s->file, s->nlayers, MANIFEST_LAYERS_MAX);
	s->layers = calloc(s->nlayers ? s->nlayers : 1, sizeof(*s->layers));
	if (!s->layers)
		return err_sys(e, ENOMEM, "cannot read %s", s->file);
	for (i = 0; i < s->nlayers; i++) {
		s->layers[i].path =
			json_string_value(json_array_get(layers, i));
		if (!s->layers[i].path)
			return not_saved(s, e);
	}
	return 0;
}

/* A layer is the uncompressed tar that the config's diff_id names; or, in an
 * archive that is a layout too, whatever blobs/sha256/HEX says. */
static int expect_layers(struct saved *s, const struct platform *p,
			 struct err *e)
{
	static const struct str blobs = { "blobs/sha256/", 13 };
	image_config_auto struct image_config c = IMAGE_CONFIG_INIT;
	size_t i;
	int r = image_config_parse(&c, text_of(&s->config), e);

	if (r == 0)
		r = pull_check_platform(&c.platform, p, e);
	if (r < 0)
		return r;
	if (c.ndiff_ids != s->nlayers)
		return err_set(e, EBADMSG,
			       "%s: manifest.json names %zu layers, the config "
			       "%zu",
			       s->file, s->nlayers, c.ndiff_ids);
	for (i = 0; i < s->nlayers; i++) {
		mem_auto char *text = NULL;
		struct saved_layer *l = &s->layers[i];

		l->desc.digest = c.diff_ids[i];
		if (!str_starts(str_of(l->path), blobs))
			continue;
		text = str_printf("sha256:%s", l->path + blobs.len);
		r = digest_parse(&l->desc.digest, str_of(text ? text : ""),
				 "a layer in manifest.json", e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- the second time: the layers --------------------------------------- */

static enum media sniff(const uint8_t *p, size_t n)
{
	if (n >= 2 && p[0] == 0x1f && p[1] == 0x8b)
		return MEDIA_LAYER_GZIP;
	if (n >= 4 && !memcmp(p, "\x28\xb5\x2f\xfd", 4))
		return MEDIA_LAYER_ZSTD;
	return MEDIA_LAYER;
}

static int stream(const struct saved *s, struct archive *a, struct blob *b,
		  enum media *media, struct err *e)
{
	const void *p;
	size_t n;
	la_int64_t at;
	int code, r = 0;

	*media = MEDIA_LAYER;
	while (r == 0 &&
	       (code = archive_read_data_block(a, &p, &n, &at)) == ARCHIVE_OK) {
		if ((uint64_t)at != b->front)
			return err_set(e, EBADMSG,
				       "%s: a layer with holes in it", s->file);
		if (at == 0)
			*media = sniff(p, n);
		r = blob_append(b, p, n, e);
	}
	if (r == 0 && code != ARCHIVE_EOF)
		r = archive_failed(s, a, e);
	return r;
}

/* The first bytes of a layer that is in the store already. */
static int sniff_stored(const struct saved *s, struct desc *d, struct err *e)
{
	fd_auto int fd = images_blob(s->store, d, e);
	uint8_t head[4];
	ssize_t n;

	if (fd < 0)
		return fd;
	n = io_read_full(fd, head, sizeof(head));
	if (n < 0)
		return err_sys(e, (int)-n, "cannot read %s", d->digest.text);
	d->media = sniff(head, (size_t)n);
	return 0;
}

static int store_layer(struct saved *s, struct archive *a,
		       struct saved_layer *l, struct err *e)
{
	blob_auto struct blob b = BLOB_INIT;
	int r = blob_begin(&b, s->store, &l->desc, true, e);

	if (r == 1)
		return sniff_stored(s, &l->desc, e);
	if (r == 0 && b.front)
		r = blob_restart(&b, e);
	if (r == 0)
		r = stream(s, a, &b, &l->desc.media, e);
	return r < 0 ? r : blob_commit(&b, e);
}

/* Old archives have links where a layer occurs twice; the digest finds the one
 * that has the bytes. */
static int take_layer(struct saved *s, struct archive *a,
		      struct archive_entry *entry, const char *name,
		      struct err *e)
{
	size_t i, k;
	int r;

	if (archive_entry_filetype(entry) != AE_IFREG ||
	    archive_entry_hardlink(entry))
		return 0;
	for (i = 0; i < s->nlayers; i++) {
		struct saved_layer *l = &s->layers[i];

		if (strcmp(l->path, name) != 0 || l->desc.size)
			continue;
		l->desc.size = (uint64_t)archive_entry_size(entry);
		if (l->desc.size > BLOB_SIZE_MAX)
			return err_set(e, EFBIG, "%s: layer %zu is too large",
				       s->file, i + 1);
		r = store_layer(s, a, l, e);
		if (r < 0)
			return err_in(e, "layer %zu of %zu", i + 1, s->nlayers);
		for (k = 0; k < s->nlayers; k++) {
			if (digest_eq(&s->layers[k].desc.digest,
				      &l->desc.digest))
				s->layers[k].desc = l->desc;
		}
		return 0;
	}
	return 0;
}

/* ---- the manifest that is made ----------------------------------------- */

static const char *layer_type(enum media m)
{
	if (m == MEDIA_LAYER_GZIP)
		return "application/vnd.oci.image.layer.v1.tar+gzip";
	if (m == MEDIA_LAYER_ZSTD)
		return "application/vnd.oci.image.layer.v1.tar+zstd";
	return "application/vnd.oci.image.layer.v1.tar";
}

static void put_desc(struct buf *b, const char *type, const struct digest *d,
		     uint64_t size)
{
	buf_printf(b, "{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%llu}",
		   type, d->text, (unsigned long long)size);
}

static int make_manifest(const struct saved *s, struct buf *b, struct err *e)
{
	size_t i;

	buf_puts(b, "{\"schemaVersion\":2,\"mediaType\":\"application/"
		    "vnd.oci.image.manifest.v1+json\",\"config\":");
	put_desc(b, "application/vnd.oci.image.config.v1+json",
		 &s->config_digest, s->config.len);
	buf_puts(b, ",\"layers\":[");
	for (i = 0; i < s->nlayers; i++) {
		const struct desc *d = &s->layers[i].desc;

		if (!d->size)
			return err_set(e, ENOENT,
				       "%s: layer %zu of %zu (%.128s) is not "
				       "in it",
				       s->file, i + 1, s->nlayers,
				       s->layers[i].path);
		buf_puts(b, i ? "," : "");
		put_desc(b, layer_type(d->media), &d->digest, d->size);
	}
	buf_puts(b, "]}");
	return b->failed ? err_sys(e, ENOMEM, "cannot write a manifest") : 0;
}

static int check_pin(const struct ref *ref, const struct buf *manifest,
		     struct err *e)
{
	struct digest got;
	int r = digest_of(&got, manifest->data, manifest->len, e);

	if (r < 0 || digest_none(&ref->digest) || digest_eq(&got, &ref->digest))
		return r;
	return err_set(e, EBADMSG, "%s holds %s, not %s", ref->path, got.text,
		       ref->digest.text);
}

static int pull_saved(struct saved *s, const struct ref *ref,
		      const struct platform *p, struct desc *out, struct err *e)
{
	buf_auto struct buf manifest = BUF_INIT_MAX(MANIFEST_MAX);
	struct digest none = DIGEST_INIT;
	int r = each_entry(s, take_list, e);

	if (r == 0)
		r = read_list(s, e);
	if (r == 0)
		r = each_entry(s, take_config, e);
	if (r == 0)
		r = s->config.len ? expect_layers(s, p, e) : not_saved(s, e);
	if (r == 0)
		r = each_entry(s, take_layer, e);
	if (r == 0)
		r = images_put(s->store, s->config.data, s->config.len,
			       &s->config_digest, e);
	if (r == 0)
		r = make_manifest(s, &manifest, e);
	if (r == 0)
		r = check_pin(ref, &manifest, e);
	return r < 0 ? r :
		       pull_finish(s->store, ref, text_of(&manifest), p, &none,
				   out, e);
}

int pull_archive(struct images *store, const struct ref *ref,
		 const struct platform *p, struct desc *out, struct err *e)
{
	struct saved s = { .file = ref->path,
			   .store = store,
			   .list = BUF_INIT_MAX(MANIFEST_MAX),
			   .config = BUF_INIT_MAX(MANIFEST_MAX) };
	int r = pull_saved(&s, ref, p, out, e);

	json_decref(s.json);
	buf_free(&s.list);
	buf_free(&s.config);
	mem_free(&s.layers);
	return r;
}
