/* SPDX-License-Identifier: MIT
 *
 * One repository of one registry, by the distribution protocol 1.1: who may
 * read it, its manifests, and the addresses of its blobs.
 *
 * Here a struct err is never NULL: what is tried again is told by its text.
 */
#ifndef OCI_REGISTRY_H
#define OCI_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "oci/creds.h"
#include "oci/http.h"
#include "oci/manifest.h"
#include "oci/ref.h"

enum registry_auth {
	AUTH_NONE,     /* nobody asked */
	AUTH_FETCHING, /* a token is on its way */
	AUTH_READY,
	AUTH_FAILED,
};

struct registry {
	struct http http;
	const struct ref *ref; /* borrowed */
	const char *scheme;    /* "https" or "http" */
	const char *host;      /* where it is: registry-1.docker.io */
	bool may_fall_back;    /* to plain HTTP */
	bool reached;	       /* it has answered before */
	unsigned int tries;    /* at most */
	char *ca;	       /* owned: the one of certs.d, or NULL */

	enum registry_auth auth;
	char *header;		/* owned: the value of Authorization, or NULL */
	unsigned int header_no; /* counts the headers there have been */
	struct creds creds;
	bool creds_read;
	struct http_req token; /* the request for one */
	struct buf token_text;
	unsigned int token_tries;
	struct err auth_err; /* why AUTH_FAILED */
	bool fresh;	     /* the token has been good for nothing yet */

	/* Called when something is tried again; may be NULL. */
	void (*on_retry)(void *arg, const char *why, uint64_t delay_ns);
	void *arg;
};

struct registry_opts {
	const char *ca;
	bool insecure;
	unsigned int stall; /* seconds; 0: the default */
	unsigned int tries; /* 0: the default */
};

#define REGISTRY_STALL 30
/* Failures without progress in between; with the pauses between them, the
 * default is half a minute. */
#define REGISTRY_TRIES 8
/* Longer than this is not waited, whatever Retry-After says. */
#define REGISTRY_WAIT_MAX 120

#define REGISTRY_INIT       \
	{                   \
		.ref = NULL \
	}
#define registry_auto __attribute__((cleanup(registry_free)))

/* @ref is kept, not copied. */
int registry_open(struct registry *r, const struct ref *ref,
		  const struct registry_opts *o, struct err *e);
void registry_free(struct registry *r);

/* The manifest or index that @asked ("12.5", "sha256:...") names, as bytes in
 * @b.  Its digest goes to @d; it is compared with @asked if that is one, and
 * with what the registry says.  0 or -errno, @e filled. */
int registry_manifest(struct registry *r, const char *asked, struct buf *b,
		      struct digest *d, struct err *e);

/* Set the address and the credentials of a request for the blob @d. */
int registry_blob_req(struct registry *r, struct http_req *q,
		      const struct digest *d);
int registry_sign(struct registry *r, struct http_req *q);

/* What to do about a request that is over, for whoever made it:
 * 0: send it again after *@delay (it has its credentials);
 * -EAGAIN: park it until registry_settled() is true, then registry_sign() it
 *	and send it again;
 * another -errno: it failed for good, @e filled.
 * @signed_with: the header_no it was sent with; @tries counts failures since
 * the last progress, and belongs to the caller. */
int registry_again(struct registry *r, struct http_req *q,
		   unsigned int signed_with, unsigned int *tries,
		   uint64_t *delay, const char *what, struct err *e);
/* A request succeeded. */
static inline void registry_worked(struct registry *r)
{
	r->reached = true;
	r->fresh = false;
}
static inline bool registry_settled(const struct registry *r)
{
	return r->auth != AUTH_FETCHING;
}

#endif
