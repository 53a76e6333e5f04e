/* SPDX-License-Identifier: MIT
 *
 * The run directory: see rundir.h.
 *
 * An index file with all sandboxes in it would be read faster, and would be a
 * second truth that a crash makes a lie of; a directory entry is made and
 * unmade by the kernel in one piece.
 */
#include "sandbox/rundir.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "sandbox/box.h"
#include "sandbox/cgroup.h"

#define BOOT ".boot."
#define GONE ".gone."
#define NAMES ".names"
#define NAME_ROOM (sizeof(NAMES "/") + NAME_SIZE)

/* ---- the directory ------------------------------------------------------ */

int rundir_open(struct rundir *d, const char *root, bool make, struct err *e)
{
	int r;

	d->path = str_path(root, "run");
	if (!d->path)
		return err_sys(e, ENOMEM, "cannot open %s", root);
	if (make) {
		mem_auto char *names = str_path(d->path, NAMES);

		r = names ? io_mkdirs(names, 0755, e) :
			    err_sys(e, ENOMEM, "cannot open %s", d->path);
		if (r < 0)
			return r == -EACCES || r == -EROFS ?
				       err_fix(e, "as root, or set ISO_ROOT to "
						  "a directory of yours") :
				       r;
	}
	d->dir = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->dir < 0 && (make || errno != ENOENT))
		return err_sys(e, errno, "cannot open %s", d->path);
	return 0;
}

void rundir_free(struct rundir *d)
{
	mem_free(&d->path);
	fd_close(&d->dir);
}

static int lock(const struct rundir *d, struct err *e)
{
	int fd = io_lock(d->dir, ".lock", true, e);

	return fd < 0 ? err_in(e, "%s", d->path) : fd;
}

/* ---- entries ------------------------------------------------------------ */

struct ids {
	char (*v)[ID_SIZE + 8]; /* owned */
	size_t n, room;
};

#define ids_auto __attribute__((cleanup(ids_free)))

static void ids_free(struct ids *l)
{
	mem_free(&l->v);
}

static int ids_add(struct ids *l, const char *entry)
{
	if (l->n == l->room) {
		size_t room = l->room ? 2 * l->room : 64;
		void *v = reallocarray(l->v, room, sizeof(*l->v));

		if (!v)
			return -ENOMEM;
		l->v = v;
		l->room = room;
	}
	snprintf(l->v[l->n++], sizeof(*l->v), "%.*s", (int)sizeof(*l->v) - 1,
		 entry);
	return 0;
}

static const char *without(const char *entry, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(entry, prefix, n) == 0 ? entry + n : NULL;
}

/* The id that an entry is about, or NULL: not ours. */
static const char *id_of(const char *entry)
{
	const char *id = entry;

	if (entry[0] == '.')
		id = without(entry, BOOT) ? without(entry, BOOT) :
					    without(entry, GONE);
	return id && id_is(str_of(id)) ? id : NULL;
}

/* All entries about sandboxes, read before anything is done with them: what
 * is done may remove some. */
