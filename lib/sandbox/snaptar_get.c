/* SPDX-License-Identifier: MIT
 *
 * A snapshot out of a tar archive: see snaptar.h.
 *
 * A header is not parsed: the one number that may vary is taken from it, the
 * header that we would have written with it is made, and the two have to be the
 * same.  So there is one list of fields, and nothing in it to be clever with.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"
#include "sandbox/snapshot_parts.h"
#include "sandbox/snaptar.h"
#include "sandbox/snaptar_parts.h"

static int bad(struct err *e, const char *name, const char *how)
{
	err_set(e, EBADMSG,
		"standard input is no snapshot as --export writes "
		"it: %s: %s",
		name, how);
	return -EBADMSG;
}

/* Exactly @n bytes. */
static int get(int in, void *p, size_t n, const char *name, struct err *e)
{
	ssize_t got = io_read_full(in, p, n);

	if (got < 0)
		return err_sys(e, (int)-got, "cannot read standard input");
	return (size_t)got < n ? bad(e, name, "it ends early") : 0;
}

static int get_pad(int in, uint64_t n, const char *name, struct err *e)
{
	static const char zeros[TAR_BLOCK];
	char pad[TAR_BLOCK];
	int r = get(in, pad, tar_pad_of(n), name, e);

	if (r == 0 && memcmp(pad, zeros, tar_pad_of(n)) != 0)
		return bad(e, name, "something stands behind it");
	return r;
}

static bool octal(const char *p, size_t digits, uint64_t *n)
{
	for (*n = 0; digits--; p++) {
		if (*p < '0' || *p > '7')
			return false;
		*n = *n * 8 + (uint64_t)(*p - '0');
	}
	return *p == '\0';
}

/* The header must be what we would write; its size goes to @size. */
static int check_header(const struct tar_header *h, const char *id,
			const char *name, enum tar_kind kind, uint64_t *size,
			struct err *e)
{
	struct tar_header want;

	if (!octal(h->size, sizeof(h->size) - 1, size))
		return bad(e, name, "its header makes no sense");
	tar_header_make(&want, id, name, kind, *size);
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
	memcpy(want.sum, h->sum, sizeof(want.sum));
#endif
	return memcmp(h, &want, sizeof(want)) == 0 ?
		       0 :
		       bad(e, name, "it is not the next thing");
}

static int get_header(int in, const char *id, const char *name,
		      enum tar_kind kind, uint64_t *size, struct err *e)
{
	struct tar_header h;
	int r = get(in, &h, sizeof(h), name, e);

	return r < 0 ? r : check_header(&h, id, name, kind, size, e);
}

int snaptar_get(int in, char id[static SNAPSHOT_ID_SIZE], const char *name,
		struct buf *b, struct err *e)
{
	struct tar_header h;
	uint64_t size;
	int r = get(in, &h, sizeof(h), name, e);

	if (r < 0)
		return r;
	memcpy(id, h.name, SNAPSHOT_ID_SIZE - 1);
	id[SNAPSHOT_ID_SIZE - 1] = '\0';
	if (!snapdir_is_id(str_of(id)))
		return bad(e, name, "it is not the first thing");
	r = check_header(&h, id, name, TAR_FILE, &size, e);
	if (r < 0)
		return r;
	if (size > b->max)
		return bad(e, name, "it is too long");
	r = buf_reserve(b, (size_t)size);
	if (r < 0)
		return err_sys(e, -r, "cannot read %s", name);
	r = get(in, b->data, (size_t)size, name, e);
	if (r < 0)
		return r;
	b->len = (size_t)size;
	return get_pad(in, size, name, e);
}

/* The pax header must be what we would write; how many bytes the file takes of
 * the archive goes to @stored. */
static int get_pax(int in, const char *id, const char *name, uint64_t size,
		   uint64_t *stored, struct err *e)
{
	buf_auto struct buf want = BUF_INIT_MAX(TAR_PAX_MAX);
	char text[TAR_PAX_MAX + 1], pax[64], *at;
	struct str value;
	uint64_t n;
	int r;

	snprintf(pax, sizeof(pax), "PaxHeaders/%s", name);
	r = get_header(in, id, pax, TAR_PAX, &n, e);
	if (r < 0)
		return r;
	if (n > TAR_PAX_MAX)
		return bad(e, pax, "it is too long");
	r = get(in, text, (size_t)n, pax, e);
	if (r == 0)
		r = get_pad(in, n, pax, e);
	if (r < 0)
		return r;
	text[n] = '\0';
	at = strstr(text, " size=");
	value = str_of(at ? at + strlen(" size=") : "");
	value = str_cut(&value, '\n');
	if (str_u64(value, 0, INT64_MAX, stored, "size", NULL) < 0 ||
	    tar_pax_make(&want, id, name, size, *stored) < 0 || want.len != n ||
	    memcmp(want.data, text, want.len) != 0)
		return bad(e, pax, "it does not fit the manifest");
	return 0;
}

/* Numbers, one a line, in whole blocks. */
struct lines {
	int in;
	const char *name;
	uint8_t block[TAR_BLOCK];
	size_t at;     /* in the block */
	uint64_t read; /* bytes of blocks */
};

