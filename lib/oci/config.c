/* SPDX-License-Identifier: MIT
 *
 * Image configs: see manifest.h.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/fd.h"
#include "oci/json.h"
#include "oci/manifest.h"

/* Of environment, command words and labels each. */
#define CONFIG_STRINGS_MAX 4096

static const char what[] = "image config";

static int read_strings(const json_t *o, const char *key, json_t **out,
			struct err *e)
{
	size_t i;

	*out = json_list(o, key, CONFIG_STRINGS_MAX, what, e);
	if (!*out)
		return -EBADMSG;
	for (i = 0; i < json_array_size(*out); i++) {
		if (!json_is_string(json_array_get(*out, i)))
			return err_set(e, EBADMSG,
				       "%s: %s is not a list of strings", what,
				       key);
	}
	return 0;
}

static int read_labels(const json_t *o, json_t **out, struct err *e)
{
	json_t *labels = json_object_get(o, "Labels"), *v;
	const char *key;

	if (!labels || json_is_null(labels)) {
		*out = json_object();
		return *out ? 0 : err_sys(e, ENOMEM, "cannot read a config");
	}
	*out = json_incref(labels);
	if (!json_is_object(labels) ||
	    json_object_size(labels) > CONFIG_STRINGS_MAX)
		return err_set(e, EBADMSG,
			       "%s: Labels is not an object of at most %d",
			       what, CONFIG_STRINGS_MAX);
	json_object_foreach(labels, key, v)
	{
		if (!json_is_string(v))
			return err_set(e, EBADMSG,
				       "%s: label '%.64s' is not a string",
				       what, key);
	}
	return 0;
}

static int read_text(const json_t *o, const char *key, char **out,
		     struct err *e)
{
	const char *text = json_text(o, key, what, e);

	if (!text)
		return -EBADMSG;
	*out = str_dup(str_of(text));
	return *out ? 0 : err_sys(e, ENOMEM, "cannot read a config");
}

static int read_diff_ids(struct image_config *c, const json_t *o, struct err *e)
{
	const json_t *rootfs = json_object_get(o, "rootfs");
	const char *type = json_text(rootfs, "type", what, e);
	json_auto json_t *list =
		json_list(rootfs, "diff_ids", MANIFEST_LAYERS_MAX, what, e);
	size_t i, n = json_array_size(list);

	if (!list || !type)
		return -EBADMSG;
	if (strcmp(type, "layers") != 0)
		return err_set(e, EBADMSG,
			       "%s: rootfs.type is '%.32s', not "
			       "'layers'",
			       what, type);
	c->diff_ids = calloc(n ? n : 1, sizeof(*c->diff_ids));
	if (!c->diff_ids)
		return err_sys(e, ENOMEM, "cannot read a config");
	for (i = 0; i < n; i++) {
		const char *d = json_string_value(json_array_get(list, i));
		int r = digest_parse(&c->diff_ids[i], str_of(d ? d : ""),
				     "diff_id of the image config", e);

		if (r < 0)
			return r;
	}
	c->ndiff_ids = n;
	return 0;
}

static int read_platform(struct image_config *c, const json_t *o, struct err *e)
{
	const char *os = json_text(o, "os", what, e);
	const char *arch = json_text(o, "architecture", what, e);
	const char *variant = json_text(o, "variant", what, e);

	if (!os || !arch || !variant)
		return -EBADMSG;
	snprintf(c->platform.os, sizeof(c->platform.os), "%s", os);
	snprintf(c->platform.arch, sizeof(c->platform.arch), "%s", arch);
	snprintf(c->platform.variant, sizeof(c->platform.variant), "%s",
		 variant);
	return 0;
}

static int read_runtime(struct image_config *c, const json_t *o, struct err *e)
{
	const json_t *run = json_object_get(o, "config");
	int r;

	if (run && !json_is_object(run) && !json_is_null(run))
		return err_set(e, EBADMSG, "%s: config is not an object", what);
	r = read_strings(run, "Env", &c->env, e);
	if (r == 0)
		r = read_strings(run, "Entrypoint", &c->entrypoint, e);
	if (r == 0)
		r = read_strings(run, "Cmd", &c->cmd, e);
	if (r == 0)
		r = read_labels(run, &c->labels, e);
	if (r == 0)
		r = read_text(run, "User", &c->user, e);
	return r < 0 ? r : read_text(run, "WorkingDir", &c->workdir, e);
}

int image_config_parse(struct image_config *c, struct str json, struct err *e)
{
	json_auto json_t *o = json_object_of(json, what, e);
	int r = o ? read_platform(c, o, e) : -EBADMSG;

	if (r == 0)
		r = read_runtime(c, o, e);
	if (r == 0)
		r = read_diff_ids(c, o, e);
	if (r < 0)
		image_config_free(c);
	return r;
}

int image_config_match(const struct image_config *c, const struct manifest *m,
		       struct err *e)
{
	size_t i;

	if (c->ndiff_ids != m->nlayers)
		return err_set(e, EBADMSG,
			       "the image config names %zu layers, its "
			       "manifest %zu",
			       c->ndiff_ids, m->nlayers);
	for (i = 0; i < m->nlayers; i++) {
		if (m->layers[i].media == MEDIA_LAYER &&
		    !digest_eq(&m->layers[i].digest, &c->diff_ids[i]))
			return err_set(e, EBADMSG,
				       "layer %zu is %s in the manifest, and "
				       "%s in the config",
				       i + 1, m->layers[i].digest.text,
				       c->diff_ids[i].text);
	}
	return 0;
}

void image_config_free(struct image_config *c)
{
	json_free_ref(&c->env);
	json_free_ref(&c->entrypoint);
	json_free_ref(&c->cmd);
	json_free_ref(&c->labels);
	mem_free(&c->user);
	mem_free(&c->workdir);
	mem_free(&c->diff_ids);
	c->ndiff_ids = 0;
}
