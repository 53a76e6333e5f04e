/* SPDX-License-Identifier: MIT
 *
 * From an image reference of any kind to an image in the store.
 */
#ifndef OCI_PULL_H
#define OCI_PULL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "oci/manifest.h"
#include "oci/ref.h"
#include "oci/registry.h"
#include "oci/store.h"

struct err;

enum pull_event_kind {
	PULL_RESOLVED, /* the manifest is known: desc, layers, total */
	PULL_LAYER,    /* a layer (0: the config) begins, or goes on: done */
	PULL_LAYER_DONE,
	PULL_WAITING, /* for another process that has this layer */
	PULL_RETRY,   /* text says why, delay_ns when */
};

struct pull_event {
	enum pull_event_kind kind;
	const struct desc *desc;
	size_t layer, layers;	    /* layer 1 is the lowest */
	uint64_t done;		    /* bytes of this layer */
	uint64_t total_done, total; /* of all */
	bool had;		    /* it was in the store before */
	const char *text;
	uint64_t delay_ns;
};

struct pull_spec {
	struct images *store;
	const struct ref *ref;
	struct platform platform;
	struct registry_opts registry;
	/* May be NULL. */
	void (*on_event)(void *arg, const struct pull_event *ev);
	void *arg;
};

/* Bring the image into the store and name it there; its manifest goes to
 * @out.  0 or -errno, @e filled. */
int pull_image(const struct pull_spec *spec, struct desc *out, struct err *e);

/* The two kinds without a network, for programs that want no libcurl:
 * lib/oci/layout.c and lib/oci/archive.c. */
int pull_layout(struct images *s, const struct ref *r, const struct platform *p,
		struct desc *out, struct err *e);
int pull_archive(struct images *s, const struct ref *r,
		 const struct platform *p, struct desc *out, struct err *e);

/* Whether config, layers and all of the manifest @d are in the store. */
bool pull_complete(const struct images *s, const struct desc *d);

/* For an image that is complete but for its name: check its config against
 * manifest and platform, store the manifest's bytes, name it.  @from: the
 * index it was chosen from, or none. */
int pull_finish(struct images *s, const struct ref *r, struct str manifest,
		const struct platform *p, const struct digest *from,
		struct desc *out, struct err *e);

/* That an image for @have is one for @want. */
int pull_check_platform(const struct platform *have,
			const struct platform *want, struct err *e);

/* That the config @json is for @m and @p. */
int pull_check_config(struct str json, const struct manifest *m,
		      const struct platform *p, struct err *e);

#endif
