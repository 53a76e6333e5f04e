/* SPDX-License-Identifier: MIT
 *
 * The first file system of a guest: see initramfs.h.
 *
 * An uncompressed "newc" cpio archive (Documentation/driver-api/early-userspace
 * /buffer-format.rst), which the kernel unpacks into its root:
 *
 *	/init			the agent
 *	/profile		"sandbox" or "host", and a newline
 *	/modules/list		names of files in /modules, one a line, in the
 *				order to load them; one may decline (ENODEV:
 *				no such hardware), then the next is loaded
 *	/modules/NAME.ko	uncompressed
 *	/bin/busybox		the sandbox's only
 *	/dev/console		so that init has standard descriptors
 *	/dev /mnt /proc /run /sys /tmp ...	to mount on
 *
 * Uncompressed, because it is mapped and copied once, on a cold start only,
 * and unpacking in the guest would cost more than reading 5 MB from the page
 * cache.
 *
 * The same inputs give the same bytes: entries are sorted by path, inode
 * numbers count up, owner, times and device numbers are 0, modes are ours and
 * not the umask's.
 */
#include "guest/initramfs.h"

#include <archive.h>
#include <archive_entry.h>
#include <elf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"
#include "guest/raw.h"

/* The largest module in Debian's kernels (nouveau, amdgpu) has 20 MB, a
 * static agent 0.2, busybox 2. */
#define FILE_MAX ((size_t)128 << 20)

struct entry {
	char *path;	   /* owned; in the archive, no slash in front */
	unsigned int type; /* AE_IFDIR, AE_IFREG, AE_IFCHR */
	unsigned int mode;
	unsigned int major, minor;
	const char *file; /* borrowed; the contents' file, or NULL: text */
	const char *text; /* borrowed */
	bool unpack;	  /* the file may be compressed */
};

struct plan {
	struct entry *v; /* owned */
	size_t n;
	bool failed; /* out of memory */
};

static void plan_free(struct plan *p)
{
	size_t i;

	for (i = 0; i < p->n; i++)
		free(p->v[i].path);
	free(p->v);
}

/* Takes the entry's path. */
static void plan_add(struct plan *p, struct entry entry)
{
	struct entry *v = reallocarray(p->v, p->n + 1, sizeof(*v));

	if (!v || !entry.path) {
		if (v)
			p->v = v;
		free(entry.path);
		p->failed = true;
		return;
	}
	p->v = v;
	p->v[p->n++] = entry;
}

static void plan_dir(struct plan *p, const char *path)
{
	plan_add(p, (struct entry){ .path = str_dup(str_of(path)),
				    .type = AE_IFDIR,
				    .mode = 0755 });
}

static void plan_text(struct plan *p, const char *path, const char *text)
{
	plan_add(p, (struct entry){ .path = str_dup(str_of(path)),
				    .type = AE_IFREG,
				    .mode = 0644,
				    .text = text });
}

static void plan_program(struct plan *p, const char *path, const char *file)
{
	plan_add(p, (struct entry){ .path = str_dup(str_of(path)),
				    .type = AE_IFREG,
				    .mode = 0755,
				    .file = file });
}

static void plan_modules(struct plan *p, const struct module_list *l)
{
	size_t i;

	for (i = 0; i < l->n; i++)
		plan_add(p, (struct entry){ .path = str_printf("modules/%s",
							       l->v[i].file),
					    .type = AE_IFREG,
					    .mode = 0644,
					    .file = l->v[i].path,
					    .unpack = true });
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->path,
		      ((const struct entry *)b)->path);
}

static void plan_make(struct plan *p, const struct initramfs_spec *s,
		      const char *list)
{
	static const char *const dirs[] = { "bin",     "dev",  "etc",  "mnt",
					    "modules", "proc", "root", "run",
					    "sys",     "tmp" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(dirs); i++)
		plan_dir(p, dirs[i]);
	plan_add(p, (struct entry){ .path = str_dup(STR("dev/console")),
				    .type = AE_IFCHR,
				    .mode = 0600,
				    .major = 5,
				    .minor = 1 });
	plan_program(p, "init", s->agent);
	if (s->busybox)
		plan_program(p, "bin/busybox", s->busybox);
	plan_text(p, "profile",
		  s->profile == PROFILE_HOST ? "host\n" : "sandbox\n");
	plan_text(p, "modules/list", list);
	plan_modules(p, s->modules);
	if (p->n)
		qsort(p->v, p->n, sizeof(*p->v), by_path);
}

/* ---- writing ----------------------------------------------------------- */

struct writer {
	struct archive *a;
	struct sha256 sum;
	int fd;
	int error; /* of fd, positive */
};

static la_ssize_t write_block(struct archive *a, void *arg, const void *p,
			      size_t n)
{
	struct writer *w = arg;
	int r = io_write_full(w->fd, p, n);

	if (r == 0)
		r = sha256_add(&w->sum, p, n);
	if (r == 0)
		return (la_ssize_t)n;
	w->error = -r;
	archive_set_error(a, -r, "cannot write");
	return -1;
}

static void writer_free(struct writer *w)
{
	archive_write_free(w->a);
	sha256_free(&w->sum);
}

static int write_error(const struct writer *w, struct err *e)
{
	if (w->error)
		return err_sys(e, w->error, "cannot write the initramfs");
	return err_set(e, EIO, "cannot write the initramfs: %s",
		       archive_error_string(w->a));
}

static int read_contents(const struct entry *entry, struct buf *b,
			 struct err *e)
{
	buf_auto struct buf packed = BUF_INIT_MAX(FILE_MAX);
	enum raw_kind kind;
	int r;

