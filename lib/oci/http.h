/* SPDX-License-Identifier: MIT
 *
 * HTTP requests, many at a time, on one event loop of libcurl's.
 *
 * A request is a struct that its owner keeps; callbacks say what came of it.
 * Redirects are followed here, at most five: the Authorization header goes
 * only to the scheme, host and port that the request was made for, and from
 * https no redirect leads to http.  When to try again is the owner's decision:
 * http_fault() says what kind of failure it was, http_send() sends it once more
 * after a pause.
 */
#ifndef OCI_HTTP_H
#define OCI_HTTP_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "oci/digest.h"

struct err;
struct http_req;

struct http_opts {
	const char *ca;	    /* a file of certificates besides the system's */
	bool insecure;	    /* certificates are not checked */
	unsigned int stall; /* seconds of silence that are a failure */
	bool direct;	    /* no proxy, whatever the environment says */
};

struct http {
	CURLM *multi;
	struct http_opts opts;
	struct http_req *first; /* those that wait or run; borrowed */
	bool hashed;		/* certificates are found without reading all */
	uint64_t received;	/* bytes of bodies, for the curious */
};

#define HTTP_INIT             \
	{                     \
		.multi = NULL \
	}
#define http_auto __attribute__((cleanup(http_free)))

struct http_answer {
	CURLcode code;
	long status;	 /* 0: none came */
	uint64_t length; /* of the body, or UINT64_MAX */
	bool ranged;	 /* there is a Content-Range */
	uint64_t from, to, total;
	uint64_t retry_after; /* seconds */
	char type[128];
	struct digest digest; /* Docker-Content-Digest */
	char challenge[4096]; /* WWW-Authenticate, several joined */
	char location[8192];
	char error[CURL_ERROR_SIZE];
	struct buf text; /* of an answer that is not 2xx: its beginning */
};

struct http_req {
	/* What the owner sets. */
	char *url;	    /* owned by the request */
	char *auth;	    /* value of Authorization, or NULL; likewise */
	char *form;	    /* posted when not NULL; likewise */
	const char *accept; /* or NULL */
	uint64_t from, to;  /* a range, unless to is 0 */
	/* The status is 2xx, the headers are there, the body begins: 0, or
	 * -errno to break off. */
	int (*begin)(struct http_req *q);
	int (*body)(struct http_req *q, const void *p, size_t n);
	/* It is over; the request is the owner's again. */
	void (*done)(struct http_req *q);
	void *arg;

	/* What came of it. */
	struct http_answer answer;
	bool moved;	 /* the answer is from where a redirect led */
	char *moved_url; /* owned; where that was */
	int broken;	 /* what begin() or body() returned, if negative */

	/* The loop's own. */
	struct http *http;
	struct http_req *next;
	CURL *easy;
	struct curl_slist *headers;
	uint64_t not_before; /* clock_now() */
	int redirects;
	bool running, began;
};

#define HTTP_REDIRECTS_MAX 5

enum http_fault {
	HTTP_FINE,	/* 2xx, to its end */
	HTTP_AUTH,	/* 401 */
	HTTP_REFUSED,	/* 403, 404 and other answers that will not change */
	HTTP_PASSING,	/* 429, 5xx, cut, silent: may go well later */
	HTTP_UNREACHED, /* no connection, no such host */
	HTTP_NOT_TLS,	/* the other side does not speak TLS */
	HTTP_UNTRUSTED, /* its certificate is not one of ours */
	HTTP_BROKEN,	/* begin() or body() did not want it */
	HTTP_BAD,	/* redirects without end, or nonsense */
};

int http_init(struct http *h, const struct http_opts *o, struct err *e);
void http_free(struct http *h);

/* Send it, not before @delay_ns from now.  0 or -ENOMEM. */
int http_send(struct http *h, struct http_req *q, uint64_t delay_ns);
/* Take it back, if it waits or runs. */
void http_cancel(struct http_req *q);
/* Forget all about it. */
void http_req_free(struct http_req *q);

/* Work, and wait for work, until something happened. */
int http_step(struct http *h, struct err *e);

enum http_fault http_fault(const struct http_req *q);

/* Say what went wrong, for an error: "503 Service Unavailable: message". */
int http_error(const struct http_req *q, const char *what, struct err *e);

/* Nanoseconds to wait before try @n (1, 2, ...): exponential with jitter, or
 * what Retry-After asked for. */
uint64_t http_backoff(const struct http_req *q, unsigned int n);

#endif
