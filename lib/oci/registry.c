/* SPDX-License-Identifier: MIT
 *
 * One repository of one registry: see registry.h.
 *
 * Nothing is asked ahead: the first request is the manifest's, and if that
 * needs a token the 401 says where from.  (Asking /v2/ first, as the
 * specification of 2015 has it, would cost everybody a round trip.)
 *
 * Plain HTTP is tried only after the other side has shown that it does not
 * speak TLS, and only on loopback or with --insecure.
 */
#include "oci/registry.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "oci/auth.h"

#define ACCEPT_MANIFESTS                                              \
	"application/vnd.oci.image.index.v1+json, "                   \
	"application/vnd.oci.image.manifest.v1+json, "                \
	"application/vnd.docker.distribution.manifest.list.v2+json, " \
	"application/vnd.docker.distribution.manifest.v2+json"

/* ---- opening ----------------------------------------------------------- */

/* The certificate that docker and podman would use for @host, or NULL. */
static char *certs_d(const char *host)
{
	static const char *const dir[] = { "/etc/containers/certs.d",
					   "/etc/docker/certs.d" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(dir); i++) {
		char *path = str_printf("%s/%s/ca.crt", dir[i], host);

		if (path && access(path, R_OK) == 0)
			return path;
		mem_free(&path);
	}
	return NULL;
}

static int check_ca(const char *ca, struct err *e)
{
	if (access(ca, R_OK) == 0)
		return 0;
	return err_sys(e, errno, "--ca: cannot read %s", ca);
}

int registry_open(struct registry *r, const struct ref *ref,
		  const struct registry_opts *o, struct err *e)
{
	mem_auto char *ca = o->ca ? NULL : certs_d(ref->host);
	struct http_opts h = { .ca = o->ca ? o->ca : ca,
			       .insecure = o->insecure,
			       .stall = o->stall ? o->stall : REGISTRY_STALL,
			       .direct = ref_is_loopback(ref) };

	if (o->ca && check_ca(o->ca, e) < 0)
		return -e->num;
	r->ref = ref;
	r->scheme = "https";
	r->host = strcmp(ref->host, "docker.io") ? ref->host :
						   "registry-1.docker.io";
	/* Who names a certificate wants it used. */
	r->may_fall_back = o->insecure || (h.direct && !h.ca);
	r->token_text.max = AUTH_TEXT_MAX;
	r->tries = o->tries ? o->tries : REGISTRY_TRIES;
	r->ca = ptr_steal(&ca);
	return http_init(&r->http, &h, e);
}

void registry_free(struct registry *r)
{
	http_req_free(&r->token);
	http_free(&r->http);
	secret_free(&r->header);
	creds_free(&r->creds);
	if (r->token_text.data)
		explicit_bzero(r->token_text.data, r->token_text.cap);
	buf_free(&r->token_text);
	mem_free(&r->ca);
}

/* ---- requests ---------------------------------------------------------- */

int registry_sign(struct registry *r, struct http_req *q)
{
	secret_free(&q->auth);
	if (!r->header)
		return 0;
	q->auth = str_dup(str_of(r->header));
	return q->auth ? 0 : -ENOMEM;
}

static int set_url(struct registry *r, struct http_req *q, const char *kind,
		   const char *what)
{
	mem_free(&q->url);
	mem_free(&q->moved_url);
	q->url = str_printf("%s://%s/v2/%s/%s/%s", r->scheme, r->host,
			    r->ref->repo, kind, what);
	return q->url ? registry_sign(r, q) : -ENOMEM;
}

int registry_blob_req(struct registry *r, struct http_req *q,
		      const struct digest *d)
{
	return set_url(r, q, "blobs", d->text);
}

/* ---- failures ---------------------------------------------------------- */

