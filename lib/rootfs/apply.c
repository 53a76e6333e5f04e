/* SPDX-License-Identifier: MIT
 *
 * The layers of an image become one file system: see apply.h.
 *
 * libarchive takes the tars apart, one after another; it is given the one
 * format and no filter.
 *
 * Whiteouts act on what lower layers have, wherever in the tar they stand: so
 * every name of the tree knows the layer that put it there.
 */
#include "rootfs/apply.h"

#include <archive.h>
#include <archive_entry.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/progress.h"
#include "base/str.h"
#include "rootfs/entry.h"
#include "rootfs/path.h"
#include "rootfs/pax.h"
#include "rootfs/space.h"
#include "rootfs/tree.h"

#define PROGRESS_EVERY 256 /* entries */
#define SHOWN_MAX 120	   /* bytes of a name */
#define SHOWN_ROOM (SHOWN_MAX + sizeof("..."))

struct apply {
	const struct layer *layers;
	struct progress *progress; /* or NULL */
	struct stream *stream;	   /* owned */
	struct tree *tree;
	struct space *space;
	struct err freeing;	 /* of blocks, when it failed */
	uint64_t entries, bytes; /* so far; bytes: of files */

	/* Of the layer that is being applied. */
	size_t layer;
	struct archive *archive;
	uint64_t of_layer;	  /* bytes of its files */
	struct block block, last; /* what libarchive has, and had before it */
	uint64_t block_at;	  /* where in the tar block begins */
	bool ended;		  /* block is the layer's last */
	bool between;		  /* libarchive is past an entry's data */
};

static void archive_auto_free(struct archive **a)
{
	archive_read_free(*a);
}

/* ---- between the stream and libarchive --------------------------------- */

#define TAR_BLOCK 512

/* Some writers (umoci's insert for one) leave out what fills the last file's
 * last block, and readers take it: what is missing of it is made up here.
 * Only behind a file's data, never within it. */
static la_ssize_t fill_up(struct apply *ap, const void **out)
{
	static const uint8_t zeros[TAR_BLOCK];
	uint64_t size = ap->block_at + ap->block.len;
	size_t over = (size_t)(size % TAR_BLOCK);

	if (!ap->between || over == 0)
		return 0;
	ap->between = false;
	*out = zeros;
	return (la_ssize_t)(TAR_BLOCK - over);
}

static la_ssize_t feed(struct archive *a, void *arg, const void **out)
{
	struct apply *ap = arg;

	if (ap->ended)
		return fill_up(ap, out);
	ap->block_at += ap->block.len;
	ap->last = ap->block;
	if (stream_next(ap->stream, &ap->block) < 0) {
		archive_set_error(a, ECANCELED, "cannot unpack");
		return -1;
	}
	ap->ended = ap->block.last;
	if (ap->block.len == 0)
		return fill_up(ap, out);
	*out = ap->block.data;
	return (la_ssize_t)ap->block.len;
}

static int check_header(struct apply *ap, struct err *e)
{
	struct pax_view v = {
		.p = { ap->last.data, ap->block.data },
		.n = { ap->last.len, ap->block.len },
		.at = ap->block_at - ap->last.len,
	};
	int64_t at = archive_read_header_position(ap->archive);

	return pax_check(&v, (uint64_t)at, e);
}

/* What follows the end of the tar counts for the digest only. */
static int drain(struct apply *ap)
{
	while (!ap->ended) {
		if (stream_next(ap->stream, &ap->block) < 0)
			return -ECANCELED;
		ap->ended = ap->block.last;
	}
	stream_release(ap->stream);
	return 0;
}

/* ---- entries ----------------------------------------------------------- */

/* A name for a message: one line, not too long.  @out has SHOWN_ROOM. */
static const char *printable(const char *name, char *out)
{
	size_t n = name ? strnlen(name, SHOWN_MAX + 1) : 0;
	bool all = n <= SHOWN_MAX;
	size_t i;

	for (i = 0; i < n && i < SHOWN_MAX; i++) {
		unsigned char c = (unsigned char)name[i];

		out[i] = (char)(c < 0x20 || c == 0x7f ? '?' : c);
	}
	memcpy(out + i, all ? "" : "...", all ? 1 : sizeof("..."));
	return out;
}

