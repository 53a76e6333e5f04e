/* SPDX-License-Identifier: MIT
 *
 * Blobs from a registry into the store: see transfer.h.
 *
 * A job is a blob; a range is a request for a part of it.  A small blob is one
 * range.  A big one begins with its first chunk alone: if the answer is a 206,
 * the server knows ranges and others are sent beside it, a chunk each, always
 * the lowest that nobody has; if it is a 200, the whole blob comes through the
 * one request.  (Asking by HEAD first would cost a round trip, and "Accept-
 * Ranges" is a promise that some stores behind registries do not keep.)
 *
 * A range that is cut goes on where it was.  The hash follows the front: the
 * range at the front is hashed as it streams, what the others wrote is read
 * back from the page cache when the front reaches it.
 *
 * No job is waited for while another is held, or two pulls could wait for each
 * other: blobs that another process has locked are left for last, when all
 * locks of our own are gone.
 */
#include "oci/transfer.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/fd.h"

/* Requests at a time; the same as skopeo and docker have. */
#define ACTIVE_MAX 6
/* Blobs larger than this are asked for in chunks.  On a link of 1 GB/s a chunk
 * takes as long as a request's round trip of 16 ms. */
#define RANGED_SIZE ((uint64_t)32 << 20)
#define CHUNK_SIZE ((uint64_t)16 << 20)
/* A connection that brought less before it broke counts as one that brought
 * nothing. */
#define PROGRESS_MIN ((uint64_t)64 << 10)

static void fail(struct transfer *t)
{
	t->failed = true;
}

static void range_done(struct http_req *q);
static int fill(struct transfer *t);

/* ---- the job ----------------------------------------------------------- */

static void job_close(struct transfer_job *j)
{
	size_t i;

	for (i = 0; i < TRANSFER_RANGES; i++) {
		struct transfer_range *g = &j->range[i];

		if (g->active)
			j->t->active--;
		g->active = false;
		http_req_free(&g->req);
	}
	blob_free(&j->blob);
	mem_free(&j->moved_url);
}

static void notify(struct transfer_job *j)
{
	struct transfer *t = j->t;

	if (!t->failed && t->on_job(t->arg, j, t->e) < 0)
		fail(t);
}

static bool job_active(const struct transfer_job *j)
{
	size_t i;

	for (i = 0; i < TRANSFER_RANGES; i++) {
		if (j->range[i].active)
			return true;
	}
	return false;
}

/* Everything before this has been written. */
static uint64_t whole_up_to(const struct transfer_job *j)
{
	uint64_t to = j->next;
	size_t i;

	for (i = 0; i < TRANSFER_RANGES; i++) {
		const struct transfer_range *g = &j->range[i];

		if (g->active && g->pos < to)
			to = g->pos;
	}
	return to;
}

static void job_finished(struct transfer_job *j)
{
	j->state = TRANSFER_DONE;
	j->done = j->desc.size;
	job_close(j);
	notify(j);
}

/* All bytes are there. */
static void job_commit(struct transfer_job *j)
{
	struct transfer *t = j->t;
	int r = blob_commit(&j->blob, t->e);

	if (r == 0) {
		job_finished(j);
		return;
	}
	/* What an earlier run left may be what is wrong: once without it. */
	if (r == -EBADMSG && j->resumed) {
		j->resumed = false;
		j->next = 0;
		j->done = 0;
		return;
	}
	err_in(t->e, "%s", j->what);
	fail(t);
}

static void job_advance(struct transfer_job *j)
{
	struct transfer *t = j->t;

	if (blob_advance(&j->blob, whole_up_to(j), t->e) < 0) {
		fail(t);
		return;
	}
	if (j->blob.front == j->desc.size && !job_active(j))
		job_commit(j);
}

static void job_begin(struct transfer_job *j, bool wait)
{
	struct transfer *t = j->t;
	int r = blob_begin(&j->blob, t->store, &j->desc, wait, t->e);

	if (r == 1) {
		job_finished(j);
		return;
	}
	if (r == -EWOULDBLOCK) {
		j->state = TRANSFER_ELSEWHERE;
		return;
	}
	if (r < 0) {
		fail(t);
		return;
	}
	j->state = TRANSFER_RUNNING;
	j->next = j->done = j->blob.front;
	j->resumed = j->blob.front > 0;
	notify(j);
	if (j->next == j->desc.size)
		job_commit(j);
}

/* ---- ranges: what arrives ---------------------------------------------- */

