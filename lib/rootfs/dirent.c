/* SPDX-License-Identifier: MIT
 *
 * Directories as EROFS has them: see dirent.h.
 */
#include "rootfs/dirent.h"

#include <string.h>
#include <sys/stat.h>

#include "rootfs/erofs_fs.h"
#include "rootfs/space.h"
#include "rootfs/tree.h"

#define ENTRY sizeof(struct erofs_dirent)
/* With names of one byte. */
#define ENTRIES_MAX (SPACE_BLOCK / (ENTRY + 1))

struct item {
	struct str name;
	uint32_t node;
};

static bool comes_first(struct str a, struct str b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int r = memcmp(a.p, b.p, n);

	return r ? r < 0 : a.len < b.len;
}

void dirent_begin(struct dirent_walk *w, const struct tree *t, uint32_t dir)
{
	*w = (struct dirent_walk){ t, dir, tree_of(t, dir)->first, 0 };
}

/* The next entry, without stepping over it. */
static bool peek(const struct dirent_walk *w, struct item *i)
{
	static const struct str dots[] = { { ".", 1 }, { "..", 2 } };
	uint32_t self = w->dir;

	if (w->next)
		*i = (struct item){ tree_name(w->t, w->next), w->next };
	if (w->dots == 2 || (w->next && comes_first(i->name, dots[w->dots])))
		return w->next != 0;
	*i = (struct item){ dots[w->dots],
			    w->dots ? tree_node(w->t, self)->parent : self };
	return true;
}

static void step(struct dirent_walk *w, const struct item *i)
{
	if (w->next && i->node == w->next)
		w->next = tree_node(w->t, w->next)->next;
	else
		w->dots++;
}

void dirent_measure(struct tree *t, uint32_t n)
{
	struct dirent_walk w;
	uint64_t size = 0;
	struct item i;

	dirent_begin(&w, t, n);
	while (peek(&w, &i)) {
		uint64_t len = ENTRY + i.name.len;

		if (size % SPACE_BLOCK + len > SPACE_BLOCK)
			size = space_blocks(size) * SPACE_BLOCK;
		size += len;
		step(&w, &i);
	}
	tree_of(t, n)->size = size;
}

uint32_t dirent_links(const struct tree *t, uint32_t n)
{
	uint32_t links = 2, c;

	for (c = tree_of(t, n)->first; c; c = tree_node(t, c)->next)
		links += S_ISDIR(tree_of(t, c)->mode);
	return links;
}

static uint8_t type_of(uint16_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return EROFS_TYPE_DIR;
	case S_IFLNK:
		return EROFS_TYPE_LINK;
	case S_IFCHR:
		return EROFS_TYPE_CHAR;
	case S_IFBLK:
		return EROFS_TYPE_BLOCK;
	case S_IFIFO:
		return EROFS_TYPE_FIFO;
	default:
		return EROFS_TYPE_FILE;
	}
}

size_t dirent_block(struct dirent_walk *w, uint8_t block[static 4096])
{
	struct item items[ENTRIES_MAX];
	size_t n = 0, used = 0, at, k;

	while (n < ENTRIES_MAX && peek(w, &items[n]) &&
	       used + ENTRY + items[n].name.len <= SPACE_BLOCK) {
		used += ENTRY + items[n].name.len;
		step(w, &items[n++]);
	}
	at = n * ENTRY;
	for (k = 0; k < n; k++) {
		const struct inode *i = tree_of(w->t, items[k].node);
		struct erofs_dirent d = { .nid = i->nid,
					  .name_at = (uint16_t)at,
					  .type = type_of(i->mode) };

		memcpy(block + k * ENTRY, &d, ENTRY);
		memcpy(block + at, items[k].name.p, items[k].name.len);
		at += items[k].name.len;
	}
	return used;
}
