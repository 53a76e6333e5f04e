/* SPDX-License-Identifier: MIT
 *
 * Unpacking a kernel's Debian package.
 *
 * A package is an ar archive of debian-binary, control.tar.* and data.tar.*,
 * in that order (deb(5)).  libarchive reads the outer archive, and a second
 * reader takes its blocks as its input: one pass, nothing kept on disk that is
 * not wanted, and no dpkg, which is not on every machine and unpacks what it
 * is told to.
 *
 * A package may come from anywhere, so no name in it is trusted.  Only regular
 * files below lib/modules/ (or usr/lib/modules/, where newer packages have
 * them) are made, and the one boot/vmlinuz-* is read into memory; a path that
 * is absolute or has ".." refuses the whole package, even on an entry that
 * would be skipped, because no honest package has one.  Links, devices,
 * owners, modes and times are left out.
 */
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/progress.h"
#include "base/str.h"
#include "guest/source.h"

/* The largest seen is 100 KB. */
#define CONTROL_MAX ((size_t)1 << 20)
#define BLOCK 65536

struct deb {
	const char *path;
	struct archive *outer;
	int tree;
	struct tree_use use;
	struct buf *image;
	char *package; /* "name version" */
	size_t package_size;
	bool has_control, has_data, has_image;
	struct progress *progress;
};

#define archive_auto __attribute__((cleanup(reader_free)))

static void reader_free(struct archive **a)
{
	archive_read_free(*a);
}

static int bad(const struct deb *d, struct archive *a, struct err *e)
{
	const char *why = archive_error_string(a);

	err_set(e, EBADMSG, "%s: damaged package: %s", d->path,
		why ? why : "it ends too soon");
	return err_fix(e, "fetch it again");
}

/* ---- the inner archives ------------------------------------------------ */

static la_ssize_t inner_read(struct archive *a, void *arg, const void **block)
{
	struct deb *d = arg;
	la_int64_t at;
	size_t n;
	int r = archive_read_data_block(d->outer, block, &n, &at);

	if (r == ARCHIVE_EOF)
		return 0;
	if (r != ARCHIVE_OK) {
		archive_set_error(a, archive_errno(d->outer), "%s",
				  archive_error_string(d->outer));
		return -1;
	}
	progress_update(d->progress,
			(uint64_t)archive_filter_bytes(d->outer, -1));
	return (la_ssize_t)n;
}

/* What dpkg-deb writes, and no more: see raw.c. */
static struct archive *inner_open(struct deb *d, struct err *e)
{
	struct archive *a = archive_read_new();

	if (!a) {
		err_sys(e, ENOMEM, "cannot read %s", d->path);
		return NULL;
	}
	archive_read_support_filter_xz(a);
	archive_read_support_filter_gzip(a);
	archive_read_support_filter_zstd(a);
	archive_read_support_format_tar(a);
	if (archive_read_open2(a, d, NULL, inner_read, NULL, NULL) ==
	    ARCHIVE_OK)
		return a;
	bad(d, a, e);
	archive_read_free(a);
	return NULL;
}

static int read_entry(struct deb *d, struct archive *a, struct buf *out,
		      struct err *e)
{
	const void *block;
	la_int64_t at;
	size_t n;
	int r;

	while ((r = archive_read_data_block(a, &block, &n, &at)) !=
	       ARCHIVE_EOF) {
		if (r != ARCHIVE_OK)
			return bad(d, a, e);
		r = buf_add(out, block, n);
		if (r < 0)
			return err_sys(e, -r, "%s: cannot read an entry",
				       d->path);
	}
	return 0;
}

/* ---- control ----------------------------------------------------------- */

static struct str field(struct buf *b, struct str name)
{
	struct str rest = { (const char *)b->data, b->len };

	while (rest.p) {
		struct str line = str_cut(&rest, '\n');

		if (!str_starts(line, name))
			continue;
		line.p += name.len;
		line.len -= name.len;
		return str_trim(line);
	}
	return STR("");
}

static int control_check(struct deb *d, struct buf *b, struct err *e)
{
	struct str name = field(b, STR("Package:"));
	struct str version = field(b, STR("Version:"));
	struct str arch = field(b, STR("Architecture:"));

	snprintf(d->package, d->package_size, "%.*s %.*s", STR_ARG(name),
		 STR_ARG(version));
	if (str_eq(arch, STR("amd64")))
		return 0;
	err_set(e, ENOTSUP, "%s: package %.*s is for %.*s, expected amd64",
		d->path, STR_ARG(name), STR_ARG(arch));
	return err_fix(e, "the amd64 package of the same kernel");
}

static int walk_control(struct deb *d, struct err *e)
{
	archive_auto struct archive *a = inner_open(d, e);
	buf_auto struct buf b = BUF_INIT_MAX(CONTROL_MAX);
	struct archive_entry *entry;
	int r;

	if (!a)
		return -e->num;
	while ((r = archive_read_next_header(a, &entry)) == ARCHIVE_OK) {
		const char *name = archive_entry_pathname(entry);

		if (!name || (strcmp(name, "./control") != 0 &&
			      strcmp(name, "control") != 0))
			continue;
		r = read_entry(d, a, &b, e);
		if (r < 0)
			return r;
		d->has_control = true;
		return control_check(d, &b, e);
	}
	return r == ARCHIVE_EOF ?
		       err_set(e, EBADMSG, "%s: package has no control file",
			       d->path) :
		       bad(d, a, e);
}