static int wrong_size(struct transfer_job *j, uint64_t got)
{
	return err_set(j->t->e, EBADMSG,
		       "%s: wrong size: the registry has %llu bytes, the "
		       "manifest says %llu",
		       j->what, (unsigned long long)got,
		       (unsigned long long)j->desc.size);
}

static bool others_active(const struct transfer_job *j,
			  const struct transfer_range *g)
{
	size_t i;

	for (i = 0; i < TRANSFER_RANGES; i++) {
		if (j->range[i].active && &j->range[i] != g)
			return true;
	}
	return false;
}

static int range_begin(struct http_req *q)
{
	struct transfer_range *g = q->arg;
	struct transfer_job *j = g->job;
	const struct http_answer *a = &q->answer;

	if (a->status == 206 && q->to) {
		if (a->ranged && a->total != UINT64_MAX &&
		    a->total != j->desc.size)
			return wrong_size(j, a->total);
		if (!a->ranged || a->from != g->pos || a->to > g->end)
			return err_set(j->t->e, EPROTO,
				       "%s: the registry sent another range "
				       "than it was asked for",
				       j->what);
		j->ranges_ok = true;
		return 0;
	}
	if (a->status != 200)
		return err_set(j->t->e, EPROTO, "%s: unexpected answer %ld",
			       j->what, a->status);
	if (a->length != UINT64_MAX && a->length != j->desc.size)
		return wrong_size(j, a->length);
	/* All of it, from the start, unless others are at work behind this
	 * range: what they bring would not be believed again. */
	if (q->to && others_active(j, g))
		return err_set(j->t->e, EPROTO,
			       "%s: the registry honours ranges now and then",
			       j->what);
	g->skip = g->pos;
	g->end = j->desc.size;
	j->next = j->desc.size;
	return 0;
}

static int range_body(struct http_req *q, const void *p, size_t n)
{
	struct transfer_range *g = q->arg;
	struct transfer_job *j = g->job;
	size_t drop = n < g->skip ? n : (size_t)g->skip;
	int r;

	g->skip -= drop;
	n -= drop;
	if (n > g->end - g->pos)
		return err_set(j->t->e, EFBIG,
			       "%s: the registry sends more than the %llu "
			       "bytes that were asked for",
			       j->what, (unsigned long long)j->desc.size);
	if (n == 0)
		return 0;
	r = blob_write_at(&j->blob, g->pos, (const char *)p + drop, n, j->t->e);
	if (r < 0)
		return r;
	g->pos += n;
	j->done += n;
	return j->t->on_job(j->t->arg, j, j->t->e);
}

/* ---- ranges: sending and ending ---------------------------------------- */

static int range_send(struct transfer_range *g)
{
	struct transfer_job *j = g->job;
	struct http_req *q = &g->req;

	/* A whole blob from its beginning is asked for as such. */
	q->from = g->pos;
	q->to = g->pos == 0 && g->end == j->desc.size ? 0 : g->end;
	g->signed_with = j->t->registry->header_no;
	g->skip = 0;
	g->parked = false;
	if (http_send(&j->t->registry->http, q, g->delay) < 0)
		return err_sys(j->t->e, ENOMEM, "%s", j->what);
	return 0;
}

static void range_start(struct transfer_job *j, struct transfer_range *g)
{
	struct registry *r = j->t->registry;

	g->job = j;
	g->pos = j->next;
	g->end = j->desc.size;
	if (j->desc.size > RANGED_SIZE && g->end - g->pos > CHUNK_SIZE)
		g->end = g->pos + CHUNK_SIZE;
	j->next = g->end;
	g->tried = g->pos;
	g->tries = 0;
	g->delay = 0;
	g->active = true;
	j->t->active++;
	g->req.begin = range_begin;
	g->req.body = range_body;
	g->req.done = range_done;
	g->req.arg = g;
	if (registry_blob_req(r, &g->req, &j->desc.digest) < 0) {
		err_sys(j->t->e, ENOMEM, "%s", j->what);
		fail(j->t);
		return;
	}
	/* Where the last one was sent, this one need not ask. */
	if (j->moved_url)
		g->req.moved_url = str_dup(str_of(j->moved_url));
	if (range_send(g) < 0)
		fail(j->t);
}

static void range_complete(struct transfer_range *g)
{
	struct transfer_job *j = g->job;

	g->active = false;
	j->t->active--;
	registry_worked(j->t->registry);
	if (g->req.moved && !j->moved_url)
		j->moved_url = str_dup(str_of(g->req.moved_url));
	job_advance(j);
}

