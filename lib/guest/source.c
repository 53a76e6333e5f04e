/* SPDX-License-Identifier: MIT
 *
 * Where a kernel comes from: see source.h.
 *
 * A source is known again by its id, so that a kernel that was prepared is not
 * prepared again.  A package's id is its SHA-256.  A tree's is made of the
 * image's contents and of every module's name, size and time of change:
 * reading 400 MB of modules to learn that nothing changed would cost more than
 * all else on this path, and make(1) has lived with times for fifty years.
 */
#include "guest/source.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/progress.h"
#include "base/str.h"

void kernel_image_free(struct kernel_image *k)
{
	buf_free(&k->vmlinux);
}

/* ---- trees ------------------------------------------------------------- */

static int make_parents(int tree, const char *path, struct err *e)
{
	char dir[TREE_PATH_MAX];
	const char *slash = path;

	while ((slash = strchr(slash, '/'))) {
		snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
		if (mkdirat(tree, dir, 0755) < 0 && errno != EEXIST)
			return err_sys(e, errno, "cannot create %s", dir);
		slash++;
	}
	return 0;
}

int tree_create(int tree, const char *path, struct tree_use *use, struct err *e)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	int fd;

	if (strlen(path) >= TREE_PATH_MAX)
		return err_set(e, ENAMETOOLONG, "path too long: %.64s...",
			       path);
	if (++use->files > TREE_FILES_MAX)
		return err_set(e, EFBIG, "more than %d modules",
			       TREE_FILES_MAX);
	fd = openat(tree, path, flags, 0644);
	if (fd < 0 && errno == ENOENT) {
		int r = make_parents(tree, path, e);

		if (r < 0)
			return r;
		fd = openat(tree, path, flags, 0644);
	}
	return fd < 0 ? err_sys(e, errno, "cannot create %s", path) : fd;
}

int tree_write(int fd, const char *path, const void *p, size_t n,
	       struct tree_use *use, struct err *e)
{
	int r;

	use->bytes += n;
	if (use->bytes > TREE_BYTES_MAX)
		return err_set(e, EFBIG, "more than %llu bytes of modules",
			       (unsigned long long)TREE_BYTES_MAX);
	r = io_write_full(fd, p, n);
	return r < 0 ? err_sys(e, -r, "cannot write %s", path) : 0;
}

/* ---- walking a directory of modules ------------------------------------ */

struct walk {
	/* Called for each regular file with its path below the top. */
	int (*file)(struct walk *w, int dirfd, const char *name,
		    const struct stat *st, struct err *e);
	char path[TREE_PATH_MAX]; /* of the file, or of the directory */
	int depth;
	struct sha256 *sum;
	int tree;
	struct tree_use *use;
	struct progress *progress;
};

static int walk_dir(struct walk *w, int fd, struct err *e);

static int walk_entry(struct walk *w, int dirfd, const char *name,
		      struct err *e)
{
	size_t len = strlen(w->path);
	struct stat st;
	int fd, r = 0;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, errno, "cannot look at %s/%s", w->path, name);
	/* Links are left out: "build" and "source" lead to a compiler's view
	 * of the kernel, and the rest has no business there. */
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return 0;
	if (len + strlen(name) + 2 > sizeof(w->path))
		return err_set(e, ENAMETOOLONG, "path too long: %s", w->path);
	sprintf(w->path + len, "/%s", name);
	if (S_ISREG(st.st_mode)) {
		r = w->file(w, dirfd, name, &st, e);
	} else {
		fd = openat(dirfd, name,
			    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		r = fd < 0 ? err_sys(e, errno, "cannot open %s", w->path) :
			     walk_dir(w, fd, e);
	}
	w->path[len] = '\0';
	return r;
}

static int not_dots(const struct dirent *d)
{
	return strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
}

/* strcmp and not alphasort, which follows the locale. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* In the order of names, so that the id depends on nothing else.  Takes
 * @fd. */
static int walk_dir(struct walk *w, int fd, struct err *e)
{
	fd_auto int dir = fd;
	struct dirent **list;
	int i, n, r = 0;

	if (++w->depth > TREE_DEPTH_MAX)
		return err_set(e, ELOOP, "too deep: %s", w->path);
	n = scandirat(dir, ".", &list, not_dots, by_name);
	if (n < 0)
		return err_sys(e, errno, "cannot read %s", w->path);
	for (i = 0; i < n; i++) {
		if (r == 0)
			r = walk_entry(w, dir, list[i]->d_name, e);
		free(list[i]);
	}
	free(list);
	w->depth--;
	return r;
}