static int denied(struct registry *r, const struct http_req *q,
		  const char *what, struct err *e)
{
	http_error(q, what, e);
	if (r->header || !creds_none(&r->creds))
		return err_fix(e,
			       "other credentials: `skopeo login %s` or "
			       "`docker login`; or check the name",
			       r->ref->host);
	return err_fix(e,
		       "`skopeo login %s` or `docker login` if it is "
		       "private; or check the name",
		       r->ref->host);
}

static int refused(struct registry *r, const struct http_req *q,
		   const char *what, struct err *e)
{
	if (q->answer.status == 403)
		return denied(r, q, what, e);
	http_error(q, what, e);
	if (q->answer.status == 404)
		return err_fix(e,
			       "check name and tag: `skopeo list-tags "
			       "docker://%s/%s`",
			       r->ref->host, r->ref->repo);
	return -e->num;
}

static int untrusted(struct registry *r, const struct http_req *q,
		     const char *what, struct err *e)
{
	http_error(q, what, e);
	return err_fix(e,
		       "--ca FILE with the registry's certificate, or "
		       "/etc/containers/certs.d/%s/ca.crt",
		       r->ref->host);
}

static int not_tls(struct registry *r, const struct http_req *q,
		   const char *what, struct err *e)
{
	http_error(q, what, e);
	return err_fix(e, "--insecure, if %s speaks plain HTTP", r->ref->host);
}

static int unreached(struct registry *r, const struct http_req *q,
		     const char *what, struct err *e)
{
	http_error(q, what, e);
	return err_fix(e,
		       "check the name and the network, or a proxy by "
		       "https_proxy; is %s up?",
		       r->host);
}

/* Whether a failure that may pass is worth another try, and when. */
static int try_later(struct registry *r, struct http_req *q,
		     unsigned int *tries, uint64_t *delay, const char *what,
		     struct err *e)
{
	++*tries;
	http_error(q, what, e);
	if (q->answer.retry_after > REGISTRY_WAIT_MAX)
		return err_fix(e, "again in %llu s, as the registry asks",
			       (unsigned long long)q->answer.retry_after);
	if (*tries >= r->tries)
		return err_fix(e,
			       "again later: %u tries failed in a row; "
			       "what has arrived is kept",
			       *tries);
	*delay = http_backoff(q, *tries);
	if (r->on_retry)
		r->on_retry(r->arg, e->text, *delay);
	return 0;
}

static bool fall_back(struct registry *r, struct http_req *q)
{
	char *plain;

	if (!r->may_fall_back || q->moved || r->reached ||
	    strncmp(q->url, "https:", 6) != 0)
		return false;
	plain = str_printf("http:%s", q->url + 6);
	if (!plain)
		return false;
	r->scheme = "http";
	mem_free(&q->url);
	q->url = plain;
	return true;
}

int registry_again(struct registry *r, struct http_req *q,
		   unsigned int signed_with, unsigned int *tries,
		   uint64_t *delay, const char *what, struct err *e)
{
	enum http_fault f = http_fault(q);

	*delay = 0;
	if (q->answer.status)
		r->reached = true;
	/* Where a redirect led may have been for a while only (signed
	 * addresses expire): ask the registry again, once. */
	if (q->moved && (f == HTTP_AUTH || f == HTTP_REFUSED) &&
	    (*tries)++ == 0) {
		mem_free(&q->moved_url);
		return registry_sign(r, q);
	}
	switch (f) {
	case HTTP_AUTH:
		return q->moved ? denied(r, q, what, e) :
				  auth_ask(r, q, signed_with, what, e);
	case HTTP_REFUSED:
		return refused(r, q, what, e);
	case HTTP_UNTRUSTED:
		return untrusted(r, q, what, e);
	case HTTP_NOT_TLS:
		if (fall_back(r, q))
			return 0;
		return r->reached ? try_later(r, q, tries, delay, what, e) :
				    not_tls(r, q, what, e);
	case HTTP_UNREACHED:
		/* A name that was mistyped should not take seconds to say. */
		if (!r->reached)
			return unreached(r, q, what, e);
		return try_later(r, q, tries, delay, what, e);
	case HTTP_FINE: /* it ended too early */
	case HTTP_PASSING:
		return try_later(r, q, tries, delay, what, e);
	case HTTP_BROKEN:
	case HTTP_BAD:
		break;
	}
	return http_error(q, what, e);
}

