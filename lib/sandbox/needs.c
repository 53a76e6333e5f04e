/* SPDX-License-Identifier: MIT
 *
 * The image that a sandbox is booted from: see needs.h.
 *
 * A name that is in the store is taken for what it names there; no registry is
 * asked whether it has moved meanwhile.  So the second boot from a reference
 * reads two small files and starts no program.
 */
#include "sandbox/needs.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "oci/store.h"
#include "sandbox/helper.h"

#define RECORD_FORMAT 1
#define RECORD_MAX ((size_t)32 << 20) /* as iso-mkrootfs has it */

void needs_free(struct needs *n)
{
	mem_free(&n->rootfs);
	fd_close(&n->lock);
	json_decref(n->record);
	n->record = NULL;
	mem_free(&n->release);
	mem_free(&n->vmlinux);
	mem_free(&n->initramfs);
}

/* ---- the image ---------------------------------------------------------- */

/* What the store says of a name.  -ENOENT, not described: nothing. */
static int look_up(const char *root, const struct ref *ref, struct digest *d,
		   struct err *e)
{
	struct platform p = PLATFORM_DEFAULT;
	mem_auto char *path = str_path(root, "images");
	fd_auto int dir = -1;
	struct images s = IMAGES_INIT;
	struct desc found;
	int r;

	/* A directory's or a file's images are known by their contents. */
	if (digest_none(&ref->digest) && ref->kind != REF_REGISTRY)
		return -ENOENT;
	if (!path)
		return err_sys(e, ENOMEM, "cannot look for an image");
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return errno == ENOENT ?
			       -ENOENT :
			       err_sys(e, errno, "cannot open %s", path);
	/* Only the names are read, for which no lock is wanted. */
	s.path = path;
	s.dir = dir;
	r = images_find(&s, ref, &p, &found, e);
	if (r == 0)
		*d = found.digest;
	return r;
}

/* Have it pulled.  What is printed names it by its digest. */
static int pull(const struct needs_spec *s, struct digest *d, struct err *e)
{
	mem_auto char *path = helper_path("iso-pull");
	buf_auto struct buf out = BUF_INIT_MAX(65536);
	const char *argv[] = { path, "--", s->image, NULL, NULL };
	struct str name;
	int r;

	if (!path)
		return err_sys(e, ENOMEM, "iso-pull");
	if (s->quiet) {
		argv[1] = "--quiet";
		argv[2] = "--";
		argv[3] = s->image;
	}
	r = helper_run(argv, &out, e);
	if (r < 0)
		return r;
	name = str_trim((struct str){ (const char *)out.data, out.len });
	if (name.len < DIGEST_TEXT)
		return err_set(e, EPROTO, "iso-pull's answer makes no sense");
	name.p += name.len - (DIGEST_TEXT - 1);
	name.len = DIGEST_TEXT - 1;
	return digest_parse(d, name, "iso-pull", e);
}

static int find_image(struct needs *n, const struct needs_spec *s,
		      struct err *e)
{
	ref_auto struct ref ref = REF_INIT;
	int r = ref_parse(&ref, str_of(s->image), e);

	if (r == 0)
		r = ref_check_pinned(&ref, s->image, e);
	if (r == 0)
		r = look_up(s->root, &ref, &n->digest, e);
	return r == -ENOENT ? pull(s, &n->digest, e) : r;
}

/* ---- its root file system ----------------------------------------------- */

static bool record_fits(const struct needs *n)
{
	const json_t *size = json_object_get(n->record, "size");
	const char *manifest =
		json_string_value(json_object_get(n->record, "manifest"));
	struct stat st;

	return json_integer_value(json_object_get(n->record, "format")) ==
		       RECORD_FORMAT &&
	       manifest && strcmp(manifest, n->digest.text) == 0 &&
	       fstat(n->lock, &st) == 0 && json_is_integer(size) &&
	       st.st_size == json_integer_value(size);
}

/* Open the file, so that it stays; then read what is said of it.  -ENOENT,
 * not described: it is to be made. */
static int open_rootfs(struct needs *n, const char *root)
{
	mem_auto char *path = rootfs_path(root, &n->digest, ".json");
	buf_auto struct buf b = BUF_INIT_MAX(RECORD_MAX);

	fd_close(&n->lock);
	json_decref(n->record);
	n->record = NULL;
	n->lock = path ? rootfs_open(root, &n->digest, NULL) : -ENOENT;
	if (n->lock < 0 || io_read_file(AT_FDCWD, path, &b, NULL) < 0)
		return -ENOENT;
	n->record = json_loadb((const char *)b.data, b.len, 0, NULL);
	return record_fits(n) ? 0 : -ENOENT;
}

static int make_rootfs(struct needs *n, const struct needs_spec *s,
		       struct err *e)
{
	mem_auto char *path = helper_path("iso-mkrootfs");
	const char *argv[] = { path, n->digest.text, NULL, NULL };
	int r;

	if (!path)
		return err_sys(e, ENOMEM, "iso-mkrootfs");
	if (s->quiet) {
		argv[1] = "--quiet";
		argv[2] = n->digest.text;
	}
	r = helper_run(argv, NULL, e);
	if (r == 0 && open_rootfs(n, s->root) < 0)
		r = err_set(e, EIO, "the root file system of %s is gone",
			    n->digest.text);
	return r;
}

int needs_find(struct needs *n, const struct needs_spec *s, struct err *e)
{
	int r = find_image(n, s, e);

	if (r == 0 && open_rootfs(n, s->root) < 0)
		r = make_rootfs(n, s, e);
	if (r < 0)
		return r;
	n->rootfs = rootfs_path(s->root, &n->digest, ".erofs");
	if (!n->rootfs)
		return err_sys(e, ENOMEM, "cannot name the root file system");
	return needs_find_kernel(n, s, e);
}
