/* SPDX-License-Identifier: MIT
 *
 * Image indexes and image manifests: see manifest.h.
 *
 * What a document is follows from its own mediaType and members, never from
 * the Content-Type it came with: the digest vouches for the former alone.  A
 * document that could be read as two kinds (both "manifests" and "layers") is
 * refused, as the specification advises since CVE-2021-41190.
 */
#include "oci/manifest.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/fd.h"
#include "oci/json.h"

#define OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define DOCKER_LAYER "application/vnd.docker.image.rootfs.diff.tar"
#define OCI_LAYER "application/vnd.oci.image.layer.v1.tar"

static const struct {
	const char *type;
	enum media media;
} media_types[] = {
	{ OCI_INDEX, MEDIA_INDEX },
	{ "application/vnd.docker.distribution.manifest.list.v2+json",
	  MEDIA_INDEX },
	{ OCI_MANIFEST, MEDIA_MANIFEST },
	{ "application/vnd.docker.distribution.manifest.v2+json",
	  MEDIA_MANIFEST },
	{ "application/vnd.oci.image.config.v1+json", MEDIA_CONFIG },
	{ "application/vnd.docker.container.image.v1+json", MEDIA_CONFIG },
	{ OCI_LAYER, MEDIA_LAYER },
	{ OCI_LAYER "+gzip", MEDIA_LAYER_GZIP },
	{ OCI_LAYER "+zstd", MEDIA_LAYER_ZSTD },
	{ DOCKER_LAYER, MEDIA_LAYER },
	{ DOCKER_LAYER ".gzip", MEDIA_LAYER_GZIP },
	{ DOCKER_LAYER ".zstd", MEDIA_LAYER_ZSTD },
	{ "application/vnd.docker.distribution.manifest.v1+json",
	  MEDIA_SCHEMA1 },
	{ "application/vnd.docker.distribution.manifest.v1+prettyjws",
	  MEDIA_SCHEMA1 },
};

enum media media_of(struct str type)
{
	struct str t = str_trim(str_cut(&type, ';'));
	size_t i;

	for (i = 0; i < ARRAY_SIZE(media_types); i++) {
		if (t.len == strlen(media_types[i].type) &&
		    strncasecmp(t.p, media_types[i].type, t.len) == 0)
			return media_types[i].media;
	}
	if (str_starts(t, STR("application/vnd.oci.image.layer."
			      "nondistributable.")) ||
	    str_starts(t, STR("application/vnd.docker.image.rootfs.foreign.")))
		return MEDIA_FOREIGN;
	return MEDIA_UNKNOWN;
}

int platform_parse(struct platform *p, struct str s, struct err *e)
{
	struct str all = s, part[3];
	char *out[3] = { p->os, p->arch, p->variant };
	size_t i, j;

	for (i = 0; i < 3; i++) {
		part[i] = str_cut(&s, '/');
		if (part[i].len >= sizeof(p->os) || (i < 2 && !part[i].len))
			goto bad;
		for (j = 0; j < part[i].len; j++) {
			if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789._-",
				    part[i].p[j] ? part[i].p[j] : '/'))
				goto bad;
		}
	}
	if (s.p)
		goto bad;
	for (i = 0; i < 3; i++)
		snprintf(out[i], sizeof(p->os), "%.*s", (int)part[i].len,
			 part[i].len ? part[i].p : "");
	return 0;
bad:
	return err_set(e, EINVAL, "'%.*s' is not a platform: OS/ARCH[/VARIANT]",
		       all.len < 64 ? (int)all.len : 64, all.p ? all.p : "");
}

/* ---- descriptors ------------------------------------------------------- */

static int read_desc(const json_t *o, struct desc *d, const char **type,
		     const char *what, struct err *e)
{
	const char *digest;
	int r;

	if (!json_is_object(o))
		return err_set(e, EBADMSG, "%s is not a descriptor", what);
	*type = json_text(o, "mediaType", what, e);
	digest = json_text(o, "digest", what, e);
	if (!*type || !digest)
		return -EBADMSG;
	d->media = media_of(str_of(*type));
	r = digest_parse(&d->digest, str_of(digest), what, e);
	return r < 0 ? r :
		       json_u64(o, "size", BLOB_SIZE_MAX, &d->size, what, e);
}

