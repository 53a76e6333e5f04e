/* SPDX-License-Identifier: MIT
 *
 * The kernel that a sandbox is booted with: see needs.h.
 *
 * iso-kernel looks whether the initramfs was made from the agent that is
 * installed now, by its digest.  Here that would mean to load a library and
 * hash the agent at each boot, so its answer is kept in a file, together with
 * what tells that nothing has changed since: size and times of the initramfs
 * itself, the agent, busybox and iso-kernel, and which kernel is the default.
 *
 *	$ISO_ROOT/kernel/.sandbox	one line
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"
#include "sandbox/helper.h"
#include "sandbox/needs.h"

#define BUSYBOX "/bin/busybox"
#define SEEN_MAX 16384

static void add_stat(struct buf *b, const char *path)
{
	struct stat st;

	if (!path || stat(path, &st) < 0) {
		b->failed = true;
		return;
	}
	buf_printf(b, " %s %lld %lld.%09ld %lld.%09ld", path,
		   (long long)st.st_size, (long long)st.st_mtim.tv_sec,
		   st.st_mtim.tv_nsec, (long long)st.st_ctim.tv_sec,
		   st.st_ctim.tv_nsec);
}

/* iso-kernel's answer and what it depends on, a line; b->failed: not to be
 * told. */
static void describe(struct buf *b, const char *root,
		     char release[static NAME_MAX + 1])
{
	mem_auto char *initramfs = NULL;
	mem_auto char *agent = helper_libexec("iso-agent");
	mem_auto char *program = helper_path("iso-kernel");
	mem_auto char *link = str_path(root, "kernel/default");
	ssize_t n = link ? readlink(link, release, NAME_MAX) : -1;

	if (n <= 0 || memchr(release, '/', (size_t)n)) {
		b->failed = true;
		return;
	}
	release[n] = '\0';
	initramfs = str_printf("%s/kernel/%s/initramfs-sandbox", root, release);
	buf_puts(b, release);
	add_stat(b, initramfs);
	add_stat(b, agent);
	add_stat(b, program);
	add_stat(b, BUSYBOX);
	buf_puts(b, "\n");
}

static int take(struct needs *n, const char *root, const char *release)
{
	n->release = str_dup(str_of(release));
	n->vmlinux = str_printf("%s/kernel/%s/vmlinux", root, release);
	n->initramfs =
		str_printf("%s/kernel/%s/initramfs-sandbox", root, release);
	if (!n->release || !n->vmlinux || !n->initramfs)
		return -ENOMEM;
	return access(n->vmlinux, R_OK) == 0 &&
			       access(n->initramfs, R_OK) == 0 ?
		       0 :
		       -ENOENT;
}

/* As it was found the last time.  -ENOENT: look again. */
static int find_seen(struct needs *n, const char *root)
{
	mem_auto char *path = str_path(root, "kernel/.sandbox");
	buf_auto struct buf now = BUF_INIT_MAX(SEEN_MAX);
	buf_auto struct buf seen = BUF_INIT_MAX(SEEN_MAX);
	char release[NAME_MAX + 1];

	describe(&now, root, release);
	if (!path || now.failed ||
	    io_read_file(AT_FDCWD, path, &seen, NULL) < 0 ||
	    seen.len != now.len || memcmp(seen.data, now.data, now.len) != 0)
		return -ENOENT;
	return take(n, root, release);
}

/* Where it cannot be written, the next boot asks again. */
static void remember(const char *root)
{
	mem_auto char *path = str_path(root, "kernel/.sandbox");
	buf_auto struct buf now = BUF_INIT_MAX(SEEN_MAX);
	char release[NAME_MAX + 1];

	describe(&now, root, release);
	if (path && !now.failed)
		io_write_atomic(AT_FDCWD, path, now.data, now.len, 0644, NULL);
}

static int read_answer(struct needs *n, const struct buf *out, struct err *e)
{
	json_t *o = json_loadb((const char *)out->data, out->len, 0, NULL);
	const char *version, *vmlinux, *initramfs;
	int r = -EPROTO;

	if (json_unpack(o, "{s:s, s:{s:s}, s:{s:s}}", "version", &version,
			"vmlinux", "path", &vmlinux, "initramfs", "path",
			&initramfs) == 0) {
		mem_free(&n->release);
		mem_free(&n->vmlinux);
		mem_free(&n->initramfs);
		n->release = str_dup(str_of(version));
		n->vmlinux = str_dup(str_of(vmlinux));
		n->initramfs = str_dup(str_of(initramfs));
		r = n->release && n->vmlinux && n->initramfs ? 0 : -ENOMEM;
	}
	json_decref(o);
	return r < 0 ? err_sys(e, -r, "iso-kernel's answer makes no sense") : 0;
}

int needs_find_kernel(struct needs *n, const struct needs_spec *s,
		      struct err *e)
{
	mem_auto char *path = helper_path("iso-kernel");
	buf_auto struct buf out = BUF_INIT_MAX((size_t)1 << 20);
	const char *argv[8] = { path, "--profile", "sandbox", "--json" };
	int r, i = 4;

	if (!s->kernel && find_seen(n, s->root) == 0)
		return 0;
	if (!path)
		return err_sys(e, ENOMEM, "iso-kernel");
	if (s->quiet)
		argv[i++] = "--quiet";
	if (s->kernel) {
		argv[i++] = "--";
		argv[i++] = s->kernel;
	}
	r = helper_run(argv, &out, e);
	if (r == 0)
		r = read_answer(n, &out, e);
	if (r == 0 && !s->kernel)
		remember(s->root);
	return r;
}
