/* SPDX-License-Identifier: MIT
 *
 * From an image reference to an image in the store: see pull.h.
 */
#include "oci/pull.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "oci/transfer.h"

/* Indexes that lead to indexes. */
#define INDEX_DEPTH_MAX 4

struct pull {
	const struct pull_spec *spec;
	struct registry *registry;
	struct buf text; /* of the manifest */
	struct digest digest, from;
	struct manifest manifest;
	struct transfer_job *jobs; /* the config, then the layers */
	char (*names)[32];
	size_t njobs;
	uint64_t total, total_done;
};

static struct str text_of(const struct buf *b)
{
	return (struct str){ (const char *)b->data, b->len };
}

static void tell(const struct pull *p, struct pull_event ev)
{
	ev.layers = p->manifest.nlayers;
	ev.total = p->total;
	ev.total_done = p->total_done;
	if (p->spec->on_event)
		p->spec->on_event(p->spec->arg, &ev);
}

static void on_retry(void *arg, const char *why, uint64_t delay_ns)
{
	tell(arg, (struct pull_event){ .kind = PULL_RETRY,
				       .text = why,
				       .delay_ns = delay_ns });
}

/* ---- the manifest ------------------------------------------------------ */

/* The manifest that an index chose may be here already. */
static int get_chosen(struct pull *p, const struct desc *d, struct err *e)
{
	if (images_has(p->spec->store, d) &&
	    images_read(p->spec->store, d, &p->text, NULL) == 0) {
		p->digest = d->digest;
		return 0;
	}
	return registry_manifest(p->registry, d->digest.text, &p->text,
				 &p->digest, e);
}

static int resolve(struct pull *p, struct err *e)
{
	const struct ref *ref = p->spec->ref;
	const char *asked = !digest_none(&ref->digest) ? ref->digest.text :
			    ref->tag		       ? ref->tag :
							 "latest";
	int depth, r = registry_manifest(p->registry, asked, &p->text,
					 &p->digest, e);

	for (depth = 0; r == 0 && depth < INDEX_DEPTH_MAX; depth++) {
		enum media kind;
		struct desc d;
		char type[128];

		r = manifest_kind(text_of(&p->text), &kind, type, e);
		if (r < 0 || kind != MEDIA_INDEX)
			break;
		if (depth == 0)
			p->from = p->digest;
		r = index_select(text_of(&p->text), &p->spec->platform, &d, e);
		if (r == 0)
			r = get_chosen(p, &d, e);
	}
	if (r == 0)
		r = manifest_parse(&p->manifest, text_of(&p->text), e);
	return r;
}

/* ---- the blobs --------------------------------------------------------- */

/* The config is looked at as soon as it is there: an image for another machine
 * should not cost its layers first. */
static int check_config(struct pull *p, struct err *e)
{
	buf_auto struct buf b = BUF_INIT_MAX(MANIFEST_MAX);
	int r = images_read(p->spec->store, &p->manifest.config, &b, e);

	return r < 0 ? r :
		       pull_check_config(text_of(&b), &p->manifest,
					 &p->spec->platform, e);
}

static int on_job(void *arg, struct transfer_job *j, struct err *e)
{
	struct pull *p = arg;
	size_t i, layer = (size_t)(j - p->jobs);
	bool done = j->state == TRANSFER_DONE;

	p->total_done = 0;
	for (i = 0; i < p->njobs; i++)
		p->total_done += p->jobs[i].done;
	tell(p,
	     (struct pull_event){ .kind = done ? PULL_LAYER_DONE : PULL_LAYER,
				  .desc = &j->desc,
				  .layer = layer,
				  .done = j->done });
	return done && layer == 0 ? check_config(p, e) : 0;
}

static void on_wait(void *arg, struct transfer_job *j)
{
	struct pull *p = arg;

	tell(p, (struct pull_event){ .kind = PULL_WAITING,
				     .desc = &j->desc,
				     .layer = (size_t)(j - p->jobs) });
}

