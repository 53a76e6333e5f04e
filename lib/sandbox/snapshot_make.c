/* SPDX-License-Identifier: MIT
 *
 * Making and verifying snapshots: see snapshot.h.
 *
 * One rename makes it: what is in .make.ID is on disk before it, and whoever
 * dies earlier leaves what the next program sweeps.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "sandbox/id.h"
#include "sandbox/snapshot_parts.h"

#define NOTE "verified"

/* ---- beginning ---------------------------------------------------------- */

int snapmake_begin(struct snapshot *s, const struct snapdir *d, struct err *e)
{
	char entry[SNAPDIR_ENTRY];
	fd_auto int held = -1;
	int r;

	snapdir_sweep(d);
	held = snapdir_lock(d, e);
	if (held < 0)
		return held;
	snprintf(entry, sizeof(entry), SNAPDIR_MAKE "%s", s->id);
	if (faccessat(d->dir, s->id, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return err_set(e, EEXIST, "%s/%s is there", d->path, s->id);
	if (mkdirat(d->dir, entry, 0700) < 0)
		return err_sys(e, errno, "cannot make %s/%s", d->path, entry);
	r = snapdir_enter(d, s, entry, e);
	if (r == 0 && flock(s->dir, LOCK_EX | LOCK_NB) < 0)
		r = err_sys(e, errno, "cannot lock %s", s->path);
	if (r < 0) {
		unlinkat(d->dir, entry, AT_REMOVEDIR);
		snapshot_free(s);
	}
	return r;
}

int snapshot_make(struct snapshot *s, const char *root, struct err *e)
{
	snapdir_auto struct snapdir d = SNAPDIR_INIT;
	int r = snapdir_open(&d, root, true, e);

	memcpy(s->id, SNAPDIR_HEAD, strlen(SNAPDIR_HEAD));
	if (r == 0)
		r = id_random_hex(s->id + strlen(SNAPDIR_HEAD), 8, e);
	return r < 0 ? r : snapmake_begin(s, &d, e);
}

void snapshot_drop(struct snapshot *s)
{
	if (s->making && s->path)
		io_remove_tree(AT_FDCWD, s->path, NULL);
	snapshot_free(s);
}

/* ---- its parts ---------------------------------------------------------- */

int snapmake_rootfs(const struct snapshot *s, const json_t *config,
		    struct err *e)
{
	const char *name = manifest_rootfs(config);
	mem_auto char *to = name ? str_printf("../../rootfs/%s", name) : NULL;

	if (!name)
		return err_set(e, EINVAL,
			       "%s: its sandbox's configuration names no root "
			       "file system",
			       s->id);
	if (!to)
		return err_sys(e, ENOMEM, "cannot make %s/rootfs", s->path);
	return symlinkat(to, s->dir, "rootfs") < 0 ?
		       err_sys(e, errno, "cannot make %s/rootfs", s->path) :
		       0;
}

static int seal(const struct snapshot *s, const char *name)
{
	fd_auto int fd = openat(s->dir, name,
				O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	/* Where that works; and not without need, for it dates the file. */
	if ((st.st_mode & 07777) != 0400)
		fchmod(fd, 0400);
	return fsync(fd) < 0 ? -errno : 0;
}

int snapmake_seal(const struct snapshot *s, struct err *e)
{
	int f, r;

	for (f = 0; f < SNAPSHOT_FILES; f++) {
		r = seal(s, snapshot_file_names[f]);
		if (r < 0)
			return err_sys(e, -r, "cannot bring %s/%s to disk",
				       s->path, snapshot_file_names[f]);
	}
	return 0;
}

static int sum(const struct snapshot *s, enum snapshot_file f, struct err *e)
{
	fd_auto int fd = openat(s->dir, snapshot_file_names[f],
				O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	char hex[SNAPSHOT_HEX];
	struct stat st;
	int r = fd < 0 || fstat(fd, &st) < 0 ? -errno : 0;

	if (r == 0)
		r = snapsum_file(fd, (uint64_t)st.st_size, hex);
	if (r == 0)
		r = manifest_set_file(s->manifest, f, (uint64_t)st.st_size,
				      hex);
	return r < 0 ? err_sys(e, -r, "cannot read %s/%s", s->path,
			       snapshot_file_names[f]) :
		       0;
}

static int sum_all(const struct snapshot *s, struct err *e)
{
	int f, r = 0;

	for (f = 0; r == 0 && f < SNAPSHOT_FILES; f++)
		r = sum(s, f, e);
	return r;
}

static int put(const struct snapshot *s, const char *text)
{
	fd_auto int fd = openat(s->dir, MANIFEST_FILE,
				O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
	int r = fd < 0 ? -errno : io_write_full(fd, text, strlen(text));

	return r == 0 && fsync(fd) < 0 ? -errno : r;
}

/* The manifest, with its MAC, as a file. */
static int write_manifest(const struct snapshot *s, const struct snapdir *d,
			  struct err *e)
{
	mem_auto char *text = NULL;
	json_t *checked = NULL;
	char mac[SNAPSHOT_HEX];
	int r = snapsum_mac(d, true, s->manifest, mac, e);

	if (r < 0)
		return r;
	if (json_object_set_new(s->manifest, "mac", json_string(mac)) < 0 ||
	    !(text = manifest_text(s->manifest, true)))
		return err_sys(e, ENOMEM, "cannot write " MANIFEST_FILE);
	if (strlen(text) > MANIFEST_TEXT_MAX)
		return err_set(e, EFBIG, "%s: a manifest of more than %zu MiB",
			       s->id, MANIFEST_TEXT_MAX >> 20);
	/* Nothing is written that could not be read. */
	r = snapshot_parse(&checked, str_of(text), s->id, e);
	json_decref(checked);
	if (r < 0)
		return err_in(e, "%s", s->id);
	r = put(s, text);
	return r < 0 ? err_sys(e, -r, "cannot write %s/" MANIFEST_FILE,
			       s->path) :
		       0;
}

/* Not brought to disk: without it, or with half of it, the snapshot is as good
 * as one that nobody has verified. */
int snapmake_note(const struct snapshot *s, struct timespec since)
{
	buf_auto struct buf b = BUF_INIT_MAX(MANIFEST_TEXT_MAX + 4096);
	struct timespec last;
	int r = snapshot_note(s, &b, &last);
	fd_auto int fd = -1;

	if (r < 0)
		return r;
	if (!snapshot_is_before(last, since))
		return 0;
	fd = openat(s->dir, "." NOTE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
		    0400);
	if (fd < 0)
		return -errno;
	r = io_write_full(fd, b.data, b.len);
	if (r == 0 && renameat(s->dir, "." NOTE, s->dir, NOTE) < 0)
		r = -errno;
	return r;
}

/* ---- becoming one ------------------------------------------------------- */

static int publish(struct snapshot *s, const struct snapdir *d,
		   const char *name, struct err *e)
{
	mem_auto char *path = str_path(d->path, s->id);
	char entry[SNAPDIR_ENTRY];
	fd_auto int held = path ? snapdir_lock(d, e) :
				  err_sys(e, ENOMEM, "cannot make %s", s->id);
	int r;

	if (held < 0)
		return held;
	/* The name first: there is no snapshot that lacks its name. */
	r = name ? snapdir_name(d, name, s->id, e) : 0;
	if (r < 0)
		return r;
	snprintf(entry, sizeof(entry), SNAPDIR_MAKE "%s", s->id);
	if (renameat2(d->dir, entry, d->dir, s->id, RENAME_NOREPLACE) < 0) {
		r = err_sys(e, errno, "cannot make %s", path);
		snapdir_unname(d, s->id);
		return r;
	}
	mem_free(&s->path);
	s->path = ptr_steal(&path);
	s->making = false;
	flock(s->dir, LOCK_UN);
	return 0;
}

int snapmake_end(struct snapshot *s, const struct snapdir *d, const char *name,
		 struct err *e)
{
	int r = write_manifest(s, d, e);

	if (r < 0)
		return r;
	r = snapmake_note(s, snapshot_tick());
	if (r == 0 && fsync(s->dir) < 0)
		r = -errno;
	if (r < 0)
		return err_sys(e, -r, "cannot bring %s to disk", s->path);
	r = publish(s, d, name, e);
	if (r < 0)
		return r;
	if (name)
		io_sync_dir_of(d->dir, ".names/");
	/* It is there, and may not be after a power cut: no failure. */
	fsync(d->dir);
	return 0;
}

int snapshot_commit(struct snapshot *s, const char *root, const json_t *config,
		    const char *parent, const char *name, struct err *e)
{
	snapdir_auto struct snapdir d = SNAPDIR_INIT;
	int r = name ? snapshot_check_name(name, e) : 0;

	if (r == 0)
		r = snapdir_open(&d, root, true, e);
	if (r < 0)
		return r;
	json_decref(s->manifest);
	s->manifest = manifest_make(s->id, parent, (json_t *)(uintptr_t)config);
	if (!s->manifest)
		return err_sys(e, ENOMEM, "cannot make %s", s->path);
	/* First of all, for from here on iso-pull --prune spares it. */
	r = snapmake_rootfs(s, config, e);
	if (r == 0)
		r = snapmake_seal(s, e);
	if (r == 0)
		r = sum_all(s, e);
	return r < 0 ? r : snapmake_end(s, &d, name, e);
}

/* ---- verifying ---------------------------------------------------------- */

static int check_rootfs(const struct snapshot *s, struct err *e)
{
	const char *name = manifest_rootfs(snapshot_config(s));
	char to[128];
	ssize_t n = readlinkat(s->dir, "rootfs", to, sizeof(to) - 1);
	const char *slash;

	to[n < 0 ? 0 : n] = '\0';
	slash = strrchr(to, '/');
	if (name && strcmp(slash ? slash + 1 : to, name) == 0)
		return 0;
	err_set(e, EBADMSG, "%s: 'rootfs' is damaged: it does not lead to %s",
		s->id, name ? name : "a root file system");
	return err_fix(e, "iso-snap --delete %s", s->id);
}

/* Nothing that was changed meanwhile may pass for verified. */
static int check_files(const struct snapshot *s, struct err *e)
{
	buf_auto struct buf before = BUF_INIT, after = BUF_INIT;
	struct timespec since = snapshot_tick(), last;
	bool noted = snapshot_note(s, &before, &last) == 0;
	int r = snapsum_check_files(s, e);

	if (r < 0)
		return r;
	if (!noted || snapshot_note(s, &after, &last) < 0 ||
	    after.len != before.len ||
	    memcmp(after.data, before.data, after.len) != 0)
		return err_set(e, EBADMSG, "%s was changed while it was read",
			       s->id);
	r = snapmake_seal(s, e);
	if (r < 0)
		return r;
	/* Where it cannot be written, each verifies for itself. */
	snapmake_note(s, since);
	return 0;
}

int snapshot_verify(const struct snapshot *s, const char *root, struct err *e)
{
	snapdir_auto struct snapdir d = SNAPDIR_INIT;
	int r = snapdir_open(&d, root, false, e);

	if (r < 0)
		return r;
	if (!s->manifest)
		return err_set(e, EINVAL, "%s has no manifest", s->id);
	r = snapsum_check_mac(&d, s->manifest, e);
	if (r < 0)
		return err_in(e, "%s", s->id);
	r = check_rootfs(s, e);
	if (r == 0)
		r = check_files(s, e);
	return r;
}
