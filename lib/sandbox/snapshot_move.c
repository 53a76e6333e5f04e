/* SPDX-License-Identifier: MIT
 *
 * Snapshots from host to host: see snapshot.h.
 *
 * As a tar archive that every tar can read (POSIX pax, sparse files as GNU tar
 * 1.0 has them): manifest.json, its digest (for the MAC says nothing to another
 * host), state, memory, scratch in a directory of the snapshot's id, and nothing
 * else.  What is read is that and no other tar: from
 * an archive by others come links, long names, files twice and a dozen ways to
 * say how long one is, all to be refused one by one.  libarchive, which reads
 * images and files here, was rejected also for its start, which is longer than
 * it takes to resume a sandbox with this program.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "sandbox/snapshot_parts.h"
#include "sandbox/snaptar.h"

#define DIGEST_FILE "manifest.sha256"
#define DIGEST_TAIL "  " MANIFEST_FILE "\n"
#define DIGEST_LINE (SNAPSHOT_HEX + sizeof(DIGEST_TAIL) - 1)

/* ---- out ---------------------------------------------------------------- */

static int export_file(const struct snapshot *s, enum snapshot_file f, int out,
		       struct err *e)
{
	const char *name = snapshot_file_names[f];
	fd_auto int fd = openat(s->dir, name,
				O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, errno, "cannot open %s/%s", s->path, name);
	return snaptar_put_sparse(out, s->id, name, fd, snapshot_size(s, f), e);
}

/* As sha256sum(1) writes it, and reads it. */
static int digest_line(struct str manifest, char line[static DIGEST_LINE])
{
	int r = snapsum_text(manifest, line);

	if (r == 0)
		memcpy(line + SNAPSHOT_HEX - 1, DIGEST_TAIL,
		       sizeof(DIGEST_TAIL));
	return r;
}

static int export_manifest(const struct snapshot *s, int out, struct err *e)
{
	mem_auto char *text = manifest_text(s->manifest, true);
	char line[DIGEST_LINE];
	int r;

	if (!text || digest_line(str_of(text), line) < 0)
		return err_sys(e, ENOMEM, "cannot export %s", s->id);
	r = snaptar_put(out, s->id, MANIFEST_FILE, text, strlen(text), e);
	return r < 0 ? r :
		       snaptar_put(out, s->id, DIGEST_FILE, line, strlen(line),
				   e);
}

int snapshot_export(const struct snapshot *s, const char *root, int fd,
		    struct err *e)
{
	int r = snapshot_is_verified(s) ? 0 : snapshot_verify(s, root, e);
	int f;

	if (r == 0)
		r = export_manifest(s, fd, e);
	for (f = 0; r == 0 && f < SNAPSHOT_FILES; f++)
		r = export_file(s, f, fd, e);
	return r < 0 ? r : snaptar_put_end(fd, e);
}

/* ---- in ----------------------------------------------------------------- */

static int import_digest(int in, const char *id, struct str manifest,
			 struct err *e)
{
	buf_auto struct buf t = BUF_INIT_MAX(DIGEST_LINE);
	char dir[SNAPSHOT_ID_SIZE], line[DIGEST_LINE];
	int r = snaptar_get(in, dir, DIGEST_FILE, &t, e);

	if (r < 0)
		return r;
	r = digest_line(manifest, line);
	if (r < 0)
		return err_sys(e, -r, "cannot read " MANIFEST_FILE);
	return strcmp(dir, id) == 0 &&
			       str_eq((struct str){ (char *)t.data, t.len },
				      str_of(line)) ?
		       0 :
		       err_set(e, EBADMSG,
			       MANIFEST_FILE " is damaged: not what its "
					     "digest says");
}

static int import_manifest(struct snapshot *s, int in, struct err *e)
{
	buf_auto struct buf t = BUF_INIT_MAX(MANIFEST_TEXT_MAX);
	char dir[SNAPSHOT_ID_SIZE];
	struct str text;
	int r = snaptar_get(in, dir, MANIFEST_FILE, &t, e);

	if (r < 0)
		return r;
	text = (struct str){ (const char *)t.data, t.len };
	r = import_digest(in, dir, text, e);
	if (r == 0)
		r = snapshot_parse(&s->manifest, text, dir, e);
	if (r == 0)
		memcpy(s->id, dir, sizeof(s->id));
	return r;
}

/* Whether this host's key made it; if not, and if that is no matter, it is
 * marked, and gets a MAC of ours in the end. */
static int import_trust(struct snapshot *s, const struct snapdir *d, bool trust,
			struct err *e)
{
	int r = snapsum_check_mac(d, s->manifest, e);

	if (r != -EBADMSG && r != -ENOENT)
		return r;
	if (!trust) {
		err_set(e, EPERM,
			"%s was not made on this host, or was changed since",
			s->id);
		return err_fix(e, "--trust, if you trust those who made it and "
				  "who brought it with a root shell here");
	}
	return json_object_set_new(s->manifest, "imported", json_true()) < 0 ?
		       err_sys(e, ENOMEM, "cannot import %s", s->id) :
		       0;
}

static int import_file(const struct snapshot *s, enum snapshot_file f, int in,
		       struct err *e)
{
	const char *name = snapshot_file_names[f];
	fd_auto int fd = openat(s->dir, name,
				O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0400);

	if (fd < 0)
		return err_sys(e, errno, "cannot make %s/%s", s->path, name);
	return snaptar_get_sparse(in, s->id, name, fd, snapshot_size(s, f), e);
}

static int import_files(struct snapshot *s, int in, struct err *e)
{
	int f, r = snapmake_rootfs(s, snapshot_config(s), e);

	for (f = 0; r == 0 && f < SNAPSHOT_FILES; f++)
		r = import_file(s, f, in, e);
	if (r == 0)
		r = snaptar_get_end(in, e);
	if (r == 0)
		r = snapmake_seal(s, e);
	return r < 0 ? r : snapsum_check_files(s, e);
}

/* snapmake_begin() frees what it is given before it fills it. */
static int begin(struct snapshot *s, const struct snapdir *d, struct err *e)
{
	json_t *manifest = ptr_steal(&s->manifest);
	int r = snapmake_begin(s, d, e);

	s->manifest = manifest;
	return r;
}

int snapshot_import(struct snapshot *s, const char *root, int fd, bool trust,
		    const char *name, struct err *e)
{
	snapdir_auto struct snapdir d = SNAPDIR_INIT;
	int r = name ? snapshot_check_name(name, e) : 0;

	snapshot_free(s);
	if (r == 0)
		r = snapdir_open(&d, root, true, e);
	if (r == 0)
		r = import_manifest(s, fd, e);
	if (r == 0)
		r = import_trust(s, &d, trust, e);
	if (r == 0)
		r = begin(s, &d, e);
	if (r < 0) {
		snapshot_free(s);
		return r;
	}
	r = import_files(s, fd, e);
	if (r == 0)
		r = snapmake_end(s, &d, name, e);
	if (r < 0)
		snapshot_drop(s);
	return r;
}
