/* SPDX-License-Identifier: MIT
 *
 * The JSON documents of an image: index (manifest list), manifest, config.
 * OCI image specification 1.1 and Docker image manifest v2 schema 2.
 *
 * They come from elsewhere and are hostile: sizes, counts and depths are
 * bounded, every number and every digest is checked here, once.  What is
 * refused is refused by name: foreign layers, artifacts, schema 1.
 */
#ifndef OCI_MANIFEST_H
#define OCI_MANIFEST_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "oci/digest.h"

struct err;

/* The specification asks registries to take manifests of 4 MiB; configs are
 * bounded alike. */
#define MANIFEST_MAX ((size_t)4 << 20)
/* Overlay file systems end at 500 lower layers, docker at 127. */
#define MANIFEST_LAYERS_MAX 512
#define INDEX_ENTRIES_MAX 1024
/* Of one blob; the largest that registries are known to take is 52 GB. */
#define BLOB_SIZE_MAX ((uint64_t)256 << 30)

enum media {
	MEDIA_UNKNOWN,
	MEDIA_INDEX,	/* image index, or manifest list */
	MEDIA_MANIFEST, /* image manifest, either family */
	MEDIA_CONFIG,
	MEDIA_LAYER, /* uncompressed tar */
	MEDIA_LAYER_GZIP,
	MEDIA_LAYER_ZSTD,
	MEDIA_FOREIGN, /* not to be distributed: refused */
	MEDIA_SCHEMA1, /* refused */
};

/* What a media type is; parameters after ';' do not count. */
enum media media_of(struct str type);

/* A descriptor: what something is, and how to know it when it arrives. */
struct desc {
	enum media media;
	struct digest digest;
	uint64_t size;
};

struct platform {
	char os[32], arch[32], variant[32]; /* variant "": any */
};

#define PLATFORM_DEFAULT             \
	{                            \
		"linux", "amd64", "" \
	}

/* "linux/arm64/v8".  0 or -EINVAL, @e filled. */
int platform_parse(struct platform *p, struct str s, struct err *e);

struct manifest {
	char type[128]; /* its media type */
	struct desc config;
	struct desc *layers; /* owned; the lowest first */
	size_t nlayers;
	uint64_t size; /* of all layers */
};

#define MANIFEST_INIT                      \
	{                                  \
		.type = "", .layers = NULL \
	}
#define manifest_auto __attribute__((cleanup(manifest_free)))

/* Read an image manifest.  0 or -errno, @e filled. */
int manifest_parse(struct manifest *m, struct str json, struct err *e);
void manifest_free(struct manifest *m);

/* What @json is: MEDIA_INDEX, MEDIA_MANIFEST or MEDIA_SCHEMA1, by its
 * mediaType or, without one, by its members; its media type as text into
 * @type.  -errno with @e filled if it is none of them. */
int manifest_kind(struct str json, enum media *kind, char type[static 128],
		  struct err *e);

/* From an image index, the descriptor of the image for @p.  -ENOENT, with @e
 * naming the platforms that there are. */
int index_select(struct str json, const struct platform *p, struct desc *out,
		 struct err *e);

struct image_config {
	/* Checked: arrays of strings and an object of strings; never NULL. */
	json_t *env, *entrypoint, *cmd, *labels;
	char *user, *workdir; /* owned; "" when not given */
	struct platform platform;
	struct digest *diff_ids; /* owned; the lowest first */
	size_t ndiff_ids;
};

#define IMAGE_CONFIG_INIT                     \
	{                                     \
		.env = NULL, .diff_ids = NULL \
	}
#define image_config_auto __attribute__((cleanup(image_config_free)))

/* Read an image config.  0 or -errno, @e filled.  That there are as many
 * diff_ids as layers is for image_config_match() to say. */
int image_config_parse(struct image_config *c, struct str json, struct err *e);
int image_config_match(const struct image_config *c, const struct manifest *m,
		       struct err *e);
void image_config_free(struct image_config *c);

#endif
