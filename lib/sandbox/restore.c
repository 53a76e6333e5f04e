/* SPDX-License-Identifier: MIT
 *
 * Machines that were captured, going on: see capture.h.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "sandbox/capture.h"
#include "sandbox/helper.h"
#include "sandbox/rundir.h"

static const char *const sleeping[SNAPSHOT_FILES] = {
	[SNAPSHOT_STATE] = "hibernate.state",
	[SNAPSHOT_MEMORY] = "hibernate.memory",
	[SNAPSHOT_SCRATCH] = "scratch",
};

void restore_free(struct restore *r)
{
	int i;

	for (i = 0; i < SNAPSHOT_FILES; i++)
		mem_free(&r->paths[i]);
	mem_free(&r->prefetch);
	json_decref(r->config);
	fd_close(&r->lock);
	snapshot_free(&r->snap);
}

static int set_paths(struct restore *r, const char *dir,
		     const char *const names[static SNAPSHOT_FILES],
		     struct err *e)
{
	int i;

	for (i = 0; i < SNAPSHOT_FILES; i++) {
		r->paths[i] = str_path(dir, names[i]);
		if (!r->paths[i])
			return err_sys(e, ENOMEM, "cannot restore");
	}
	r->from.state = r->paths[SNAPSHOT_STATE];
	r->from.memory = r->paths[SNAPSHOT_MEMORY];
	r->from.scratch = r->paths[SNAPSHOT_SCRATCH];
	return 0;
}

/* Digests are another program's business, with the library for them: seldom is
 * one to be made, and each start would pay for it. */
static int have_verified(const char *id, struct err *e)
{
	mem_auto char *program = helper_path("iso-snap");
	buf_auto struct buf out = BUF_INIT_MAX(65536);
	const char *const argv[] = { program, "--verify", "--", id, NULL };

	if (!program)
		return err_sys(e, ENOMEM, "iso-snap");
	return helper_run(argv, &out, e);
}

static int make_config(struct restore *r, const char *root, uint64_t idle_s,
		       const char *const *env, struct err *e)
{
	mem_auto char *rootfs = NULL;
	int n = snapshot_rootfs(&r->snap, root, &rootfs, e);

	if (n < 0)
		return n;
	r->config = config_derive(snapshot_config(&r->snap), idle_s, env);
	if (!r->config ||
	    json_object_set_new(r->config, "rootfs", json_string(rootfs)) < 0 ||
	    json_object_set_new(r->config, "snapshot",
				json_string(r->snap.id)) < 0)
		return err_sys(e, ENOMEM, "cannot describe the sandbox");
	json_object_del(r->config, "parent");
	json_object_del(r->config, "slept");
	return 0;
}

/* Most have none. */
static int set_prefetch(struct restore *r, struct err *e)
{
	if (faccessat(r->snap.dir, SNAPSHOT_PREFETCH, R_OK, 0) < 0)
		return 0;
	r->prefetch = str_path(r->snap.path, SNAPSHOT_PREFETCH);
	r->from.prefetch = r->prefetch;
	return r->prefetch ? 0 : err_sys(e, ENOMEM, "cannot restore");
}

int restore_find(struct restore *r, const char *root, const char *word,
		 uint64_t idle_s, const char *const *env, struct err *e)
{
	int n = snapshot_find(&r->snap, root, word, e);

	if (n == 0)
		n = snapshot_check(&r->snap, e);
	if (n == 0) {
		r->lock = snapshot_memory(&r->snap, e);
		n = r->lock < 0 ? r->lock : 0;
	}
	if (n == 0 && !snapshot_is_verified(&r->snap))
		n = have_verified(r->snap.id, e);
	if (n == 0)
		n = make_config(r, root, idle_s, env, e);
	if (n == 0)
		n = set_prefetch(r, e);
	return n < 0 ? n : set_paths(r, r->snap.path, snapshot_file_names, e);
}

/* ---- in place ----------------------------------------------------------- */

/* It stays the machine that it was, and was made when it was. */
static int keep_self(json_t *config, const json_t *own, struct err *e)
{
	static const char *const keys[] = { "created", "machine_id" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(keys); i++) {
		if (json_object_set(config, keys[i],
				    json_object_get(own, keys[i])) < 0)
			return err_sys(e, ENOMEM,
				       "cannot describe the sandbox");
	}
	return 0;
}

static int replace(const struct start_spec *s, json_t *config,
		   const json_t *own, const struct start_source *from,
		   struct box *b, struct start_times *t, struct err *e)
{
	const char *name = config_text(own, "name");
	box_auto struct box fresh = BOX_INIT;
	struct start_spec spec = *s;
	char id[ID_SIZE];
	int r = keep_self(config, own, e);

	memcpy(id, b->id, ID_SIZE);
	spec.replace = id;
	spec.name = *name ? name : NULL;
	if (r == 0)
		r = start_sandbox(&spec, config, from, &fresh, t, e);
	if (r < 0)
		return r;
	box_free(b);
	*b = fresh;
	fresh = (struct box)BOX_INIT;
	return 0;
}

int restore_wake(const struct start_spec *s, struct box *b,
		 struct start_times *t, struct err *e)
{
	rundir_auto struct rundir d = RUNDIR_INIT;
	restore_auto struct restore r = RESTORE_INIT;
	mem_auto char *dir = NULL;
	json_t *own;
	int n;

	if (!box_sleeps(b)) {
		err_set(e, EINVAL, "%s does not sleep", b->id);
		return err_fix(e, "iso-ps shows what it does");
	}
	n = rundir_open(&d, s->root, false, e);
	if (n < 0)
		return n;
	dir = str_path(d.path, b->id);
	own = config_read(b, e);
	if (!own)
		return -e->num;
	r.config = json_deep_copy(own);
	n = dir && r.config &&
			    json_object_set_new(r.config, "slept",
						json_true()) == 0 ?
		    set_paths(&r, dir, sleeping, e) :
		    err_sys(e, ENOMEM, "cannot wake %s", b->id);
	if (n == 0)
		n = replace(s, r.config, own, &r.from, b, t, e);
	json_decref(own);
	return n;
}

int restore_rollback(const struct start_spec *s, const char *word,
		     struct box *b, struct start_times *t, struct err *e)
{
	restore_auto struct restore r = RESTORE_INIT;
	json_t *own = config_read(b, e);
	int n;

	if (!own)
		return -e->num;
	n = restore_find(&r, s->root, word, config_number(own, "timeout"), NULL,
			 e);
	if (n == 0)
		n = replace(s, r.config, own, &r.from, b, t, e);
	json_decref(own);
	return n;
}