static int bad_layer(enum media media, const char *type, const char *what,
		     struct err *e)
{
	if (media == MEDIA_FOREIGN) {
		err_set(e, ENOTSUP,
			"%s is a foreign layer (%.80s), which no registry "
			"may hand out",
			what, type);
		return err_fix(e, "an image whose layers are all in the "
				  "registry; Windows images are not");
	}
	return err_set(e, ENOTSUP,
		       "%s: '%.100s' is not a tar, gzip or zstd layer", what,
		       type);
}

static int read_layers(struct manifest *m, const json_t *o, struct err *e)
{
	json_auto json_t *list = json_list(o, "layers", MANIFEST_LAYERS_MAX,
					   "image manifest", e);
	size_t i, n = json_array_size(list);
	const char *type;
	char what[32];
	int r;

	if (!list)
		return -EBADMSG;
	m->layers = calloc(n ? n : 1, sizeof(*m->layers));
	if (!m->layers)
		return err_sys(e, ENOMEM, "cannot read a manifest");
	for (i = 0; i < n; i++) {
		struct desc *d = &m->layers[i];

		snprintf(what, sizeof(what), "layer %zu", i + 1);
		r = read_desc(json_array_get(list, i), d, &type, what, e);
		if (r < 0)
			return r;
		if (d->media != MEDIA_LAYER && d->media != MEDIA_LAYER_GZIP &&
		    d->media != MEDIA_LAYER_ZSTD)
			return bad_layer(d->media, type, what, e);
		m->size += d->size; /* 512 times 2^38 at most */
	}
	m->nlayers = n;
	return 0;
}

static int bad_artifact(const char *type, struct err *e)
{
	err_set(e, ENOTSUP,
		"not a container image but an artifact of type "
		"'%.100s'",
		type);
	return err_fix(e, "a reference to an image: this one holds no root "
			  "file system");
}

static int read_config_desc(struct manifest *m, const json_t *o, struct err *e)
{
	const char *type,
		*artifact = json_text(o, "artifactType", "manifest", e);
	int r;

	if (!artifact)
		return -EBADMSG;
	r = read_desc(json_object_get(o, "config"), &m->config, &type,
		      "config of the image manifest", e);
	if (r < 0)
		return r;
	if (m->config.media != MEDIA_CONFIG)
		return bad_artifact(*artifact ? artifact : type, e);
	if (m->config.size > MANIFEST_MAX)
		return err_set(e, EFBIG,
			       "the image config has %llu bytes, more than %zu",
			       (unsigned long long)m->config.size,
			       MANIFEST_MAX);
	return 0;
}

/* ---- kinds ------------------------------------------------------------- */

static int bad_kind(const char *type, struct err *e)
{
	return err_set(e, ENOTSUP,
		       "'%.100s' is neither an image manifest nor an index",
		       type);
}

static int kind_of(const json_t *o, enum media *kind, char type[static 128],
		   struct err *e)
{
	const char *given = json_text(o, "mediaType", "manifest", e);
	bool index = json_object_get(o, "manifests");
	bool image = json_object_get(o, "layers") ||
		     json_object_get(o, "config");

	if (!given)
		return -EBADMSG;
	if (json_integer_value(json_object_get(o, "schemaVersion")) == 1)
		*kind = MEDIA_SCHEMA1;
	else if (*given)
		*kind = media_of(str_of(given));
	else if (index != image)
		*kind = index ? MEDIA_INDEX : MEDIA_MANIFEST;
	else
		*kind = MEDIA_UNKNOWN;
	if (index && image)
		return err_set(e, EBADMSG,
			       "a manifest with both 'manifests' "
			       "and 'layers': refused, it means "
			       "two things");
	if (*kind != MEDIA_INDEX && *kind != MEDIA_MANIFEST &&
	    *kind != MEDIA_SCHEMA1)
		return bad_kind(given, e);
	snprintf(type, 128, "%s",
		 *given		      ? given :
		 *kind == MEDIA_INDEX ? OCI_INDEX :
					OCI_MANIFEST);
	return 0;
}

int manifest_kind(struct str json, enum media *kind, char type[static 128],
		  struct err *e)
{
	json_auto json_t *o = json_object_of(json, "manifest", e);

	return o ? kind_of(o, kind, type, e) : -EBADMSG;
}

static int want_kind(const json_t *o, enum media want, char type[static 128],
		     struct err *e)
{
	enum media kind;
	int r = kind_of(o, &kind, type, e);