static int number(struct lines *l, uint64_t *n, struct err *e)
{
	char text[20];
	struct str s = { text, 0 };

	for (;;) {
		if (l->at == TAR_BLOCK) {
			int r = get(l->in, l->block, TAR_BLOCK, l->name, e);

			if (r < 0)
				return r;
			l->read += TAR_BLOCK;
			l->at = 0;
		}
		if (l->block[l->at] == '\n')
			break;
		if (s.len == sizeof(text))
			return bad(e, l->name, "its map makes no sense");
		text[s.len++] = (char)l->block[l->at++];
	}
	l->at++;
	return str_u64(s, 0, INT64_MAX, n, "", NULL) < 0 ?
		       bad(e, l->name, "its map makes no sense") :
		       0;
}

static int get_extent(struct lines *l, struct tar_map *m, uint64_t size,
		      struct err *e)
{
	const struct tar_extent *last = m->n ? &m->v[m->n - 1] : NULL;
	uint64_t at = 0, len = 0;
	int r = number(l, &at, e);

	if (r == 0)
		r = number(l, &len, e);
	if (r < 0)
		return r;
	if (at > size || len > size - at ||
	    (last && at < last->at + last->len) ||
	    (len && at % SNAPSHOT_PAGE != 0))
		return bad(e, l->name, "its map makes no sense");
	r = tar_map_add(m, at, len);
	return r < 0 ? err_sys(e, -r, "cannot read the map of %s", l->name) : 0;
}

/* The map, and that it and its data are the @stored bytes. */
static int get_map(int in, const char *name, struct tar_map *m, uint64_t size,
		   uint64_t stored, struct err *e)
{
	struct lines l = { .in = in, .name = name, .at = TAR_BLOCK };
	uint64_t n = 0;
	int r = number(&l, &n, e);

	if (r == 0 && n > TAR_MAP_MAX)
		return bad(e, name, "its map is too long");
	while (r == 0 && n--)
		r = get_extent(&l, m, size, e);
	if (r < 0)
		return r;
	for (; l.at < TAR_BLOCK; l.at++) {
		if (l.block[l.at])
			return bad(e, name, "something stands behind its map");
	}
	if (l.read + m->bytes != stored)
		return bad(e, name, "its map does not fit its size");
	return 0;
}

static bool is_zero(const char *p, size_t n)
{
	static const char zeros[SNAPSHOT_PAGE];

	return memcmp(p, zeros, n) == 0;
}

static size_t page_of(size_t left)
{
	return left < SNAPSHOT_PAGE ? left : SNAPSHOT_PAGE;
}

/* Write @n bytes, but for pages of zeros. */
static int put_pages(int fd, uint64_t at, const char *p, size_t n)
{
	size_t from = 0, to;

	while (from < n) {
		if (is_zero(p + from, page_of(n - from))) {
			from += page_of(n - from);
			continue;
		}
		to = from;
		while (to < n && !is_zero(p + to, page_of(n - to)))
			to += page_of(n - to);
		while (from < to) {
			ssize_t k = pwrite(fd, p + from, to - from,
					   (off_t)(at + from));

			if (k < 0 && errno != EINTR)
				return -errno;
			from += k < 0 ? 0 : (size_t)k;
		}
	}
	return 0;
}

static int get_data(int in, const char *name, int fd, struct tar_extent x,
		    char *piece, struct err *e)
{
	while (x.len) {
		size_t want = x.len < TAR_PIECE ? (size_t)x.len : TAR_PIECE;
		int r = get(in, piece, want, name, e);

		if (r < 0)
			return r;
		r = put_pages(fd, x.at, piece, want);
		if (r < 0)
			return err_sys(e, -r, "cannot write %s", name);
		x.at += want;
		x.len -= want;
	}
	return 0;
}

int snaptar_get_sparse(int in, const char *id, const char *name, int fd,
		       uint64_t size, struct err *e)
{
	tar_map_auto struct tar_map m = { .v = NULL };
	mem_auto char *piece = malloc(TAR_PIECE);
	uint64_t stored, shown;
	char real[64];
	size_t i;
	int r = piece ? get_pax(in, id, name, size, &stored, e) :
			err_sys(e, ENOMEM, "cannot read %s", name);

	if (r < 0)
		return r;
	snprintf(real, sizeof(real), "GNUSparseFile.0/%s", name);
	r = get_header(in, id, real, TAR_FILE, &shown, e);
	if (r == 0 && shown != (stored > TAR_OCTAL_MAX ? 0 : stored))
		return bad(e, name, "two sizes");
	if (r == 0)
		r = get_map(in, name, &m, size, stored, e);
	for (i = 0; r == 0 && i < m.n; i++)
		r = get_data(in, name, fd, m.v[i], piece, e);
	if (r == 0)
		r = get_pad(in, m.bytes, name, e);
	if (r < 0)
		return r;
	return ftruncate(fd, (off_t)size) < 0 ?
		       err_sys(e, errno, "cannot write %s", name) :
		       0;
}

int snaptar_get_end(int in, struct err *e)
{
	static const char zeros[2 * TAR_BLOCK];
	char end[sizeof(zeros)];
	int r = get(in, end, sizeof(end), "the end", e);

	if (r == 0 && memcmp(end, zeros, sizeof(end)) != 0)
		return bad(e, "the end", "something stands before it");
	return r;
}
