/* SPDX-License-Identifier: MIT
 *
 * What every way into the store ends with: see pull.h.
 *
 * The name comes last, when everything that it leads to is on the disk.  So
 * whoever finds a name finds a whole image.
 */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "oci/pull.h"

static struct str text_of(const struct buf *b)
{
	return (struct str){ (const char *)b->data, b->len };
}

bool pull_complete(const struct images *s, const struct desc *d)
{
	buf_auto struct buf b = BUF_INIT_MAX(MANIFEST_MAX);
	manifest_auto struct manifest m = MANIFEST_INIT;
	size_t i;

	if (images_read(s, d, &b, NULL) < 0 ||
	    manifest_parse(&m, text_of(&b), NULL) < 0 ||
	    !images_has(s, &m.config))
		return false;
	for (i = 0; i < m.nlayers; i++) {
		if (!images_has(s, &m.layers[i]))
			return false;
	}
	return true;
}

/* Images without a platform exist, and are taken for what was asked for. */
int pull_check_platform(const struct platform *have,
			const struct platform *want, struct err *e)
{
	if ((!*have->os || !strcmp(have->os, want->os)) &&
	    (!*have->arch || !strcmp(have->arch, want->arch)))
		return 0;
	err_set(e, ENOENT, "the image is for %s/%s, not for %s/%s", have->os,
		have->arch, want->os, want->arch);
	return err_fix(e, "--platform %s/%s", have->os, have->arch);
}

int pull_check_config(struct str json, const struct manifest *m,
		      const struct platform *p, struct err *e)
{
	image_config_auto struct image_config c = IMAGE_CONFIG_INIT;
	int r = image_config_parse(&c, json, e);

	if (r == 0)
		r = pull_check_platform(&c.platform, p, e);
	return r < 0 ? r : image_config_match(&c, m, e);
}

static int check_all(const struct images *s, const struct manifest *m,
		     const struct platform *p, struct err *e)
{
	buf_auto struct buf b = BUF_INIT_MAX(MANIFEST_MAX);
	size_t i;
	int r = images_read(s, &m->config, &b, e);

	if (r == 0)
		r = pull_check_config(text_of(&b), m, p, e);
	for (i = 0; r == 0 && i < m->nlayers; i++) {
		if (!images_has(s, &m->layers[i]))
			r = err_set(e, ENOENT, "%s is missing from %s",
				    m->layers[i].digest.text, s->path);
	}
	return r;
}

static int give_name(const struct images *s, const struct ref *r,
		     const struct image_name *n, struct err *e)
{
	mem_auto char *name = ref_store_name(r);
	struct image_name named = *n;

	if (!name)
		return err_sys(e, ENOMEM, "cannot name an image");
	named.name = name;
	return images_name(s, &named, e);
}

int pull_finish(struct images *s, const struct ref *r, struct str manifest,
		const struct platform *p, const struct digest *from,
		struct desc *out, struct err *e)
{
	manifest_auto struct manifest m = MANIFEST_INIT;
	struct image_name n = { .type = m.type,
				.desc = { .media = MEDIA_MANIFEST,
					  .size = manifest.len },
				.from = *from,
				.platform = *p };
	int ret = manifest_parse(&m, manifest, e);

	if (ret == 0)
		ret = check_all(s, &m, p, e);
	if (ret == 0)
		ret = images_put(s, manifest.p, manifest.len, &n.desc.digest,
				 e);
	if (ret == 0)
		ret = give_name(s, r, &n, e);
	*out = n.desc;
	return ret;
}
