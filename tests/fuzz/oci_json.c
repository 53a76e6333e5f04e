/* SPDX-License-Identifier: MIT
 *
 * The JSON documents of an image: each input is read as all of them.
 */
#include <stdlib.h>

#include "base/err.h"
#include "oci/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void as_manifest(struct str json, const struct image_config *c)
{
	manifest_auto struct manifest m = MANIFEST_INIT;
	struct err e = ERR_INIT;
	size_t i;

	if (manifest_parse(&m, json, &e) < 0) {
		if (!e.num || !e.text[0] || m.layers)
			abort();
		return;
	}
	if (m.nlayers > MANIFEST_LAYERS_MAX || digest_none(&m.config.digest))
		abort();
	for (i = 0; i < m.nlayers; i++) {
		if (m.layers[i].size > BLOB_SIZE_MAX ||
		    digest_none(&m.layers[i].digest))
			abort();
	}
	(void)image_config_match(c, &m, &e);
}

static void as_index(struct str json)
{
	const struct platform p = PLATFORM_DEFAULT;
	struct err e = ERR_INIT;
	struct desc d;

	if (index_select(json, &p, &d, &e) < 0) {
		if (!e.num || !e.text[0])
			abort();
	} else if (digest_none(&d.digest) || d.size > MANIFEST_MAX) {
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	image_config_auto struct image_config c = IMAGE_CONFIG_INIT;
	struct str json = { (const char *)p, n };
	struct err e = ERR_INIT;
	enum media kind;
	char type[128];

	if (image_config_parse(&c, json, &e) < 0 &&
	    (!e.num || !e.text[0] || c.env || c.user))
		abort();
	if (manifest_kind(json, &kind, type, &e) == 0 && !*type)
		abort();
	as_manifest(json, &c);
	as_index(json);
	return 0;
}
