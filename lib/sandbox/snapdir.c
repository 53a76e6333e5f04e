/* SPDX-License-Identifier: MIT
 *
 * The directory of snapshots: see snapdir.h.
 *
 * It is rundir.c's way of keeping things, and not its code: that a sandbox has
 * a monitor and a cgroup is half of what happens there.
 */
#include "sandbox/snapdir.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"

#define PREFIX_MIN 5 /* "snap" and a digit */
#define NAMES ".names"
#define NAME_ROOM (sizeof(NAMES "/") + SNAPSHOT_NAME_SIZE)
#define SHOWN_MAX 5 /* candidates that an error lists */

/* ---- the directory ------------------------------------------------------ */

int snapdir_open(struct snapdir *d, const char *root, bool make, struct err *e)
{
	int r;

	d->path = str_path(root, "snapshots");
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

void snapdir_free(struct snapdir *d)
{
	mem_free(&d->path);
	fd_close(&d->dir);
}

int snapdir_lock(const struct snapdir *d, struct err *e)
{
	int fd = io_lock(d->dir, ".lock", true, e);

	return fd < 0 ? err_in(e, "%s", d->path) : fd;
}

int snapdir_enter(const struct snapdir *d, struct snapshot *s,
		  const char *entry, struct err *e)
{
	const char *id = strrchr(entry, '.') ? strrchr(entry, '.') + 1 : entry;

	snapshot_free(s);
	s->path = str_path(d->path, entry);
	if (!s->path)
		return err_sys(e, ENOMEM, "cannot open %s/%s", d->path, entry);
	snprintf(s->id, sizeof(s->id), "%s", id);
	s->making = entry[0] == '.';
	s->dir = openat(d->dir, entry,
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return s->dir < 0 ? err_sys(e, errno, "cannot open %s", s->path) : 0;
}

/* ---- entries ------------------------------------------------------------ */

void snapids_free(struct snapids *l)
{
	mem_free(&l->v);
}

static int ids_add(struct snapids *l, const char *entry)
{
	if (l->n == l->room) {
		size_t room = l->room ? 2 * l->room : 64;
		void *v = reallocarray(l->v, room, sizeof(*l->v));

		if (!v)
			return -ENOMEM;
		l->v = v;
		l->room = room;
	}
	snprintf(l->v[l->n++], sizeof(*l->v), "%s", entry);
	return 0;
}

static bool is_prefix(struct str s)
{
	size_t i;

	if (s.len < PREFIX_MIN || s.len >= SNAPSHOT_ID_SIZE ||
	    !str_starts(s, STR(SNAPDIR_HEAD)))
		return false;
	for (i = strlen(SNAPDIR_HEAD); i < s.len; i++) {
		if (!(s.p[i] >= '0' && s.p[i] <= '9') &&
		    !(s.p[i] >= 'a' && s.p[i] <= 'f'))
			return false;
	}
	return true;
}

bool snapdir_is_id(struct str s)
{
	return s.len == SNAPSHOT_ID_SIZE - 1 && is_prefix(s);
}

int snapshot_check_name(const char *name, struct err *e)
{
	if (!str_is_name(str_of(name))) {
		err_set(e, EINVAL, "'%.80s' is not a name for a snapshot",
			name);
		return err_fix(e, "letters, digits, '.', '_', '-', at most 64, "
				  "the first no dot or dash");
	}
	if (is_prefix(str_of(name))) {
		err_set(e, EINVAL, "the name '%s' looks like an id", name);
		return err_fix(e, "one that is not 'snap' and digits");
	}
	return 0;
}

static bool is_ours(const char *entry)
{
	struct str s = str_of(entry);

	if (str_starts(s, STR(SNAPDIR_MAKE)) ||
	    str_starts(s, STR(SNAPDIR_GONE)))
		s = str_of(strrchr(entry, '.') + 1);
	return snapdir_is_id(s);
}

static int in_order(const void *a, const void *b)
{
	return strcmp(a, b);
}

int snapdir_list(const struct snapdir *d, struct snapids *l, struct err *e)
{
	int fd = openat(d->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *n;
	int r = 0;

	if (!stream) {
		r = err_sys(e, errno, "cannot read %s", d->path);
		fd_close(&fd);
		return r;
	}
	while (r == 0 && (n = readdir(stream))) {
		if (is_ours(n->d_name))
			r = ids_add(l, n->d_name);
	}
	closedir(stream);
	if (r < 0)
		return err_sys(e, -r, "cannot read %s", d->path);
	if (l->n)
		qsort(l->v, l->n, sizeof(*l->v), in_order);
	return 0;
}

/* ---- names -------------------------------------------------------------- */

static void name_path(char path[static NAME_ROOM], const char *name)
{
	snprintf(path, NAME_ROOM, NAMES "/%s", name);
}

/* The id that a name stands for, whether that snapshot is there or not. */
static bool name_read(const struct snapdir *d, const char *name,
		      char id[static SNAPSHOT_ID_SIZE])
{
	char path[NAME_ROOM];
	ssize_t n;

	name_path(path, name);
	n = readlinkat(d->dir, path, id, SNAPSHOT_ID_SIZE);
	if (n != SNAPSHOT_ID_SIZE - 1)
		return false;
	id[n] = '\0';
	return snapdir_is_id(str_of(id));
}

static bool exists(const struct snapdir *d, const char *id)
{
	return faccessat(d->dir, id, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int snapdir_name(const struct snapdir *d, const char *name, const char *id,
		 struct err *e)
{
	char path[NAME_ROOM], other[SNAPSHOT_ID_SIZE];

	name_path(path, name);
	if (symlinkat(id, d->dir, path) == 0)
		return 0;
	if (errno != EEXIST)
		return err_sys(e, errno, "cannot make %s/%s", d->path, path);
	if (name_read(d, name, other) && exists(d, other)) {
		err_set(e, EEXIST, "the name '%s' is that of %s", name, other);
		return err_fix(e, "another name, or iso-snap --delete %s",
			       name);
	}
	if (unlinkat(d->dir, path, 0) < 0 || symlinkat(id, d->dir, path) < 0)
		return err_sys(e, errno, "cannot make %s/%s", d->path, path);
	return 0;
}

/* Call @fn with each name until it returns true. */
static void each_name(const struct snapdir *d,
		      bool (*fn)(const struct snapdir *d, const char *name,
				 const char *id, void *arg),
		      void *arg)
{
	int fd = openat(d->dir, NAMES, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	char id[SNAPSHOT_ID_SIZE];
	struct dirent *n;
	bool found = false;

	while (!found && stream && (n = readdir(stream))) {
		if (str_is_name(str_of(n->d_name)) &&
		    name_read(d, n->d_name, id))
			found = fn(d, n->d_name, id, arg);
	}
	if (stream)
		closedir(stream);
	else
		fd_close(&fd);
}

struct name_find {
	const char *id;
	char *name;
};

static bool name_is_of(const struct snapdir *d, const char *name,
		       const char *id, void *arg)
{
	struct name_find *f = arg;

	(void)d;
	if (strcmp(id, f->id) != 0)
		return false;
	snprintf(f->name, SNAPSHOT_NAME_SIZE, "%s", name);
	return true;
}

void snapdir_name_of(const struct snapdir *d, const char *id,
		     char name[static SNAPSHOT_NAME_SIZE])
{
	struct name_find f = { id, name };

	name[0] = '\0';
	if (d->dir >= 0)
		each_name(d, name_is_of, &f);
}

void snapdir_unname(const struct snapdir *d, const char *id)
{
	char name[SNAPSHOT_NAME_SIZE], path[NAME_ROOM];

	snapdir_name_of(d, id, name);
	if (!*name)
		return;
	name_path(path, name);
	unlinkat(d->dir, path, 0);
}

static bool name_sweep(const struct snapdir *d, const char *name,
		       const char *id, void *arg)
{
	char path[NAME_ROOM];

	(void)arg;
	name_path(path, name);
	if (!exists(d, id))
		unlinkat(d->dir, path, 0);
	return false;
}

/* ---- finding ------------------------------------------------------------ */

static int not_found(const struct snapdir *d, const char *word, struct err *e)
{
	err_set(e, ENOENT, "no snapshot '%.64s' in %s", word, d->path);
	return err_fix(e, "iso-snap --list lists those that there are");
}

static int ambiguous(const char *word, const struct snapids *l, struct err *e)
{
	buf_auto struct buf b = BUF_INIT;
	size_t i;

	for (i = 0; i < l->n && i < SHOWN_MAX; i++)
		buf_printf(&b, "%s%s", i ? ", " : "", l->v[i]);
	if (i < l->n)
		buf_printf(&b, " and %zu more", l->n - i);
	err_set(e, ENOTUNIQ, "'%.64s' begins the ids of %zu snapshots: %s",
		word, l->n, buf_str(&b) ? buf_str(&b) : "");
	return err_fix(e, "more digits of the one that is meant");
}

static int by_prefix(const struct snapdir *d, const char *word,
		     char id[static SNAPSHOT_ID_SIZE], struct err *e)
{
	snapids_auto struct snapids all = { .v = NULL };
	snapids_auto struct snapids l = { .v = NULL };
	size_t i;
	int r;

	if (!is_prefix(str_of(word)))
		return not_found(d, word, e);
	r = snapdir_list(d, &all, e);
	for (i = 0; r == 0 && i < all.n; i++) {
		if (str_starts(str_of(all.v[i]), str_of(word)) &&
		    ids_add(&l, all.v[i]) < 0)
			r = err_sys(e, ENOMEM, "cannot read %s", d->path);
	}
	if (r < 0)
		return r;
	if (l.n != 1)
		return l.n ? ambiguous(word, &l, e) : not_found(d, word, e);
	memcpy(id, l.v[0], SNAPSHOT_ID_SIZE);
	return 0;
}

int snapdir_resolve(const struct snapdir *d, const char *word,
		    char id[static SNAPSHOT_ID_SIZE], struct err *e)
{
	int r = 0;

	if (d->dir < 0)
		return not_found(d, word, e);
	if (snapdir_is_id(str_of(word)))
		memcpy(id, word, SNAPSHOT_ID_SIZE);
	else if (!str_is_name(str_of(word)) || !name_read(d, word, id))
		r = by_prefix(d, word, id, e);
	if (r < 0)
		return r;
	return exists(d, id) ? 0 : not_found(d, word, e);
}

/* ---- sweeping ----------------------------------------------------------- */

static void sweep_entry(const struct snapdir *d, const char *entry)
{
	snapshot_auto struct snapshot s = SNAPSHOT_INIT;
	/* One that is being made is locked before this lock is free. */
	fd_auto int held = snapdir_lock(d, NULL);
	bool left;

	if (held < 0 || snapdir_enter(d, &s, entry, NULL) < 0)
		return;
	left = flock(s.dir, LOCK_EX | LOCK_NB) == 0;
	fd_close(&held);
	if (left)
		io_remove_tree(d->dir, entry, NULL);
}

void snapdir_sweep(const struct snapdir *d)
{
	snapids_auto struct snapids l = { .v = NULL };
	fd_auto int held = -1;
	size_t i;

	if (d->dir < 0 || snapdir_list(d, &l, NULL) < 0)
		return;
	for (i = 0; i < l.n && l.v[i][0] == '.'; i++)
		sweep_entry(d, l.v[i]);
	held = snapdir_lock(d, NULL);
	if (held < 0)
		return;
	io_sweep_tmp(d->path, NULL); /* of the key */
	each_name(d, name_sweep, NULL);
}
