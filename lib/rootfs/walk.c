/* SPDX-License-Identifier: MIT
 *
 * Ways through the tree of an image: see tree.h.
 *
 * Paths resolve as they would in a chroot: an absolute link begins at the root
 * again, ".." of the root is the root.  That is what openat2(2) calls
 * RESOLVE_IN_ROOT, and what images are made for: /var/run -> /run, and then an
 * entry var/run/x.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/fd.h"
#include "rootfs/limits.h"
#include "rootfs/spill.h"
#include "rootfs/tree.h"

/* As in the kernel's own walks. */
#define LINKS_MAX 40

struct walk {
	struct tree *t;
	uint32_t at;	     /* the directory reached */
	char rest[PATH_MAX]; /* what is still to go */
	unsigned int links;
	bool create;
};

static int add_dir(struct walk *w, struct str name, struct err *e)
{
	uint32_t i = tree_inode_new(w->t, S_IFDIR | 0755, e);
	uint32_t n = i ? tree_put(w->t, w->at, name, i, e) : 0;

	if (!n)
		return -e->num;
	w->at = n;
	return 0;
}

/* The target goes before what is still to go behind @rest. */
static int follow(struct walk *w, uint32_t link, struct str rest, struct err *e)
{
	const struct inode *i = tree_of(w->t, link);
	const char *target = (const char *)tree_bytes(w->t, i->target);
	char text[PATH_MAX];

	if (++w->links > LINKS_MAX)
		return err_set(e, ELOOP,
			       "its path goes over more than %d links",
			       LINKS_MAX);
	if (i->size + 1 + rest.len >= sizeof(text))
		return err_set(e, ENAMETOOLONG,
			       "its path is too long with the links in it");
	memcpy(text, target, i->size);
	text[i->size] = '/';
	if (rest.len)
		memcpy(text + i->size + 1, rest.p, rest.len);
	text[i->size + 1 + rest.len] = '\0';
	memcpy(w->rest, text, i->size + rest.len + 2);
	if (*text == '/')
		w->at = TREE_ROOT;
	return 1;
}

/* 0, 1 when w->rest is another now, or -errno. */
static int step(struct walk *w, struct str name, struct str rest, struct err *e)
{
	uint32_t n;

	if (name.len == 0 || str_eq(name, STR(".")))
		return 0;
	if (str_eq(name, STR(".."))) {
		w->at = tree_node(w->t, w->at)->parent;
		return 0;
	}
	/* Only a link's target can have such a one. */
	if (name.len > NAME_MAX)
		return err_set(e, ENAMETOOLONG,
			       "a link of its path has a name of %zu bytes",
			       name.len);
	n = tree_lookup(w->t, w->at, name);
	if (!n && w->create)
		return add_dir(w, name, e);
	if (!n)
		return err_set(e, ENOENT, "a directory of its path is missing");
	if (S_ISLNK(tree_of(w->t, n)->mode))
		return follow(w, n, rest, e);
	if (!S_ISDIR(tree_of(w->t, n)->mode))
		return err_set(e, ENOTDIR,
			       "what its path takes for a directory is none");
	w->at = n;
	return 0;
}

static int check_depth(const struct walk *w, struct err *e)
{
	uint64_t depth = 1;
	uint32_t n;

	for (n = w->at; n != TREE_ROOT; n = tree_node(w->t, n)->parent)
		depth++;
	if (depth <= w->t->limits->depth)
		return 0;
	err_set(e, ENAMETOOLONG,
		"it lies deeper than the %llu directories allowed",
		(unsigned long long)w->t->limits->depth);
	return err_fix(e, "--max-depth");
}

uint32_t tree_walk(struct tree *t, struct str path, bool create, struct err *e)
{
	struct walk w = { .t = t, .at = TREE_ROOT, .create = create };
	struct str rest = { path.len ? w.rest : NULL, path.len };
	int r = 0;

	if (path.len)
		memcpy(w.rest, path.p, path.len);
	while (r >= 0 && rest.p) {
		struct str name = str_cut(&rest, '/');

		r = step(&w, name, rest, e);
		if (r == 1)
			rest = str_of(w.rest);
	}
	if (r < 0 || (create && check_depth(&w, e) < 0))
		return 0;
	return w.at;
}

/* ---- what lower layers have -------------------------------------------- */

/* A directory that only lower layers speak of, which their whiteout has
 * removed, and which something of this layer lies in: as if the whiteout had
 * come first. */
static void forget_attributes(struct inode *i)
{
	*i = (struct inode){ .mode = S_IFDIR | 0755,
			     .links = i->links,
			     .first = i->first };
}

static bool purge_one(struct tree *t, uint32_t n)
{
	const struct node *node = tree_node(t, n);
	struct inode *i = tree_of(t, n);

	if (node->layer == t->layer)
		return false;
	if (S_ISDIR(i->mode) && i->first) {
		forget_attributes(i);
		return false;
	}
	tree_remove(t, n);
	return true;
}