	if (!entry->file)
		return buf_puts(b, entry->text) < 0 ?
			       err_sys(e, ENOMEM, "cannot make %s",
				       entry->path) :
			       0;
	r = io_read_file(AT_FDCWD, entry->file, b, e);
	if (r < 0)
		return r;
	kind = entry->unpack ? raw_kind_of(b->data, b->len) : RAW_NONE;
	if (kind == RAW_NONE)
		return 0;
	r = raw_unpack(kind, b->data, b->len, &packed, e);
	if (r < 0)
		return err_in(e, "%s", entry->file);
	buf_free(b);
	*b = packed;
	packed = (struct buf)BUF_INIT;
	return 0;
}

static void describe(struct archive_entry *ae, const struct entry *entry,
		     size_t ino, size_t size)
{
	archive_entry_set_pathname(ae, entry->path);
	archive_entry_set_filetype(ae, entry->type);
	archive_entry_set_perm(ae, (mode_t)entry->mode);
	archive_entry_set_ino64(ae, (la_int64_t)ino);
	archive_entry_set_nlink(ae, entry->type == AE_IFDIR ? 2 : 1);
	archive_entry_set_uid(ae, 0);
	archive_entry_set_gid(ae, 0);
	archive_entry_set_mtime(ae, 0, 0);
	archive_entry_set_dev(ae, 0);
	archive_entry_set_size(ae, (la_int64_t)size);
	if (entry->type == AE_IFCHR) {
		archive_entry_set_rdevmajor(ae, entry->major);
		archive_entry_set_rdevminor(ae, entry->minor);
	}
}

static int write_entry(struct writer *w, const struct entry *entry, size_t ino,
		       struct err *e)
{
	buf_auto struct buf b = BUF_INIT_MAX(FILE_MAX);
	struct archive_entry *ae = archive_entry_new();
	int r = 0;

	if (!ae)
		return err_sys(e, ENOMEM, "cannot write the initramfs");
	if (entry->type == AE_IFREG)
		r = read_contents(entry, &b, e);
	if (r == 0) {
		describe(ae, entry, ino, b.len);
		if (archive_write_header(w->a, ae) != ARCHIVE_OK ||
		    (b.len && archive_write_data(w->a, b.data, b.len) !=
				      (la_ssize_t)b.len))
			r = write_error(w, e);
	}
	archive_entry_free(ae);
	return r;
}

static int write_plan(struct writer *w, const struct plan *p, struct err *e)
{
	size_t i;

	w->a = archive_write_new();
	if (!w->a || sha256_begin(&w->sum) < 0)
		return err_sys(e, ENOMEM, "cannot write the initramfs");
	archive_write_set_format_cpio_newc(w->a);
	archive_write_add_filter_none(w->a);
	archive_write_set_bytes_per_block(w->a, 1 << 20);
	archive_write_set_bytes_in_last_block(w->a, 1);
	if (archive_write_open(w->a, w, NULL, write_block, NULL) != ARCHIVE_OK)
		return write_error(w, e);
	for (i = 0; i < p->n; i++) {
		int r = write_entry(w, &p->v[i], i + 1, e);

		if (r < 0)
			return r;
	}
	return archive_write_close(w->a) == ARCHIVE_OK ? 0 : write_error(w, e);
}

static char *load_order(const struct module_list *l, struct buf *b)
{
	size_t i;

	for (i = 0; i < l->n; i++)
		buf_printf(b, "%s\n", l->v[i].file);
	return buf_str(b);
}

int initramfs_write(const struct initramfs_spec *s, int fd,
		    char hex[static SHA256_HEX], struct err *e)
{
	__attribute__((cleanup(plan_free))) struct plan plan = { .n = 0 };
	__attribute__((cleanup(writer_free))) struct writer w = { .fd = fd };
	buf_auto struct buf list = BUF_INIT;
	const char *text = load_order(s->modules, &list);
	int r;

	if (text)
		plan_make(&plan, s, text);
	if (!text || plan.failed)
		return err_sys(e, ENOMEM, "cannot write the initramfs");
	r = write_plan(&w, &plan, e);
	if (r < 0)
		return r;
	return sha256_end(&w.sum, hex) < 0 ?
		       err_set(e, EIO, "cannot compute a digest") :
		       0;
}

/* ---- static programs --------------------------------------------------- */

static bool has_interpreter(int fd, const Elf64_Ehdr *eh)
{
	unsigned int i;

	for (i = 0; i < eh->e_phnum; i++) {
		off_t off = (off_t)(eh->e_phoff + i * sizeof(Elf64_Phdr));
		Elf64_Phdr ph;

		if (pread(fd, &ph, sizeof(ph), off) != sizeof(ph) ||
		    ph.p_type == PT_INTERP)
			return true;
	}
	return false;
}

int initramfs_check_static(const char *path, const char *what, struct err *e)
{
	fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC);
	Elf64_Ehdr eh;

	if (fd < 0)
		return err_sys(e, errno, "cannot open %s %s", what, path);
	if (pread(fd, &eh, sizeof(eh), 0) != sizeof(eh) ||
	    memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0 ||
	    eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_machine != EM_X86_64 ||
	    (eh.e_type != ET_EXEC && eh.e_type != ET_DYN))
		return err_set(e, ENOEXEC,
			       "%s %s is not a program for 64-bit x86", what,
			       path);
	if (has_interpreter(fd, &eh))
		return err_set(e, ENOEXEC, "%s %s is not statically linked",
			       what, path);
	return 0;
}