static int walk(struct walk *w, const char *top, struct err *e)
{
	int fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, errno, "cannot open %s", top);
	return walk_dir(w, fd, e);
}

static int copy_file(struct walk *w, int dirfd, const char *name,
		     const struct stat *st, struct err *e)
{
	fd_auto int in = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	fd_auto int out = -1;
	uint8_t chunk[65536];
	ssize_t n;
	int r = 0;

	(void)st;
	if (in < 0)
		return err_sys(e, errno, "cannot open %s", w->path);
	out = tree_create(w->tree, w->path, w->use, e);
	if (out < 0)
		return out;
	do {
		n = io_read_full(in, chunk, sizeof(chunk));
		if (n < 0)
			return err_sys(e, (int)-n, "cannot read %s", w->path);
		r = tree_write(out, w->path, chunk, (size_t)n, w->use, e);
	} while (r == 0 && n == (ssize_t)sizeof(chunk));
	progress_update(w->progress, w->use->bytes);
	return r;
}

static int copy_modules(const char *from, int tree, const char *release,
			struct progress *p, struct err *e)
{
	struct tree_use use = { 0, 0 };
	struct walk w = {
		.file = copy_file, .tree = tree, .use = &use, .progress = p
	};
	int r;

	snprintf(w.path, sizeof(w.path), "lib/modules/%s", release);
	r = walk(&w, from, e);
	return r < 0 ? err_in(e, "%s", from) : 0;
}

/* ---- ids --------------------------------------------------------------- */

static int sum_file(struct walk *w, int dirfd, const char *name,
		    const struct stat *st, struct err *e)
{
	char line[TREE_PATH_MAX + 64];
	int n = snprintf(line, sizeof(line), "%s %lld %lld.%09ld\n", w->path,
			 (long long)st->st_size, (long long)st->st_mtim.tv_sec,
			 st->st_mtim.tv_nsec);

	(void)dirfd;
	(void)name;
	if (sha256_add(w->sum, line, (size_t)n) < 0)
		return err_set(e, EIO, "cannot compute a digest");
	return 0;
}

static int tree_id(const char *image, const char *modules,
		   char id[static SHA256_HEX], struct err *e)
{
	sha256_auto struct sha256 sum = SHA256_INIT;
	struct walk w = { .file = sum_file, .sum = &sum };
	char hex[SHA256_HEX];
	int r;

	r = sha256_file(AT_FDCWD, image, hex, e);
	if (r < 0)
		return r;
	if (sha256_begin(&sum) < 0 || sha256_add(&sum, hex, sizeof(hex)) < 0)
		return err_set(e, EIO, "cannot compute a digest");
	r = walk(&w, modules, e);
	if (r < 0)
		return r;
	return sha256_end(&sum, id) < 0 ?
		       err_set(e, EIO, "cannot compute a digest") :
		       0;
}

/* ---- an unpacked package ----------------------------------------------- */

static int is_vmlinuz(const struct dirent *d)
{
	return strncmp(d->d_name, "vmlinuz-", 8) == 0;
}

/* The path of the one kernel in @dir/boot. */
static int dir_image(const char *dir, char **image, struct err *e)
{
	mem_auto char *boot = str_path(dir, "boot");
	struct dirent **list = NULL;
	int i, n;

	if (!boot)
		return err_sys(e, ENOMEM, "cannot read %s", dir);
	n = scandir(boot, &list, is_vmlinuz, by_name);
	if (n == 1)
		*image = str_path(boot, list[0]->d_name);
	for (i = 0; i < n; i++)
		free(list[i]);
	free(list);
	if (n == 1)
		return *image ? 0 : err_sys(e, ENOMEM, "cannot read %s", dir);
	err_set(e, n > 1 ? EINVAL : ENOENT,
		"%s is not an unpacked kernel package: "
		"it holds %s boot/vmlinuz-*",
		dir, n > 1 ? "more than one" : "no");
	return err_fix(e, "the directory that dpkg-deb -x made, or a package");
}

/* @dir's lib/modules or, as newer packages have it, usr/lib/modules. */
static char *dir_modules(const char *dir)
{
	char *m = str_path(dir, "lib/modules");

	if (m && access(m, F_OK) == 0)
		return m;
	free(m);
	return str_path(dir, "usr/lib/modules");
}

static int dir_open(struct source *s, struct err *e)
{
	mem_auto char *modules = dir_modules(s->path);
	mem_auto char *image = NULL;
	int r = dir_image(s->path, &image, e);

	if (r < 0)
		return r;
	if (!modules)
		return err_sys(e, ENOMEM, "cannot read %s", s->path);
	return tree_id(image, modules, s->id, e);
}

