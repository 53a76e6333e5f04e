/* SPDX-License-Identifier: MIT
 *
 * The file system of an image in memory: see tree.h.
 *
 * The alternative, unpacking to a directory of the host and running mkfs.erofs
 * on it, was built first and measured: it costs twice the time (every file is
 * made, written, read, written again and removed), 2 KB of mkfs.erofs' memory
 * an entry, root's privileges, and the care that no path leads out.  And it
 * does not give the same bytes everywhere: the order of extended attributes is
 * the host file system's, its limits on times and sizes are the image's, and
 * a host with SELinux adds labels.  Here no path of an image ever meets the
 * host's file system.
 *
 * Names are found by one hash table of (directory, name) under a random key,
 * so that nobody can make a layer whose names collide.
 */
#include "rootfs/tree.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/fd.h"
#include "rootfs/limits.h"
#include "rootfs/siphash.h"
#include "rootfs/spill.h"

#define PIECE_BITS 16 /* bytes of strings, or objects, in a piece */
#define PIECE ((uint32_t)1 << PIECE_BITS)
#define OBJECT_PIECE_BITS 12
#define TABLE_FIRST 4096

static int no_memory(struct err *e)
{
	return err_sys(e, ENOMEM, "cannot keep the image's tree");
}

/* ---- pools ------------------------------------------------------------- */

static uint32_t piece_bits(const struct pool *p)
{
	return p->size == 1 ? PIECE_BITS : OBJECT_PIECE_BITS;
}

static void *pool_at(const struct pool *p, uint32_t n)
{
	uint32_t bits = piece_bits(p);

	return p->pieces[n >> bits] +
	       (size_t)(n & ((1U << bits) - 1)) * p->size;
}

static int pool_grow(struct tree *t, struct pool *p, struct err *e)
{
	uint8_t **v = reallocarray(p->pieces, p->npieces + 1, sizeof(*v));
	void *piece;
	int r;

	if (!v)
		return no_memory(e);
	p->pieces = v;
	r = spill_get(t->spill, p->size << piece_bits(p), &piece, e);
	if (r < 0)
		return r;
	v[p->npieces++] = piece;
	return 0;
}

/* The number of a zeroed object; 0 with @e filled. */
static uint32_t pool_new(struct tree *t, struct pool *p, struct err *e)
{
	if (p->used == 0)
		p->used = 1;
	if (p->used >> piece_bits(p) >= p->npieces && pool_grow(t, p, e) < 0)
		return 0;
	return p->used++;
}

struct node *tree_node(const struct tree *t, uint32_t n)
{
	spill_tick(t->spill);
	return pool_at(&t->nodes, n);
}

struct inode *tree_inode(const struct tree *t, uint32_t i)
{
	spill_tick(t->spill);
	return pool_at(&t->inodes, i);
}

struct inode *tree_of(const struct tree *t, uint32_t n)
{
	return tree_inode(t, tree_node(t, n)->inode);
}

static bool is_dir(const struct tree *t, uint32_t n)
{
	return S_ISDIR(tree_of(t, n)->mode);
}

/* Bytes lie in one piece; those that do not fit into a piece any more begin
 * the next one. */
uint32_t tree_keep(struct tree *t, const void *p, size_t n, struct err *e)
{
	struct pool *s = &t->strings;
	uint32_t at = s->used ? s->used : 8;

	if (n > PIECE) {
		err_set(e, E2BIG, "%zu bytes of attributes are too many", n);
		return 0;
	}
	if ((at & (PIECE - 1)) + n > PIECE)
		at = (at + PIECE - 1) & ~(PIECE - 1);
	if (at + n > t->limits->names) {
		err_set(e, E2BIG,
			"names, links and extended attributes of the image "
			"take more than the %llu bytes allowed",
			(unsigned long long)t->limits->names);
		err_fix(e, "--max-names");
		return 0;
	}
	while ((at + (n ? n - 1 : 0)) >> PIECE_BITS >= s->npieces) {
		if (pool_grow(t, s, e) < 0)
			return 0;
	}
	memcpy(pool_at(s, at), p, n);
	s->used = at + (uint32_t)n;
	return at;
}

const uint8_t *tree_bytes(const struct tree *t, uint32_t at)
{
	spill_tick(t->spill);
	return pool_at(&t->strings, at);
}

struct str tree_name(const struct tree *t, uint32_t n)
{
	const struct node *node = tree_node(t, n);

	return (struct str){ (const char *)tree_bytes(t, node->name),
			     node->name_len };
}

/* ---- the table of names ------------------------------------------------ */

static uint32_t bucket(const struct tree *t, uint32_t dir, struct str name)
{
	return (uint32_t)siphash(t->key, dir, name.p, name.len) &
	       (t->table_size - 1);
}

static void table_add(struct tree *t, uint32_t n)
{
	struct node *node = tree_node(t, n);
	uint32_t b = bucket(t, node->parent, tree_name(t, n));

	node->chain = t->table[b];
	t->table[b] = n;
}

static void table_drop(struct tree *t, uint32_t n)
{
	struct node *node = tree_node(t, n);
	uint32_t *at = &t->table[bucket(t, node->parent, tree_name(t, n))];

	while (*at != n)
		at = &tree_node(t, *at)->chain;
	*at = node->chain;
}

