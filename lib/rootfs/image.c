/* SPDX-License-Identifier: MIT
 *
 * An image of the store: see image.h.
 */
#include "rootfs/image.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "oci/pull.h"
#include "oci/ref.h"

static int find(struct image *i, const char *name, struct desc *d,
		struct err *e)
{
	struct platform p = PLATFORM_DEFAULT;
	ref_auto struct ref ref = REF_INIT;
	int r = ref_parse(&ref, str_of(name), e);

	if (r < 0)
		return r;
	if (ref.kind == REF_LAYOUT)
		return pull_layout(&i->store, &ref, &p, d, e);
	if (ref.kind == REF_ARCHIVE)
		return pull_archive(&i->store, &ref, &p, d, e);
	r = images_find(&i->store, &ref, &p, d, e);
	if (r != -ENOENT)
		return r;
	err_set(e, ENOENT, "%s is not in %s", name, i->store.path);
	return err_fix(e, "iso-pull %s", name);
}

static int read_documents(struct image *i, const struct desc *d, struct err *e)
{
	buf_auto struct buf b = BUF_INIT_MAX(MANIFEST_MAX);
	int r = images_read(&i->store, d, &b, e);

	if (r == 0)
		r = manifest_parse(&i->manifest,
				   (struct str){ (const char *)b.data, b.len },
				   e);
	if (r < 0)
		return r;
	buf_clear(&b);
	r = images_read(&i->store, &i->manifest.config, &b, e);
	if (r == 0)
		r = image_config_parse(
			&i->config, (struct str){ (const char *)b.data, b.len },
			e);
	return r < 0 ? r : image_config_match(&i->config, &i->manifest, e);
}

static int open_layers(struct image *i, struct err *e)
{
	const struct manifest *m = &i->manifest;
	size_t n;

	i->layers = calloc(m->nlayers ? m->nlayers : 1, sizeof(*i->layers));
	if (!i->layers)
		return err_sys(e, ENOMEM, "cannot open layers");
	for (n = 0; n < m->nlayers; n++) {
		struct layer *l = &i->layers[n];

		l->fd = images_blob(&i->store, &m->layers[n], e);
		if (l->fd < 0)
			return l->fd;
		i->nlayers = n + 1;
		l->size = m->layers[n].size;
		l->name = m->layers[n].digest.text;
		memcpy(l->diff_id, digest_hex(&i->config.diff_ids[n]),
		       sizeof(l->diff_id));
		i->size += l->size;
	}
	return 0;
}

int image_open(struct image *i, const char *root, const char *name,
	       struct err *e)
{
	struct desc d;
	int r = images_open(&i->store, root, e);

	if (r == 0)
		r = find(i, name, &d, e);
	if (r == 0) {
		i->digest = d.digest;
		r = read_documents(i, &d, e);
	}
	return r < 0 ? r : open_layers(i, e);
}

void image_free(struct image *i)
{
	size_t n;

	for (n = 0; n < i->nlayers; n++)
		fd_close(&i->layers[n].fd);
	mem_free(&i->layers);
	i->nlayers = 0;
	image_config_free(&i->config);
	manifest_free(&i->manifest);
	images_free(&i->store);
}
