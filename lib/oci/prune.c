/* SPDX-License-Identifier: MIT
 *
 * Garbage: see store.h.
 *
 * Mark and sweep, from index.json through indexes, manifests and whatever they
 * name.  Counting references instead would want a second record that can
 * disagree with the first.  A document that cannot be read ends the run before
 * anything is removed: what it names is not known.  Snapshots name root file
 * systems too, by links, those that are being made among them.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "oci/json.h"
#include "oci/store.h"

/* Indexes of indexes; the specification sets no end. */
#define DEPTH_MAX 8

struct prune {
	struct images *s;
	json_t *keep; /* a set: the keys are digits of digests */
	struct prune_report *report;
	struct err *e;
};

/* ---- mark -------------------------------------------------------------- */

static int mark(struct prune *p, const json_t *desc, int depth);

static int mark_list(struct prune *p, const json_t *list, int depth)
{
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < json_array_size(list); i++)
		r = mark(p, json_array_get(list, i), depth);
	return r;
}

static int mark_document(struct prune *p, const struct desc *d, int depth)
{
	buf_auto struct buf b = BUF_INIT_MAX(MANIFEST_MAX);
	json_auto json_t *o = NULL;
	int r = images_read(p->s, d, &b, p->e);

	/* An index may name images for other machines that nobody pulled. */
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	if (depth >= DEPTH_MAX)
		return err_set(p->e, ELOOP, "%s: indexes nested deeper than %d",
			       d->digest.text, DEPTH_MAX);
	o = json_object_of((struct str){ (const char *)b.data, b.len },
			   d->digest.text, p->e);
	if (!o)
		return -EBADMSG;
	r = mark_list(p, json_object_get(o, "manifests"), depth + 1);
	if (r == 0)
		r = mark_list(p, json_object_get(o, "layers"), depth + 1);
	return r < 0 ? r : mark(p, json_object_get(o, "config"), depth + 1);
}

static int mark(struct prune *p, const json_t *desc, int depth)
{
	const char *type = json_text(desc, "mediaType", "", NULL);
	const char *digest = json_text(desc, "digest", "", NULL);
	struct desc d = { .size = 0 };

	if (!type || !digest ||
	    digest_parse(&d.digest, str_of(digest), "", NULL) < 0)
		return 0;
	if (json_object_get(p->keep, digest_hex(&d.digest)))
		return 0;
	if (json_object_set_new(p->keep, digest_hex(&d.digest), json_true()))
		return err_sys(p->e, ENOMEM, "cannot look for garbage");
	d.media = media_of(str_of(type));
	if (d.media != MEDIA_INDEX && d.media != MEDIA_MANIFEST)
		return 0;
	return mark_document(p, &d, depth);
}

static int mark_all(struct prune *p)
{
	buf_auto struct buf b = BUF_INIT_MAX(MANIFEST_MAX);
	json_auto json_t *o = NULL;
	int r = io_read_file(p->s->dir, "index.json", &b, p->e);

	if (r < 0)
		return r;
	o = json_object_of((struct str){ (const char *)b.data, b.len },
			   "index.json", p->e);
	if (!o)
		return -EBADMSG;
	return mark_list(p, json_object_get(o, "manifests"), 0);
}

/* The image whose root file system the link @path leads to. */
static int mark_link(struct prune *p, int dir, const char *path)
{
	json_auto json_t *desc = NULL;
	char to[PATH_MAX], *name;
	ssize_t n = readlinkat(dir, path, to, sizeof(to) - 1);

	/* It has none yet, or is being removed, or is no snapshot. */
	if (n < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == EINVAL ?
			       0 :
			       err_sys(p->e, errno, "cannot read %s", path);
	to[n] = '\0';
	name = strrchr(to, '/');
	name = name ? name + 1 : to;
	name[strcspn(name, ".")] = '\0';
	desc = json_pack("{ss so}", "mediaType",
			 "application/vnd.oci.image.manifest.v1+json", "digest",
			 json_sprintf("sha256:%s", name));
	return desc ? mark(p, desc, 0) :
		      err_sys(p->e, ENOMEM, "cannot look for garbage");
}

static int mark_snapshots(struct prune *p)
{
	mem_auto char *path = str_path(p->s->root, "snapshots");
	DIR *dir = path ? opendir(path) : NULL;
	struct dirent *d;
	int r = 0;

	if (!path)
		return err_sys(p->e, ENOMEM, "cannot look for garbage");
	if (!dir)
		return errno == ENOENT ?
			       0 :
			       err_sys(p->e, errno, "cannot read %s", path);
	while (r == 0 && (d = readdir(dir))) {
		char link[sizeof(d->d_name) + 8];

		snprintf(link, sizeof(link), "%s/rootfs", d->d_name);
		r = mark_link(p, dirfd(dir), link);
	}
	closedir(dir);
	return r;
}

/* ---- sweep ------------------------------------------------------------- */

/* Call @fn for each entry of @path below @dirfd; no such directory, no
 * calls. */
static int each_entry(struct prune *p, int dirfd, const char *path,
		      int (*fn)(struct prune *p, int dir, const char *name))
{
	int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;
	int r = 0;

	if (!dir) {
		r = errno == ENOENT ?
			    0 :
			    err_sys(p->e, errno, "cannot read %s", path);
		fd_close(&fd);
		return r;
	}
	while (r == 0 && (d = readdir(dir))) {
		if (d->d_name[0] != '.')
			r = fn(p, fd, d->d_name);
	}
	closedir(dir);
	return r;
}

static int drop(struct prune *p, int dir, const char *name, uint64_t *count)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    unlinkat(dir, name, 0) < 0)
		return errno == ENOENT ?
			       0 :
			       err_sys(p->e, errno, "cannot remove %s", name);
	p->report->bytes += (uint64_t)st.st_blocks * 512;
	++*count;
	return 0;
}