static void range_failed(struct transfer_range *g)
{
	struct transfer_job *j = g->job;
	struct transfer *t = j->t;
	int r;

	/* What begin() or body() did not want is described already. */
	if (http_fault(&g->req) == HTTP_BROKEN) {
		fail(t);
		return;
	}
	if (g->pos - g->tried >= PROGRESS_MIN) {
		g->tries = 0;
		registry_worked(t->registry);
	}
	g->tried = g->pos;
	r = registry_again(t->registry, &g->req, g->signed_with, &g->tries,
			   &g->delay, j->what, t->e);
	if (r == -EAGAIN)
		g->parked = true;
	else if (r < 0 || range_send(g) < 0)
		fail(t);
}

static void range_done(struct http_req *q)
{
	struct transfer_range *g = q->arg;

	if (g->job->t->failed)
		return;
	if (http_fault(q) == HTTP_FINE && g->pos == g->end)
		range_complete(g);
	else
		range_failed(g);
	if (!g->job->t->failed && fill(g->job->t) < 0)
		fail(g->job->t);
}

/* Those that wait for a token go on when it is there, or is not. */
static void unpark(struct transfer *t)
{
	size_t i, k;

	if (!registry_settled(t->registry))
		return;
	for (i = 0; i < t->njobs; i++) {
		for (k = 0; k < TRANSFER_RANGES && !t->failed; k++) {
			struct transfer_range *g = &t->jobs[i].range[k];

			if (!g->active || !g->parked)
				continue;
			g->delay = 0;
			if (t->registry->auth == AUTH_FAILED)
				*t->e = t->registry->auth_err;
			if (t->registry->auth == AUTH_FAILED ||
			    registry_sign(t->registry, &g->req) < 0 ||
			    range_send(g) < 0)
				fail(t);
		}
	}
}

/* ---- all of them ------------------------------------------------------- */

static struct transfer_range *free_range(struct transfer_job *j)
{
	size_t i;

	for (i = 0; i < TRANSFER_RANGES; i++) {
		if (!j->range[i].active)
			return &j->range[i];
	}
	return NULL;
}

/* Give the job another range to work on, if it has use for one. */
static bool feed(struct transfer_job *j)
{
	struct transfer_range *g = free_range(j);

	if (j->state != TRANSFER_RUNNING || j->next >= j->desc.size || !g ||
	    (job_active(j) && !j->ranges_ok))
		return false;
	range_start(j, g);
	return true;
}

/* Keep as many requests going as are allowed: blobs first, then ranges. */
static int fill(struct transfer *t)
{
	bool more = true;
	size_t i;

	for (i = 0; i < t->njobs && t->active < ACTIVE_MAX && !t->failed; i++) {
		if (t->jobs[i].state == TRANSFER_TODO)
			job_begin(&t->jobs[i], false);
		if (!job_active(&t->jobs[i]))
			feed(&t->jobs[i]);
	}
	while (more && t->active < ACTIVE_MAX && !t->failed) {
		more = false;
		for (i = 0; i < t->njobs && t->active < ACTIVE_MAX; i++)
			more = feed(&t->jobs[i]) || more;
	}
	return t->failed ? -EIO : 0;
}

static struct transfer_job *next_elsewhere(struct transfer *t)
{
	size_t i;

	for (i = 0; i < t->njobs; i++) {
		if (t->jobs[i].state == TRANSFER_ELSEWHERE)
			return &t->jobs[i];
	}
	return NULL;
}

static int run(struct transfer *t)
{
	for (;;) {
		struct transfer_job *j;

		unpark(t);
		if (t->failed || fill(t) < 0)
			return -1;
		if (t->active) {
			if (http_step(&t->registry->http, t->e) < 0)
				return -1;
			continue;
		}
		j = next_elsewhere(t);
		if (!j)
			return 0;
		t->on_wait(t->arg, j);
		job_begin(j, true);
	}
}

int transfer_run(struct transfer *t, struct err *e)
{
	size_t i;
	int r;

	t->e = e;
	t->failed = false;
	t->active = 0;
	for (i = 0; i < t->njobs; i++) {
		t->jobs[i].t = t;
		t->jobs[i].blob = (struct blob)BLOB_INIT;
	}
	r = run(t);
	for (i = 0; i < t->njobs; i++)
		job_close(&t->jobs[i]);
	if (r == 0)
		return 0;
	return e->num ? -e->num : err_sys(e, ENOMEM, "cannot pull");
}
