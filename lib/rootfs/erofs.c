/* SPDX-License-Identifier: MIT
 *
 * A tree becomes an EROFS file system: see erofs.h.
 *
 *	block 0		the superblock
 *	...		contents of files, where they were put as they came
 *	...		whole blocks of directories
 *	...		inodes, each with its extended attributes and, of a
 *			directory or link, the part that fills no block
 *
 * Files have all of their contents in blocks of their own, the end of it
 * included (mkfs.erofs' -E noinline_data): what lies beside an inode cannot be
 * mapped from persistent memory.  Nothing is compressed.
 *
 * The walk over the tree is made twice: once to place every inode, since
 * directories hold numbers of inodes, which say where those are; once to write.
 * Both make the same decisions (struct layout), so that nothing but the numbers
 * is kept in between.
 */
#include "rootfs/erofs.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "rootfs/dirent.h"
#include "rootfs/erofs_fs.h"
#include "rootfs/space.h"
#include "rootfs/tree.h"
#include "rootfs/xattr.h"

#define BLOCK ((uint32_t)SPACE_BLOCK)
/* Number 0 means none to us: the root comes second. */
#define FIRST_SLOT 2
#define OUTPUT ((size_t)256 << 10)

/* Bytes written one after another, gaps being zeros. */
struct output {
	const struct space *space;
	uint64_t at; /* of data[0] in the file */
	size_t len;
	uint8_t *data; /* owned; OUTPUT bytes */
};

struct writer {
	struct tree *t;
	struct space *s;
	uint64_t meta;	/* bytes of inodes placed so far */
	uint64_t dirs;	/* blocks of directories */
	uint32_t count; /* inodes */
	uint32_t dirs_block, meta_block;
	struct output dirs_out, meta_out;
};

/* Where an inode goes and what of it goes where. */
struct layout {
	uint32_t nid;
	uint32_t xattrs; /* bytes */
	const uint8_t *xattrs_at;
	uint32_t tail;	      /* bytes behind the inode */
	uint32_t blocks;      /* of a directory or link */
	uint64_t first_block; /* of them, from the first such block */
};

/* ---- placing ----------------------------------------------------------- */

static uint32_t round_up(uint64_t n, uint32_t to)
{
	return (uint32_t)((n + to - 1) / to * to);
}

/* Neither the inode nor what is behind it may lie across the end of a block,
 * unless there is more of it than a block holds. */
static void place(struct writer *w, uint32_t need, struct layout *l)
{
	uint64_t left = BLOCK - w->meta % BLOCK;

	if (need > left)
		w->meta += left;
	l->nid = (uint32_t)(w->meta / EROFS_SLOT);
	w->meta = (w->meta + need + EROFS_SLOT - 1) / EROFS_SLOT * EROFS_SLOT;
}

static void lay_out(struct writer *w, const struct inode *i, struct layout *l)
{
	uint32_t need;

	*l = (struct layout){ .first_block = w->dirs };
	l->xattrs = xattr_bytes(w->t, i->xattrs, &l->xattrs_at);
	need = (uint32_t)sizeof(struct erofs_inode) + l->xattrs;
	if (S_ISDIR(i->mode) || S_ISLNK(i->mode)) {
		l->blocks = (uint32_t)(i->size / BLOCK);
		l->tail = (uint32_t)(i->size % BLOCK);
	}
	if (l->tail && need + l->tail > BLOCK) {
		l->blocks++;
		l->tail = 0;
	}
	w->dirs += l->blocks;
	w->count++;
	place(w, need + l->tail, l);
}

static int place_all(struct writer *w, struct err *e)
{
	uint32_t n;

	w->meta = FIRST_SLOT * EROFS_SLOT;
	for (n = TREE_ROOT; n; n = tree_next(w->t, n)) {
		struct inode *i = tree_of(w->t, n);
		struct layout l;

		if (i->nid)
			continue;
		if (S_ISDIR(i->mode))
			dirent_measure(w->t, n);
		lay_out(w, i, &l);
		i->nid = l.nid;
		if (w->meta / EROFS_SLOT > UINT32_MAX / 2)
			return err_set(e, EFBIG, "too many inodes");
	}
	return 0;
}

