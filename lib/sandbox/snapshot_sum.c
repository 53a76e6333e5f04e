/* SPDX-License-Identifier: MIT
 *
 * Digests of snapshots, and the host's key: see snapshot.h.
 */
#include <assert.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/extent.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/sha256.h"
#include "sandbox/snapshot_parts.h"

#define KEY ".key"
#define KEY_SIZE 32
#define PIECE ((size_t)1 << 20) /* a multiple of SNAPSHOT_PAGE */

static_assert(SNAPSHOT_HEX == SHA256_HEX, "one kind of digest");

/* ---- files -------------------------------------------------------------- */

static int add_page(struct sha256 *sum, uint64_t at, const uint8_t *p, size_t n)
{
	static const uint8_t zeros[SNAPSHOT_PAGE];
	uint8_t where[8];
	size_t i;
	int r;

	if (memcmp(p, zeros, n) == 0)
		return 0;
	for (i = 0; i < sizeof(where); i++)
		where[i] = (uint8_t)(at >> (8 * i));
	r = sha256_add(sum, where, sizeof(where));
	return r < 0 ? r : sha256_add(sum, p, n);
}

static ssize_t pread_full(int fd, uint8_t *p, size_t n, uint64_t at)
{
	size_t done = 0;

	while (done < n) {
		ssize_t r = pread(fd, p + done, n - done, (off_t)(at + done));

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		done += (size_t)r;
	}
	return (ssize_t)done;
}

/* From @at, a multiple of the page's size, to @end. */
static int add_range(struct sha256 *sum, int fd, uint64_t at, uint64_t end,
		     uint8_t *piece)
{
	while (at < end) {
		size_t want = end - at < PIECE ? (size_t)(end - at) : PIECE;
		ssize_t n = pread_full(fd, piece, want, at);
		size_t done;

		if (n < 0)
			return (int)n;
		/* Another has made it shorter. */
		if ((size_t)n < want)
			return -ENODATA;
		for (done = 0; done < want; done += SNAPSHOT_PAGE) {
			size_t left = want - done;
			int r = add_page(sum, at + done, piece + done,
					 left < SNAPSHOT_PAGE ? left :
								SNAPSHOT_PAGE);

			if (r < 0)
				return r;
		}
		at += want;
	}
	return 0;
}

static int add_file(struct sha256 *sum, int fd, uint64_t size, uint8_t *piece)
{
	const uint64_t mask = SNAPSHOT_PAGE - 1;
	uint64_t at = 0;
	int r = 0;

	while (r == 0 && at < size) {
		off_t data, hole;
		uint64_t end = size;

		r = extent_next(fd, (off_t)at, &data, &hole);
		if (r < 0 || (uint64_t)data >= size)
			return r == -ENXIO ? 0 : r;
		/* A page may be part hole: it counts as a whole. */
		if (((uint64_t)data & ~mask) > at)
			at = (uint64_t)data & ~mask;
		if ((uint64_t)hole < size)
			end = ((uint64_t)hole + mask) & ~mask;
		if (end > size)
			end = size;
		r = add_range(sum, fd, at, end, piece);
		at = end;
	}
	return r;
}

int snapsum_file(int fd, uint64_t size, char hex[static SNAPSHOT_HEX])
{
	sha256_auto struct sha256 sum = SHA256_INIT;
	mem_auto uint8_t *piece = malloc(PIECE);
	int r = piece ? sha256_begin(&sum) : -ENOMEM;

	if (r == 0)
		r = add_file(&sum, fd, size, piece);
	return r < 0 ? r : sha256_end(&sum, hex);
}

int snapsum_text(struct str text, char hex[static SNAPSHOT_HEX])
{
	sha256_auto struct sha256 sum = SHA256_INIT;
	int r = sha256_begin(&sum);

	if (r == 0)
		r = sha256_add(&sum, text.p, text.len);
	return r < 0 ? r : sha256_end(&sum, hex);
}

static int other(const struct snapshot *s, const char *name, const char *how,
		 struct err *e)
{
	err_set(e, EBADMSG, "%s: '%s' is damaged: %s", s->id, name, how);
	return err_fix(e, "iso-snap --delete %s", s->id);
}

static int check_file(const struct snapshot *s, enum snapshot_file f,
		      struct err *e)
{
	const char *name = snapshot_file_names[f];
	fd_auto int fd = openat(s->dir, name,
				O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	uint64_t size = snapshot_size(s, f);
	char hex[SNAPSHOT_HEX], how[96];
	struct stat st;
	int r;

	if (fd < 0 && errno == ENOENT)
		return other(s, name, "it is not there", e);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "cannot open %s/%s", s->path, name);
	if (!S_ISREG(st.st_mode))
		return other(s, name, "it is no file", e);
	if ((uint64_t)st.st_size != size) {
		snprintf(how, sizeof(how), "%jd bytes, and not %ju",
			 (intmax_t)st.st_size, (uintmax_t)size);
		return other(s, name, how, e);
	}
	r = snapsum_file(fd, size, hex);
	if (r < 0)
		return err_sys(e, -r, "cannot read %s/%s", s->path, name);
	if (strcmp(hex, manifest_digest(s->manifest, f)) != 0)
		return other(s, name, "not what its digest says", e);
	return 0;
}

