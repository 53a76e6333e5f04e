/* SPDX-License-Identifier: MIT
 *
 * Preparing a guest kernel: see kernel.h.
 *
 * Two things are made, each on its own: the kernel (unpacked, checked, its
 * modules indexed) and the initramfs of a profile, which is made again when
 * the agent, busybox or the recipe has changed.  What they were made from is
 * recorded beside them (store.c), and so the common case, when everything is
 * there, is to hash the agent and read two small files.
 *
 * Only who has something to make takes the lock; a second run waits for it
 * and then finds the first one's work.
 */
#include "guest/kernel.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/proc.h"
#include "base/progress.h"
#include "base/str.h"
#include "guest/apt.h"
#include "guest/initramfs.h"
#include "guest/source.h"
#include "guest/store.h"

#define BUSYBOX "/bin/busybox"
#define DEPMOD "/sbin/depmod"	/* not in an ordinary user's PATH */
#define DEPMOD_ROOM (1UL << 20) /* its largest index, of Debian's kernels */

struct job {
	const struct kernel_spec *spec;
	struct progress *progress;
	struct store store;
	struct source source; /* of spec->source */
	char *agent;	      /* owned */
	const char *busybox;  /* NULL: none in this profile */
	json_t *inputs;	      /* of the initramfs */
	char release[KERNEL_RELEASE_MAX];
	json_t *kernel; /* the records; NULL: to be made */
	json_t *initramfs;
};

static void job_free(struct job *j)
{
	store_free(&j->store);
	free(j->agent);
	json_decref(j->inputs);
	json_decref(j->kernel);
	json_decref(j->initramfs);
}

void kernel_free(struct kernel *k)
{
	mem_free(&k->version);
	mem_free(&k->vmlinux);
	mem_free(&k->initramfs);
	mem_free(&k->modules_dir);
	json_decref(k->modules);
	k->modules = NULL;
}

/* ---- the inputs -------------------------------------------------------- */

/* The agent beside the program that runs: build/bin and build/libexec, or
 * bin and lib/isokit where it is installed. */
