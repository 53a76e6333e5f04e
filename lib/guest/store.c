/* SPDX-License-Identifier: MIT
 *
 * The directory of prepared kernels: see store.h.
 *
 * A kernel is a directory, made under a temporary name and renamed when it is
 * whole and on the disk; so is an initramfs, a file, into an existing kernel.
 * Nothing is ever changed in place.  An initramfs is trusted by its record
 * beside it: the old record goes away first, the new one comes last.
 *
 * Readers take no lock.  They may see a record vanish while a writer is at
 * work; they then ask for the lock, and find the writer's result.
 */
#include "guest/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"

#define RECORD_FORMAT 1
#define RECORD_MAX ((size_t)1 << 20) /* they have 2 KB */
#define SWEEP_TRIES 100
#define TMP_PREFIX ".tmp."
#define PATH_ROOM (KERNEL_RELEASE_MAX + 64)

static int open_dir(struct store *s)
{
	s->dir = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return s->dir < 0 ? -errno : 0;
}

int store_open(struct store *s, const char *root, struct err *e)
{
	int r;

	s->path = str_path(root, "kernel");
	if (!s->path)
		return err_sys(e, ENOMEM, "cannot open %s", root);
	r = open_dir(s);
	if (r < 0 && r != -ENOENT)
		return err_sys(e, -r, "cannot open %s", s->path);
	return 0;
}

int store_make(struct store *s, struct err *e)
{
	int r;

	if (s->dir >= 0)
		return 0;
	r = io_mkdirs(s->path, 0755, e);
	if (r < 0)
		return r;
	r = open_dir(s);
	return r < 0 ? err_sys(e, -r, "cannot open %s", s->path) : 0;
}

void store_free(struct store *s)
{
	mem_free(&s->path);
	fd_close(&s->dir);
}

void store_json_free(json_t **j)
{
	json_decref(*j);
}

/* ---- leftovers --------------------------------------------------------- */

/* Call @fn for each name in the store until it returns non-zero. */
static int each_name(const struct store *s,
		     int (*fn)(const struct store *s, const char *name,
			       void *arg),
		     void *arg)
{
	int fd = openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;
	int r = 0;

	if (!dir) {
		fd_close(&fd);
		return 0;
	}
	while (r == 0 && (d = readdir(dir)))
		r = fn(s, d->d_name, arg);
	closedir(dir);
	return r;
}

static int is_leftover(const struct store *s, const char *name, void *arg)
{
	(void)s;
	(void)arg;
	return strncmp(name, TMP_PREFIX, strlen(TMP_PREFIX)) == 0;
}

static int sweep_one(const struct store *s, const char *name, void *arg)
{
	int tries = 0, r;

	if (!is_leftover(s, name, NULL))
		return 0;
	/* A killed run's depmod dies a moment after the lock is free. */
	do {
		r = io_remove_tree(s->dir, name, arg);
	} while (r == -ENOTEMPTY && ++tries < SWEEP_TRIES);
	return r;
}

bool store_has_leftovers(const struct store *s)
{
	return s->dir >= 0 && each_name(s, is_leftover, NULL);
}

int store_sweep(const struct store *s, struct err *e)
{
	return each_name(s, sweep_one, e);
}

int store_tmp_make(struct store_tmp *t, const struct store *s, struct err *e)
{
	uint64_t r;

	if (getrandom(&r, sizeof(r), 0) != sizeof(r))
		return err_sys(e, errno, "cannot get random bytes");
	snprintf(t->name, sizeof(t->name), TMP_PREFIX "%016llx",
		 (unsigned long long)r);
	if (mkdirat(s->dir, t->name, 0755) < 0) {
		t->name[0] = '\0';
		return err_sys(e, errno, "cannot create a directory in %s",
			       s->path);
	}
	t->store = s;
	return 0;
}

void store_tmp_free(struct store_tmp *t)
{
	/* What cannot be removed now is swept by the next run. */
	if (t->name[0])
		io_remove_tree(t->store->dir, t->name, NULL);
	t->name[0] = '\0';
}

/* ---- records ----------------------------------------------------------- */