/* ---- writing ----------------------------------------------------------- */

static int flush(struct output *o, struct err *e)
{
	int r = o->len ? space_write(o->space, 0, o->at, o->data, o->len, e) :
			 0;

	o->at += o->len;
	o->len = 0;
	return r;
}

static int put(struct output *o, const void *p, size_t n, struct err *e)
{
	while (n) {
		size_t part = OUTPUT - o->len;

		if (part > n)
			part = n;
		if (p)
			memcpy(o->data + o->len, p, part);
		else
			memset(o->data + o->len, 0, part);
		o->len += part;
		p = p ? (const uint8_t *)p + part : NULL;
		n -= part;
		if (o->len == OUTPUT && flush(o, e) < 0)
			return -e->num;
	}
	return 0;
}

static int put_until(struct output *o, uint64_t at, struct err *e)
{
	return put(o, NULL, (size_t)(at - o->at - o->len), e);
}

static uint32_t where(const struct writer *w, const struct inode *i,
		      const struct layout *l)
{
	if (S_ISREG(i->mode))
		return i->size ? i->block : 0;
	if (S_ISCHR(i->mode) || S_ISBLK(i->mode))
		return i->rdev;
	return l->blocks ? w->dirs_block + (uint32_t)l->first_block : 0;
}

static int put_inode(struct writer *w, uint32_t n, const struct layout *l,
		     struct err *e)
{
	const struct inode *i = tree_of(w->t, n);
	struct erofs_inode d = {
		.format = EROFS_EXTENDED |
			  (l->tail ? EROFS_INLINE : EROFS_PLAIN),
		.xattr_count =
			(uint16_t)(l->xattrs ? (l->xattrs - 12) / 4 + 1 : 0),
		.mode = i->mode,
		.size = i->size,
		.where = where(w, i, l),
		.serial = w->count,
		.uid = i->uid,
		.gid = i->gid,
		.mtime = (uint64_t)i->mtime,
		.mtime_nsec = i->nsec,
		.links = S_ISDIR(i->mode) ? dirent_links(w->t, n) : i->links,
	};
	uint64_t at =
		(uint64_t)w->meta_block * BLOCK + (uint64_t)l->nid * EROFS_SLOT;

	if (put_until(&w->meta_out, at, e) < 0 ||
	    put(&w->meta_out, &d, sizeof(d), e) < 0)
		return -e->num;
	return put(&w->meta_out, l->xattrs_at, l->xattrs, e);
}

/* Whole blocks of a directory to the one output, its last part to the other. */
static int put_dir(struct writer *w, uint32_t n, const struct layout *l,
		   struct err *e)
{
	struct dirent_walk walk;
	uint8_t block[SPACE_BLOCK];
	uint32_t i;
	size_t len;

	dirent_begin(&walk, w->t, n);
	for (i = 0; i < l->blocks; i++) {
		len = dirent_block(&walk, block);
		if (put(&w->dirs_out, block, len, e) < 0 ||
		    put(&w->dirs_out, NULL, BLOCK - len, e) < 0)
			return -e->num;
	}
	if (!l->tail)
		return 0;
	len = dirent_block(&walk, block);
	return put(&w->meta_out, block, len, e);
}

static int put_link(struct writer *w, const struct inode *i,
		    const struct layout *l, struct err *e)
{
	const uint8_t *target = tree_bytes(w->t, i->target);

	if (l->tail)
		return put(&w->meta_out, target, l->tail, e);
	if (put(&w->dirs_out, target, i->size, e) < 0)
		return -e->num;
	return put(&w->dirs_out, NULL, BLOCK - i->size, e);
}

