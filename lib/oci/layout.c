/* SPDX-License-Identifier: MIT
 *
 * An image from another OCI image layout into the store: see pull.h.
 *
 * Nothing in the other directory is trusted: blobs are hashed as they are
 * copied, or after they were cloned where the file system shares extents, and
 * then it is the clone that is hashed.  Hard links would be cheaper still, but
 * the store's blobs must not change when somebody edits the other file.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "oci/json.h"
#include "oci/pull.h"

#define COPY_CHUNK ((size_t)1 << 20)
#define INDEX_DEPTH_MAX 4
#define NAME_KEY "org.opencontainers.image.ref.name"

struct layout {
	const char *path;
	int dir;
	const struct ref *ref;
};

static struct str text_of(const struct buf *b)
{
	return (struct str){ (const char *)b->data, b->len };
}

static int open_foreign(const struct layout *l, const struct digest *d,
			uint64_t *size, struct err *e)
{
	char name[DIGEST_TEXT + 16];
	fd_auto int fd = -1;
	struct stat st;

	snprintf(name, sizeof(name), "blobs/sha256/%s", digest_hex(d));
	/* Not blocking, should it be a FIFO. */
	fd = openat(l->dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "cannot open %s/%s", l->path, name);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "%s/%s is not a file", l->path, name);
	*size = (uint64_t)st.st_size;
	return fd_steal(&fd);
}

/* ---- blobs ------------------------------------------------------------- */

static int copy_bytes(int in, struct blob *b, struct err *e)
{
	buf_auto struct buf chunk = BUF_INIT;
	ssize_t n;
	int r;

	if (lseek(in, (off_t)b->front, SEEK_SET) < 0)
		return err_sys(e, errno, "cannot read a blob");
	r = buf_reserve(&chunk, COPY_CHUNK);
	if (r < 0)
		return err_sys(e, -r, "cannot copy a blob");
	do {
		n = io_read_full(in, chunk.data, COPY_CHUNK);
		if (n < 0)
			return err_sys(e, (int)-n, "cannot read a blob");
		r = blob_append(b, chunk.data, (size_t)n, e);
	} while (r == 0 && n == (ssize_t)COPY_CHUNK);
	return r;
}

static int copy_blob(const struct layout *l, const struct images *s,
		     const struct desc *d, struct err *e)
{
	blob_auto struct blob b = BLOB_INIT;
	fd_auto int in = -1;
	uint64_t size;
	int r;

	if (images_has(s, d))
		return 0;
	in = open_foreign(l, &d->digest, &size, e);
	if (in < 0)
		return in;
	if (size != d->size)
		return err_set(e, EBADMSG,
			       "wrong size: %s has %llu bytes, its manifest "
			       "says %llu",
			       d->digest.text, (unsigned long long)size,
			       (unsigned long long)d->size);
	r = blob_begin(&b, s, d, true, e);
	if (r != 0)
		return r < 0 ? r : 0;
	/* What a killed copy left is faster copied again than believed. */
	r = b.front ? blob_restart(&b, e) : 0;
	if (r == 0 && ioctl(b.fd, FICLONE, in) == 0)
		r = blob_advance(&b, d->size, e);
	else if (r == 0)
		r = copy_bytes(in, &b, e);
	return r < 0 ? r : blob_commit(&b, e);
}

/* A manifest, verified, into memory. */
static int read_foreign(const struct layout *l, const struct desc *d,
			struct buf *b, struct err *e)
{
	struct digest got;
	uint64_t size;
	fd_auto int fd = open_foreign(l, &d->digest, &size, e);
	int r;

	if (fd < 0)
		return fd;
	buf_clear(b);
	r = io_read_all(fd, b);
	if (r < 0)
		return err_sys(e, -r, "cannot read %s", d->digest.text);
	r = digest_of(&got, b->data, b->len, e);
	if (r == 0 && !digest_eq(&got, &d->digest))
		r = err_set(e, EBADMSG,
			    "wrong digest: the blob %s has the digest %s",
			    d->digest.text, got.text);
	return r;
}

/* ---- index.json -------------------------------------------------------- */

static bool name_fits(const json_t *m, const char *tag)
{
	const json_t *a = json_object_get(m, "annotations");
	const char *name = json_string_value(json_object_get(a, NAME_KEY));
	size_t n = name ? strlen(name) : 0, t = strlen(tag);

	if (!name)
		return false;
	/* "12.5", or the full reference that ends in ":12.5". */
	return !strcmp(name, tag) ||
	       (n > t && name[n - t - 1] == ':' && !strcmp(name + n - t, tag));
}

