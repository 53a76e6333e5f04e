/* SPDX-License-Identifier: MIT
 *
 * A tree as a tar archive: see pack.h.
 *
 * Device nodes and sockets are left out: they are this machine's.
 */
#include "sandbox/pack.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"

#define PIECE 65536

struct pack {
	const struct pack_spec *spec;
	struct archive *disk, *tar;
	bool over;   /* what libarchive writes to close is not wanted */
	int written; /* of spec->write, when it failed */
};

static la_ssize_t on_write(struct archive *a, void *arg, const void *p,
			   size_t n)
{
	struct pack *k = arg;

	if (k->over)
		return (la_ssize_t)n;
	k->written = k->spec->write(k->spec->arg, p, n);
	if (k->written == 0)
		return (la_ssize_t)n;
	archive_set_error(a, -k->written, "cannot write");
	return -1;
}

static int failed(const struct pack *k, struct archive *a, struct err *e)
{
	const char *why = archive_error_string(a);
	int num = archive_errno(a);

	if (k->written < 0)
		return k->written;
	return err_set(e, num > 0 ? num : EIO, "cannot copy %s: %s",
		       k->spec->path, why ? why : "unknown reason");
}

/* The name in the archive: top, and what is below. */
static int rename_entry(const struct pack *k, struct archive_entry *n)
{
	const char *path = archive_entry_pathname(n);
	size_t skip = strlen(k->spec->path);
	mem_auto char *name = NULL;

	if (!path || strncmp(path, k->spec->path, skip) != 0)
		return -EINVAL;
	path += skip;
	path += strspn(path, "/");
	name = *path ? str_path(k->spec->top, path) :
		       str_dup(str_of(k->spec->top));
	if (!name)
		return -ENOMEM;
	archive_entry_set_pathname(n, name);
	return 0;
}

static void rewrite_owner(const struct pack *k, struct archive_entry *n)
{
	archive_entry_set_uname(n, NULL);
	archive_entry_set_gname(n, NULL);
	archive_entry_set_fflags(n, 0, 0);
	archive_entry_acl_clear(n);
	archive_entry_xattr_clear(n);
	if (k->spec->preserve)
		return;
	archive_entry_set_uid(n, 0);
	archive_entry_set_gid(n, 0);
	archive_entry_set_perm(n, archive_entry_perm(n) & 0777);
}

/* Exactly as many bytes as the header says: a file that grows is cut, one that
 * shrinks is an error. */
static int copy_data(struct pack *k, struct archive_entry *n, struct err *e)
{
	fd_auto int fd = open(archive_entry_sourcepath(n),
			      O_RDONLY | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC);
	la_int64_t left = archive_entry_size(n);
	char piece[PIECE];

	if (fd < 0)
		return err_sys(e, errno, "cannot open %s",
			       archive_entry_sourcepath(n));
	while (left > 0) {
		size_t want = left < PIECE ? (size_t)left : PIECE;
		ssize_t got = io_read_full(fd, piece, want);

		if (got < 0)
			return err_sys(e, (int)-got, "cannot read %s",
				       archive_entry_sourcepath(n));
		if ((size_t)got < want)
			return err_set(e, EIO, "%s became shorter meanwhile",
				       archive_entry_sourcepath(n));
		if (archive_write_data(k->tar, piece, want) < 0)
			return failed(k, k->tar, e);
		left -= got;
	}
	return 0;
}

static int pack_entry(struct pack *k, struct archive_entry *n, struct err *e)
{
	mode_t type = archive_entry_filetype(n);
	int r;

	archive_read_disk_descend(k->disk);
	if (type != AE_IFREG && type != AE_IFDIR && type != AE_IFLNK)
		return 0;
	r = rename_entry(k, n);
	if (r < 0)
		return err_sys(e, -r, "cannot copy %s", k->spec->path);
	rewrite_owner(k, n);
	/* A hard link is copied as another file: its other name may be outside
	 * of the tree. */
	archive_entry_set_hardlink(n, NULL);
	if (archive_write_header(k->tar, n) < ARCHIVE_WARN)
		return failed(k, k->tar, e);
	return type == AE_IFREG ? copy_data(k, n, e) : 0;
}

static int pack_all(struct pack *k, struct archive_entry *n, struct err *e)
{
	int r = 0;

	if (archive_read_disk_open(k->disk, k->spec->path) != ARCHIVE_OK)
		return failed(k, k->disk, e);
	while (r == 0) {
		int got = archive_read_next_header2(k->disk, n);

		if (got == ARCHIVE_EOF)
			break;
		if (got < ARCHIVE_WARN)
			return failed(k, k->disk, e);
		r = pack_entry(k, n, e);
	}
	if (r == 0 && archive_write_close(k->tar) != ARCHIVE_OK)
		r = failed(k, k->tar, e);
	return r;
}

int pack_tree(const struct pack_spec *s, struct err *e)
{
	struct pack k = { .spec = s,
			  .disk = archive_read_disk_new(),
			  .tar = archive_write_new() };
	struct archive_entry *n = archive_entry_new();
	int r = -ENOMEM;

	if (k.disk && k.tar && n &&
	    archive_read_disk_set_symlink_physical(k.disk) == ARCHIVE_OK &&
	    archive_read_disk_set_behavior(
		    k.disk, ARCHIVE_READDISK_NO_XATTR |
				    ARCHIVE_READDISK_NO_ACL |
				    ARCHIVE_READDISK_NO_FFLAGS |
				    ARCHIVE_READDISK_NO_SPARSE) == ARCHIVE_OK &&
	    archive_write_set_format_pax_restricted(k.tar) == ARCHIVE_OK &&
	    archive_write_set_bytes_per_block(k.tar, PIECE) == ARCHIVE_OK &&
	    archive_write_set_bytes_in_last_block(k.tar, 1) == ARCHIVE_OK &&
	    archive_write_open(k.tar, &k, NULL, on_write, NULL) == ARCHIVE_OK)
		r = pack_all(&k, n, e);
	else
		err_sys(e, ENOMEM, "cannot make an archive");
	archive_entry_free(n);
	/* Not archive_write_fail(): that forgets to free its buffer. */
	k.over = true;
	archive_write_free(k.tar);
	archive_read_free(k.disk);
	return r;
}