/* A file's size, before any of it is written. */
static int count(struct apply *ap, struct archive_entry *entry, struct err *e)
{
	const struct limits *l = ap->tree->limits;
	uint64_t packed = ap->layers[ap->layer].size;
	int64_t size = archive_entry_size(entry);

	if (++ap->entries > l->entries) {
		err_set(e, EFBIG,
			"the image has more than the %llu entries allowed",
			(unsigned long long)l->entries);
		return err_fix(e, "--max-entries");
	}
	if (archive_entry_hardlink(entry) ||
	    archive_entry_filetype(entry) != AE_IFREG)
		return 0;
	if (size < 0)
		return err_set(e, EINVAL, "its size is negative");
	if ((uint64_t)size > l->bytes - ap->bytes) {
		err_set(e, EFBIG,
			"with it the image has more than the %llu bytes "
			"allowed",
			(unsigned long long)l->bytes);
		return err_fix(e, "--max-size, or more free disk space");
	}
	ap->bytes += (uint64_t)size;
	ap->of_layer += (uint64_t)size;
	if (ap->of_layer <= LIMIT_RATIO_FLOOR ||
	    ap->of_layer / l->ratio < packed)
		return 0;
	err_set(e, EFBIG,
		"with it the layer has more than %llu times its %llu bytes",
		(unsigned long long)l->ratio, (unsigned long long)packed);
	return err_fix(e, "--max-ratio, if the image is trusted");
}

static void apply_whiteout(struct apply *ap, const struct path *p,
			   enum whiteout kind)
{
	uint32_t dir = tree_walk(ap->tree, path_dir(p), false, NULL);
	struct str name = path_name(p);
	uint32_t n = dir;

	/* Nothing there, nothing to hide. */
	if (!dir)
		return;
	if (kind == WHITEOUT_NAME) {
		name.p += WHITEOUT_PREFIX.len;
		name.len -= WHITEOUT_PREFIX.len;
		n = tree_lookup(ap->tree, dir, name);
	}
	if (n)
		tree_purge(ap->tree, n, kind == WHITEOUT_OPAQUE);
}

static int apply_entry(struct apply *ap, struct archive_entry *entry,
		       struct err *e)
{
	const char *raw = archive_entry_pathname(entry);
	enum whiteout kind;
	struct path path;

	if (!raw || !*raw)
		return err_set(e, EINVAL, "an entry has no name");
	if (check_header(ap, e) < 0 || path_clean(&path, raw, e) < 0 ||
	    count(ap, entry, e) < 0 || path_whiteout(&path, &kind, e) < 0)
		return -e->num;
	if (kind == WHITEOUT_IGNORE)
		return 0;
	if (kind != WHITEOUT_NONE)
		apply_whiteout(ap, &path, kind);
	else if (entry_put(ap->tree, ap->space, ap->archive, entry, &path, e) <
		 0)
		return -e->num;
	if (ap->freeing.num)
		*e = ap->freeing;
	return -e->num;
}

/* Warnings of libarchive's are about things that it then left out, and errors
 * here; but that a name is not in the character set of the locale is none: then
 * it hands out the very bytes, which is what is wanted. */
static bool harmless(struct archive *a)
{
	const char *text = archive_error_string(a);

	return text && strstr(text, "can't be converted");
}

/* The next entry.  1, 0 at the end, or -errno. */
static int next(struct apply *ap, struct archive_entry **entry, struct err *e)
{
	const char *text;
	int r;

	ap->between = true;
	r = archive_read_next_header(ap->archive, entry);
	ap->between = false;
	if (r == ARCHIVE_EOF)
		return 0;
	if (r == ARCHIVE_OK || (r == ARCHIVE_WARN && harmless(ap->archive)))
		return 1;
	text = archive_error_string(ap->archive);
	return err_set(e, EBADMSG, "damaged tar: %s",
		       text ? text : "no reason");
}