static char *find_agent(void)
{
	static const char *const places[] = { "../libexec/iso-agent",
					      "../lib/isokit/iso-agent" };
	char exe[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	size_t i;

	if (n < 0)
		return NULL;
	exe[n] = '\0';
	*strrchr(exe, '/') = '\0';
	for (i = 0; i < ARRAY_SIZE(places); i++) {
		char *path = str_path(exe, places[i]);

		if (path && access(path, R_OK) == 0)
			return path;
		free(path);
	}
	return NULL;
}

static int check_agent(struct job *j, struct err *e)
{
	j->agent = j->spec->agent ? str_dup(str_of(j->spec->agent)) :
				    find_agent();
	if (!j->agent) {
		err_set(e, ENOENT, "no agent (iso-agent) beside this program");
		return err_fix(e, "--agent PATH");
	}
	return initramfs_check_static(j->agent, "agent", e);
}

static int check_busybox(struct job *j, struct err *e)
{
	int r;

	if (j->spec->profile != PROFILE_SANDBOX)
		return 0;
	j->busybox = j->spec->busybox ? j->spec->busybox : BUSYBOX;
	r = initramfs_check_static(j->busybox, "busybox", e);
	if (r < 0)
		err_fix(e, "the package busybox-static, or --busybox PATH");
	return r;
}

/* The profile's table, as far as it can change the initramfs. */
static char *recipe_text(enum profile p)
{
	const char *const *m = profile_modules(p);
	buf_auto struct buf b = BUF_INIT;

	buf_printf(&b, "%d", INITRAMFS_FORMAT);
	for (; *m; m++)
		buf_printf(&b, " %s", *m);
	return b.failed ? NULL : str_dup((struct str){ (char *)b.data, b.len });
}

static int read_inputs(struct job *j, struct err *e)
{
	char agent[SHA256_HEX], busybox[SHA256_HEX] = "";
	mem_auto char *recipe = recipe_text(j->spec->profile);
	int r = check_agent(j, e);

	if (r == 0)
		r = check_busybox(j, e);
	if (r == 0)
		r = sha256_file(AT_FDCWD, j->agent, agent, e);
	if (r == 0 && j->busybox)
		r = sha256_file(AT_FDCWD, j->busybox, busybox, e);
	if (r < 0)
		return r;
	if (recipe)
		j->inputs = json_pack("{ss ss ss}", "agent", agent, "busybox",
				      busybox, "recipe", recipe);
	return j->inputs ? 0 : err_sys(e, ENOMEM, "cannot keep the digests");
}

/* ---- looking ----------------------------------------------------------- */

/* See what is there.  True when nothing is left to be made. */
static bool look(struct job *j)
{
	const struct kernel_spec *s = j->spec;
	bool found = s->source ?
			     store_find(&j->store, j->source.id, j->release) :
			     store_default(&j->store, j->release);

	json_decref(j->kernel);
	json_decref(j->initramfs);
	j->kernel = found ? store_kernel(&j->store, j->release) : NULL;
	j->initramfs = j->kernel ? store_initramfs(&j->store, j->release,
						   s->profile, j->inputs) :
				   NULL;
	return j->initramfs != NULL;
}

static int take_lock(struct job *j, struct err *e)
{
	int fd = io_lock(j->store.dir, ".lock", false, e);

	if (fd != -EWOULDBLOCK)
		return fd < 0 ? err_in(e, "%s", j->store.path) : fd;
	progress_begin(j->progress, "waiting for another run", 0);
	fd = io_lock(j->store.dir, ".lock", true, e);
	progress_end(j->progress, fd >= 0);
	return fd < 0 ? err_in(e, "%s", j->store.path) : fd;
}

/* Nothing to make, but a run that was killed may have left 100 MB: clean up
 * unless somebody is at work, and leave it if we may not. */
static void tidy(struct job *j)
{
	fd_auto int lock = -1;

	if (!store_has_leftovers(&j->store))
		return;
	lock = io_lock(j->store.dir, ".lock", false, NULL);
	if (lock >= 0)
		store_sweep(&j->store, NULL);
}

/* ---- making the kernel ------------------------------------------------- */

/* depmod tells in words, and by its status nothing, that the disk is full. */
static int depmod_failed(const struct job *j, int r, struct err *e)
{
	struct statvfs fs;

	if (r == -ENOENT)
		return err_fix(e, "the package kmod");
	if (fstatvfs(j->store.dir, &fs) == 0 &&
	    fs.f_bavail < DEPMOD_ROOM / fs.f_bsize)
		e->num = ENOSPC;
	return -e->num;
}

static int run_depmod(struct job *j, const char *tree, const char *release,
		      struct err *e)
{
	const char *const argv[] = {
		DEPMOD, "-b", tree, "-C", "/dev/null", release, NULL,
	};
	struct proc_spec spec = PROC_SPEC_INIT;
	int r;

	spec.argv = argv;
	spec.die_with_parent = SIGKILL; /* nobody writes to a swept tree */
	progress_begin(j->progress, "indexing modules", 0);
	r = proc_run(&spec, NULL, e);
	progress_end(j->progress, r == 0);
	return r < 0 ? depmod_failed(j, r, e) : 0;
}

static int make_kernel(struct job *j, const struct source *src, struct err *e)
{
	kernel_image_auto struct kernel_image k = KERNEL_IMAGE_INIT;
	store_tmp_auto struct store_tmp tmp = STORE_TMP_INIT;
	mem_auto char *tree = NULL;
	fd_auto int fd = -1;
	int r = store_tmp_make(&tmp, &j->store, e);

	if (r < 0)
		return r;
	tree = str_path(j->store.path, tmp.name);
	if (!tree)
		return err_sys(e, ENOMEM, "cannot unpack %s", src->path);
	fd = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "cannot open %s", tree);
	r = source_unpack(src, fd, &k, j->progress, e);
	if (r == 0)
		r = run_depmod(j, tree, k.release, e);
	if (r == 0)
		r = store_put_kernel(&j->store, tmp.name, &k, src->id, e);
	if (r == 0)
		memcpy(j->release, k.release, sizeof(j->release));
	return r;
}

/* Whether the kernel that is there is the one that apt offers. */
static bool is_current(const struct job *j, const struct apt_package *a)
{
	const char *has =
		json_string_value(json_object_get(j->kernel, "package"));
	char wants[192];

	snprintf(wants, sizeof(wants), "%s %s", a->name, a->version);
	return has && strcmp(has, wants) == 0;
}

static int fetch_kernel(struct job *j, const struct apt_package *a,
			struct err *e)
{
	store_tmp_auto struct store_tmp tmp = STORE_TMP_INIT;
	mem_auto char *dir = NULL, *deb = NULL;
	struct source src;
	int r = store_tmp_make(&tmp, &j->store, e);

	if (r < 0)
		return r;
	dir = str_path(j->store.path, tmp.name);
	if (!dir)
		return err_sys(e, ENOMEM, "cannot download %s", a->name);
	r = apt_fetch(a, dir, &deb, j->progress, e);
	if (r == 0)
		r = source_open(&src, deb, NULL, e);
	if (r < 0)
		return r;
	/* Somebody may have named the same package before. */
	if (store_find(&j->store, src.id, j->release))
		return 0;
	return make_kernel(j, &src, e);
}

static int make_default(struct job *j, struct err *e)
{
	struct apt_package a;
	int r = apt_resolve(&a, e);

	if (r < 0)
		return r;
	if (is_current(j, &a))
		return 0;
	r = fetch_kernel(j, &a, e);
	return r < 0 ? r : store_set_default(&j->store, j->release, e);
}

/* ---- making the initramfs ---------------------------------------------- */

static char *modules_dir(const struct job *j)
{
	return str_printf("%s/%s/lib/modules/%s", j->store.path, j->release,
			  j->release);
}

static json_t *module_names(const struct module_list *l)
{
	json_t *names = json_array();
	size_t i;

	for (i = 0; names && i < l->n; i++) {
		if (json_array_append_new(names, json_string(l->v[i].name)) <
		    0) {
			json_decref(names);
			return NULL;
		}
	}
	return names;
}

