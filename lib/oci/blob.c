/* SPDX-License-Identifier: MIT
 *
 * A blob on its way into the image store: see store.h.
 *
 * A blob on its way has one name, that of its digest, so that whoever comes
 * after a writer that died finds what is there and goes on.  Its bytes are
 * hashed again then: the state of a hash could be kept beside them, but it
 * would vouch for bytes that a power cut may have taken, and hashing reads
 * 2 GB a second.
 *
 * How much of it is whole is its length, as long as bytes came in order.  Once
 * they come in several ranges at a time, HEX.lock says it instead; what ranges
 * behind the front had brought is lost to another process, not to this one.
 * After a power cut either may promise too much.  The digest then fails, and
 * the bytes are thrown away and loaded again: a digest is never trusted to
 * anything but a hash of all bytes.
 */
#include "oci/store.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"

#define NAME_ROOM 128

/* How often writing to the disk is set off ahead of the fsync at the end, and
 * how often the lock file learns of the front. */
#define FLUSH_EVERY ((uint64_t)8 << 20)
#define SAVE_EVERY ((uint64_t)4 << 20)
#define HASH_CHUNK ((size_t)256 << 10)

static void name_of(char out[static NAME_ROOM], const char *dir,
		    const struct digest *d, const char *suffix)
{
	snprintf(out, NAME_ROOM, "%s/%s%s", dir, digest_hex(d), suffix);
}

static int failed(const struct blob *b, int num, const char *verb,
		  struct err *e)
{
	err_sys(e, num, "cannot %s %s in %s", verb, b->want.digest.text,
		b->store->path);
	if (num == ENOSPC || num == EDQUOT)
		return err_fix(e,
			       "room in %s; iso-pull --prune frees what "
			       "nothing names",
			       b->store->path);
	return -num;
}

/* Lock HEX.lock.  A winner removes it with its work done, so the name must
 * still lead to what was locked. */
static int lock_blob(struct blob *b, bool wait, struct err *e)
{
	char name[NAME_ROOM];
	struct stat st;

	name_of(name, ".partial", &b->want.digest, ".lock");
	for (;;) {
		fd_close(&b->lock);
		b->lock = io_lock(b->store->dir, name, wait, e);
		if (b->lock < 0)
			return b->lock;
		if (fstat(b->lock, &st) < 0)
			return failed(b, errno, "lock", e);
		if (st.st_nlink)
			return 0;
	}
}

static void unlock_blob(struct blob *b)
{
	char name[NAME_ROOM];

	name_of(name, ".partial", &b->want.digest, ".lock");
	unlinkat(b->store->dir, name, 0);
	fd_close(&b->lock);
}

static int save_front(struct blob *b, uint64_t front)
{
	char text[24];

	snprintf(text, sizeof(text), "%020llu\n", (unsigned long long)front);
	if (pwrite(b->lock, text, 21, 0) != 21)
		return -errno;
	b->saved = front;
	return 0;
}

/* The bytes that the last writer left and may be trusted to be in place. */
static int found_front(struct blob *b, uint64_t *front)
{
	char text[20];
	struct stat st;
	uint64_t saved;

	if (fstat(b->fd, &st) < 0)
		return -errno;
	*front = (uint64_t)st.st_size;
	if (pread(b->lock, text, sizeof(text), 0) == sizeof(text) &&
	    str_u64((struct str){ text, sizeof(text) }, 0, UINT64_MAX, &saved,
		    "", NULL) == 0 &&
	    saved < *front)
		*front = saved;
	if (*front > b->want.size)
		*front = 0;
	if (ftruncate(b->fd, (off_t)*front) < 0 || ftruncate(b->lock, 0) < 0)
		return -errno;
	return 0;
}

/* Hash what is in the file from b->front up to @to. */
static int hash_up_to(struct blob *b, uint64_t to)
{
	static uint8_t chunk[HASH_CHUNK];

	while (b->front < to) {
		size_t n = to - b->front < sizeof(chunk) ?
				   (size_t)(to - b->front) :
				   sizeof(chunk);
		ssize_t got = pread(b->fd, chunk, n, (off_t)b->front);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EIO;
		if (sha256_add(&b->sum, chunk, (size_t)got) < 0)
			return -EIO;
		b->front += (uint64_t)got;
	}
	return 0;
}

