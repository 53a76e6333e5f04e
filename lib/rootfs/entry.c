/* SPDX-License-Identifier: MIT
 *
 * One entry of a layer, put into the tree: see entry.h.
 *
 * A hard link shares the inode of its target, whichever layer that is of, and
 * changes nothing about it: its header repeats the attributes of the target.
 */
#include "rootfs/entry.h"

#include <archive.h>
#include <archive_entry.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "rootfs/path.h"
#include "rootfs/space.h"
#include "rootfs/tree.h"
#include "rootfs/xattr.h"

/* What EROFS (and the kernel's own encoding) has room for. */
#define DEV_MAJOR_MAX 4095U
#define DEV_MINOR_MAX 0xfffffU

/* ---- attributes -------------------------------------------------------- */

static int read_owner(uint32_t *out, int64_t id, const char *what,
		      struct err *e)
{
	/* The last one means "none" to chown(2). */
	if (id < 0 || id >= UINT32_MAX)
		return err_set(e, EINVAL, "its %s %lld is not in 0..%u", what,
			       (long long)id, UINT32_MAX - 1);
	*out = (uint32_t)id;
	return 0;
}

static int read_attributes(struct tree *t, struct archive_entry *entry,
			   struct inode *i, struct err *e)
{
	long nsec = archive_entry_mtime_nsec(entry);

	i->mode = (uint16_t)(i->mode | (archive_entry_perm(entry) & 07777));
	i->mtime = archive_entry_mtime(entry);
	i->nsec = nsec >= 0 && nsec <= 999999999 ? (uint32_t)nsec : 0;
	if (read_owner(&i->uid, archive_entry_uid(entry), "owner", e) < 0 ||
	    read_owner(&i->gid, archive_entry_gid(entry), "group", e) < 0)
		return -e->num;
	i->xattrs = xattr_keep(t, entry, e);
	return e->num ? -e->num : 0;
}

/* ---- contents ---------------------------------------------------------- */

/* What is not written reads as zeros: holes, and the rest of the last block. */
static int copy_contents(struct archive *a, const struct space *s,
			 const struct inode *i, struct err *e)
{
	const void *p;
	int64_t at, end = 0, size = (int64_t)i->size;
	size_t n;
	int r;

	while ((r = archive_read_data_block(a, &p, &n, &at)) != ARCHIVE_EOF) {
		if (r != ARCHIVE_OK)
			return err_set(e, ECANCELED, "cannot read it");
		if (at < end || at > size || n > (uint64_t)(size - at))
			return err_set(e, EBADMSG,
				       "its contents overlap or pass its end");
		if (n && space_write(s, i->block, (uint64_t)at, p, n, e) < 0)
			return -e->num;
		end = at + (int64_t)n;
		/* What fills the last block up is read with the next header:
		 * see fill_up() in apply.c. */
		if (end == size)
			break;
	}
	return 0;
}

static int read_file(struct space *s, struct archive *a,
		     struct archive_entry *entry, struct inode *i,
		     struct err *e)
{
	uint32_t block;

	if (archive_entry_size(entry) <= 0)
		return 0;
	if (space_get(s, (uint64_t)archive_entry_size(entry), &block, e) < 0)
		return -e->num;
	i->block = block;
	i->size = (uint64_t)archive_entry_size(entry);
	return copy_contents(a, s, i, e);
}

static int read_target(struct tree *t, struct archive_entry *entry,
		       struct inode *i, struct err *e)
{
	const char *target = archive_entry_symlink(entry);
	size_t n = target ? strlen(target) : 0;

	if (n == 0)
		return err_set(e, EINVAL, "it is a link to nothing");
	if (n >= PATH_MAX)
		return err_set(e, ENAMETOOLONG,
			       "its target has more than the %d bytes allowed",
			       PATH_MAX - 1);
	i->target = tree_keep(t, target, n, e);
	i->size = n;
	return i->target ? 0 : -e->num;
}