static int write_initramfs(struct job *j, const struct module_list *l, int fd,
			   const char *tmp, struct err *e)
{
	const struct initramfs_spec spec = { .profile = j->spec->profile,
					     .agent = j->agent,
					     .busybox = j->busybox,
					     .modules = l };
	json_free_auto json_t *record = NULL;
	char hex[SHA256_HEX];
	struct stat st;
	int r = initramfs_write(&spec, fd, hex, e);

	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "cannot look at %s", tmp);
	record = json_pack("{si ss sO s{ss sI} so}", "format", 1, "profile",
			   profile_name(j->spec->profile), "inputs", j->inputs,
			   "initramfs", "sha256", hex, "size",
			   (json_int_t)st.st_size, "modules", module_names(l));
	if (!record)
		return err_sys(e, ENOMEM, "cannot record the initramfs");
	return store_put_initramfs(&j->store, j->release, j->spec->profile, fd,
				   tmp, record, e);
}

static int make_initramfs(struct job *j, struct err *e)
{
	module_list_auto struct module_list l = MODULE_LIST_INIT;
	mem_auto char *dir = modules_dir(j);
	char tmp[IO_TMP_MAX];
	fd_auto int fd = -1;
	int r;

	if (!dir)
		return err_sys(e, ENOMEM, "cannot make the initramfs");
	r = modules_resolve(dir, j->spec->profile, &l, e);
	if (r < 0)
		return r;
	fd = io_tmp_open(j->store.dir, "initramfs", 0644, tmp, e);
	if (fd < 0)
		return fd;
	progress_begin(j->progress, "writing the initramfs", 0);
	r = write_initramfs(j, &l, fd, tmp, e);
	progress_end(j->progress, r == 0);
	/* Its name is gone when it came into being. */
	if (r < 0)
		unlinkat(j->store.dir, tmp, 0);
	return r;
}

/* ---- all of it --------------------------------------------------------- */

static int make(struct job *j, struct err *e)
{
	const struct kernel_spec *s = j->spec;
	fd_auto int lock = -1;
	int r = store_make(&j->store, e);

	if (r < 0)
		return r;
	lock = take_lock(j, e);
	if (lock < 0)
		return lock;
	r = store_sweep(&j->store, e);
	if (r < 0)
		return r;
	if (look(j) && !s->update)
		return 0;
	if (!s->source && (s->update || !j->kernel))
		r = make_default(j, e);
	else if (!j->kernel)
		r = make_kernel(j, &j->source, e);
	if (r == 0 && !look(j))
		r = make_initramfs(j, e);
	if (r == 0 && !look(j))
		r = err_set(e, EIO, "%s/%s changed while it was made",
			    j->store.path, j->release);
	return r;
}

static const char *sha256_of(const json_t *record, const char *key)
{
	const char *s = json_string_value(
		json_object_get(json_object_get(record, key), "sha256"));

	return s ? s : "";
}

static int report(const struct job *j, struct kernel *k, struct err *e)
{
	const char *path = j->store.path;

	k->version = str_dup(str_of(j->release));
	k->vmlinux = str_printf("%s/%s/vmlinux", path, j->release);
	k->initramfs = str_printf("%s/%s/initramfs-%s", path, j->release,
				  profile_name(j->spec->profile));
	k->modules_dir = modules_dir(j);
	if (!k->version || !k->vmlinux || !k->initramfs || !k->modules_dir)
		return err_sys(e, ENOMEM, "cannot report the kernel");
	snprintf(k->vmlinux_sha256, SHA256_HEX, "%s",
		 sha256_of(j->kernel, "vmlinux"));
	snprintf(k->initramfs_sha256, SHA256_HEX, "%s",
		 sha256_of(j->initramfs, "initramfs"));
	k->modules = json_incref(json_object_get(j->initramfs, "modules"));
	return 0;
}

/* The remedies that do not depend on what was being done. */
static int advise(const struct job *j, struct err *e)
{
	if (e->fix[0])
		return -e->num;
	if (e->num == ENOSPC)
		return err_fix(e, "make room for 200 MB in %s, or set ISO_ROOT",
			       j->store.path);
	if (e->num == EACCES || e->num == EPERM || e->num == EROFS)
		return err_fix(e, "as root, or set ISO_ROOT to a directory "
				  "of yours");
	return -e->num;
}

int kernel_prepare(const struct kernel_spec *s, struct kernel *k, struct err *e)
{
	__attribute__((cleanup(job_free))) struct job j = {
		.spec = s, .progress = s->progress, .store = STORE_INIT
	};
	int r = store_open(&j.store, s->root, e);

	if (r == 0)
		r = read_inputs(&j, e);
	if (r == 0 && s->source)
		r = source_open(&j.source, s->source, s->modules, e);
	if (r == 0) {
		if (look(&j) && !s->update)
			tidy(&j);
		else
			r = make(&j, e);
	}
	if (r == 0)
		r = report(&j, k, e);
	return r < 0 ? advise(&j, e) : 0;
}