static bool entry_fits(const json_t *m, const struct ref *r)
{
	const char *digest = json_text(m, "digest", "", NULL);

	if (!digest_none(&r->digest) && digest &&
	    !strcmp(digest, r->digest.text))
		return true;
	return r->tag ? name_fits(m, r->tag) : digest_none(&r->digest);
}

static int read_entry(const json_t *m, struct desc *d, struct err *e)
{
	const char *type = json_text(m, "mediaType", "index.json", e);
	const char *digest = json_text(m, "digest", "index.json", e);
	int r;

	if (!type || !digest)
		return -EBADMSG;
	d->media = media_of(str_of(type));
	r = digest_parse(&d->digest, str_of(digest), "index.json", e);
	return r < 0 ? r :
		       json_u64(m, "size", MANIFEST_MAX, &d->size, "index.json",
				e);
}

static int ambiguous(const struct layout *l, size_t n, struct err *e)
{
	err_set(e, n ? EINVAL : ENOENT, "%s holds %s%s%s", l->path,
		n	    ? "several images" :
		l->ref->tag ? "no image called " :
			      "no such image",
		!n && l->ref->tag ? l->ref->tag : "",
		n && l->ref->tag ? " of that name" : "");
	return err_fix(e, n ? "oci:DIR:TAG with the name of one of them" :
			      "`jq .manifests DIR/index.json` shows what it "
			      "holds");
}

/* The one entry that the reference fits. */
static int find_entry(const struct layout *l, struct buf *b, struct desc *d,
		      struct err *e)
{
	json_auto json_t *o = NULL;
	const json_t *list, *found = NULL;
	size_t i, n = 0;
	int r = io_read_file(l->dir, "index.json", b, e);

	if (r < 0) {
		err_in(e, "%s is no OCI image layout", l->path);
		return r;
	}
	o = json_object_of(text_of(b), "index.json", e);
	if (!o)
		return -EBADMSG;
	list = json_object_get(o, "manifests");
	for (i = 0; i < json_array_size(list); i++) {
		const json_t *m = json_array_get(list, i);

		if (!entry_fits(m, l->ref))
			continue;
		found = m;
		n++;
	}
	/* A digest that is in no entry may be inside an index; but then it is
	 * the manifest's own. */
	if (n == 0 && !digest_none(&l->ref->digest)) {
		d->digest = l->ref->digest;
		d->media = MEDIA_MANIFEST;
		return 0;
	}
	return n == 1 ? read_entry(found, d, e) : ambiguous(l, n, e);
}

/* ---- the image --------------------------------------------------------- */

static int resolve(const struct layout *l, struct buf *b, struct digest *from,
		   const struct platform *p, struct err *e)
{
	struct desc d;
	enum media kind = MEDIA_INDEX;
	char type[128];
	int depth, r = find_entry(l, b, &d, e);

	for (depth = 0; r == 0 && depth < INDEX_DEPTH_MAX; depth++) {
		r = read_foreign(l, &d, b, e);
		if (r == 0)
			r = manifest_kind(text_of(b), &kind, type, e);
		if (r < 0 || kind != MEDIA_INDEX)
			break;
		if (depth == 0)
			*from = d.digest;
		r = index_select(text_of(b), p, &d, e);
	}
	return r;
}

static int copy_blobs(const struct layout *l, const struct images *s,
		      const struct manifest *m, const struct platform *p,
		      struct err *e)
{
	buf_auto struct buf config = BUF_INIT_MAX(MANIFEST_MAX);
	size_t i;
	int r = copy_blob(l, s, &m->config, e);

	if (r == 0)
		r = images_read(s, &m->config, &config, e);
	if (r == 0)
		r = pull_check_config(text_of(&config), m, p, e);
	for (i = 0; r == 0 && i < m->nlayers; i++) {
		r = copy_blob(l, s, &m->layers[i], e);
		if (r < 0)
			err_in(e, "layer %zu of %zu", i + 1, m->nlayers);
	}
	return r;
}

int pull_layout(struct images *s, const struct ref *ref,
		const struct platform *p, struct desc *out, struct err *e)
{
	fd_auto int dir = open(ref->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct layout l = { .path = ref->path, .dir = dir, .ref = ref };
	buf_auto struct buf b = BUF_INIT_MAX(MANIFEST_MAX);
	manifest_auto struct manifest m = MANIFEST_INIT;
	struct digest from = DIGEST_INIT;
	int r;

	if (dir < 0)
		return err_sys(e, errno, "cannot open %s", ref->path);
	r = resolve(&l, &b, &from, p, e);
	if (r == 0)
		r = manifest_parse(&m, text_of(&b), e);
	if (r == 0)
		r = copy_blobs(&l, s, &m, p, e);
	if (r < 0)
		return r;
	return pull_finish(s, ref, text_of(&b), p, &from, out, e);
}
