/* SPDX-License-Identifier: MIT
 *
 * $ISO_ROOT/rootfs: see build.h.
 *
 * The file is made in .tmp.HEX and renamed when it is on the disk.  The record
 * comes last and vouches for it; when a file is replaced, the old record goes
 * away first.  So whenever the power fails, what has a record is whole.
 *
 * Readers take no lock.  .lock.HEX is removed by who held it, so whoever gets
 * the lock looks whether it is still the file of that name.
 */
#include "rootfs/build.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/progress.h"
#include "base/str.h"
#include "rootfs/apply.h"
#include "rootfs/erofs.h"
#include "rootfs/image.h"
#include "rootfs/pack.h"
#include "rootfs/record.h"
#include "rootfs/space.h"
#include "rootfs/tree.h"

#define LOCK_PREFIX ".lock."
#define TMP_PREFIX ".tmp."
#define NAME_ROOM (sizeof(LOCK_PREFIX) + SHA256_HEX + 8)
#define SWEEP_TRIES 100

struct build {
	const struct build_spec *spec;
	const struct image *image;
	const char *hex;    /* digits of the manifest's digest */
	char *path;	    /* owned: $ISO_ROOT/rootfs */
	char *tmp_path;	    /* owned: its .tmp.HEX */
	int dir, lock, tmp; /* of path, of .lock.HEX, of tmp_path */
	struct record_facts facts;
	char mkfs[PACK_VERSION_MAX];
};

/* ---- locks and leftovers ----------------------------------------------- */

/* The lock of @hex: a descriptor; -EWOULDBLOCK without @wait. */
static int lock_get(int dir, const char *hex, bool wait, struct err *e)
{
	char name[NAME_ROOM];
	struct stat mine, named;

	snprintf(name, sizeof(name), LOCK_PREFIX "%s", hex);
	for (;;) {
		int fd = io_lock(dir, name, wait, e);

		if (fd < 0)
			return fd;
		if (fstat(fd, &mine) == 0 &&
		    fstatat(dir, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
		    mine.st_ino == named.st_ino)
			return fd;
		close(fd);
	}
}

static void lock_put(int dir, const char *hex, int *fd)
{
	char name[NAME_ROOM];

	if (*fd < 0)
		return;
	snprintf(name, sizeof(name), LOCK_PREFIX "%s", hex);
	unlinkat(dir, name, 0);
	fd_close(fd);
}

/* A killed run's mkfs.erofs may die a moment after the lock is free. */
static int remove_tmp(int dir, const char *hex, struct err *e)
{
	char name[NAME_ROOM];
	int tries = 0, r;

	snprintf(name, sizeof(name), TMP_PREFIX "%s", hex);
	do {
		r = io_remove_tree(dir, name, e);
	} while (r == -ENOTEMPTY && ++tries < SWEEP_TRIES);
	return r;
}

/* What runs of other images left that were killed. */
static void sweep(int dir, const char *but)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;

	while (stream && (d = readdir(stream))) {
		struct str s = str_of(d->d_name);
		const char *hex;
		int lock;

		if (str_starts(s, STR(TMP_PREFIX)))
			hex = d->d_name + strlen(TMP_PREFIX);
		else if (str_starts(s, STR(LOCK_PREFIX)))
			hex = d->d_name + strlen(LOCK_PREFIX);
		else
			continue;
		if (strlen(hex) != SHA256_HEX - 1 || strcmp(hex, but) == 0)
			continue;
		lock = lock_get(dir, hex, false, NULL);
		if (lock < 0)
			continue;
		remove_tmp(dir, hex, NULL);
		lock_put(dir, hex, &lock);
	}
	if (stream)
		closedir(stream);
	else
		fd_close(&fd);
}

/* ---- the work ---------------------------------------------------------- */

static void begin(const struct build *b, const char *what, uint64_t total)
{
	if (b->spec->progress)
		progress_begin(b->spec->progress, what, total);
}