/* The old one stays in the spill: all of them are as large as the last. */
static int table_grow(struct tree *t, struct err *e)
{
	uint32_t *old = t->table, old_size = t->table_size, i;
	uint32_t size = old_size ? 2 * old_size : TABLE_FIRST;
	void *table;
	int r = spill_get(t->spill, size * sizeof(*old), &table, e);

	if (r < 0)
		return r;
	t->table = table;
	t->table_size = size;
	for (i = 0; i < old_size; i++) {
		uint32_t n = old[i];

		while (n) {
			uint32_t next = tree_node(t, n)->chain;

			table_add(t, n);
			n = next;
		}
	}
	return 0;
}

uint32_t tree_lookup(const struct tree *t, uint32_t dir, struct str name)
{
	uint32_t n = t->table[bucket(t, dir, name)];

	while (n && (tree_node(t, n)->parent != dir ||
		     !str_eq(tree_name(t, n), name)))
		n = tree_node(t, n)->chain;
	return n;
}

/* ---- nodes and inodes -------------------------------------------------- */

uint32_t tree_inode_new(struct tree *t, uint16_t mode, struct err *e)
{
	uint32_t i = t->free_inode;

	if (i)
		t->free_inode = tree_inode(t, i)->chain;
	else
		i = pool_new(t, &t->inodes, e);
	if (!i)
		return 0;
	*tree_inode(t, i) = (struct inode){ .mode = mode };
	return i;
}

static void inode_drop(struct tree *t, uint32_t i)
{
	struct inode *inode = tree_inode(t, i);

	if (--inode->links)
		return;
	if (t->gone)
		t->gone(t->gone_arg, inode);
	*inode = (struct inode){ .chain = t->free_inode };
	t->free_inode = i;
}

static uint32_t node_new(struct tree *t, struct err *e)
{
	uint32_t n = t->free_node;

	if (4 * (t->nnodes + 1) > 3 * t->table_size && table_grow(t, e) < 0)
		return 0;
	if (n)
		t->free_node = tree_node(t, n)->chain;
	else
		n = pool_new(t, &t->nodes, e);
	return n;
}

static void node_link(struct tree *t, uint32_t dir, uint32_t n)
{
	struct inode *d = tree_of(t, dir);
	struct node *node = tree_node(t, n);

	node->prev = 0;
	node->next = d->first;
	if (d->first)
		tree_node(t, d->first)->prev = n;
	d->first = n;
	table_add(t, n);
	t->nnodes++;
}

static uint32_t node_add(struct tree *t, uint32_t dir, struct str name,
			 uint32_t inode, struct err *e)
{
	uint32_t n = node_new(t, e);
	uint32_t text = n ? tree_keep(t, name.p, name.len, e) : 0;

	if (!text)
		return 0;
	*tree_node(t, n) = (struct node){ .parent = dir,
					  .inode = inode,
					  .name = text,
					  .name_len = (uint8_t)name.len,
					  .layer = t->layer };
	tree_inode(t, inode)->links++;
	node_link(t, dir, n);
	return n;
}

static void node_drop(struct tree *t, uint32_t n)
{
	struct node *node = tree_node(t, n);

	if (node->prev)
		tree_node(t, node->prev)->next = node->next;
	else
		tree_of(t, node->parent)->first = node->next;
	if (node->next)
		tree_node(t, node->next)->prev = node->prev;
	table_drop(t, n);
	t->nnodes--;
	inode_drop(t, node->inode);
	*node = (struct node){ .chain = t->free_node };
	t->free_node = n;
}

/* Depth first, and without recursion: a node goes when nothing is in it. */
static void remove_inside(struct tree *t, uint32_t top)
{
	uint32_t n = top;

	for (;;) {
		uint32_t up;

		while (is_dir(t, n) && tree_of(t, n)->first)
			n = tree_of(t, n)->first;
		if (n == top)
			return;
		up = tree_node(t, n)->parent;
		node_drop(t, n);
		n = up;
	}
}

void tree_remove(struct tree *t, uint32_t n)
{
	remove_inside(t, n);
	node_drop(t, n);
}

uint32_t tree_put(struct tree *t, uint32_t dir, struct str name, uint32_t inode,
		  struct err *e)
{
	uint32_t n = tree_lookup(t, dir, name);
	struct inode *new = tree_inode(t, inode);
	struct node *node;

	if (!n)
		return node_add(t, dir, name, inode, e);
	node = tree_node(t, n);
	node->layer = t->layer;
	if (node->inode == inode)
		return n;
	/* First: what is removed may have the only other name of it. */
	new->links++;
	if (is_dir(t, n) && S_ISDIR(new->mode)) {
		new->first = tree_of(t, n)->first;
		tree_of(t, n)->first = 0;
	} else {
		remove_inside(t, n);
	}
	inode_drop(t, node->inode);
	node->inode = inode;
	return n;
}

int tree_init(struct tree *t, const struct limits *limits, int dir,
	      struct err *e)
{
	uint32_t n, i;

	*t = (struct tree){ .limits = limits,
			    .nodes.size = sizeof(struct node),
			    .inodes.size = sizeof(struct inode),
			    .strings.size = 1,
			    .spill = spill_new(dir) };
	if (!t->spill)
		return no_memory(e);
	if (getrandom(t->key, sizeof(t->key), 0) != sizeof(t->key))
		return err_sys(e, errno, "cannot get random bytes");
	i = tree_inode_new(t, S_IFDIR | 0755, e);
	n = i ? node_new(t, e) : 0;
	if (!n)
		return -e->num;
	*tree_node(t, n) = (struct node){ .parent = n, .inode = i };
	tree_inode(t, i)->links = 1;
	return 0;
}

void tree_free(struct tree *t)
{
	mem_free(&t->nodes.pieces);
	mem_free(&t->inodes.pieces);
	mem_free(&t->strings.pieces);
	spill_free(&t->spill);
}
