/* SPDX-License-Identifier: MIT
 *
 * What the emulated host is made of: see prepare.h.
 *
 * The kernel is prepared by the program for it and not by a call into
 * lib/guest, so that `iso-host run`, which tests start a thousand times, loads
 * none of the libraries that takes.
 */
#include "host/prepare.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"
#include "base/str.h"

void host_kernel_free(struct host_kernel *k)
{
	json_decref(k->answer);
	k->answer = NULL;
	mem_free(&k->modules);
}

/* A program of ours: beside this one. */
static char *sibling(const char *name)
{
	mem_auto char *self = realpath("/proc/self/exe", NULL);
	char *slash = self ? strrchr(self, '/') : NULL;

	if (!slash)
		return NULL;
	*slash = '\0';
	return str_path(self, name);
}

static int read_answer(struct host_kernel *k, const struct buf *out,
		       struct err *e)
{
	const char *modules = NULL;
	char *slash;

	k->answer = json_loadb((char *)out->data, out->len, 0, NULL);
	if (json_unpack(k->answer, "{s:{s:s}, s:{s:s}, s:s}", "vmlinux", "path",
			&k->vmlinux, "initramfs", "path", &k->initramfs,
			"modules_dir", &modules) < 0)
		return err_set(e, EPROTO, "iso-kernel's answer makes no sense");
	/* It names .../lib/modules/RELEASE; what is above is the tree. */
	k->modules = str_dup(str_of(modules));
	slash = k->modules ? strrchr(k->modules, '/') : NULL;
	if (!slash)
		return err_sys(e, ENOMEM, "kernel");
	*slash = '\0';
	return 0;
}

int host_kernel_prepare(struct host_kernel *k, const char *kernel,
			const char *agent, bool quiet, struct err *e)
{
	mem_auto char *path = sibling("iso-kernel");
	buf_auto struct buf out = BUF_INIT_MAX((size_t)1 << 20);
	struct proc_spec spec = PROC_SPEC_INIT;
	const char *argv[10] = { path, "--profile", "host", "--json" };
	int r, n = 4;

	if (!path)
		return err_sys(e, ENOMEM, "iso-kernel");
	if (quiet)
		argv[n++] = "--quiet";
	if (agent) {
		argv[n++] = "--agent";
		argv[n++] = agent;
	}
	if (kernel) {
		argv[n++] = "--";
		argv[n++] = kernel;
	}
	spec.argv = argv;
	spec.err = STDERR_FILENO;
	r = proc_run(&spec, &out, e);
	if (r < 0)
		return r;
	return read_answer(k, &out, e);
}

void host_shares_free(struct host_shares *s)
{
	size_t i;

	for (i = 0; i < s->n; i++)
		free(s->v[i]);
	free((void *)s->v);
	*s = (struct host_shares)HOST_SHARES_INIT;
}

static int add_share(struct host_shares *s, const char *path, struct err *e)
{
	mem_auto char *real = realpath(path, NULL);
	struct stat st;

	if (!real || stat(real, &st) < 0)
		return err_sys(e, errno, "cannot share %s", path);
	if (!S_ISDIR(st.st_mode))
		return err_set(e, ENOTDIR, "cannot share %s: not a directory",
			       path);
	/* Tabs and newlines end fields and lines of the agent's setup file. */
	if (strcmp(real, "/") == 0 || strpbrk(real, "\t\n")) {
		err_set(e, EINVAL, "cannot share '%s' for writing", real);
		return err_fix(e, "name the directories that are written to: "
				  "--share DIR");
	}
	s->v[s->n++] = ptr_steal(&real);
	return 0;
}

static int by_length(const void *a, const void *b)
{
	size_t la = strlen(*(char *const *)a);
	size_t lb = strlen(*(char *const *)b);

	return (la > lb) - (la < lb);
}

int host_shares_find(struct host_shares *s, const char *const *dirs, size_t n,
		     struct err *e)
{
	size_t i;
	int r = 0;

	s->v = calloc(n + 1, sizeof(*s->v));
	if (!s->v)
		return err_sys(e, ENOMEM, "shares");
	for (i = 0; r == 0 && i < n; i++)
		r = add_share(s, dirs[i], e);
	if (n == 0)
		r = add_share(s, ".", e);
	/* A share within a share is mounted over it, so it comes later. */
	if (r == 0)
		qsort(s->v, s->n, sizeof(*s->v), by_length);
	return r;
}
