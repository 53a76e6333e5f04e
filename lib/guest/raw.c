/* SPDX-License-Identifier: MIT
 *
 * One compressed stream: see raw.h.
 *
 * libarchive's raw format over exactly one filter, the one the magic bytes
 * name.  Not archive_read_support_filter_all(): it starts programs (lrzip,
 * grzip, lzop) for streams that ask for them, and it unpacks layer after
 * layer of what a hostile file nests.
 */
#include "guest/raw.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"

struct filter {
	const char *name;
	const char *magic;
	size_t len;
	int (*enable)(struct archive *a);
};

#define ENABLE(name) archive_read_support_filter_##name

/* LZ4 has two: the kernel's is the legacy frame.  LZMA's is the default
 * properties byte and a dictionary that is a multiple of 64 KiB. */
static const struct filter filters[] = {
	[RAW_NONE] = { "none", "", 0, NULL },
	[RAW_GZIP] = { "gzip", "\x1f\x8b", 2, ENABLE(gzip) },
	[RAW_XZ] = { "xz", "\3757zXZ", 6, ENABLE(xz) },
	[RAW_LZMA] = { "lzma", "\x5d\0", 3, ENABLE(lzma) },
	[RAW_BZIP2] = { "bzip2", "BZh", 3, ENABLE(bzip2) },
	[RAW_LZ4] = { "lz4", "\x02\x21\x4c\x18", 4, ENABLE(lz4) },
	[RAW_ZSTD] = { "zstd", "\x28\xb5\x2f\xfd", 4, ENABLE(zstd) },
};

static const char lz4_frame[4] = "\x04\x22\x4d\x18";

static void reader_free(struct archive **a)
{
	archive_read_free(*a);
}

enum raw_kind raw_kind_of(const void *p, size_t n)
{
	size_t i;

	for (i = RAW_NONE + 1; i < ARRAY_SIZE(filters); i++) {
		if (n >= filters[i].len &&
		    memcmp(p, filters[i].magic, filters[i].len) == 0)
			return (enum raw_kind)i;
	}
	if (n >= sizeof(lz4_frame) && !memcmp(p, lz4_frame, sizeof(lz4_frame)))
		return RAW_LZ4;
	return RAW_NONE;
}

const char *raw_kind_name(enum raw_kind kind)
{
	return filters[kind].name;
}

static int damaged(struct archive *a, enum raw_kind kind, struct err *e)
{
	const char *why = archive_error_string(a);

	return err_set(e, EBADMSG, "damaged %s data: %s", raw_kind_name(kind),
		       why ? why : "it ends too soon");
}

static int read_all(struct archive *a, enum raw_kind kind, struct buf *out,
		    struct err *e)
{
	const void *block;
	size_t n;
	la_int64_t at;
	int r;

	while ((r = archive_read_data_block(a, &block, &n, &at)) !=
	       ARCHIVE_EOF) {
		if (r != ARCHIVE_OK)
			return damaged(a, kind, e);
		r = buf_add(out, block, n);
		if (r == -EMSGSIZE)
			return err_set(e, EMSGSIZE,
				       "%s data unpacks to more than the "
				       "%zu bytes expected",
				       raw_kind_name(kind), out->max);
		if (r < 0)
			return err_sys(e, -r, "cannot unpack %s data",
				       raw_kind_name(kind));
	}
	return 0;
}

int raw_unpack(enum raw_kind kind, const void *p, size_t n, struct buf *out,
	       struct err *e)
{
	__attribute__((cleanup(reader_free))) struct archive *a =
		archive_read_new();
	struct archive_entry *entry;

	if (!a)
		return err_sys(e, ENOMEM, "cannot unpack %s data",
			       raw_kind_name(kind));
	if (filters[kind].enable(a) != ARCHIVE_OK ||
	    archive_read_support_format_raw(a) != ARCHIVE_OK)
		return err_set(e, ENOTSUP, "this libarchive knows no %s",
			       raw_kind_name(kind));
	if (archive_read_open_memory(a, p, n) != ARCHIVE_OK ||
	    archive_read_next_header(a, &entry) != ARCHIVE_OK)
		return damaged(a, kind, e);
	return read_all(a, kind, out, e);
}
