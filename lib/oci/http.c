/* SPDX-License-Identifier: MIT
 *
 * HTTP requests on libcurl's multi interface: see http.h.
 *
 * curl could follow redirects by itself, but what it does with a hand-made
 * Authorization header on the way has changed more than once (CVE-2018-1000007,
 * CVE-2022-27774); here it is six lines that a test looks at.
 */
#include "oci/http.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "oci/challenge.h"

/* A header as large as this is from nobody who means well. */
#define HEADER_MAX 8192
#define ERROR_TEXT_MAX ((size_t)16 << 10)
/* A read of 256 KiB halves the system calls of curl's 16 KiB, and 8 of them
 * are 2 MiB of memory. */
#define READ_SIZE (256L << 10)
#define CONNECT_SECONDS 15L
#define SLOW_BYTES 1L /* a second: less is silence */
#define CONNECTIONS_KEPT 16L

/* Whether the system's certificates lie in a directory in which OpenSSL finds
 * the one it needs by a hash: then the file of all of them, which takes 20 ms
 * to read, may be left out.  (curl asks for both by default.) */
static bool certs_hashed(void)
{
	curl_version_info_data *v = curl_version_info(CURLVERSION_NOW);
	glob_t found;
	mem_auto char *pattern =
		v->capath ? str_printf("%s/[0-9a-f][0-9a-f][0-9a-f]*.0",
				       v->capath) :
			    NULL;
	bool hashed = pattern && glob(pattern, GLOB_NOSORT, NULL, &found) == 0;

	if (hashed)
		globfree(&found);
	return hashed;
}

int http_init(struct http *h, const struct http_opts *o, struct err *e)
{
	h->opts = *o;
	h->hashed = !o->insecure && certs_hashed();
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0 ||
	    !(h->multi = curl_multi_init()))
		return err_sys(e, ENOMEM, "cannot start libcurl");
	curl_multi_setopt(h->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
	curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, CONNECTIONS_KEPT);
	return 0;
}

void http_free(struct http *h)
{
	while (h->first)
		http_cancel(h->first);
	if (h->multi)
		curl_multi_cleanup(h->multi);
	h->multi = NULL;
}

/* ---- the answer -------------------------------------------------------- */

static void answer_clear(struct http_answer *a)
{
	struct buf text = a->text;

	buf_clear(&text);
	text.max = ERROR_TEXT_MAX;
	*a = (struct http_answer){ .length = UINT64_MAX, .text = text };
}

static void copy(char *out, size_t size, struct str s)
{
	snprintf(out, size, "%.*s", (int)s.len, s.p);
}

static void add_challenge(struct http_answer *a, struct str v)
{
	size_t len = strlen(a->challenge);

	snprintf(a->challenge + len, sizeof(a->challenge) - len, "%s%.*s",
		 len ? ", " : "", STR_ARG(v));
}

static bool is_name(struct str s, const char *name)
{
	return s.len == strlen(name) && strncasecmp(s.p, name, s.len) == 0;
}

static void read_header(struct http_answer *a, struct str line)
{
	struct str value = line, name = str_cut(&value, ':');

	value = str_trim(value);
	if (is_name(name, "content-length"))
		(void)str_u64(value, 0, UINT64_MAX - 1, &a->length, "", NULL);
	else if (is_name(name, "content-range"))
		a->ranged =
			content_range_parse(value, &a->from, &a->to, &a->total);
	else if (is_name(name, "content-type"))
		copy(a->type, sizeof(a->type), value);
	else if (is_name(name, "location") && value.len < sizeof(a->location))
		copy(a->location, sizeof(a->location), value);
	else if (is_name(name, "www-authenticate"))
		add_challenge(a, value);
	else if (is_name(name, "retry-after"))
		a->retry_after = retry_after_parse(value, time(NULL));
	else if (is_name(name, "docker-content-digest"))
		digest_parse(&a->digest, value, "", NULL);
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
	struct http_req *q = arg;
	struct str line = { p, size * n };

	if (line.len > HEADER_MAX)
		return 0;
	if (str_starts(line, STR("HTTP/")))
		answer_clear(&q->answer);
	else if (!memchr(line.p, '\0', line.len))
		read_header(&q->answer, line);
	return line.len;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
	struct http_req *q = arg;
	struct buf *text = &q->answer.text;
	size_t len = size * n;

	if (!q->began)
		curl_easy_getinfo(q->easy, CURLINFO_RESPONSE_CODE,
				  &q->answer.status);
	if (q->answer.status < 200 || q->answer.status > 299) {
		/* Enough to quote; an endless one is broken off. */
		if (len > text->max - text->len)
			return 0;
		return buf_add(text, p, len) < 0 ? 0 : len;
	}
	if (!q->began) {
		q->began = true;
		q->broken = q->begin ? q->begin(q) : 0;
	}
	if (q->broken == 0 && len)
		q->broken = q->body(q, p, len);
	q->http->received += len;
	return q->broken < 0 ? 0 : len;
}