static json_t *load(const struct store *s, const char *path)
{
	buf_auto struct buf b = BUF_INIT_MAX(RECORD_MAX);

	if (io_read_file(s->dir, path, &b, NULL) < 0)
		return NULL;
	return json_loadb((const char *)b.data, b.len, 0, NULL);
}

/* Whether @path has the size in @record's {"sha256", "size"} called @key. */
static bool file_matches(const struct store *s, const char *path,
			 const json_t *record, const char *key)
{
	const json_t *size =
		json_object_get(json_object_get(record, key), "size");
	struct stat st;

	return json_is_integer(size) && fstatat(s->dir, path, &st, 0) == 0 &&
	       S_ISREG(st.st_mode) && st.st_size == json_integer_value(size);
}

static bool format_ok(const json_t *record)
{
	return json_integer_value(json_object_get(record, "format")) ==
	       RECORD_FORMAT;
}

json_t *store_kernel(const struct store *s, const char *release)
{
	char path[PATH_ROOM];
	json_t *record;

	if (s->dir < 0 || !kernel_release_ok(release))
		return NULL;
	snprintf(path, sizeof(path), "%s/kernel.json", release);
	record = load(s, path);
	snprintf(path, sizeof(path), "%s/vmlinux", release);
	if (record && format_ok(record) &&
	    file_matches(s, path, record, "vmlinux"))
		return record;
	json_decref(record);
	return NULL;
}

struct find {
	const char *id;
	char *release;
};

static int find_one(const struct store *s, const char *name, void *arg)
{
	struct find *f = arg;
	json_free_auto json_t *record = store_kernel(s, name);
	const char *id = json_string_value(json_object_get(record, "source"));

	if (!id || strcmp(id, f->id) != 0)
		return 0;
	/* It has a record, so that its name is a release: not too long. */
	memcpy(f->release, name, strlen(name) + 1);
	return 1;
}

bool store_find(const struct store *s, const char *id,
		char release[static KERNEL_RELEASE_MAX])
{
	struct find f = { id, release };

	return s->dir >= 0 && each_name(s, find_one, &f);
}

bool store_default(const struct store *s,
		   char release[static KERNEL_RELEASE_MAX])
{
	ssize_t n;

	if (s->dir < 0)
		return false;
	n = readlinkat(s->dir, "default", release, KERNEL_RELEASE_MAX - 1);
	if (n < 0)
		return false;
	release[n] = '\0';
	return kernel_release_ok(release);
}

int store_set_default(const struct store *s, const char *release, struct err *e)
{
	static const char tmp[] = TMP_PREFIX "default";
	int r;

	unlinkat(s->dir, tmp, 0);
	if (symlinkat(release, s->dir, tmp) < 0 ||
	    renameat(s->dir, tmp, s->dir, "default") < 0)
		return err_sys(e, errno, "cannot make %s/default", s->path);
	r = io_sync_dir_of(s->dir, "default");
	return r < 0 ? err_sys(e, -r, "cannot sync %s", s->path) : 0;
}

/* ---- a kernel ---------------------------------------------------------- */

static int dump(const json_t *record, struct buf *b)
{
	mem_auto char *text = json_dumps(record, JSON_INDENT(2));

	if (!text || buf_puts(b, text) < 0)
		return -ENOMEM;
	return buf_puts(b, "\n");
}

static int write_new(int dir, const char *name, const void *p, size_t n,
		     struct err *e)
{
	fd_auto int fd = openat(dir, name,
				O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	int r;

	if (fd < 0)
		return err_sys(e, errno, "cannot create %s", name);
	r = io_write_full(fd, p, n);
	return r < 0 ? err_sys(e, -r, "cannot write %s", name) : 0;
}

static int fill_tree(int tree, const struct kernel_image *k, const char *id,
		     struct err *e)
{
	sha256_auto struct sha256 sum = SHA256_INIT;
	json_free_auto json_t *record = NULL;
	buf_auto struct buf text = BUF_INIT;
	char hex[SHA256_HEX];