static int open_partial(struct blob *b, struct err *e)
{
	char name[NAME_ROOM];
	uint64_t front = 0;
	int r;

	name_of(name, ".partial", &b->want.digest, "");
	b->fd = openat(b->store->dir, name,
		       O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (b->fd < 0)
		return failed(b, errno, "create", e);
	b->front = b->flushed = b->saved = 0;
	r = found_front(b, &front);
	if (r == 0)
		r = sha256_begin(&b->sum);
	if (r == 0)
		r = hash_up_to(b, front);
	b->flushed = b->front;
	return r < 0 ? failed(b, -r, "resume", e) : 0;
}

int blob_begin(struct blob *b, const struct images *s, const struct desc *want,
	       bool wait, struct err *e)
{
	int r;

	b->store = s;
	b->want = *want;
	b->sparse = false;
	if (images_has(s, want))
		return 1;
	r = lock_blob(b, wait, e);
	if (r < 0)
		return r;
	if (images_has(s, want)) {
		unlock_blob(b);
		return 1;
	}
	return open_partial(b, e);
}

/* Have the disk begin early, so that the fsync at the end waits for little. */
static void flush_ahead(struct blob *b)
{
	if (b->front - b->flushed < FLUSH_EVERY)
		return;
	(void)sync_file_range(b->fd, (off_t)b->flushed,
			      (off_t)(b->front - b->flushed),
			      SYNC_FILE_RANGE_WRITE);
	b->flushed = b->front;
}

static int write_at(struct blob *b, uint64_t at, const void *p, size_t n,
		    struct err *e)
{
	size_t done = 0;

	if (at > b->want.size || n > b->want.size - at)
		return err_set(e, EFBIG,
			       "%s has more than the %llu bytes that "
			       "its manifest says",
			       b->want.digest.text,
			       (unsigned long long)b->want.size);
	while (done < n) {
		ssize_t r = pwrite(b->fd, (const char *)p + done, n - done,
				   (off_t)(at + done));

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return failed(b, errno, "write", e);
		done += (size_t)r;
	}
	return 0;
}

int blob_append(struct blob *b, const void *p, size_t n, struct err *e)
{
	int r = write_at(b, b->front, p, n, e);

	if (r < 0)
		return r;
	if (sha256_add(&b->sum, p, n) < 0)
		return failed(b, EIO, "hash", e);
	b->front += n;
	flush_ahead(b);
	if (b->sparse && b->front - b->saved >= SAVE_EVERY)
		r = save_front(b, b->front);
	return r < 0 ? failed(b, -r, "write", e) : 0;
}

int blob_write_at(struct blob *b, uint64_t at, const void *p, size_t n,
		  struct err *e)
{
	int r;

	if (at == b->front)
		return blob_append(b, p, n, e);
	if (!b->sparse) {
		r = save_front(b, b->front);
		if (r < 0)
			return failed(b, -r, "write", e);
		b->sparse = true;
	}
	return write_at(b, at, p, n, e);
}

int blob_advance(struct blob *b, uint64_t to, struct err *e)
{
	int r = hash_up_to(b, to);

	if (r == 0 && b->sparse)
		r = save_front(b, b->front);
	flush_ahead(b);
	return r < 0 ? failed(b, -r, "read back", e) : 0;
}

int blob_restart(struct blob *b, struct err *e)
{
	if (ftruncate(b->fd, 0) < 0 || ftruncate(b->lock, 0) < 0)
		return failed(b, errno, "begin again", e);
	b->front = b->flushed = b->saved = 0;
	b->sparse = false;
	sha256_free(&b->sum);
	return sha256_begin(&b->sum) < 0 ? failed(b, ENOMEM, "hash", e) : 0;
}

static int verify(struct blob *b, struct err *e)
{
	struct digest got;
	int r;

	if (b->front != b->want.size)
		return err_set(e, EBADMSG, "%s ended after %llu of %llu bytes",
			       b->want.digest.text,
			       (unsigned long long)b->front,
			       (unsigned long long)b->want.size);
	r = digest_end(&got, &b->sum, e);
	if (r < 0)
		return r;
	if (digest_eq(&got, &b->want.digest))
		return 0;
	r = blob_restart(b, e);
	if (r < 0)
		return r;
	return err_set(e, EBADMSG,
		       "wrong digest: what came as %s has the digest %s",
		       b->want.digest.text, got.text);
}

int blob_commit(struct blob *b, struct err *e)
{
	char from[NAME_ROOM], to[NAME_ROOM];
	int r = verify(b, e);

	/* That the name is on the disk too is images_name()'s care, once for
	 * all blobs of an image. */
	if (r < 0)
		return r;
	name_of(from, ".partial", &b->want.digest, "");
	name_of(to, "blobs/sha256", &b->want.digest, "");
	if (fchmod(b->fd, 0444) < 0 || fsync(b->fd) < 0 ||
	    renameat(b->store->dir, from, b->store->dir, to) < 0)
		return failed(b, errno, "write", e);
	unlock_blob(b);
	blob_free(b);
	return 0;
}

void blob_free(struct blob *b)
{
	char name[NAME_ROOM];
	struct stat st;

	/* Nothing came: nothing is kept. */
	if (b->lock >= 0 && b->fd >= 0 && fstat(b->fd, &st) == 0 &&
	    st.st_size == 0) {
		name_of(name, ".partial", &b->want.digest, "");
		unlinkat(b->store->dir, name, 0);
		unlock_blob(b);
	}
	fd_close(&b->fd);
	fd_close(&b->lock);
	sha256_free(&b->sum);
}