static void end(const struct build *b, bool good)
{
	if (b->spec->progress)
		progress_end(b->spec->progress, good);
}

/* A tenth of what is free stays free. */
static int fit_limits(const struct build *b, struct limits *l, struct err *e)
{
	struct statvfs v;
	uint64_t room;

	*l = b->spec->limits;
	if (fstatvfs(b->dir, &v) < 0)
		return err_sys(e, errno, "cannot look at %s", b->path);
	room = (uint64_t)v.f_bavail * v.f_frsize / 10 * 9;
	if (room < l->bytes)
		l->bytes = room;
	return 0;
}

static int write_image(struct build *b, struct tree *t, struct space *s,
		       struct err *e)
{
	const struct image *i = b->image;
	struct apply_stats stats;
	int r;

	begin(b, "unpacking", i->size);
	r = apply_layers(t, s, i->layers, i->nlayers, b->spec->progress, &stats,
			 e);
	end(b, r == 0);
	if (r < 0)
		return r;
	b->facts.entries = stats.entries;
	b->facts.bytes = stats.bytes;
	return erofs_write(t, s, b->hex, &b->facts.size, e);
}

/* The plain file system, in the file "image". */
static int make_image(struct build *b, struct err *e)
{
	fd_auto int fd = openat(b->tmp, "image",
				O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	space_auto struct space s = SPACE_INIT(fd);
	tree_auto struct tree t;
	struct limits limits;
	int r;

	memset(&t, 0, sizeof(t));
	if (fd < 0)
		return err_sys(e, errno, "cannot make %s/image", b->tmp_path);
	r = fit_limits(b, &limits, e);
	if (r == 0)
		r = tree_init(&t, &limits, b->tmp, e);
	return r < 0 ? r : write_image(b, &t, &s, e);
}

/* The compressed one takes its place. */
static int pack_image(struct build *b, struct err *e)
{
	struct stat st;
	int r;

	begin(b, "compressing", 0);
	r = pack_erofs(b->tmp_path, b->hex, b->mkfs, e);
	end(b, r == 0);
	if (r < 0)
		return r;
	if (renameat(b->tmp, "packed", b->tmp, "image") < 0 ||
	    fstatat(b->tmp, "image", &st, 0) < 0)
		return err_sys(e, errno, "cannot take the compressed image");
	b->facts.mkfs = b->mkfs;
	b->facts.packed = true;
	b->facts.size = ((uint64_t)st.st_size + EROFS_ALIGN - 1) &
			~(EROFS_ALIGN - 1);
	return 0;
}

/* Pad, hash and write to the disk. */
static int seal(struct build *b, struct err *e)
{
	fd_auto int fd = openat(b->tmp, "image", O_RDWR | O_CLOEXEC);
	int r;

	if (fd < 0 || fchmod(fd, 0644) < 0 ||
	    ftruncate(fd, (off_t)b->facts.size) < 0)
		return err_sys(e, errno, "cannot finish the file system");
	/* Off to the disk while it is being hashed. */
	sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	r = sha256_file(b->tmp, "image", b->facts.sha256, e);
	if (r < 0)
		return r;
	return fsync(fd) < 0 ?
		       err_sys(e, errno, "cannot write the file system") :
		       0;
}

static int put(struct build *b, const char *from, const char *suffix,
	       struct err *e)
{
	char name[NAME_ROOM];
	int r;

	snprintf(name, sizeof(name), "%s%s", b->hex, suffix);
	if (renameat(b->tmp, from, b->dir, name) < 0)
		return err_sys(e, errno, "cannot make %s/%s", b->path, name);
	r = fsync(b->dir);
	return r < 0 ? err_sys(e, errno, "cannot sync %s", b->path) : 0;
}

static int commit(struct build *b, const json_t *record, struct err *e)
{
	char name[NAME_ROOM];
	int r = record_write(b->tmp, "record", record, e);

	if (r < 0)
		return r;
	snprintf(name, sizeof(name), "%s.json", b->hex);
	if (unlinkat(b->dir, name, 0) == 0 && fsync(b->dir) < 0)
		return err_sys(e, errno, "cannot sync %s", b->path);
	r = put(b, "image", ".erofs", e);
	return r < 0 ? r : put(b, "record", ".json", e);
}

static int make(struct build *b, json_t **record, struct err *e)
{
	int r = remove_tmp(b->dir, b->hex, e);

	if (r < 0)
		return r;
	if (mkdir(b->tmp_path, 0700) < 0)
		return err_sys(e, errno, "cannot make %s", b->tmp_path);
	b->tmp = open(b->tmp_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (b->tmp < 0)
		return err_sys(e, errno, "cannot open %s", b->tmp_path);
	r = make_image(b, e);
	if (r == 0 && b->spec->packed)
		r = pack_image(b, e);
	if (r == 0)
		r = seal(b, e);
	if (r < 0)
		return r;
	*record = record_make(b->image, &b->facts);
	return *record ? commit(b, *record, e) :
			 err_sys(e, ENOMEM, "cannot write a record");
}

/* ---- once -------------------------------------------------------------- */

static int open_rootfs(struct build *b, struct err *e)
{
	b->path = str_path(b->spec->root, "rootfs");
	b->tmp_path =
		b->path ? str_printf("%s/" TMP_PREFIX "%s", b->path, b->hex) :
			  NULL;
	if (!b->tmp_path)
		return err_sys(e, ENOMEM, "cannot make a root file system");
	if (io_mkdirs(b->path, 0755, e) < 0)
		return -e->num;
	b->dir = open(b->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return b->dir < 0 ? err_sys(e, errno, "cannot open %s", b->path) : 0;
}

static int lock_rootfs(struct build *b, struct err *e)
{
	b->lock = lock_get(b->dir, b->hex, false, e);
	if (b->lock == -EWOULDBLOCK) {
		if (b->spec->waiting)
			b->spec->waiting();
		b->lock = lock_get(b->dir, b->hex, true, e);
	}
	return b->lock < 0 ? err_in(e, "%s", b->path) : 0;
}

static void build_free(struct build *b)
{
	if (b->lock >= 0) {
		remove_tmp(b->dir, b->hex, NULL);
		lock_put(b->dir, b->hex, &b->lock);
	}
	fd_close(&b->tmp);
	fd_close(&b->dir);
	mem_free(&b->path);
	mem_free(&b->tmp_path);
}

static int build_once(struct build *b, struct built *out, struct err *e)
{
	const struct build_spec *s = b->spec;
	int r = open_rootfs(b, e);

	if (r < 0)
		return r;
	out->path = str_printf("%s/%s.erofs", b->path, b->hex);
	if (!out->path)
		return err_sys(e, ENOMEM, "cannot make a root file system");
	if (!s->again)
		out->record = record_load(b->dir, b->hex, s->packed);
	if (!out->record) {
		r = lock_rootfs(b, e);
		if (r < 0)
			return r;
		sweep(b->dir, b->hex);
		if (!s->again)
			out->record = record_load(b->dir, b->hex, s->packed);
	}
	out->had = out->record != NULL;
	return out->had ? 0 : make(b, &out->record, e);
}

int build_rootfs(const struct build_spec *s, struct built *out, struct err *e)
{
	image_auto struct image i = IMAGE_INIT;
	__attribute__((cleanup(build_free))) struct build b = {
		.spec = s, .image = &i, .dir = -1, .lock = -1, .tmp = -1
	};
	int r = image_open(&i, s->root, s->image, e);

	if (r < 0)
		return r;
	b.hex = digest_hex(&i.digest);
	return build_once(&b, out, e);
}

void built_free(struct built *b)
{
	mem_free(&b->path);
	json_decref(b->record);
	b->record = NULL;
}