/* ---- sending ----------------------------------------------------------- */

/* Whether two addresses have scheme, host and port in common. */
static bool same_origin(const char *a, const char *b)
{
	static const CURLUPart part[] = { CURLUPART_SCHEME, CURLUPART_HOST,
					  CURLUPART_PORT };
	CURLU *ua = curl_url(), *ub = curl_url();
	bool same = ua && ub && !curl_url_set(ua, CURLUPART_URL, a, 0) &&
		    !curl_url_set(ub, CURLUPART_URL, b, 0);
	size_t i;

	for (i = 0; same && i < ARRAY_SIZE(part); i++) {
		char *x = NULL, *y = NULL;

		same = !curl_url_get(ua, part[i], &x, CURLU_DEFAULT_PORT) &&
		       !curl_url_get(ub, part[i], &y, CURLU_DEFAULT_PORT) &&
		       strcasecmp(x, y) == 0;
		curl_free(x);
		curl_free(y);
	}
	curl_url_cleanup(ua);
	curl_url_cleanup(ub);
	return same;
}

static int add_line(struct http_req *q, const char *name, const char *value)
{
	mem_auto char *line = str_printf("%s: %s", name, value);
	struct curl_slist *l = line ? curl_slist_append(q->headers, line) :
				      NULL;

	if (line && strcmp(name, "Authorization") == 0)
		explicit_bzero(line, strlen(line));
	if (!l)
		return -ENOMEM;
	q->headers = l;
	return 0;
}

static const char *target_of(const struct http_req *q)
{
	return q->moved_url ? q->moved_url : q->url;
}

static int set_headers(struct http_req *q)
{
	char range[64];
	int r = 0;

	curl_slist_free_all(q->headers);
	q->headers = NULL;
	if (q->accept)
		r = add_line(q, "Accept", q->accept);
	if (r == 0 && q->to) {
		snprintf(range, sizeof(range), "bytes=%llu-%llu",
			 (unsigned long long)q->from,
			 (unsigned long long)q->to - 1);
		r = add_line(q, "Range", range);
	}
	if (r == 0 && q->auth && same_origin(q->url, target_of(q)))
		r = add_line(q, "Authorization", q->auth);
	curl_easy_setopt(q->easy, CURLOPT_HTTPHEADER, q->headers);
	return r;
}

static void set_security(const struct http_req *q)
{
	const struct http_opts *o = &q->http->opts;
	CURL *c = q->easy;

	if (o->ca)
		curl_easy_setopt(c, CURLOPT_CAINFO, o->ca);
	else if (q->http->hashed)
		curl_easy_setopt(c, CURLOPT_CAINFO, NULL);
	if (o->insecure) {
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	if (o->direct)
		curl_easy_setopt(c, CURLOPT_PROXY, "");
}

static void set_options(struct http_req *q)
{
	CURL *c = q->easy;

	set_security(q);
	curl_easy_setopt(c, CURLOPT_PRIVATE, q);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, q->answer.error);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, q);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, q);
	curl_easy_setopt(c, CURLOPT_BUFFERSIZE, READ_SIZE);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "isokit/" ISO_VERSION);
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, SLOW_BYTES);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)q->http->opts.stall);
	curl_easy_setopt(c, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	if (q->form)
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, q->form);
}

static int start(struct http_req *q)
{
	int r;

	if (!q->easy) {
		q->easy = curl_easy_init();
		if (!q->easy)
			return -ENOMEM;
		set_options(q);
	}
	answer_clear(&q->answer);
	q->began = false;
	q->broken = 0;
	curl_easy_setopt(q->easy, CURLOPT_URL, target_of(q));
	r = set_headers(q);
	if (r < 0)
		return r;
	if (curl_multi_add_handle(q->http->multi, q->easy) != CURLM_OK)
		return -ENOMEM;
	q->running = true;
	return 0;
}

int http_send(struct http *h, struct http_req *q, uint64_t delay_ns)
{
	q->http = h;
	q->not_before = clock_now() + delay_ns;
	q->redirects = 0;
	q->moved = q->moved_url != NULL;
	q->next = h->first;
	h->first = q;
	return delay_ns ? 0 : start(q);
}

