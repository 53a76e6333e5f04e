/* SPDX-License-Identifier: MIT
 *
 * The modules of a guest: see modules.h.
 *
 * A distribution's kernel has nearly everything as modules, even virtio_mmio.
 * Which ones a profile wants is a table here; what those need in turn, and
 * what is built in, the kernel's own indexes say, read through libkmod.  The
 * guest's agent then only loads files in the order of a list: it needs neither
 * the indexes nor a modprobe.
 *
 * The configuration of the machine this runs on (/etc/modprobe.d) is not read:
 * it is about another kernel, and the same inputs must give the same list.
 */
#include "guest/modules.h"

#include <assert.h>
#include <libkmod.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"

/* '?' in front: does without it where the kernel has it neither built in nor
 * as a module.  Order matters only where no dependency says it. */
static const char *const sandbox_modules[] = {
	"virtio_mmio",
	"virtio_blk",
	"virtio_rng",
	"virtio_net",
	"vmw_vsock_virtio_transport",
	"erofs",
	"ext4",
	"overlay",
	"?dax",	    /* with pmem: the root without a second copy */
	"?nd_pmem", /* blk is the fallback */
	"?virtio_pmem",
	"?virtio_balloon",
	NULL,
};

static const char *const host_modules[] = {
	"virtio_pci",
	"virtio_blk",
	"virtio_console", /* the port that the agent is reached by */
	"virtio_rng",
	"fuse",
	"virtiofs", /* the outer machine's files, */
	"overlay",  /* under a layer of its own */
	"xfs",	    /* the state directory, with reflinks */
	"kvm",
	"kvm_amd", /* QEMU emulates SVM, not VMX */
	"tun",
	NULL,
};

static const struct {
	const char *name;
	const char *const *modules;
} profiles[] = {
	[PROFILE_SANDBOX] = { "sandbox", sandbox_modules },
	[PROFILE_HOST] = { "host", host_modules },
};

static_assert(ARRAY_SIZE(profiles) == PROFILE_COUNT, "a profile per enum");

const char *profile_name(enum profile p)
{
	return profiles[p].name;
}

const char *const *profile_modules(enum profile p)
{
	return profiles[p].modules;
}

int profile_parse(const char *s, enum profile *p, struct err *e)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(profiles); i++) {
		if (strcmp(s, profiles[i].name) == 0) {
			*p = (enum profile)i;
			return 0;
		}
	}
	return err_set(e, EINVAL, "no profile '%s', expected sandbox or host",
		       s);
}

void module_list_free(struct module_list *l)
{
	size_t i;

	for (i = 0; i < l->n; i++) {
		free(l->v[i].name);
		free(l->v[i].path);
		free(l->v[i].file);
	}
	mem_free(&l->v);
	l->n = 0;
}

/* A chain of soft dependencies deeper than this is a loop or a bad joke. */
#define DEPTH_MAX 32

struct resolver {
	struct kmod_ctx *ctx;
	struct module_list *out;
	struct err *err;
	int depth;
};

static void ctx_free(struct kmod_ctx **ctx)
{
	kmod_unref(*ctx);
}

static void list_free(struct kmod_list **l)
{
	kmod_module_unref_list(*l);
}

#define kmod_list_auto __attribute__((cleanup(list_free)))

static bool listed(const struct module_list *l, const char *name)
{
	size_t i;

	for (i = 0; i < l->n; i++) {
		if (strcmp(l->v[i].name, name) == 0)
			return true;
	}
	return false;
}

/* "…/virtio-rng.ko.xz" -> "virtio-rng.ko" */
static char *file_of(const char *path)
{
	const char *base = strrchr(path, '/');
	const char *ko;

	base = base ? base + 1 : path;
	ko = strstr(base, ".ko");
	return str_dup((struct str){ base, ko ? (size_t)(ko - base) + 3 :
						strlen(base) });
}

static int append(struct resolver *r, const char *name, const char *path)
{
	struct module_list *l = r->out;
	struct module *v = reallocarray(l->v, l->n + 1, sizeof(*v));
	struct module *m;

	if (!v)
		return err_sys(r->err, ENOMEM, "cannot list modules");
	l->v = v;
	m = &v[l->n++];
	m->name = str_dup(str_of(name));
	m->path = str_dup(str_of(path));
	m->file = file_of(path);
	if (!m->name || !m->path || !m->file)
		return err_sys(r->err, ENOMEM, "cannot list modules");
	return 0;
}

static int add_all(struct resolver *r, struct kmod_list *l);