	if (r < 0)
		return r;
	if (kind == MEDIA_SCHEMA1) {
		err_set(e, ENOTSUP,
			"a manifest of Docker's schema 1, which "
			"has been out of use since 2017");
		return err_fix(e, "push the image again with a tool of today");
	}
	return kind == want ? 0 : bad_kind(type, e);
}

int manifest_parse(struct manifest *m, struct str json, struct err *e)
{
	json_auto json_t *o = json_object_of(json, "image manifest", e);
	int r = o ? want_kind(o, MEDIA_MANIFEST, m->type, e) : -EBADMSG;

	if (r == 0)
		r = read_config_desc(m, o, e);
	if (r == 0)
		r = read_layers(m, o, e);
	if (r < 0)
		manifest_free(m);
	return r;
}

void manifest_free(struct manifest *m)
{
	mem_free(&m->layers);
	m->nlayers = 0;
}

/* ---- choosing from an index -------------------------------------------- */

/* How well an entry suits: 0 not at all.  Without a wish for a variant, an
 * entry without one is best: amd64 without is every amd64, while amd64/v3
 * needs a processor of 2013. */
static int score(const json_t *platform, const struct platform *p)
{
	const char *os = json_text(platform, "os", "", NULL);
	const char *arch = json_text(platform, "architecture", "", NULL);
	const char *variant = json_text(platform, "variant", "", NULL);

	if (!os || !arch || !variant || strcmp(os, p->os) != 0 ||
	    strcmp(arch, p->arch) != 0)
		return 0;
	if (strcmp(variant, p->variant) == 0)
		return 4;
	/* arm64 without a variant is v8, the only one it has. */
	if (strcmp(arch, "arm64") == 0 &&
	    (!*variant || !strcmp(variant, "v8")) &&
	    (!*p->variant || !strcmp(p->variant, "v8")))
		return 3;
	return *p->variant ? 0 : 2;
}

static int no_platform(const json_t *list, const struct platform *p,
		       struct err *e)
{
	char have[256] = "";
	size_t i, at = 0;

	for (i = 0; i < json_array_size(list) && at + 80 < sizeof(have); i++) {
		const json_t *pl =
			json_object_get(json_array_get(list, i), "platform");
		const char *os = json_text(pl, "os", "", NULL);
		const char *arch = json_text(pl, "architecture", "", NULL);
		const char *variant = json_text(pl, "variant", "", NULL);

		if (!os || !arch || !variant || !*os || !strcmp(os, "unknown"))
			continue;
		at += (size_t)snprintf(have + at, 80, "%s%.20s/%.20s%s%.20s",
				       at ? ", " : "", os, arch,
				       *variant ? "/" : "", variant);
	}
	err_set(e, ENOENT, "no image for %s/%s%s%s: there is %s", p->os,
		p->arch, *p->variant ? "/" : "", p->variant,
		at ? have : "none with a platform");
	return at ? err_fix(e, "--platform with one of these") : -ENOENT;
}

int index_select(struct str json, const struct platform *p, struct desc *out,
		 struct err *e)
{
	json_auto json_t *o = json_object_of(json, "image index", e);
	json_auto json_t *list = NULL;
	size_t i, bare = 0;
	char type[128];
	int best = 0, r = o ? want_kind(o, MEDIA_INDEX, type, e) : -EBADMSG;

	if (r < 0)
		return r;
	list = json_list(o, "manifests", INDEX_ENTRIES_MAX, "image index", e);
	for (i = 0; i < json_array_size(list); i++) {
		const json_t *m = json_array_get(list, i);
		const json_t *platform = json_object_get(m, "platform");
		const char *media;
		struct desc d;
		int s = score(platform, p);

		/* One that says nothing of its platform is taken when it is
		 * alone: its config will say. */
		if (!platform)
			s = ++bare == 1 ? 1 : 0;
		r = read_desc(m, &d, &media, "entry of the image index", e);
		if (r < 0)
			return r;
		if ((d.media != MEDIA_MANIFEST && d.media != MEDIA_INDEX) ||
		    d.size > MANIFEST_MAX || s <= best)
			continue;
		*out = d;
		best = s;
	}
	if (!list)
		return -EBADMSG;
	if (best == 0 || (best == 1 && bare > 1))
		return no_platform(list, p, e);
	return 0;
}
