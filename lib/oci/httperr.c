/* SPDX-License-Identifier: MIT
 *
 * What went wrong with an HTTP request, and when to try again: see http.h.
 */
#include <jansson.h>
#include <stdio.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "oci/http.h"
#include "oci/json.h"

#define BACKOFF_FIRST CLOCK_MS(200)
#define BACKOFF_MAX CLOCK_S(30)

static enum http_fault fault_of_status(long status)
{
	if (status >= 200 && status <= 299)
		return HTTP_FINE;
	if (status == 401)
		return HTTP_AUTH;
	if (status == 408 || status == 425 || status == 429 ||
	    (status >= 500 && status != 501 && status != 505))
		return HTTP_PASSING;
	if (status >= 300 && status <= 399)
		return HTTP_BAD;
	return HTTP_REFUSED;
}

static enum http_fault fault_of_code(CURLcode code)
{
	switch ((int)code) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_CONNECT:
		return HTTP_UNREACHED;
	case CURLE_SSL_CONNECT_ERROR:
		return HTTP_NOT_TLS;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_CERTPROBLEM:
		return HTTP_UNTRUSTED;
	case CURLE_PARTIAL_FILE:
	case CURLE_OPERATION_TIMEDOUT:
	case CURLE_GOT_NOTHING:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM:
		return HTTP_PASSING;
	default:
		return HTTP_BAD;
	}
}

enum http_fault http_fault(const struct http_req *q)
{
	const struct http_answer *a = &q->answer;

	if (q->broken < 0)
		return HTTP_BROKEN;
	/* The status is known, whatever became of the rest of its text. */
	if (a->status >= 300 && a->code != CURLE_OPERATION_TIMEDOUT)
		return fault_of_status(a->status);
	if (a->code != CURLE_OK)
		return fault_of_code(a->code);
	return fault_of_status(a->status);
}

/* The message of {"errors": [{"message": ...}]}, printable, or "". */
static void message_of(const struct http_req *q, char out[static 200])
{
	const struct buf *b = &q->answer.text;
	json_auto json_t *o = json_object_of(
		(struct str){ (const char *)b->data, b->len }, "", NULL);
	const json_t *first = json_array_get(json_object_get(o, "errors"), 0);
	const char *text = json_text(first, "message", "", NULL);
	size_t i;

	snprintf(out, 200, "%s%.190s", text && *text ? ": " : "",
		 text ? text : "");
	for (i = 0; out[i]; i++) {
		if ((unsigned char)out[i] < ' ' || out[i] == 0x7f)
			out[i] = '?';
	}
}

static const char *status_text(long status)
{
	static const struct {
		long status;
		const char *text;
	} known[] = {
		{ 401, "unauthorized" }, { 403, "forbidden" },
		{ 404, "not found" },	 { 429, "too many requests" },
		{ 500, "server error" }, { 502, "bad gateway" },
		{ 503, "unavailable" },	 { 504, "gateway timeout" },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(known); i++) {
		if (known[i].status == status)
			return known[i].text;
	}
	return "unexpected answer";
}

static int errno_of(enum http_fault f, long status)
{
	if (f == HTTP_AUTH || status == 403)
		return EACCES;
	if (status == 404)
		return ENOENT;
	if (f == HTTP_UNREACHED)
		return EHOSTUNREACH;
	return f == HTTP_PASSING ? EREMOTEIO : EPROTO;
}

int http_error(const struct http_req *q, const char *what, struct err *e)
{
	const struct http_answer *a = &q->answer;
	enum http_fault f = http_fault(q);
	int num = errno_of(f, a->status);
	char message[200];

	if (f == HTTP_BAD && a->status >= 300 && a->status <= 399 &&
	    q->redirects > HTTP_REDIRECTS_MAX)
		return err_set(e, num, "%s: more than %d redirects", what,
			       HTTP_REDIRECTS_MAX);
	if (f == HTTP_BAD && a->status >= 300 && a->status <= 399)
		return err_set(e, num,
			       "%s: redirected to a place that is not "
			       "followed: '%.128s'",
			       what, a->location);
	if (a->status >= 300) {
		message_of(q, message);
		return err_set(e, num, "%s: %ld %s%s", what, a->status,
			       status_text(a->status), message);
	}
	if (a->code == CURLE_OPERATION_TIMEDOUT)
		return err_set(e, num, "%s: nothing came for %u s", what,
			       q->http->opts.stall);
	if (a->code != CURLE_OK)
		return err_set(e, num, "%s: %s", what,
			       a->error[0] ? a->error :
					     curl_easy_strerror(a->code));
	return err_set(e, num, "%s: the answer ended too early", what);
}

uint64_t http_backoff(const struct http_req *q, unsigned int n)
{
	uint64_t ns = BACKOFF_MAX, jitter = 0;

	if (q->answer.retry_after)
		return CLOCK_S(q->answer.retry_after);
	if (n < 8)
		ns = BACKOFF_FIRST << (n ? n - 1 : 0);
	if (ns > BACKOFF_MAX)
		ns = BACKOFF_MAX;
	/* Between half and all of it, so that twenty who were refused together
	 * do not come back together. */
	if (getrandom(&jitter, sizeof(jitter), GRND_NONBLOCK) < 0)
		jitter = 0;
	return ns / 2 + jitter % (ns / 2 + 1);
}
