/* SPDX-License-Identifier: MIT
 *
 * From a 401 to an Authorization header: see auth.h.
 *
 * The realm that a registry names is asked with the user's password, as every
 * client does; so it has to be https, unless the registry itself may be spoken
 * to in plain HTTP.  The scope is ours, not the challenge's: reading this one
 * repository.
 */
#include "oci/auth.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/fd.h"
#include "oci/challenge.h"
#include "oci/json.h"

int auth_failed(const struct registry *r, struct err *e)
{
	if (e)
		*e = r->auth_err;
	return -r->auth_err.num;
}

static int set_header(struct registry *r, char *header)
{
	if (!header)
		return -ENOMEM;
	secret_free(&r->header);
	r->header = header;
	r->header_no++;
	r->auth = AUTH_READY;
	return 0;
}

/* ---- the token --------------------------------------------------------- */

/* It goes into a header: nothing but printable characters. */
static bool token_ok(const char *t)
{
	if (!t || !*t)
		return false;
	for (; *t; t++) {
		if (*t <= ' ' || *t > '~')
			return false;
	}
	return true;
}

static int read_token(struct registry *r, struct err *e)
{
	json_auto json_t *o =
		json_object_of((struct str){ (const char *)r->token_text.data,
					     r->token_text.len },
			       "", NULL);
	const char *t = json_text(o, "token", "", NULL);

	if (!token_ok(t))
		t = json_text(o, "access_token", "", NULL);
	if (!token_ok(t))
		return err_set(e, EPROTO,
			       "%s: the token server's answer (%.64s) holds "
			       "no token",
			       r->ref->host,
			       r->token.answer.type[0] ? r->token.answer.type :
							 "of no type");
	return set_header(r, str_printf("Bearer %s", t));
}

static int token_begin(struct http_req *q)
{
	struct registry *r = q->arg;

	buf_clear(&r->token_text);
	return 0;
}

static int token_body(struct http_req *q, const void *p, size_t n)
{
	struct registry *r = q->arg;

	return buf_add(&r->token_text, p, n);
}

static int token_denied(struct registry *r, struct err *e)
{
	http_error(&r->token, "the token server refused", e);
	err_in(e, "%s/%s", r->ref->host, r->ref->repo);
	return err_fix(e,
		       "`skopeo login %s` or `docker login` with other "
		       "credentials",
		       r->ref->host);
}

/* 0: done with it, one way or the other. */
static int token_over(struct registry *r, struct err *e)
{
	uint64_t delay;

	switch (http_fault(&r->token)) {
	case HTTP_FINE:
		return read_token(r, e);
	case HTTP_AUTH:
	case HTTP_REFUSED:
		return token_denied(r, e);
	case HTTP_PASSING:
		http_error(&r->token, "the token server", e);
		err_in(e, "%s", r->ref->host);
		if (++r->token_tries >= r->tries ||
		    r->token.answer.retry_after > REGISTRY_WAIT_MAX)
			return -e->num;
		delay = http_backoff(&r->token, r->token_tries);
		if (r->on_retry)
			r->on_retry(r->arg, e->text, delay);
		return http_send(&r->http, &r->token, delay) < 0 ? -ENOMEM : 1;
	case HTTP_BROKEN:
		return err_set(e, EPROTO,
			       "%s: the token server's answer is "
			       "longer than %zu bytes",
			       r->ref->host, AUTH_TEXT_MAX);
	case HTTP_UNREACHED:
	case HTTP_NOT_TLS:
	case HTTP_UNTRUSTED:
	case HTTP_BAD:
		break;
	}
	http_error(&r->token, "the token server", e);
	return err_in(e, "%s", r->ref->host);
}

static void token_done(struct http_req *q)
{
	struct registry *r = q->arg;

	if (token_over(r, &r->auth_err) < 0)
		r->auth = AUTH_FAILED;
	if (r->auth != AUTH_FETCHING)
		secret_free(&q->auth);
}

/* ---- asking for one ---------------------------------------------------- */

