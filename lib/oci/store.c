/* SPDX-License-Identifier: MIT
 *
 * The image store's directory, and reading from it: see store.h.
 */
#include "oci/store.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"

#define BLOBS "blobs/sha256"
#define PARTIAL ".partial"
#define NAME_ROOM 128

/* ---- the directory ----------------------------------------------------- */

static int make_dirs(const struct images *s, struct err *e)
{
	mem_auto char *blobs = str_path(s->path, BLOBS);
	mem_auto char *partial = str_path(s->path, PARTIAL);
	int r;

	if (!blobs || !partial)
		return err_sys(e, ENOMEM, "cannot open %s", s->path);
	r = io_mkdirs(blobs, 0755, e);
	return r < 0 ? r : io_mkdirs(partial, 0755, e);
}

static int write_if_missing(const struct images *s, const char *name,
			    const char *text, struct err *e)
{
	if (faccessat(s->dir, name, F_OK, 0) == 0)
		return 0;
	return io_write_atomic(s->dir, name, text, strlen(text), 0644, e);
}

/* A store in the making is finished under the lock of its index. */
static int make_files(const struct images *s, struct err *e)
{
	fd_auto int lock = -1;
	int r;

	if (faccessat(s->dir, "oci-layout", F_OK, 0) == 0 &&
	    faccessat(s->dir, "index.json", F_OK, 0) == 0)
		return 0;
	lock = io_lock(s->dir, ".index.lock", true, e);
	if (lock < 0)
		return lock;
	r = write_if_missing(s, "index.json",
			     "{\"schemaVersion\":2,\"mediaType\":"
			     "\"application/vnd.oci.image.index.v1+json\","
			     "\"manifests\":[]}\n",
			     e);
	if (r < 0)
		return r;
	return write_if_missing(s, "oci-layout",
				"{\"imageLayoutVersion\":\"1.0.0\"}\n", e);
}

static int lock_users(struct images *s, struct err *e)
{
	int r;

	s->users = openat(s->dir, ".users.lock", O_RDWR | O_CREAT | O_CLOEXEC,
			  0644);
	if (s->users < 0)
		return err_sys(e, errno, "cannot open %s/.users.lock", s->path);
	do {
		r = flock(s->users, LOCK_SH);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? err_sys(e, errno, "cannot lock %s", s->path) : 0;
}

int images_open(struct images *s, const char *root, struct err *e)
{
	int r;

	s->root = str_dup(str_of(root));
	s->path = str_path(root, "images");
	if (!s->root || !s->path)
		return err_sys(e, ENOMEM, "cannot open %s", root);
	r = make_dirs(s, e);
	if (r < 0)
		return r;
	s->dir = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir < 0)
		return err_sys(e, errno, "cannot open %s", s->path);
	r = lock_users(s, e);
	return r < 0 ? r : make_files(s, e);
}

void images_free(struct images *s)
{
	mem_free(&s->root);
	mem_free(&s->path);
	fd_close(&s->dir);
	fd_close(&s->users);
}

/* ---- reading ----------------------------------------------------------- */

static void name_of(char out[static NAME_ROOM], const struct digest *d)
{
	snprintf(out, NAME_ROOM, BLOBS "/%s", digest_hex(d));
}

bool images_has(const struct images *s, const struct desc *d)
{
	char name[NAME_ROOM];
	struct stat st;

	name_of(name, &d->digest);
	return fstatat(s->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISREG(st.st_mode) && (uint64_t)st.st_size == d->size;
}

static int open_blob(const struct images *s, const struct digest *d,
		     uint64_t *size, struct err *e)
{
	char name[NAME_ROOM];
	fd_auto int fd = -1;
	struct stat st;

	name_of(name, d);
	fd = openat(s->dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "cannot open %s/%s", s->path, name);
	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "cannot open %s/%s", s->path, name);
	*size = (uint64_t)st.st_size;
	return fd_steal(&fd);
}

int images_blob(const struct images *s, const struct desc *d, struct err *e)
{
	uint64_t size;
	fd_auto int fd = open_blob(s, &d->digest, &size, e);

	if (fd < 0)
		return fd;
	if (size != d->size)
		return err_set(e, EBADMSG, "%s in %s has %llu bytes, not %llu",
			       d->digest.text, s->path,
			       (unsigned long long)size,
			       (unsigned long long)d->size);
	return fd_steal(&fd);
}

int images_read(const struct images *s, const struct desc *d, struct buf *b,
		struct err *e)
{
	uint64_t size;
	fd_auto int fd = open_blob(s, &d->digest, &size, e);
	struct digest got;
	int r;

	if (fd < 0)
		return fd;
	if (size > MANIFEST_MAX)
		return err_set(e, EFBIG, "%s has %llu bytes, more than %zu",
			       d->digest.text, (unsigned long long)size,
			       MANIFEST_MAX);
	buf_clear(b);
	r = io_read_all(fd, b);
	if (r < 0)
		return err_sys(e, -r, "cannot read %s", d->digest.text);
	r = digest_of(&got, b->data, b->len, e);
	if (r < 0)
		return r;
	if (digest_eq(&got, &d->digest) && (!d->size || b->len == d->size))
		return 0;
	err_set(e, EBADMSG, "%s in %s has other contents than its name says",
		d->digest.text, s->path);
	return err_fix(e, "remove %s/" BLOBS "/%s and pull again", s->path,
		       digest_hex(&d->digest));
}

int images_put(const struct images *s, const void *p, size_t n,
	       struct digest *d, struct err *e)
{
	blob_auto struct blob b = BLOB_INIT;
	struct desc want = { .size = n };
	int r = digest_of(d, p, n, e);

	if (r < 0)
		return r;
	want.digest = *d;
	r = blob_begin(&b, s, &want, true, e);
	if (r != 0)
		return r < 0 ? r : 0;
	/* What another left of it is not worth a look. */
	if (b.front && (r = blob_restart(&b, e)) < 0)
		return r;
	r = blob_append(&b, p, n, e);
	return r < 0 ? r : blob_commit(&b, e);
}