/* Post-order, without recursion; @n's own fate is decided last. */
void tree_purge(struct tree *t, uint32_t top, bool inside)
{
	uint32_t n = top;

	for (;;) {
		uint32_t next, up;

		while (S_ISDIR(tree_of(t, n)->mode) && tree_of(t, n)->first)
			n = tree_of(t, n)->first;
		/* Up until there is something beside it. */
		for (;;) {
			if (n == top) {
				if (!inside)
					purge_one(t, n);
				return;
			}
			next = tree_node(t, n)->next;
			up = tree_node(t, n)->parent;
			purge_one(t, n);
			if (next)
				break;
			n = up;
		}
		n = next;
	}
}

/* ---- order ------------------------------------------------------------- */

/* A name's place.  Most names of a directory differ within 8 bytes from where
 * the first two do, so that few are looked at when it is sorted: of a million,
 * most are not in memory. */
struct place {
	uint64_t key; /* those bytes, zeros behind the end */
	uint32_t node;
};

/* Entries of a directory that take more than half a MiB to be sorted. */
#define SORT_LARGE 16384

/* What a directory is sorted with. */
struct sorter {
	struct tree *t;
	struct place *v; /* the spill's */
	size_t n, room;
};

/* As unsigned bytes, a shorter name before its continuation. */
static int by_name(const void *a, const void *b, void *tree)
{
	const struct place *p = a, *q = b;
	struct str x, y;
	int r;

	if (p->key != q->key)
		return p->key < q->key ? -1 : 1;
	x = tree_name(tree, p->node);
	y = tree_name(tree, q->node);
	r = memcmp(x.p, y.p, x.len < y.len ? x.len : y.len);
	if (r)
		return r;
	return x.len < y.len ? -1 : x.len > y.len;
}

/* Room for twice as many; what there was before stays unused. */
static int sorter_grow(struct sorter *s, struct err *e)
{
	size_t room = s->room ? 2 * s->room : 256;
	void *v;
	int r = spill_get(s->t->spill, room * sizeof(*s->v), &v, e);

	if (r < 0)
		return r;
	if (s->n)
		memcpy(v, s->v, s->n * sizeof(*s->v));
	s->v = v;
	s->room = room;
	return 0;
}

static int gather(struct sorter *s, const struct inode *dir, struct err *e)
{
	uint32_t c;

	s->n = 0;
	for (c = dir->first; c; c = tree_node(s->t, c)->next) {
		if (s->n == s->room && sorter_grow(s, e) < 0)
			return -e->num;
		s->v[s->n++].node = c;
	}
	return 0;
}

/* Bytes that all of the names begin with. */
static size_t common(const struct sorter *s)
{
	char first[NAME_MAX];
	struct str name = tree_name(s->t, s->v[0].node);
	size_t len = name.len, i, k;

	memcpy(first, name.p, len);
	for (i = 1; i < s->n && len; i++) {
		name = tree_name(s->t, s->v[i].node);
		if (name.len < len)
			len = name.len;
		for (k = 0; k < len && name.p[k] == first[k]; k++)
			;
		len = k;
	}
	return len;
}

static uint64_t key_of(struct str name, size_t from)
{
	uint64_t key = 0;
	size_t i;

	for (i = from; i < from + sizeof(key); i++)
		key = key << 8 | (i < name.len ? (uint8_t)name.p[i] : 0);
	return key;
}

static void relink(const struct sorter *s, struct inode *dir)
{
	size_t i;

	dir->first = s->v[0].node;
	for (i = 0; i < s->n; i++) {
		struct node *node = tree_node(s->t, s->v[i].node);

		node->prev = i ? s->v[i - 1].node : 0;
		node->next = i + 1 < s->n ? s->v[i + 1].node : 0;
	}
}

static int sort_dir(struct sorter *s, struct inode *dir, struct err *e)
{
	size_t from, i;

	if (gather(s, dir, e) < 0)
		return -e->num;
	if (s->n < 2)
		return 0;
	from = common(s);
	for (i = 0; i < s->n; i++)
		s->v[i].key = key_of(tree_name(s->t, s->v[i].node), from);
	/* All of it and, as qsort(3) merges, a copy. */
	if (s->n > SORT_LARGE)
		spill_make_room(s->t->spill, 2 * s->n * sizeof(*s->v));
	qsort_r(s->v, s->n, sizeof(*s->v), by_name, s->t);
	relink(s, dir);
	return 0;
}

int tree_sort(struct tree *t, struct err *e)
{
	struct sorter s = { .t = t };
	uint32_t n;

	for (n = TREE_ROOT; n; n = tree_next(t, n)) {
		struct inode *i = tree_of(t, n);

		if (S_ISDIR(i->mode) && sort_dir(&s, i, e) < 0)
			return -e->num;
	}
	return 0;
}

uint32_t tree_next(const struct tree *t, uint32_t n)
{
	const struct inode *i = tree_of(t, n);

	if (S_ISDIR(i->mode) && i->first)
		return i->first;
	while (n != TREE_ROOT && !tree_node(t, n)->next)
		n = tree_node(t, n)->parent;
	return n == TREE_ROOT ? 0 : tree_node(t, n)->next;
}