static int read_device(struct archive_entry *entry, struct inode *i,
		       struct err *e)
{
	uint64_t major = archive_entry_rdevmajor(entry);
	uint64_t minor = archive_entry_rdevminor(entry);

	if (major > DEV_MAJOR_MAX || minor > DEV_MINOR_MAX)
		return err_set(e, EINVAL,
			       "its device %llu:%llu is not in 0:0..%u:%u",
			       (unsigned long long)major,
			       (unsigned long long)minor, DEV_MAJOR_MAX,
			       DEV_MINOR_MAX);
	i->rdev = (uint32_t)((minor & 0xff) | major << 8 |
			     (minor & ~UINT64_C(0xff)) << 12);
	return 0;
}

static int read_contents(struct tree *t, struct space *s, struct archive *a,
			 struct archive_entry *entry, struct inode *i,
			 struct err *e)
{
	switch (i->mode & S_IFMT) {
	case S_IFREG:
		return read_file(s, a, entry, i, e);
	case S_IFLNK:
		/* As on every other file system. */
		i->mode |= 0777;
		return read_target(t, entry, i, e);
	case S_IFCHR:
	case S_IFBLK:
		return read_device(entry, i, e);
	default:
		return 0;
	}
}

/* ---- which of them ----------------------------------------------------- */

static int put_link(struct tree *t, const struct path *p, const char *raw,
		    struct err *e)
{
	struct path target;
	uint32_t dir, from, n;

	if (path_clean(&target, raw, e) < 0)
		return -e->num;
	dir = tree_walk(t, path_dir(p), true, e);
	from = dir ? tree_walk(t, path_dir(&target), false, e) : 0;
	if (!from)
		return -e->num;
	n = target.len ? tree_lookup(t, from, path_name(&target)) : from;
	if (!n)
		return err_set(e, ENOENT,
			       "what it is a hard link to is not there");
	if (S_ISDIR(tree_of(t, n)->mode))
		return err_set(e, EISDIR, "it is a hard link to a directory");
	return tree_put(t, dir, path_name(p), tree_node(t, n)->inode, e) ?
		       0 :
		       -e->num;
}

/* The root keeps its inode, and gets other attributes. */
static int put_root(struct tree *t, struct archive_entry *entry, struct err *e)
{
	struct inode *root = tree_of(t, TREE_ROOT);
	struct inode i = { .mode = S_IFDIR };

	if (read_attributes(t, entry, &i, e) < 0)
		return -e->num;
	i.links = root->links;
	i.first = root->first;
	*root = i;
	return 0;
}

static bool is_known(mode_t type)
{
	return type == AE_IFREG || type == AE_IFDIR || type == AE_IFLNK ||
	       type == AE_IFCHR || type == AE_IFBLK || type == AE_IFIFO;
}

int entry_put(struct tree *t, struct space *s, struct archive *a,
	      struct archive_entry *entry, const struct path *p, struct err *e)
{
	const char *hard = archive_entry_hardlink(entry);
	mode_t type = archive_entry_filetype(entry);
	uint32_t dir, i;

	if (!hard && !is_known(type))
		return err_set(e, EINVAL, "it is of no known type");
	if (!p->len && (hard || type != AE_IFDIR))
		return err_set(e, EINVAL,
			       "the root can be nothing but a directory");
	if (hard)
		return put_link(t, p, hard, e);
	if (!p->len)
		return put_root(t, entry, e);
	dir = tree_walk(t, path_dir(p), true, e);
	i = dir ? tree_inode_new(t, (uint16_t)type, e) : 0;
	if (!i)
		return -e->num;
	if (read_attributes(t, entry, tree_inode(t, i), e) < 0 ||
	    read_contents(t, s, a, entry, tree_inode(t, i), e) < 0)
		return -e->num;
	return tree_put(t, dir, path_name(p), i, e) ? 0 : -e->num;
}