/* ---- data -------------------------------------------------------------- */

/* No empty, "." or ".." component, after an optional "./" at the front. */
static bool path_safe(const char *path)
{
	struct str rest = str_of(path);

	if (str_starts(rest, STR("./")))
		rest = (struct str){ rest.p + 2, rest.len - 2 };
	/* "./" itself, and the slash that ends a directory's name. */
	if (rest.len && rest.p[rest.len - 1] == '/')
		rest.len--;
	if (rest.len == 0)
		return strcmp(path, "./") == 0;
	while (rest.p) {
		struct str part = str_cut(&rest, '/');

		if (part.len == 0 || part.len > 255 || str_eq(part, STR(".")) ||
		    str_eq(part, STR("..")))
			return false;
	}
	return true;
}

static int unpack_module(struct deb *d, struct archive *a, const char *path,
			 struct err *e)
{
	fd_auto int fd = tree_create(d->tree, path, &d->use, e);
	const void *block;
	la_int64_t at;
	size_t n;
	int r;

	if (fd < 0)
		return fd;
	while ((r = archive_read_data_block(a, &block, &n, &at)) !=
	       ARCHIVE_EOF) {
		if (r != ARCHIVE_OK)
			return bad(d, a, e);
		r = tree_write(fd, path, block, n, &d->use, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int unpack_image(struct deb *d, struct archive *a, struct err *e)
{
	if (d->has_image)
		return err_set(e, EINVAL,
			       "%s: package holds more than one boot/vmlinuz-*",
			       d->path);
	d->has_image = true;
	return read_entry(d, a, d->image, e);
}

static int unpack_entry(struct deb *d, struct archive *a,
			struct archive_entry *entry, struct err *e)
{
	const char *path = archive_entry_pathname(entry);

	if (!path || !path_safe(path))
		return err_set(e, EBADMSG,
			       "%s: unsafe path in the package: %.200s",
			       d->path, path ? path : "(none)");
	if (archive_entry_filetype(entry) != AE_IFREG ||
	    archive_entry_hardlink(entry))
		return 0;
	if (strncmp(path, "./", 2) == 0)
		path += 2;
	if (strncmp(path, "usr/", 4) == 0)
		path += 4;
	if (strncmp(path, "boot/vmlinuz-", 13) == 0)
		return unpack_image(d, a, e);
	if (strncmp(path, "lib/modules/", 12) == 0)
		return unpack_module(d, a, path, e);
	return 0;
}

static int walk_data(struct deb *d, struct err *e)
{
	archive_auto struct archive *a = inner_open(d, e);
	struct archive_entry *entry;
	int r;

	if (!a)
		return -e->num;
	d->has_data = true;
	while ((r = archive_read_next_header(a, &entry)) == ARCHIVE_OK) {
		r = unpack_entry(d, a, entry, e);
		if (r < 0)
			return r;
	}
	return r == ARCHIVE_EOF ? 0 : bad(d, a, e);
}

/* ---- the package ------------------------------------------------------- */

static int not_deb(const struct deb *d, struct err *e)
{
	err_set(e, EBADMSG, "%s: not a Debian package", d->path);
	return err_fix(e, "a kernel's .deb, an unpacked one, "
			  "or an image with --modules");
}

static int walk_member(struct deb *d, const char *name, struct err *e)
{
	if (strncmp(name, "control.tar", 11) == 0)
		return walk_control(d, e);
	if (strncmp(name, "data.tar", 8) != 0)
		return 0;
	if (!d->has_control)
		return not_deb(d, e);
	return walk_data(d, e);
}

static int walk_package(struct deb *d, struct err *e)
{
	struct archive_entry *entry;
	int r = archive_read_next_header(d->outer, &entry);

	if (r != ARCHIVE_OK ||
	    strcmp(archive_entry_pathname(entry), "debian-binary") != 0)
		return not_deb(d, e);
	while ((r = archive_read_next_header(d->outer, &entry)) == ARCHIVE_OK) {
		const char *name = archive_entry_pathname(entry);

		r = name ? walk_member(d, name, e) : not_deb(d, e);
		if (r < 0)
			return r;
	}
	if (r != ARCHIVE_EOF || !d->has_data)
		return bad(d, d->outer, e);
	if (d->has_image)
		return 0;
	err_set(e, ENOENT, "%s: package %s is no kernel (no boot/vmlinuz-*)",
		d->path, d->package);
	return err_fix(e, "a package such as linux-image-*-cloud-amd64");
}

int deb_unpack(const char *path, int tree, struct buf *image, char *package,
	       size_t size, struct progress *p, struct err *e)
{
	fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC);
	archive_auto struct archive *outer = archive_read_new();
	struct deb d = { .path = path,
			 .outer = outer,
			 .tree = tree,
			 .image = image,
			 .package = package,
			 .package_size = size,
			 .progress = p };
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "cannot open %s", path);
	if (!outer)
		return err_sys(e, ENOMEM, "cannot read %s", path);
	archive_read_support_format_ar(outer);
	if (archive_read_open_fd(outer, fd, BLOCK) != ARCHIVE_OK)
		return not_deb(&d, e);
	progress_begin(p, "unpacking the kernel", (uint64_t)st.st_size);
	r = walk_package(&d, e);
	progress_end(p, r == 0);
	return r;
}