static int list(const struct rundir *d, struct ids *l, struct err *e)
{
	int fd = openat(d->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *n;
	int r = 0;

	if (!stream) {
		err_sys(e, errno, "cannot read %s", d->path);
		fd_close(&fd);
		return e ? -e->num : -EIO;
	}
	while (r == 0 && (n = readdir(stream))) {
		if (id_of(n->d_name))
			r = ids_add(l, n->d_name);
	}
	closedir(stream);
	return r < 0 ? err_sys(e, -r, "cannot read %s", d->path) : 0;
}

int rundir_each(const struct rundir *d, bool starting,
		int (*fn)(const struct rundir *d, const char *id, bool starting,
			  void *arg),
		void *arg, struct err *e)
{
	ids_auto struct ids l = { .v = NULL };
	int r = d->dir < 0 ? 0 : list(d, &l, e);
	size_t i;

	for (i = 0; r == 0 && i < l.n; i++) {
		const char *booting = without(l.v[i], BOOT);

		if (l.v[i][0] != '.')
			r = fn(d, l.v[i], false, arg);
		else if (starting && booting)
			r = fn(d, booting, true, arg);
	}
	return r;
}

/* ---- names -------------------------------------------------------------- */

static void name_path(char path[static NAME_ROOM], const char *name)
{
	snprintf(path, NAME_ROOM, NAMES "/%s", name);
}

bool rundir_named(const struct rundir *d, const char *name,
		  char id[static ID_SIZE])
{
	char path[NAME_ROOM];
	ssize_t n;

	name_path(path, name);
	n = readlinkat(d->dir, path, id, ID_SIZE);
	if (n != ID_SIZE - 1)
		return false;
	id[n] = '\0';
	return id_is(str_of(id));
}

static bool exists(const struct rundir *d, const char *id)
{
	char entry[ID_SIZE + 8];

	snprintf(entry, sizeof(entry), BOOT "%s", id);
	return faccessat(d->dir, id, F_OK, AT_SYMLINK_NOFOLLOW) == 0 ||
	       faccessat(d->dir, entry, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Under the lock, or two would take over a dead one's name. */
static int name_claim(const struct rundir *d, const char *name, const char *id,
		      struct err *e)
{
	char path[NAME_ROOM], other[ID_SIZE];

	name_path(path, name);
	if (symlinkat(id, d->dir, path) == 0)
		return 0;
	if (errno != EEXIST)
		return err_sys(e, errno, "cannot make %s/%s", d->path, path);
	if (rundir_named(d, name, other) && exists(d, other)) {
		err_set(e, EEXIST, "the name '%s' is that of %s", name, other);
		return err_fix(e, "another name, or iso-rm %s", name);
	}
	if (unlinkat(d->dir, path, 0) < 0 || symlinkat(id, d->dir, path) < 0)
		return err_sys(e, errno, "cannot make %s/%s", d->path, path);
	return 0;
}

/* Call @fn with each name until it returns true. */
static bool each_name(const struct rundir *d,
		      bool (*fn)(const struct rundir *d, const char *name,
				 const char *id, void *arg),
		      void *arg)
{
	int fd = openat(d->dir, NAMES, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	char id[ID_SIZE];
	struct dirent *n;
	bool found = false;

	while (!found && stream && (n = readdir(stream))) {
		if (str_is_name(str_of(n->d_name)) &&
		    rundir_named(d, n->d_name, id))
			found = fn(d, n->d_name, id, arg);
	}
	if (stream)
		closedir(stream);
	else
		fd_close(&fd);
	return found;
}

struct name_find {
	const char *id;
	char *name;
};

static bool name_is_of(const struct rundir *d, const char *name, const char *id,
		       void *arg)
{
	struct name_find *f = arg;

	(void)d;
	if (strcmp(id, f->id) != 0)
		return false;
	snprintf(f->name, NAME_SIZE, "%s", name);
	return true;
}

void rundir_name_of(const struct rundir *d, const char *id,
		    char name[static NAME_SIZE])
{
	struct name_find f = { id, name };

	name[0] = '\0';
	each_name(d, name_is_of, &f);
}

static bool name_sweep(const struct rundir *d, const char *name, const char *id,
		       void *arg)
{
	char path[NAME_ROOM];

	(void)arg;
	name_path(path, name);
	if (!exists(d, id))
		unlinkat(d->dir, path, 0);
	return false;
}

/* ---- making and removing ------------------------------------------------ */

int rundir_make(const struct rundir *d, const char *name, struct box *b,
		struct err *e)
{
	fd_auto int held = -1;
	int r = name ? id_check_name(name, e) : 0;

	if (r == 0)
		r = id_make(b->id, e);
	if (r < 0)
		return r;
	snprintf(b->entry, sizeof(b->entry), BOOT "%s", b->id);
	held = lock(d, e);
	if (held < 0)
		return held;
	if (mkdirat(d->dir, b->entry, 0700) < 0)
		return err_sys(e, errno, "cannot make %s/%s", d->path,
			       b->entry);
	r = box_open(b, d->dir, b->entry, e);
	if (r == 0 && flock(b->dir, LOCK_EX | LOCK_NB) < 0)
		r = err_sys(e, errno, "cannot lock %s/%s", d->path, b->entry);
	if (r == 0 && name)
		r = name_claim(d, name, b->id, e);
	if (r < 0)
		unlinkat(d->dir, b->entry, AT_REMOVEDIR);
	return r;
}

int rundir_make_again(const struct rundir *d, const char *id, struct box *b,
		      struct err *e)
{
	fd_auto int held = lock(d, e);
	int r;

	if (held < 0)
		return held;
	memcpy(b->id, id, ID_SIZE);
	snprintf(b->entry, sizeof(b->entry), BOOT "%s", id);
	if (mkdirat(d->dir, b->entry, 0700) < 0)
		return errno == EEXIST ?
			       err_set(e, EBUSY,
				       "%s is just being restored by another "
				       "program",
				       id) :
			       err_sys(e, errno, "cannot make %s/%s", d->path,
				       b->entry);
	r = box_open(b, d->dir, b->entry, e);
	if (r == 0 && flock(b->dir, LOCK_EX | LOCK_NB) < 0)
		r = err_sys(e, errno, "cannot lock %s/%s", d->path, b->entry);
	if (r < 0)
		unlinkat(d->dir, b->entry, AT_REMOVEDIR);
	return r;
}

/* What had its name now has ours, which is that of a leftover: whoever comes
 * first removes it. */
static void remove_replaced(const struct rundir *d, const char *entry)
{
	box_auto struct box old = BOX_INIT;

	if (box_open(&old, d->dir, entry, NULL) == 0)
		rundir_remove(d, &old, NULL);
}

int rundir_commit(const struct rundir *d, struct box *b, struct err *e)
{
	char was[sizeof(b->entry)];
	int r = renameat2(d->dir, b->entry, d->dir, b->id, RENAME_NOREPLACE);
	bool replaces = r < 0 && errno == EEXIST;

	if (replaces)
		r = renameat2(d->dir, b->entry, d->dir, b->id, RENAME_EXCHANGE);
	if (r < 0)
		return err_sys(e, errno, "cannot make %s/%s", d->path, b->id);
	memcpy(was, b->entry, sizeof(was));
	snprintf(b->entry, sizeof(b->entry), "%s", b->id);
	flock(b->dir, LOCK_UN);
	if (replaces)
		remove_replaced(d, was);
	return 0;
}

/* Under .gone.ID, and locked by us, nobody else takes it for a sandbox.
 * -ENOENT: another was faster. */
static int doom(const struct rundir *d, struct box *b, struct err *e)
{
	char gone[ID_SIZE + 8];
	int r;

	do {
		r = flock(b->dir, LOCK_EX);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return err_sys(e, errno, "cannot lock %s/%s", d->path,
			       b->entry);
	snprintf(gone, sizeof(gone), GONE "%s", b->id);
	if (strcmp(b->entry, gone) == 0)
		return 0;
	if (renameat(d->dir, b->entry, d->dir, gone) < 0)
		return errno == ENOENT ?
			       -ENOENT :
			       err_sys(e, errno, "cannot remove %s/%s", d->path,
				       b->entry);
	memcpy(b->entry, gone, sizeof(gone));
	return 0;
}

/* The link too, if it still is this sandbox's: then only its remover may
 * touch it, for nobody else takes over the name of one that is there. */
static void unname(const struct rundir *d, const char *id)
{
	char name[NAME_SIZE], path[NAME_ROOM];
	fd_auto int held = lock(d, NULL);

	if (held < 0)
		return;
	rundir_name_of(d, id, name);
	if (!*name)
		return;
	name_path(path, name);
	unlinkat(d->dir, path, 0);
}

int rundir_remove(const struct rundir *d, struct box *b, struct err *e)
{
	int r = box_stop(b, clock_now(), e);

	if (r == 0)
		r = doom(d, b, e);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	/* Of two with one id, the other goes on with what belongs to that. */
	if (!exists(d, b->id)) {
		r = cgroup_remove(b->id);
		if (r < 0)
			return err_sys(e, -r, "cannot remove the cgroup of %s",
				       b->id);
		unname(d, b->id);
	}
	return io_remove_tree(d->dir, b->entry, e);
}

/* ---- sweeping ----------------------------------------------------------- */

/* Whether an entry is of no use to anybody any more. */
static bool is_left(const struct box *b)
{
	if (b->entry[0] != '.')
		return box_ended_idle(b);
	return flock(b->dir, LOCK_EX | LOCK_NB) == 0;
}

void rundir_sweep(const struct rundir *d)
{
	ids_auto struct ids l = { .v = NULL };
	fd_auto int names = -1;
	size_t i;

	if (d->dir < 0 || list(d, &l, NULL) < 0)
		return;
	for (i = 0; i < l.n; i++) {
		box_auto struct box b = BOX_INIT;
		fd_auto int held = -1;
		bool left;

		/* One that is being made is locked before this lock is free. */
		if (l.v[i][0] == '.')
			held = lock(d, NULL);
		if (box_open(&b, d->dir, l.v[i], NULL) < 0)
			continue;
		left = is_left(&b);
		fd_close(&held);
		if (left)
			rundir_remove(d, &b, NULL);
	}
	names = lock(d, NULL);
	if (names >= 0)
		each_name(d, name_sweep, NULL);
}
