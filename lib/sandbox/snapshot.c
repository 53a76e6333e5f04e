/* SPDX-License-Identifier: MIT
 *
 * Snapshots as those see them who go on from one: see snapshot.h.
 *
 * To hash hundreds of megabytes before each restore would cost more than all
 * the rest of it, so what was verified once is noted, with what tells whether
 * it was changed since: nobody who can write the note could not also read the
 * key and make a MAC.  fs-verity, by which the kernel would check each page as
 * it is read, was rejected for now: XFS and tmpfs do not have it everywhere.
 */
#include "sandbox/snapshot.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "sandbox/snapshot_parts.h"

#define NOTE_MAX (MANIFEST_TEXT_MAX + 4096)

void snapshot_free(struct snapshot *s)
{
	mem_free(&s->path);
	fd_close(&s->dir);
	json_decref(s->manifest);
	s->manifest = NULL;
}

/* ---- finding ------------------------------------------------------------ */

static int read_manifest(struct snapshot *s, struct err *e)
{
	buf_auto struct buf t = BUF_INIT_MAX(MANIFEST_TEXT_MAX);
	int r = io_read_file(s->dir, MANIFEST_FILE, &t, e);

	if (r == 0)
		r = snapshot_parse(&s->manifest,
				   (struct str){ (const char *)t.data, t.len },
				   s->id, e);
	return r < 0 ? err_in(e, "%s", s->id) : 0;
}

static int locate(const struct snapdir *d, struct snapshot *s, const char *word,
		  struct err *e)
{
	char id[SNAPSHOT_ID_SIZE];
	int r = snapdir_resolve(d, word, id, e);

	return r < 0 ? r : snapdir_enter(d, s, id, e);
}

int snapshot_locate(struct snapshot *s, const char *root, const char *word,
		    struct err *e)
{
	snapdir_auto struct snapdir d = SNAPDIR_INIT;
	int r = snapdir_open(&d, root, false, e);

	return r < 0 ? r : locate(&d, s, word, e);
}

int snapshot_find(struct snapshot *s, const char *root, const char *word,
		  struct err *e)
{
	int r = snapshot_locate(s, root, word, e);

	return r < 0 ? r : read_manifest(s, e);
}

int snapshot_each(const char *root,
		  int (*fn)(const struct snapshot *s, void *arg), void *arg,
		  struct err *e)
{
	snapdir_auto struct snapdir d = SNAPDIR_INIT;
	snapids_auto struct snapids l = { .v = NULL };
	int r = snapdir_open(&d, root, false, e);
	size_t i;

	if (r < 0 || d.dir < 0)
		return r;
	snapdir_sweep(&d);
	r = snapdir_list(&d, &l, e);
	for (i = 0; r == 0 && i < l.n; i++) {
		snapshot_auto struct snapshot s = SNAPSHOT_INIT;

		/* It may have been deleted since it was listed. */
		if (l.v[i][0] == '.' || snapdir_enter(&d, &s, l.v[i], NULL) < 0)
			continue;
		read_manifest(&s, NULL);
		r = fn(&s, arg);
	}
	return r;
}

void snapshot_name_of(const char *root, const char *id,
		      char name[static SNAPSHOT_NAME_SIZE])
{
	snapdir_auto struct snapdir d = SNAPDIR_INIT;

	name[0] = '\0';
	if (snapdir_open(&d, root, false, NULL) == 0)
		snapdir_name_of(&d, id, name);
}

const json_t *snapshot_config(const struct snapshot *s)
{
	return json_object_get(s->manifest, "config");
}

/* ---- what it needs ------------------------------------------------------ */

int snapshot_rootfs(const struct snapshot *s, const char *root, char **path,
		    struct err *e)
{
	const json_t *config = snapshot_config(s);
	const char *name = manifest_rootfs(config);
	const char *image = json_string_value(json_object_get(config, "image"));
	mem_auto char *p = NULL;

	if (!name)
		return err_set(e, EINVAL, "%s has no manifest", s->id);
	p = str_printf("%s/rootfs/%s", root, name);
	if (!p)
		return err_sys(e, ENOMEM, "cannot open %s", name);
	if (access(p, F_OK) == 0) {
		*path = ptr_steal(&p);
		return 0;
	}
	if (errno != ENOENT)
		return err_sys(e, errno, "cannot open %s", p);
	err_set(e, ENOENT, "%s needs %s, which is not there", s->id, p);
	err_fix(e, "iso-pull and iso-mkrootfs of the image%s%.150s",
		image ? " " : "", image ? image : "");
	err_plain(e);
	return -ENOENT;
}

int snapshot_memory(const struct snapshot *s, struct err *e)
{
	fd_auto int fd = openat(s->dir, snapshot_file_names[SNAPSHOT_MEMORY],
				O_RDONLY | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC);
	struct stat st;
	int r;

	if (fd < 0)
		return err_sys(e, errno, "cannot open %s/memory", s->path);
	do {
		r = flock(fd, LOCK_SH);
	} while (r < 0 && errno == EINTR);
	if (r < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "cannot lock %s/memory", s->path);
	if (!st.st_nlink)
		return err_set(e, ENOENT, "%s has just been deleted", s->id);
	return fd_steal(&fd);
}

/* ---- whether it is as it was -------------------------------------------- */

struct timespec snapshot_tick(void)
{
	struct timespec t = { 0, 0 };

	clock_gettime(CLOCK_REALTIME_COARSE, &t);
	return t;
}

bool snapshot_is_before(struct timespec a, struct timespec b)
{
	return a.tv_sec < b.tv_sec ||
	       (a.tv_sec == b.tv_sec && a.tv_nsec < b.tv_nsec);
}

int snapshot_note(const struct snapshot *s, struct buf *b,
		  struct timespec *last)
{
	mem_auto char *manifest = manifest_text(s->manifest, true);
	struct stat st;
	int f;

	if (!manifest)
		return -ENOMEM;
	*last = (struct timespec){ 0, 0 };
	for (f = 0; f < SNAPSHOT_FILES; f++) {
		if (fstatat(s->dir, snapshot_file_names[f], &st,
			    AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
		if (!S_ISREG(st.st_mode))
			return -EINVAL;
		if (snapshot_is_before(*last, st.st_ctim))
			*last = st.st_ctim;
		buf_printf(b,
			   "%s inode %ju size %jd mtime %jd.%09ld ctime "
			   "%jd.%09ld\n",
			   snapshot_file_names[f], (uintmax_t)st.st_ino,
			   (intmax_t)st.st_size, (intmax_t)st.st_mtim.tv_sec,
			   st.st_mtim.tv_nsec, (intmax_t)st.st_ctim.tv_sec,
			   st.st_ctim.tv_nsec);
	}
	return buf_puts(b, manifest);
}

bool snapshot_is_verified(const struct snapshot *s)
{
	buf_auto struct buf then = BUF_INIT_MAX(NOTE_MAX);
	buf_auto struct buf now = BUF_INIT_MAX(NOTE_MAX);
	struct timespec last;

	return s->manifest && snapshot_note(s, &now, &last) == 0 &&
	       io_read_file(s->dir, "verified", &then, NULL) == 0 &&
	       then.len == now.len && memcmp(then.data, now.data, now.len) == 0;
}
