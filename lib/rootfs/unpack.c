/* SPDX-License-Identifier: MIT
 *
 * A layer's blob, read and decompressed: see unpack.h.
 *
 * gzip by ISA-L, which takes a third of zlib's time (and so of libarchive's
 * gzip filter, which is zlib): unpacking is the longest stage of the pipeline.
 * zstd by libzstd.  Both come in several members or frames one after another
 * (pigz, estargz, zstd:chunked); what follows the last one is an error, as it
 * is for the other container tools.
 */
#include "rootfs/unpack.h"

#include <fcntl.h>
#include <isa-l/igzip_lib.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"

static int no_memory(struct err *e)
{
	return err_sys(e, ENOMEM, "cannot unpack");
}

static enum packing packing_of(const uint8_t *p, size_t n)
{
	static const uint8_t zstd[4] = { 0x28, 0xb5, 0x2f, 0xfd };
	static const uint8_t skip[3] = { 0x2a, 0x4d, 0x18 };

	if (n >= 2 && p[0] == 0x1f && p[1] == 0x8b)
		return PACKING_GZIP;
	if (n >= 4 && memcmp(p, zstd, 4) == 0)
		return PACKING_ZSTD;
	if (n >= 4 && (p[0] & 0xf0) == 0x50 && memcmp(p + 1, skip, 3) == 0)
		return PACKING_ZSTD;
	return PACKING_NONE;
}

/* More input, when all that there was is used up. */
static int fill(struct unpack *u, struct err *e)
{
	ssize_t n;

	if (u->at < u->end || u->eof)
		return 0;
	n = io_read_full(u->fd, u->in, UNPACK_INPUT);
	if (n < 0)
		return err_sys(e, (int)-n, "cannot read the blob");
	u->at = 0;
	u->end = (size_t)n;
	u->taken += (uint64_t)n;
	u->eof = (size_t)n < UNPACK_INPUT;
	return 0;
}

static int gzip_begin(struct unpack *u, struct err *e)
{
	if (!u->gzip)
		u->gzip = malloc(sizeof(*u->gzip));
	if (!u->gzip)
		return no_memory(e);
	isal_inflate_init(u->gzip);
	u->gzip->crc_flag = ISAL_GZIP;
	return 0;
}

/* libzstd takes limits that are powers of two. */
static int window_log(const struct unpack *u)
{
	return 63 - __builtin_clzll(u->window | 1);
}

static int zstd_begin(struct unpack *u, struct err *e)
{
	if (!u->zstd)
		u->zstd = ZSTD_createDCtx();
	if (!u->zstd)
		return no_memory(e);
	ZSTD_DCtx_reset(u->zstd, ZSTD_reset_session_only);
	ZSTD_DCtx_setParameter(u->zstd, ZSTD_d_windowLogMax, window_log(u));
	return 0;
}

int unpack_begin(struct unpack *u, int fd, struct err *e)
{
	if (!u->in)
		u->in = malloc(UNPACK_INPUT);
	if (!u->in)
		return no_memory(e);
	u->fd = fd;
	u->at = u->end = 0;
	u->taken = 0;
	u->eof = u->inside = false;
	posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	if (fill(u, e) < 0)
		return -e->num;
	u->packing = packing_of(u->in, u->end);
	if (u->packing == PACKING_GZIP)
		return gzip_begin(u, e);
	if (u->packing == PACKING_ZSTD)
		return zstd_begin(u, e);
	return 0;
}

/* Each of these moves some bytes from the input to the @n at @p. */

static ssize_t take_plain(struct unpack *u, uint8_t *p, size_t n)
{
	if (n > u->end - u->at)
		n = u->end - u->at;
	memcpy(p, u->in + u->at, n);
	u->at += n;
	return (ssize_t)n;
}

static ssize_t take_gzip(struct unpack *u, uint8_t *p, size_t n, struct err *e)
{
	struct inflate_state *s = u->gzip;
	int r;

	if (!u->inside) {
		isal_inflate_reset(s);
		s->crc_flag = ISAL_GZIP;
		u->inside = true;
	}
	s->next_in = u->in + u->at;
	s->avail_in = (uint32_t)(u->end - u->at);
	s->next_out = p;
	s->avail_out = (uint32_t)n;
	r = isal_inflate(s);
	if (r == ISAL_INCORRECT_CHECKSUM)
		return err_set(e, EBADMSG, "damaged gzip data: wrong CRC");
	if (r < 0)
		return err_set(e, EBADMSG, "damaged gzip data");
	u->at = u->end - s->avail_in;
	u->inside = s->block_state != ISAL_BLOCK_FINISH;
	return (ssize_t)(n - s->avail_out);
}

static ssize_t take_zstd(struct unpack *u, uint8_t *p, size_t n, struct err *e)
{
	ZSTD_inBuffer in = { u->in, u->end, u->at };
	ZSTD_outBuffer out = { p, n, 0 };
	size_t r = ZSTD_decompressStream(u->zstd, &out, &in);

	if (ZSTD_getErrorCode(r) == ZSTD_error_frameParameter_windowTooLarge) {
		err_set(e, EFBIG,
			"zstd data reaches back more than the %llu bytes "
			"allowed",
			1ULL << window_log(u));
		return err_fix(e, "--max-window, which takes as much memory");
	}
	if (ZSTD_isError(r))
		return err_set(e, EBADMSG, "damaged zstd data: %s",
			       ZSTD_getErrorName(r));
	u->at = in.pos;
	u->inside = r != 0;
	return (ssize_t)out.pos;
}

static ssize_t take(struct unpack *u, uint8_t *p, size_t n, struct err *e)
{
	switch (u->packing) {
	case PACKING_GZIP:
		return take_gzip(u, p, n, e);
	case PACKING_ZSTD:
		return take_zstd(u, p, n, e);
	case PACKING_NONE:
		break;
	}
	return take_plain(u, p, n);
}

/* Whether nothing is left.  A decoder that has taken all of its input may
 * still hold output: so only one that then gave none is at its end. */
static bool at_end(const struct unpack *u, ssize_t gave)
{
	return u->eof && u->at == u->end && (gave == 0 || !u->inside);
}

ssize_t unpack_read(struct unpack *u, void *p, size_t n, struct err *e)
{
	size_t done = 0;
	ssize_t r = 1;

	while (done < n) {
		if (fill(u, e) < 0)
			return -e->num;
		if (at_end(u, r))
			break;
		r = take(u, (uint8_t *)p + done, n - done, e);
		if (r < 0)
			return r;
		done += (size_t)r;
	}
	if (done < n && u->inside)
		return err_set(e, EBADMSG, "%s data ends too soon",
			       u->packing == PACKING_GZIP ? "gzip" : "zstd");
	return (ssize_t)done;
}

void unpack_free(struct unpack *u)
{
	mem_free(&u->in);
	mem_free(&u->gzip);
	ZSTD_freeDCtx(u->zstd);
	u->zstd = NULL;
}