int snapsum_check_files(const struct snapshot *s, struct err *e)
{
	int f, r = 0;

	for (f = 0; r == 0 && f < SNAPSHOT_FILES; f++)
		r = check_file(s, f, e);
	return r;
}

/* ---- the key ------------------------------------------------------------ */

static int key_make(const struct snapdir *d, uint8_t key[static KEY_SIZE],
		    struct err *e)
{
	if (getrandom(key, KEY_SIZE, 0) != KEY_SIZE)
		return err_sys(e, errno, "cannot get random bytes");
	return io_write_atomic(d->dir, KEY, key, KEY_SIZE, 0600, e);
}

static int key_check(const struct snapdir *d, int fd, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "cannot read %s/" KEY, d->path);
	if (!S_ISREG(st.st_mode) || st.st_size != KEY_SIZE)
		return err_set(e, EBADMSG,
			       "%s/" KEY " is not a key of %d bytes", d->path,
			       KEY_SIZE);
	if (st.st_mode & 077 || st.st_uid != geteuid()) {
		err_set(e, EPERM,
			"%s/" KEY " is of mode %03o and user %u, and not of "
			"600 and yours",
			d->path, st.st_mode & 07777, st.st_uid);
		return err_fix(e, "chown and chmod 600, if nobody else has "
				  "read it");
	}
	return 0;
}

static int key_read(const struct snapdir *d, uint8_t key[static KEY_SIZE],
		    struct err *e)
{
	fd_auto int fd = openat(d->dir, KEY,
				O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	ssize_t n;
	int r;

	if (fd < 0)
		return err_sys(e, errno, "cannot open %s/" KEY, d->path);
	r = key_check(d, fd, e);
	if (r < 0)
		return r;
	n = io_read_full(fd, key, KEY_SIZE);
	return n == KEY_SIZE ? 0 :
			       err_sys(e, n < 0 ? (int)-n : EIO,
				       "cannot read %s/" KEY, d->path);
}

static int key_get(const struct snapdir *d, bool make,
		   uint8_t key[static KEY_SIZE], struct err *e)
{
	fd_auto int held = -1;
	int r = key_read(d, key, e);

	if (r != -ENOENT || !make)
		return r;
	held = snapdir_lock(d, e);
	if (held < 0)
		return held;
	/* Another may have been faster. */
	r = key_read(d, key, e);
	return r == -ENOENT ? key_make(d, key, e) : r;
}

/* ---- the MAC ------------------------------------------------------------ */

int snapsum_mac(const struct snapdir *d, bool make, const json_t *m,
		char hex[static SNAPSHOT_HEX], struct err *e)
{
	static const char digit[] = "0123456789abcdef";
	mem_auto char *text = manifest_text(m, false);
	uint8_t key[KEY_SIZE], raw[EVP_MAX_MD_SIZE];
	unsigned int n = 0;
	size_t i;
	bool good;
	int r = text ? key_get(d, make, key, e) :
		       err_sys(e, ENOMEM, "cannot authenticate a manifest");

	if (r < 0)
		return r;
	good = HMAC(EVP_sha256(), key, KEY_SIZE, (const uint8_t *)text,
		    strlen(text), raw, &n);
	explicit_bzero(key, sizeof(key));
	if (!good || 2 * n + 1 != SNAPSHOT_HEX)
		return err_set(e, EIO, "cannot authenticate a manifest");
	for (i = 0; i < n; i++) {
		hex[2 * i] = digit[raw[i] >> 4];
		hex[2 * i + 1] = digit[raw[i] & 15];
	}
	hex[2 * i] = '\0';
	return 0;
}

int snapsum_check_mac(const struct snapdir *d, const json_t *m, struct err *e)
{
	const char *mac = json_string_value(json_object_get(m, "mac"));
	char hex[SNAPSHOT_HEX];
	int r = snapsum_mac(d, false, m, hex, e);

	if (r < 0)
		return r;
	if (!mac || strlen(mac) != SNAPSHOT_HEX - 1 ||
	    CRYPTO_memcmp(mac, hex, SNAPSHOT_HEX - 1) != 0)
		return err_set(e, EBADMSG,
			       MANIFEST_FILE " is damaged, or this host did "
					     "not make it: the MAC is wrong");
	return 0;
}
