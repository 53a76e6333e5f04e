/* SPDX-License-Identifier: MIT
 *
 * Finding a sandbox by what people type: see rundir.h.
 */
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "sandbox/box.h"
#include "sandbox/rundir.h"

#define SHOWN_MAX 5 /* candidates that an error lists */

static int not_found(const struct rundir *d, const char *word, struct err *e)
{
	err_set(e, ENOENT, "no sandbox '%.64s' in %s", word, d->path);
	return err_fix(e, "iso-ps lists those that there are");
}

struct prefix {
	struct str word;
	char id[ID_SIZE]; /* the first that begins so */
	size_t n;	  /* how many do */
	struct buf shown;
};

static int match(const struct rundir *d, const char *id, bool starting,
		 void *arg)
{
	struct prefix *p = arg;

	(void)d;
	(void)starting;
	if (!str_starts(str_of(id), p->word))
		return 0;
	if (p->n == 0)
		memcpy(p->id, id, ID_SIZE);
	if (p->n < SHOWN_MAX)
		buf_printf(&p->shown, "%s%s", p->n ? ", " : "", id);
	p->n++;
	return 0;
}

static int ambiguous(const char *word, struct prefix *p, struct err *e)
{
	if (p->n > SHOWN_MAX)
		buf_printf(&p->shown, " and %zu more", p->n - SHOWN_MAX);
	err_set(e, ENOTUNIQ, "'%.64s' begins the ids of %zu sandboxes: %s",
		word, p->n, buf_str(&p->shown) ? buf_str(&p->shown) : "");
	return err_fix(e, "more digits of the one that is meant");
}

static int by_prefix(const struct rundir *d, const char *word,
		     char id[static ID_SIZE], struct err *e)
{
	struct prefix p = { .word = str_of(word), .shown = BUF_INIT };
	int r;

	if (!id_is_prefix(p.word))
		return not_found(d, word, e);
	r = rundir_each(d, false, match, &p, e);
	if (r == 0 && p.n != 1)
		r = p.n ? ambiguous(word, &p, e) : not_found(d, word, e);
	buf_free(&p.shown);
	if (r == 0)
		memcpy(id, p.id, ID_SIZE);
	return r;
}

int rundir_find(const struct rundir *d, const char *word, struct box *b,
		struct err *e)
{
	char id[ID_SIZE];
	int r = 0;

	if (d->dir < 0)
		return not_found(d, word, e);
	if (id_is(str_of(word)))
		memcpy(id, word, ID_SIZE);
	else if (!str_is_name(str_of(word)) || !rundir_named(d, word, id))
		r = by_prefix(d, word, id, e);
	if (r == 0)
		r = box_open(b, d->dir, id, e);
	if (r == -ENOENT)
		return not_found(d, word, e);
	if (r == 0 && box_ended_idle(b)) {
		r = err_set(e, ENOENT,
			    "%s has destroyed itself: nobody used it for as "
			    "long as its --timeout says",
			    b->id);
		rundir_remove(d, b, NULL);
	}
	return r;
}