/* What @mod needs, then @mod itself.  Soft dependencies come first of all:
 * they are what @mod asks for at run time and would have fetched by a
 * modprobe that the guest has not got. */
static int add(struct resolver *r, struct kmod_module *mod)
{
	const char *path = kmod_module_get_path(mod);
	const char *name = kmod_module_get_name(mod);
	kmod_list_auto struct kmod_list *deps = NULL;
	kmod_list_auto struct kmod_list *pre = NULL;
	kmod_list_auto struct kmod_list *post = NULL;
	int rc;

	if (!path || listed(r->out, name)) /* no path: built in */
		return 0;
	if (r->depth >= DEPTH_MAX)
		return 0;
	r->depth++;
	deps = kmod_module_get_dependencies(mod);
	kmod_module_get_softdeps(mod, &pre, &post);
	rc = add_all(r, pre);
	if (rc == 0)
		rc = add_all(r, deps);
	r->depth--;
	/* Once more: a loop may have come by here. */
	if (rc < 0 || listed(r->out, name))
		return rc;
	return append(r, name, path);
}

static int add_all(struct resolver *r, struct kmod_list *l)
{
	struct kmod_list *item;
	int rc = 0;

	for (item = l; item; item = kmod_list_next(l, item)) {
		struct kmod_module *mod = kmod_module_get_module(item);

		rc = add(r, mod);
		kmod_module_unref(mod);
		if (rc < 0)
			return rc;
	}
	return rc;
}

static int no_module(const char *name, const char *dir, enum profile p,
		     struct err *e)
{
	const char *release = strrchr(dir, '/');

	err_set(e, ENOENT,
		"kernel %s has no module %s, which the %s profile needs",
		release ? release + 1 : dir, name, profile_name(p));
	return err_fix(e, "another kernel, such as Debian's "
			  "linux-image-cloud-amd64");
}

/* Whether there is anything of that name.  A name that libkmod makes up from
 * nothing has no path and is not built in. */
static bool exists(struct kmod_list *l)
{
	struct kmod_list *item;
	bool found = false;

	for (item = l; item; item = kmod_list_next(l, item)) {
		struct kmod_module *mod = kmod_module_get_module(item);

		found = found || kmod_module_get_path(mod) ||
			kmod_module_get_initstate(mod) == KMOD_MODULE_BUILTIN;
		kmod_module_unref(mod);
	}
	return found;
}

static int resolve_one(struct resolver *r, const char *name, const char *dir,
		       enum profile p)
{
	kmod_list_auto struct kmod_list *l = NULL;
	bool optional = *name == '?';
	int rc;

	name += optional;
	rc = kmod_module_new_from_lookup(r->ctx, name, &l);
	if (rc < 0 && rc != -ENOENT && rc != -ENOSYS)
		return err_sys(r->err, -rc, "cannot look up module %s", name);
	if (exists(l))
		return add_all(r, l);
	return optional ? 0 : no_module(name, dir, p, r->err);
}

/* A file that an index names may be gone. */
static int check_files(const struct module_list *l, const char *dir,
		       enum profile p, struct err *e)
{
	size_t i;

	for (i = 0; i < l->n; i++) {
		if (access(l->v[i].path, R_OK) < 0)
			return no_module(l->v[i].name, dir, p, e);
	}
	return 0;
}

static void silent(void *data, int priority, const char *file, int line,
		   const char *fn, const char *format, va_list args)
{
	(void)data, (void)priority, (void)file, (void)line, (void)fn;
	(void)format, (void)args;
}

int modules_resolve(const char *modules_dir, enum profile p,
		    struct module_list *l, struct err *e)
{
	static const char *const no_config[] = { NULL };
	__attribute__((cleanup(ctx_free))) struct kmod_ctx *ctx =
		kmod_new(modules_dir, no_config);
	struct resolver r = { .ctx = ctx, .out = l, .err = e };
	const char *const *name;
	int rc;

	if (!ctx)
		return err_sys(e, ENOMEM, "cannot read %s", modules_dir);
	kmod_set_log_fn(ctx, silent, NULL); /* a library does not print */
	rc = kmod_load_resources(ctx);
	if (rc < 0)
		return err_sys(e, -rc, "cannot read the indexes in %s",
			       modules_dir);
	for (name = profile_modules(p); *name; name++) {
		rc = resolve_one(&r, *name, modules_dir, p);
		if (rc < 0)
			return rc;
	}
	return check_files(l, modules_dir, p, e);
}