static bool is_image(const char *path)
{
	fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t head[1024];
	ssize_t n = fd < 0 ? fd : io_read_full(fd, head, sizeof(head));

	return n >= 4 &&
	       (memcmp(head, "\177ELF", 4) == 0 || bzimage_is(head, (size_t)n));
}

int source_open(struct source *s, const char *path, const char *modules,
		struct err *e)
{
	struct stat st;

	*s = (struct source){ .path = path, .modules = modules };
	if (stat(path, &st) < 0)
		return err_sys(e, errno, "cannot open %s", path);
	if (modules) {
		s->kind = SOURCE_IMAGE;
		return tree_id(path, modules, s->id, e);
	}
	if (S_ISDIR(st.st_mode)) {
		s->kind = SOURCE_DIR;
		return dir_open(s, e);
	}
	if (is_image(path)) {
		err_set(e, EINVAL, "%s is a kernel without its modules", path);
		return err_fix(e, "--modules DIR, the kernel's directory "
				  "below /lib/modules");
	}
	s->kind = SOURCE_DEB;
	return sha256_file(AT_FDCWD, path, s->id, e);
}

/* ---- unpacking --------------------------------------------------------- */

static int load_image(const char *name, struct buf *raw, struct kernel_image *k,
		      struct err *e)
{
	int r = kernel_image_load(raw, &k->vmlinux, k->release, e);

	return r < 0 ? err_in(e, "%s", name) : 0;
}

static int read_image(const char *path, struct kernel_image *k, struct err *e)
{
	buf_auto struct buf raw = BUF_INIT_MAX(IMAGE_MAX);
	int r = io_read_file(AT_FDCWD, path, &raw, e);

	return r < 0 ? r : load_image(path, &raw, k, e);
}

static int no_modules(const char *where, const struct kernel_image *k,
		      struct err *e)
{
	return err_set(e, ENOENT, "%s: no modules for its kernel %s", where,
		       k->release);
}

static int dir_unpack(const struct source *s, int tree, struct kernel_image *k,
		      struct progress *p, struct err *e)
{
	mem_auto char *all = dir_modules(s->path);
	mem_auto char *image = NULL, *modules = NULL;
	int r = dir_image(s->path, &image, e);

	if (r == 0)
		r = read_image(image, k, e);
	if (r < 0)
		return r;
	modules = all ? str_path(all, k->release) : NULL;
	if (!modules)
		return err_sys(e, ENOMEM, "cannot read %s", s->path);
	if (access(modules, F_OK) < 0)
		return no_modules(s->path, k, e);
	return copy_modules(modules, tree, k->release, p, e);
}

/* Modules of another kernel would all be refused when it is too late. */
static int image_unpack(const struct source *s, int tree,
			struct kernel_image *k, struct progress *p,
			struct err *e)
{
	mem_auto char *real = realpath(s->modules, NULL);
	const char *base = real ? strrchr(real, '/') : NULL;
	int r = read_image(s->path, k, e);

	if (r < 0)
		return r;
	if (!base)
		return err_sys(e, errno, "cannot open %s", s->modules);
	if (strcmp(base + 1, k->release) != 0) {
		no_modules(s->modules, k, e);
		return err_fix(e, "--modules .../lib/modules/%s", k->release);
	}
	return copy_modules(real, tree, k->release, p, e);
}

static int package_unpack(const struct source *s, int tree,
			  struct kernel_image *k, struct progress *p,
			  struct err *e)
{
	buf_auto struct buf raw = BUF_INIT_MAX(IMAGE_MAX);
	char dir[KERNEL_RELEASE_MAX + 16];
	int r = deb_unpack(s->path, tree, &raw, k->package, sizeof(k->package),
			   p, e);

	if (r == 0)
		r = load_image(s->path, &raw, k, e);
	if (r < 0)
		return r;
	snprintf(dir, sizeof(dir), "lib/modules/%s", k->release);
	return faccessat(tree, dir, F_OK, 0) < 0 ? no_modules(s->path, k, e) :
						   0;
}

int source_unpack(const struct source *s, int tree, struct kernel_image *k,
		  struct progress *p, struct err *e)
{
	switch (s->kind) {
	case SOURCE_DEB:
		return package_unpack(s, tree, k, p, e);
	case SOURCE_DIR:
		return dir_unpack(s, tree, k, p, e);
	case SOURCE_IMAGE:
		return image_unpack(s, tree, k, p, e);
	}
	return err_set(e, EINVAL, "unknown kind of kernel source");
}
