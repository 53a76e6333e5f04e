/* SPDX-License-Identifier: MIT
 *
 * A snapshot into a tar archive: see snaptar.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/extent.h"
#include "base/fd.h"
#include "base/io.h"
#include "sandbox/snapshot_parts.h"
#include "sandbox/snaptar.h"
#include "sandbox/snaptar_parts.h"

#define MAP_TEXT_MAX ((size_t)160 << 20)

/* ---- maps --------------------------------------------------------------- */

static int map_add_data(struct tar_map *m, uint64_t at, uint64_t end)
{
	struct tar_extent *last = m->n ? &m->v[m->n - 1] : NULL;

	if (last && at - (last->at + last->len) < TAR_GAP_MIN) {
		m->bytes += end - (last->at + last->len);
		last->len = end - last->at;
		return 0;
	}
	return tar_map_add(m, at, end - at);
}

/* Where the data of a file are, in whole pages. */
static int map_make(struct tar_map *m, int fd, uint64_t size)
{
	const uint64_t mask = SNAPSHOT_PAGE - 1;
	uint64_t at = 0;
	int r = 0;

	while (r == 0 && at < size) {
		off_t data = 0, hole = 0;

		r = extent_next(fd, (off_t)at, &data, &hole);
		if (r < 0 && r != -ENXIO)
			return r;
		if (r < 0 || (uint64_t)data >= size)
			break;
		if (((uint64_t)data & ~mask) > at)
			at = (uint64_t)data & ~mask;
		hole = (off_t)(((uint64_t)hole + mask) & ~mask);
		if ((uint64_t)hole > size)
			hole = (off_t)size;
		r = map_add_data(m, at, (uint64_t)hole);
		at = (uint64_t)hole;
	}
	/* GNU tar tells the end of a file that ends in a hole so. */
	if (r == -ENXIO)
		r = 0;
	if (r == 0 && (!m->n || m->v[m->n - 1].at + m->v[m->n - 1].len < size))
		r = tar_map_add(m, size, 0);
	return r;
}

static int map_text(const struct tar_map *m, struct buf *b)
{
	static const char zeros[TAR_BLOCK];
	size_t i;

	buf_printf(b, "%zu\n", m->n);
	for (i = 0; i < m->n; i++)
		buf_printf(b, "%ju\n%ju\n", (uintmax_t)m->v[i].at,
			   (uintmax_t)m->v[i].len);
	return buf_add(b, zeros, tar_pad_of(b->len));
}

/* ---- out ---------------------------------------------------------------- */

static int cannot_write(int r, struct err *e)
{
	return err_sys(e, -r, "cannot write to standard output");
}

static int put_padded(int out, const void *p, size_t n)
{
	static const char zeros[TAR_BLOCK];
	int r = io_write_full(out, p, n);

	return r < 0 ? r : io_write_full(out, zeros, tar_pad_of(n));
}

static int put_header(int out, const char *id, const char *name,
		      enum tar_kind kind, uint64_t size)
{
	struct tar_header h;

	tar_header_make(&h, id, name, kind, size);
	return io_write_full(out, &h, sizeof(h));
}

int snaptar_put(int out, const char *id, const char *name, const void *p,
		size_t n, struct err *e)
{
	int r = put_header(out, id, name, TAR_FILE, n);

	if (r == 0)
		r = put_padded(out, p, n);
	return r < 0 ? cannot_write(r, e) : 0;
}

static int put_extent(int out, int fd, struct tar_extent x, void *piece,
		      struct err *e)
{
	while (x.len) {
		size_t want = x.len < TAR_PIECE ? (size_t)x.len : TAR_PIECE;
		ssize_t n = pread(fd, piece, want, (off_t)x.at);
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_sys(e, n < 0 ? errno : ENODATA,
				       "cannot read the snapshot");
		r = io_write_full(out, piece, (size_t)n);
		if (r < 0)
			return cannot_write(r, e);
		x.at += (uint64_t)n;
		x.len -= (uint64_t)n;
	}
	return 0;
}

static int put_map(int out, const char *id, const char *name,
		   const struct tar_map *m, uint64_t size)
{
	buf_auto struct buf text = BUF_INIT_MAX(MAP_TEXT_MAX);
	buf_auto struct buf pax = BUF_INIT_MAX(TAR_PAX_MAX);
	char real[64];
	int r = map_text(m, &text);

	if (r == 0)
		r = tar_pax_make(&pax, id, name, size, text.len + m->bytes);
	snprintf(real, sizeof(real), "PaxHeaders/%s", name);
	if (r == 0)
		r = put_header(out, id, real, TAR_PAX, pax.len);
	if (r == 0)
		r = put_padded(out, pax.data, pax.len);
	snprintf(real, sizeof(real), "GNUSparseFile.0/%s", name);
	if (r == 0)
		r = put_header(out, id, real, TAR_FILE, text.len + m->bytes);
	return r < 0 ? r : io_write_full(out, text.data, text.len);
}

int snaptar_put_sparse(int out, const char *id, const char *name, int fd,
		       uint64_t size, struct err *e)
{
	tar_map_auto struct tar_map m = { .v = NULL };
	mem_auto char *piece = malloc(TAR_PIECE);
	int r = piece ? map_make(&m, fd, size) : -ENOMEM;
	size_t i;

	if (r < 0)
		return err_sys(e, -r, "cannot read %s of %s", name, id);
	r = put_map(out, id, name, &m, size);
	if (r < 0)
		return cannot_write(r, e);
	for (i = 0; r == 0 && i < m.n; i++)
		r = put_extent(out, fd, m.v[i], piece, e);
	if (r < 0)
		return r;
	memset(piece, 0, TAR_BLOCK);
	r = io_write_full(out, piece, tar_pad_of(m.bytes));
	return r < 0 ? cannot_write(r, e) : 0;
}

int snaptar_put_end(int out, struct err *e)
{
	static const char zeros[2 * TAR_BLOCK];
	int r = io_write_full(out, zeros, sizeof(zeros));

	return r < 0 ? cannot_write(r, e) : 0;
}