void http_cancel(struct http_req *q)
{
	struct http_req **at;

	if (!q->http)
		return;
	if (q->running)
		curl_multi_remove_handle(q->http->multi, q->easy);
	q->running = false;
	at = &q->http->first;
	while (*at) {
		if (*at == q)
			*at = q->next;
		else
			at = &(*at)->next;
	}
}

static void wipe(char **secret)
{
	if (*secret)
		explicit_bzero(*secret, strlen(*secret));
	mem_free(secret);
}

void http_req_free(struct http_req *q)
{
	http_cancel(q);
	if (q->easy)
		curl_easy_cleanup(q->easy);
	curl_slist_free_all(q->headers);
	q->easy = NULL;
	q->headers = NULL;
	buf_free(&q->answer.text);
	mem_free(&q->url);
	mem_free(&q->moved_url);
	wipe(&q->auth);
	wipe(&q->form);
}

/* ---- the loop ---------------------------------------------------------- */

static bool is_redirect(long status)
{
	return status == 301 || status == 302 || status == 303 ||
	       status == 307 || status == 308;
}

/* Where Location leads from where the request is, or NULL: not to follow. */
static char *redirect_target(const struct http_req *q)
{
	CURLU *u = curl_url();
	char *scheme = NULL, *text = NULL, *out = NULL;
	bool ok = u && !curl_url_set(u, CURLUPART_URL, target_of(q), 0) &&
		  !curl_url_set(u, CURLUPART_URL, q->answer.location, 0) &&
		  !curl_url_get(u, CURLUPART_SCHEME, &scheme, 0);

	/* No way down from https. */
	if (ok && strcasecmp(scheme, "https") != 0)
		ok = strcasecmp(scheme, "http") == 0 &&
		     strncasecmp(target_of(q), "http:", 5) == 0;
	/* Neither does a redirect bring a password along. */
	if (ok && !curl_url_set(u, CURLUPART_USER, NULL, 0) &&
	    !curl_url_set(u, CURLUPART_PASSWORD, NULL, 0) &&
	    !curl_url_get(u, CURLUPART_URL, &text, 0))
		out = str_dup(str_of(text));
	curl_free(scheme);
	curl_free(text);
	curl_url_cleanup(u);
	return out;
}

/* Whether the request went on its way to another place. */
static bool follow(struct http_req *q)
{
	char *to;

	if (q->answer.code != CURLE_OK || !is_redirect(q->answer.status) ||
	    !q->answer.location[0] || q->form ||
	    ++q->redirects > HTTP_REDIRECTS_MAX)
		return false;
	to = redirect_target(q);
	if (!to)
		return false;
	mem_free(&q->moved_url);
	q->moved_url = to;
	q->moved = true;
	return start(q) == 0;
}

static void finish(struct http *h, CURL *easy, CURLcode code)
{
	struct http_req *q = NULL;

	curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&q);
	curl_multi_remove_handle(h->multi, easy);
	q->running = false;
	q->answer.code = code;
	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &q->answer.status);
	if (follow(q))
		return;
	/* An empty body begins and ends at once. */
	if (http_fault(q) == HTTP_FINE && !q->began && q->begin) {
		q->began = true;
		q->broken = q->begin(q);
	}
	http_cancel(q);
	q->done(q);
}

/* Start what is due; the milliseconds until the next is, or -1. */
static int start_due(struct http *h)
{
	uint64_t next = UINT64_MAX;
	struct http_req *q, *after;

	for (q = h->first; q; q = after) {
		after = q->next;
		if (q->running)
			continue;
		if (clock_until_ms(q->not_before) > 0) {
			if (q->not_before < next)
				next = q->not_before;
		} else if (start(q) < 0) {
			q->answer.code = CURLE_OUT_OF_MEMORY;
			http_cancel(q);
			q->done(q);
			return 0;
		}
	}
	return clock_until_ms(next);
}

int http_step(struct http *h, struct err *e)
{
	int due = start_due(h), running, left;
	CURLMcode code = curl_multi_perform(h->multi, &running);
	bool any = false;
	CURLMsg *m;

	if (code != CURLM_OK)
		return err_set(e, EIO, "libcurl: %s",
			       curl_multi_strerror(code));
	while ((m = curl_multi_info_read(h->multi, &left))) {
		if (m->msg != CURLMSG_DONE)
			continue;
		finish(h, m->easy_handle, m->data.result);
		any = true;
	}
	if (any || !h->first)
		return 0;
	/* curl shortens the wait by its own timers; with none of its own, and
	 * nothing due, an hour is as good as for ever. */
	code = curl_multi_poll(h->multi, NULL, 0, due < 0 ? 3600000 : due,
			       NULL);
	if (code != CURLM_OK)
		return err_set(e, EIO, "libcurl: %s",
			       curl_multi_strerror(code));
	return 0;
}