static int make_jobs(struct pull *p, struct err *e)
{
	const struct manifest *m = &p->manifest;
	size_t i;

	p->njobs = m->nlayers + 1;
	p->jobs = calloc(p->njobs, sizeof(*p->jobs));
	p->names = calloc(p->njobs, sizeof(*p->names));
	if (!p->jobs || !p->names)
		return err_sys(e, ENOMEM, "cannot pull");
	for (i = 0; i < p->njobs; i++) {
		struct transfer_job *j = &p->jobs[i];

		j->desc = i ? m->layers[i - 1] : m->config;
		j->what = p->names[i];
		if (i)
			snprintf(p->names[i], sizeof(p->names[i]),
				 "layer %zu of %zu", i, m->nlayers);
		else
			snprintf(p->names[i], sizeof(p->names[i]), "config");
		p->total += j->desc.size;
		if (images_has(p->spec->store, &j->desc)) {
			j->state = TRANSFER_DONE;
			j->done = j->desc.size;
			p->total_done += j->desc.size;
		}
	}
	return 0;
}

static void tell_start(struct pull *p)
{
	struct desc d = { .media = MEDIA_MANIFEST,
			  .digest = p->digest,
			  .size = p->text.len };
	size_t i;

	tell(p, (struct pull_event){ .kind = PULL_RESOLVED, .desc = &d });
	for (i = 0; i < p->njobs; i++) {
		if (p->jobs[i].state == TRANSFER_DONE)
			tell(p, (struct pull_event){ .kind = PULL_LAYER_DONE,
						     .desc = &p->jobs[i].desc,
						     .layer = i,
						     .done = p->jobs[i].done,
						     .had = true });
	}
}

static int bring_blobs(struct pull *p, struct err *e)
{
	struct transfer t = { .registry = p->registry,
			      .store = p->spec->store,
			      .on_job = on_job,
			      .on_wait = on_wait,
			      .arg = p };
	int r = make_jobs(p, e);

	if (r < 0)
		return r;
	tell_start(p);
	if (p->jobs[0].state == TRANSFER_DONE)
		r = check_config(p, e);
	t.jobs = p->jobs;
	t.njobs = p->njobs;
	return r < 0 ? r : transfer_run(&t, e);
}

/* ---- a registry -------------------------------------------------------- */

static int pull_with(struct pull *p, struct desc *out, struct err *e)
{
	int r = resolve(p, e);

	if (r == 0)
		r = bring_blobs(p, e);
	if (r < 0) {
		mem_auto char *name = ref_name(p->spec->ref);

		/* Most errors begin with it already. */
		if (name && strncmp(e->text, name, strlen(name)) != 0)
			err_in(e, "%s", name);
		return r;
	}
	return pull_finish(p->spec->store, p->spec->ref, text_of(&p->text),
			   &p->spec->platform, &p->from, out, e);
}

static int pull_registry(const struct pull_spec *spec, struct desc *out,
			 struct err *e)
{
	registry_auto struct registry registry = REGISTRY_INIT;
	struct pull p = { .spec = spec,
			  .registry = &registry,
			  .text = BUF_INIT_MAX(MANIFEST_MAX),
			  .manifest = MANIFEST_INIT };
	int r = registry_open(&registry, spec->ref, &spec->registry, e);

	registry.on_retry = on_retry;
	registry.arg = &p;
	if (r == 0)
		r = pull_with(&p, out, e);
	buf_free(&p.text);
	manifest_free(&p.manifest);
	mem_free(&p.jobs);
	mem_free(&p.names);
	return r;
}

/* What a digest names never changes: if it is here, nobody need be asked. */
static bool is_here(const struct pull_spec *spec, struct desc *out)
{
	return !digest_none(&spec->ref->digest) &&
	       images_find(spec->store, spec->ref, &spec->platform, out,
			   NULL) == 0 &&
	       pull_complete(spec->store, out);
}

int pull_image(const struct pull_spec *spec, struct desc *out, struct err *e)
{
	struct err unread = ERR_INIT;

	if (!e)
		e = &unread;
	if (is_here(spec, out))
		return 0;
	switch (spec->ref->kind) {
	case REF_REGISTRY:
		return pull_registry(spec, out, e);
	case REF_LAYOUT:
		return pull_layout(spec->store, spec->ref, &spec->platform, out,
				   e);
	case REF_ARCHIVE:
		return pull_archive(spec->store, spec->ref, &spec->platform,
				    out, e);
	case REF_DIGEST:
		break;
	}
	err_set(e, ENOENT, "%s is not in %s", spec->ref->digest.text,
		spec->store->path);
	return err_fix(e, "NAME@%s: a digest alone does not say where from",
		       spec->ref->digest.text);
}