	if (sha256_begin(&sum) < 0 ||
	    sha256_add(&sum, k->vmlinux.data, k->vmlinux.len) < 0 ||
	    sha256_end(&sum, hex) < 0)
		return err_set(e, EIO, "cannot compute a digest");
	record = json_pack("{si ss ss ss s{ss sI}}", "format", RECORD_FORMAT,
			   "version", k->release, "package", k->package,
			   "source", id, "vmlinux", "sha256", hex, "size",
			   (json_int_t)k->vmlinux.len);
	if (!record || dump(record, &text) < 0)
		return err_sys(e, ENOMEM, "cannot write kernel.json");
	if (write_new(tree, "vmlinux", k->vmlinux.data, k->vmlinux.len, e) < 0)
		return -e->num;
	return write_new(tree, "kernel.json", text.data, text.len, e);
}

int store_put_kernel(const struct store *s, const char *tmp,
		     const struct kernel_image *k, const char *id,
		     struct err *e)
{
	fd_auto int tree =
		openat(s->dir, tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (tree < 0)
		return err_sys(e, errno, "cannot open %s/%s", s->path, tmp);
	r = fill_tree(tree, k, id, e);
	if (r < 0)
		return r;
	/* One call for the file system and not one for each of a thousand
	 * modules. */
	if (syncfs(tree) < 0)
		return err_sys(e, errno, "cannot write %s", s->path);
	r = renameat2(s->dir, tmp, s->dir, k->release, RENAME_EXCHANGE);
	/* Nothing of that name; or a file system that cannot exchange. */
	if (r < 0 && (errno == ENOENT || errno == EINVAL))
		r = renameat(s->dir, tmp, s->dir, k->release);
	if (r < 0)
		return err_sys(e, errno, "cannot make %s/%s", s->path,
			       k->release);
	r = io_sync_dir_of(s->dir, k->release);
	return r < 0 ? err_sys(e, -r, "cannot sync %s", s->path) : 0;
}

/* ---- an initramfs ------------------------------------------------------ */

static void initramfs_path(char path[static PATH_ROOM], const char *release,
			   enum profile p, const char *suffix)
{
	snprintf(path, PATH_ROOM, "%s/initramfs-%s%s", release, profile_name(p),
		 suffix);
}

json_t *store_initramfs(const struct store *s, const char *release,
			enum profile p, const json_t *inputs)
{
	char path[PATH_ROOM];
	json_t *record;

	initramfs_path(path, release, p, ".json");
	record = load(s, path);
	initramfs_path(path, release, p, "");
	if (record && format_ok(record) &&
	    json_equal(json_object_get(record, "inputs"), inputs) &&
	    file_matches(s, path, record, "initramfs"))
		return record;
	json_decref(record);
	return NULL;
}

static int put_record(const struct store *s, const char *path,
		      const json_t *record, struct err *e)
{
	buf_auto struct buf text = BUF_INIT;
	char tmp[IO_TMP_MAX];
	fd_auto int fd = -1;
	int r;

	if (dump(record, &text) < 0)
		return err_sys(e, ENOMEM, "cannot write %s", path);
	/* Its temporary name lies in the store itself, where it is swept. */
	fd = io_tmp_open(s->dir, "record", 0644, tmp, e);
	if (fd < 0)
		return fd;
	r = io_write_full(fd, text.data, text.len);
	if (r < 0) {
		unlinkat(s->dir, tmp, 0);
		return err_sys(e, -r, "cannot write %s", path);
	}
	return io_tmp_commit(s->dir, fd, tmp, path, e);
}

int store_put_initramfs(const struct store *s, const char *release,
			enum profile p, int fd, const char *tmp,
			const json_t *record, struct err *e)
{
	char path[PATH_ROOM], record_path[PATH_ROOM];
	int r;

	initramfs_path(path, release, p, "");
	initramfs_path(record_path, release, p, ".json");
	if (unlinkat(s->dir, record_path, 0) == 0) {
		/* On disk before the new file: an old record beside it would
		 * vouch for what it does not know. */
		r = io_sync_dir_of(s->dir, record_path);
		if (r < 0)
			return err_sys(e, -r, "cannot sync %s", s->path);
	}
	r = io_tmp_commit(s->dir, fd, tmp, path, e);
	return r < 0 ? r : put_record(s, record_path, record, e);
}