static bool realm_ok(const struct registry *r, const char *realm)
{
	if (strncasecmp(realm, "https://", 8) == 0)
		return true;
	return strncasecmp(realm, "http://", 7) == 0 &&
	       strcmp(r->scheme, "http") == 0;
}

static int token_url(struct registry *r, const struct challenge *c)
{
	struct http_req *q = &r->token;
	char *service = curl_easy_escape(NULL, c->service, 0);

	mem_free(&q->url);
	mem_free(&q->moved_url);
	if (service && r->creds.token)
		q->url = str_dup(str_of(c->realm));
	else if (service)
		q->url = str_printf("%s%sservice=%s&scope=repository:%s:pull",
				    c->realm, strchr(c->realm, '?') ? "&" : "?",
				    service, r->ref->repo);
	curl_free(service);
	return q->url ? 0 : -ENOMEM;
}

/* An identity token is exchanged by POST, as in OAuth 2. */
static int token_form(struct registry *r, const struct challenge *c)
{
	char *service = curl_easy_escape(NULL, c->service, 0);
	char *token = curl_easy_escape(NULL, r->creds.token, 0);

	secret_free(&r->token.form);
	if (service && token)
		r->token.form =
			str_printf("grant_type=refresh_token&service=%s&"
				   "client_id=isokit&scope=repository:%s:pull&"
				   "refresh_token=%s",
				   service, r->ref->repo, token);
	curl_free(service);
	if (token)
		explicit_bzero(token, strlen(token));
	curl_free(token);
	return r->token.form ? 0 : -ENOMEM;
}

static int fetch_token(struct registry *r, const struct challenge *c,
		       struct err *e)
{
	struct http_req *q = &r->token;
	int ret;

	if (!realm_ok(r, c->realm))
		return err_set(e, EPROTO,
			       "%s: it wants a token from '%.128s', which is "
			       "not https",
			       r->ref->host, c->realm);
	q->begin = token_begin;
	q->body = token_body;
	q->done = token_done;
	q->arg = r;
	r->token_tries = 0;
	ret = token_url(r, c);
	if (ret == 0 && r->creds.token)
		ret = token_form(r, c);
	else if (ret == 0 && r->creds.user && !q->auth)
		ret = (q->auth = creds_basic(&r->creds)) ? 0 : -ENOMEM;
	if (ret < 0 || http_send(&r->http, q, 0) < 0)
		return err_sys(e, ENOMEM, "cannot ask for a token");
	r->auth = AUTH_FETCHING;
	return -EAGAIN;
}

static int read_creds(struct registry *r, struct err *e)
{
	int ret = r->creds_read ?
			  0 :
			  creds_find(&r->creds, r->ref->host, r->ref->repo, e);

	r->creds_read = true;
	return ret;
}

static int give_up(struct registry *r, struct http_req *q, const char *what,
		   struct err *e)
{
	http_error(q, what, e);
	if (creds_none(&r->creds))
		return err_fix(e,
			       "`skopeo login %s` or `docker login`; or "
			       "check the name",
			       r->ref->host);
	return err_fix(e,
		       "other credentials: `skopeo login %s` or `docker "
		       "login`",
		       r->ref->host);
}

int auth_ask(struct registry *r, struct http_req *q, unsigned int signed_with,
	     const char *what, struct err *e)
{
	struct challenge c;
	int ret;

	if (r->auth == AUTH_FETCHING)
		return -EAGAIN;
	if (r->auth == AUTH_FAILED)
		return auth_failed(r, e);
	/* It was sent with an older token than there is by now. */
	if (r->header_no > signed_with)
		return registry_sign(r, q);
	challenge_parse(&c, str_of(q->answer.challenge));
	ret = read_creds(r, e);
	if (ret < 0)
		return ret;
	/* A fresh token that is refused is no better a second time; one that
	 * has worked may have run out. */
	if (c.bearer && !r->fresh) {
		r->fresh = true;
		return fetch_token(r, &c, e);
	}
	if (c.basic && !r->header && r->creds.user) {
		ret = set_header(r, creds_basic(&r->creds));
		return ret < 0 ? err_sys(e, ENOMEM, "%s", what) :
				 registry_sign(r, q);
	}
	return give_up(r, q, what, e);
}