static bool is_kept(const struct prune *p, const char *name)
{
	char hex[SHA256_HEX];
	size_t n = strcspn(name, ".");

	if (n != sizeof(hex) - 1)
		return false;
	memcpy(hex, name, n);
	hex[n] = '\0';
	return json_object_get(p->keep, hex);
}

static int sweep_blob(struct prune *p, int dir, const char *name)
{
	if (is_kept(p, name))
		return 0;
	return drop(p, dir, name, &p->report->blobs);
}

static int sweep_partial(struct prune *p, int dir, const char *name)
{
	uint64_t locks = 0;

	return drop(p, dir, name,
		    str_ends(str_of(name), STR(".lock")) ? &locks :
							   &p->report->partial);
}

static int sweep_rootfs(struct prune *p, int dir, const char *name)
{
	fd_auto int fd = -1;
	char json[128];
	uint64_t other = 0;
	int r;

	if (!str_ends(str_of(name), STR(".erofs")) || is_kept(p, name))
		return 0;
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(p->e, errno, "cannot open %s", name);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		p->report->in_use++;
		return 0;
	}
	/* The record goes first: one without its file system would be a lie. */
	snprintf(json, sizeof(json), "%.*s.json", (int)strcspn(name, "."),
		 name);
	r = drop(p, dir, json, &other);
	return r < 0 ? r : drop(p, dir, name, &p->report->rootfs);
}

static int sweep(struct prune *p)
{
	mem_auto char *rootfs = str_path(p->s->root, "rootfs");
	int r;

	if (!rootfs)
		return err_sys(p->e, ENOMEM, "cannot look for garbage");
	r = io_sweep_tmp(p->s->path, p->e);
	if (r == 0)
		r = each_entry(p, AT_FDCWD, rootfs, sweep_rootfs);
	if (r == 0)
		r = each_entry(p, p->s->dir, ".partial", sweep_partial);
	return r < 0 ? r : each_entry(p, p->s->dir, "blobs/sha256", sweep_blob);
}

/* From a shared lock to an exclusive one and, at the end, back.  flock(2) lets
 * go of the one before it waits for the other, so two prunes cannot wait for
 * each other; and others may come in between, which is no harm. */
static int relock(struct images *s, int how, struct err *e)
{
	int r;

	do {
		r = flock(s->users, how);
	} while (r < 0 && errno == EINTR);
	if (r < 0 && errno == EWOULDBLOCK)
		return -EWOULDBLOCK;
	return r < 0 ? err_sys(e, errno, "cannot lock %s", s->path) : 0;
}

int images_prune(struct images *s, void (*waiting)(void),
		 struct prune_report *report, struct err *e)
{
	json_auto json_t *keep = json_object();
	struct prune p = { .s = s, .keep = keep, .report = report, .e = e };
	int r, back;

	*report = (struct prune_report){ .blobs = 0 };
	if (!keep)
		return err_sys(e, ENOMEM, "cannot look for garbage");
	r = relock(s, LOCK_EX | LOCK_NB, e);
	if (r == -EWOULDBLOCK) {
		if (waiting)
			waiting();
		r = relock(s, LOCK_EX, e);
	}
	if (r == 0)
		r = mark_all(&p);
	if (r == 0)
		r = mark_snapshots(&p);
	if (r == 0)
		r = sweep(&p);
	back = relock(s, LOCK_SH, r < 0 ? NULL : e);
	return r < 0 ? r : back;
}