/* ---- manifests --------------------------------------------------------- */

struct fetch {
	struct buf *b;
	bool done;
};

static int fetch_begin(struct http_req *q)
{
	struct fetch *f = q->arg;

	buf_clear(f->b);
	return 0;
}

static int fetch_body(struct http_req *q, const void *p, size_t n)
{
	struct fetch *f = q->arg;

	return buf_add(f->b, p, n);
}

static void fetch_done(struct http_req *q)
{
	struct fetch *f = q->arg;

	f->done = true;
}

/* Send @q until it succeeds or fails for good. */
static int fetch(struct registry *r, struct http_req *q, const char *what,
		 struct err *e)
{
	struct fetch *f = q->arg;
	unsigned int tries = 0, no;
	uint64_t delay = 0;
	int ret = 0;

	for (;;) {
		f->done = false;
		no = r->header_no;
		if (ret == 0 && http_send(&r->http, q, delay) < 0)
			return err_sys(e, ENOMEM, "%s", what);
		while (ret == 0 ? !f->done : !registry_settled(r)) {
			if (http_step(&r->http, e) < 0)
				return -e->num;
		}
		if (ret == -EAGAIN) {
			if (r->auth == AUTH_FAILED)
				return auth_failed(r, e);
			ret = registry_sign(r, q);
			continue;
		}
		if (http_fault(q) == HTTP_FINE) {
			registry_worked(r);
			return 0;
		}
		if (http_fault(q) == HTTP_BROKEN)
			return err_set(e, EFBIG,
				       "%s: longer than the %zu bytes that a "
				       "manifest may have",
				       what, f->b->max);
		ret = registry_again(r, q, no, &tries, &delay, what, e);
		if (ret < 0 && ret != -EAGAIN)
			return ret;
	}
}

/* A proxy's login page, say. */
static int check_type(const struct http_req *q, const char *what, struct err *e)
{
	if (strncasecmp(q->answer.type, "text/html", 9) != 0)
		return 0;
	err_set(e, EPROTO, "%s: the answer is %.64s, not a manifest", what,
		q->answer.type);
	return err_fix(e, "look at what answers there: curl -L %s", q->url);
}

static int check_digest(const struct http_req *q, const char *asked,
			const struct digest *got, const char *what,
			struct err *e)
{
	bool by_digest = strncmp(asked, "sha256:", 7) == 0;
	const char *want = by_digest ? asked : q->answer.digest.text;

	if (!*want || strcmp(want, got->text) == 0)
		return 0;
	return err_set(e, EBADMSG, "%s: wrong digest: %s %s, its bytes have %s",
		       what, by_digest ? "asked for" : "the registry says",
		       want, got->text);
}

int registry_manifest(struct registry *r, const char *asked, struct buf *b,
		      struct digest *d, struct err *e)
{
	struct fetch f = { .b = b };
	struct http_req q = { .accept = ACCEPT_MANIFESTS,
			      .begin = fetch_begin,
			      .body = fetch_body,
			      .done = fetch_done,
			      .arg = &f };
	mem_auto char *name = ref_name(r->ref);
	mem_auto char *what = name ? str_printf("%s%c%s", name,
						strchr(asked, ':') ? '@' : ':',
						asked) :
				     NULL;
	int ret;

	if (!what || set_url(r, &q, "manifests", asked) < 0)
		ret = err_sys(e, ENOMEM, "cannot ask for a manifest");
	else
		ret = fetch(r, &q, what, e);
	if (ret == 0)
		ret = check_type(&q, what, e);
	if (ret == 0)
		ret = digest_of(d, b->data, b->len, e);
	if (ret == 0)
		ret = check_digest(&q, asked, d, what, e);
	http_req_free(&q);
	return ret;
}