/* Of an inode with several names, it is the first one's turn. */
static int put_all(struct writer *w, struct err *e)
{
	uint32_t n;

	w->meta = FIRST_SLOT * EROFS_SLOT;
	w->dirs = w->count = 0;
	for (n = TREE_ROOT; n; n = tree_next(w->t, n)) {
		struct inode *i = tree_of(w->t, n);
		uint64_t before = w->meta, dirs = w->dirs;
		struct layout l;

		lay_out(w, i, &l);
		if (l.nid != i->nid) {
			w->meta = before;
			w->dirs = dirs;
			w->count--;
			continue;
		}
		if (put_inode(w, n, &l, e) < 0)
			return -e->num;
		if (S_ISDIR(i->mode) && put_dir(w, n, &l, e) < 0)
			return -e->num;
		if (S_ISLNK(i->mode) && put_link(w, i, &l, e) < 0)
			return -e->num;
	}
	if (put_until(&w->meta_out,
		      (uint64_t)w->meta_block * BLOCK +
			      round_up(w->meta, BLOCK),
		      e) < 0 ||
	    flush(&w->meta_out, e) < 0)
		return -e->num;
	return flush(&w->dirs_out, e);
}

/* ---- the superblock ---------------------------------------------------- */

static uint32_t crc32c(const uint8_t *p, size_t n)
{
	uint32_t crc = ~0U;
	int i;

	for (; n--; p++) {
		crc ^= *p;
		for (i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return crc;
}

static uint8_t digit(char c)
{
	return (uint8_t)(c >= 'a' ? c - 'a' + 10 : c - '0');
}

/* Marked as a UUID of one's own making (version 8). */
static void uuid_of(const char *hex, uint8_t uuid[static 16])
{
	int i;

	for (i = 0; i < 16; i++, hex += 2)
		uuid[i] = (uint8_t)(digit(hex[0]) << 4 | digit(hex[1]));
	uuid[6] = (uuid[6] & 0x0f) | 0x80;
	uuid[8] = (uuid[8] & 0x3f) | 0x80;
}

static int put_super(const struct writer *w, const char *hex, uint32_t blocks,
		     struct err *e)
{
	uint8_t block[SPACE_BLOCK] = { 0 };
	struct erofs_super super = {
		.magic = EROFS_MAGIC,
		.compat = EROFS_COMPAT_CHECKSUM | EROFS_COMPAT_MTIME,
		.block_bits = EROFS_BLOCK_BITS,
		.root_nid = FIRST_SLOT,
		.inodes = w->count,
		.blocks = blocks,
		.meta_block = w->meta_block,
	};

	uuid_of(hex, super.uuid);
	memcpy(block + EROFS_SUPER_AT, &super, sizeof(super));
	super.checksum =
		crc32c(block + EROFS_SUPER_AT, sizeof(block) - EROFS_SUPER_AT);
	memcpy(block + EROFS_SUPER_AT, &super, sizeof(super));
	return space_write(w->s, 0, 0, block, sizeof(block), e);
}

/* ---- all of it --------------------------------------------------------- */

static int output_begin(struct output *o, const struct space *s, uint32_t block,
			struct err *e)
{
	o->space = s;
	o->at = (uint64_t)block * BLOCK;
	o->data = malloc(OUTPUT);
	return o->data ? 0 : err_sys(e, ENOMEM, "cannot write the image");
}

static void writer_free(struct writer *w)
{
	mem_free(&w->dirs_out.data);
	mem_free(&w->meta_out.data);
}

int erofs_write(struct tree *t, struct space *s, const char *hex,
		uint64_t *size, struct err *e)
{
	__attribute__((cleanup(writer_free))) struct writer w = { .t = t,
								  .s = s };
	uint64_t blocks;

	if (tree_sort(t, e) < 0 || place_all(&w, e) < 0)
		return -e->num;
	blocks = s->end + w.dirs + space_blocks(w.meta);
	if (blocks > UINT32_MAX)
		return err_set(e, EFBIG, "more than EROFS has blocks for");
	w.dirs_block = s->end;
	w.meta_block = s->end + (uint32_t)w.dirs;
	if (output_begin(&w.dirs_out, s, w.dirs_block, e) < 0 ||
	    output_begin(&w.meta_out, s, w.meta_block, e) < 0 ||
	    put_all(&w, e) < 0 || put_super(&w, hex, (uint32_t)blocks, e) < 0)
		return -e->num;
	*size = (blocks * BLOCK + EROFS_ALIGN - 1) & ~(EROFS_ALIGN - 1);
	if (ftruncate(s->fd, (off_t)*size) < 0)
		return err_sys(e, errno, "cannot pad the image");
	return 0;
}