static void show(struct apply *ap)
{
	if (ap->progress && ap->entries % PROGRESS_EVERY == 0)
		progress_update(ap->progress, stream_taken(ap->stream));
}

static int apply_entries(struct apply *ap, struct err *e)
{
	struct archive_entry *entry;
	int r;

	while ((r = next(ap, &entry, e)) > 0) {
		r = apply_entry(ap, entry, e);
		if (r < 0) {
			const char *raw = archive_entry_pathname(entry);
			char name[SHOWN_ROOM];

			if (r == -ECANCELED)
				err_set(e, EBADMSG, "damaged tar: %s",
					archive_error_string(ap->archive));
			return err_in(e, "%s", printable(raw, name));
		}
		show(ap);
	}
	return r;
}

/* ---- layers ------------------------------------------------------------ */

static struct archive *open_tar(struct apply *ap)
{
	__attribute__((cleanup(archive_auto_free))) struct archive *a =
		archive_read_new();

	if (!a || archive_read_support_format_tar(a) != ARCHIVE_OK ||
	    archive_read_support_format_empty(a) != ARCHIVE_OK ||
	    archive_read_set_read_callback(a, feed) != ARCHIVE_OK ||
	    archive_read_set_callback_data(a, ap) != ARCHIVE_OK)
		return NULL;
	return ptr_steal(&a);
}

static int apply_layer(struct apply *ap, struct err *e)
{
	__attribute__((cleanup(archive_auto_free))) struct archive *a =
		open_tar(ap);
	int r;

	if (!a)
		return err_sys(e, ENOMEM, "cannot read a tar");
	ap->archive = a;
	ap->block = ap->last = (struct block){ .len = 0 };
	ap->block_at = ap->of_layer = 0;
	ap->ended = false;
	if (archive_read_open1(a) != ARCHIVE_OK)
		return err_set(e, EBADMSG, "damaged tar: %s",
			       archive_error_string(a));
	r = apply_entries(ap, e);
	if (r == 0 && drain(ap) < 0)
		r = err_set(e, EBADMSG, "cannot unpack");
	return r;
}

static int apply_all(struct apply *ap, size_t n, struct err *e)
{
	for (ap->layer = 0; ap->layer < n; ap->layer++) {
		ap->tree->layer = (uint16_t)(ap->layer + 1);
		if (apply_layer(ap, e) == 0)
			continue;
		/* If the stream failed, what followed is of no interest. */
		if (stream_error(ap->stream, e))
			return -e->num;
		return err_in(e, "layer %zu (%s)", ap->layer + 1,
			      ap->layers[ap->layer].name);
	}
	return stream_finish(ap->stream, e);
}

/* The last name of a file is gone: its blocks are free. */
static void gone(void *arg, const struct inode *i)
{
	struct apply *ap = arg;

	if (S_ISREG(i->mode) && i->size)
		space_put(ap->space, i->block, i->size, &ap->freeing);
}

static void apply_free(struct apply *ap)
{
	stream_stop(&ap->stream);
	ap->tree->gone = NULL;
	ap->tree->gone_arg = NULL;
}

int apply_layers(struct tree *t, struct space *s, const struct layer *v,
		 size_t n, struct progress *progress, struct apply_stats *stats,
		 struct err *e)
{
	__attribute__((cleanup(apply_free))) struct apply ap = {
		.layers = v, .progress = progress, .tree = t, .space = s
	};
	int r;

	t->gone = gone;
	/* cppcheck-suppress autoVariables ; apply_free() takes it back */
	t->gone_arg = &ap;
	ap.stream = stream_start(v, n, t->limits, e);
	if (!ap.stream)
		return -e->num;
	r = apply_all(&ap, n, e);
	*stats = (struct apply_stats){ ap.entries, stream_given(ap.stream) };
	return r;
}
