/* SPDX-License-Identifier: MIT
 *
 * iso-snap: makes, keeps and moves snapshots of sandboxes.
 *
 * What is to be done is an option (a verb), for what is done most often, to make
 * a snapshot, has none: iso-snap SANDBOX.
 */
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "bin/snaplist.h"
#include "bin/tool.h"
#include "sandbox/capture.h"
#include "sandbox/rundir.h"
#include "sandbox/snapshot.h"
#include "sandbox/start.h"

#define PATIENCE CLOCK_S(60) /* for a guest to answer */

static bool list, show, delete, verify, export, import;
static bool hibernate, resume, rollback;
static bool json, quiet, trust;
static const char *name;

/* ---- snapshots ---------------------------------------------------------- */

static int run_list(int argc, const char *const *argv)
{
	struct err e = ERR_INIT;

	(void)argc;
	(void)argv;
	if (snaplist_print(tool_root(),
			   quiet ? SNAPLIST_IDS :
			   json	 ? SNAPLIST_JSON :
				   SNAPLIST_TABLE,
			   &e) < 0)
		return tool_fail(&e);
	return EXIT_DONE;
}

static int run_show(int argc, const char *const *argv)
{
	snapshot_auto struct snapshot s = SNAPSHOT_INIT;
	struct err e = ERR_INIT;

	(void)argc;
	if (snapshot_find(&s, tool_root(), argv[0], &e) < 0 ||
	    snaplist_show(tool_root(), &s, &e) < 0)
		return tool_fail(&e);
	return EXIT_DONE;
}

static int run_delete(int argc, const char *const *argv)
{
	int i, code = EXIT_DONE;

	for (i = 0; i < argc; i++) {
		struct err e = ERR_INIT;

		if (snapshot_delete(tool_root(), argv[i], &e) < 0)
			code = tool_fail(&e);
	}
	return code;
}

static int run_verify(int argc, const char *const *argv)
{
	int i, code = EXIT_DONE;

	for (i = 0; i < argc; i++) {
		snapshot_auto struct snapshot s = SNAPSHOT_INIT;
		struct err e = ERR_INIT;

		if (snapshot_find(&s, tool_root(), argv[i], &e) < 0 ||
		    snapshot_verify(&s, tool_root(), &e) < 0)
			code = tool_fail(&e);
	}
	return code;
}

static int on_terminal(const char *what, const char *fix)
{
	struct err e = ERR_INIT;

	err_set(&e, EINVAL, "%s is a terminal", what);
	err_fix(&e, "%s", fix);
	tool_warn(&e);
	return EXIT_WRONG;
}

static int run_export(int argc, const char *const *argv)
{
	snapshot_auto struct snapshot s = SNAPSHOT_INIT;
	struct err e = ERR_INIT;

	(void)argc;
	if (isatty(STDOUT_FILENO))
		return on_terminal("standard output",
				   "iso-snap --export SNAPSHOT >FILE");
	if (snapshot_find(&s, tool_root(), argv[0], &e) < 0 ||
	    snapshot_export(&s, tool_root(), STDOUT_FILENO, &e) < 0)
		return tool_fail(&e);
	return EXIT_DONE;
}

/* It is here, and that it cannot be restored here as things are is no
 * failure. */
static void warn_of_lacks(const struct snapshot *s)
{
	mem_auto char *rootfs = NULL;
	struct err e = ERR_INIT;

	if (snapshot_check(s, &e) < 0)
		tool_warn(&e);
	if (snapshot_rootfs(s, tool_root(), &rootfs, &e) < 0)
		tool_warn(&e);
}

static int run_import(int argc, const char *const *argv)
{
	snapshot_auto struct snapshot s = SNAPSHOT_INIT;
	struct err e = ERR_INIT;

	(void)argc;
	(void)argv;
	if (isatty(STDIN_FILENO))
		return on_terminal("standard input", "iso-snap --import <FILE");
	if (snapshot_import(&s, tool_root(), STDIN_FILENO, trust, name, &e) < 0)
		return tool_fail(&e);
	warn_of_lacks(&s);
	puts(s.id);
	return EXIT_DONE;
}

/* ---- sandboxes ---------------------------------------------------------- */

static void warn(const struct err *e)
{
	if (!quiet)
		tool_warn(e);
}

static int find(const char *word, struct rundir *d, struct box *b,
		struct err *e)
{
	int r = rundir_open(d, tool_root(), false, e);

	return r < 0 ? r : rundir_find(d, word, b, e);
}

static json_int_t us(uint64_t ns)
{
	return (json_int_t)(ns / 1000);
}

/* What was done, with its times; or just the id. */
static int print(const char *id, json_t *times)
{
	json_t *o = json ? json_pack("{ss sO}", "id", id, "us", times) : NULL;

	if (!json)
		puts(id);
	else if (!o || json_dumpf(o, stdout, JSON_INDENT(2)) < 0 ||
		 putchar('\n') < 0)
		return EXIT_FAILED;
	json_decref(o);
	json_decref(times);
	return EXIT_DONE;
}

static json_t *capture_times(const struct capture_report *r)
{
	return json_pack("{sI sI sI}", "frozen", us(r->frozen_ns), "paused",
			 us(r->pause_ns), "memory_bytes",
			 (json_int_t)r->memory);
}

static int checkpoint(const struct box *b, struct err *e)
{
	snapshot_auto struct snapshot s = SNAPSHOT_INIT;
	struct capture_report report = { .memory = 0 };
	json_t *config = config_read(b, e);
	const char *parent;
	int r = config ? snapshot_make(&s, tool_root(), e) : -e->num;

	if (r == 0) {
		parent = config_text(config, "snapshot");
		r = capture_files(tool_root(), b, config, &s, &report, e);
		if (r == 0)
			r = snapshot_commit(&s, tool_root(), config,
					    *parent ? parent : NULL, name, e);
		if (r < 0)
			snapshot_drop(&s);
	}
	json_decref(config);
	return r < 0 ? tool_fail(e) : print(s.id, capture_times(&report));
}

static int run_checkpoint(int argc, const char *const *argv)
{
	rundir_auto struct rundir d = RUNDIR_INIT;
	box_auto struct box b = BOX_INIT;
	struct err e = ERR_INIT;

	(void)argc;
	if (find(argv[0], &d, &b, &e) < 0)
		return tool_fail(&e);
	return checkpoint(&b, &e);
}

static int run_hibernate(int argc, const char *const *argv)
{
	rundir_auto struct rundir d = RUNDIR_INIT;
	box_auto struct box b = BOX_INIT;
	struct capture_report report;
	struct err e = ERR_INIT;

	(void)argc;
	if (find(argv[0], &d, &b, &e) < 0 ||
	    capture_hibernate(tool_root(), &b, &report, &e) < 0)
		return tool_fail(&e);
	return print(b.id, capture_times(&report));
}

static struct start_spec in_place(void)
{
	return (struct start_spec){ .root = tool_root(),
				    .patience = PATIENCE,
				    .cancel = -1,
				    .on_lack = warn };
}

static json_t *start_times(const struct start_times *t)
{
	return json_pack("{sI sI sI sI}", "made", us(t->made - t->begun), "vmm",
			 us(t->vmm - t->begun), "agent",
			 us(t->agent - t->begun), "ready",
			 us(t->ready - t->begun));
}

static int run_resume(int argc, const char *const *argv)
{
	rundir_auto struct rundir d = RUNDIR_INIT;
	box_auto struct box b = BOX_INIT;
	struct start_spec s = in_place();
	struct start_times t;
	struct err e = ERR_INIT;

	(void)argc;
	if (find(argv[0], &d, &b, &e) < 0 || restore_wake(&s, &b, &t, &e) < 0)
		return tool_fail(&e);
	return print(b.id, start_times(&t));
}

static int run_rollback(int argc, const char *const *argv)
{
	rundir_auto struct rundir d = RUNDIR_INIT;
	box_auto struct box b = BOX_INIT;
	struct start_spec s = in_place();
	struct start_times t;
	struct err e = ERR_INIT;
	int r = find(argv[1], &d, &b, &e);

	(void)argc;
	if (r < 0)
		return tool_fail(&e);
	r = restore_rollback(&s, argv[0], &b, &t, &e);
	/* Who was asked about the snapshot has said what is wrong with it. */
	if (r == -EREMOTEIO)
		return EXIT_FAILED;
	return r < 0 ? tool_fail(&e) : print(b.id, start_times(&t));
}

/* ---- verbs -------------------------------------------------------------- */

enum {
	MAY_NAME = 1,
	MAY_TRUST = 2,
	MAY_FORM = 4, /* --json, --quiet */
};

struct verb {
	const bool *chosen; /* NULL: no verb was */
	const char *name;
	const char *wants;
	int min_args, max_args; /* max_args -1: any number */
	unsigned int may;
	int (*run)(int argc, const char *const *argv);
};

static const struct verb verbs[] = {
	{ &list, "--list", "no argument", 0, 0, MAY_FORM, run_list },
	{ &show, "--show", "a SNAPSHOT", 1, 1, 0, run_show },
	{ &delete, "--delete", "a SNAPSHOT", 1, -1, 0, run_delete },
	{ &verify, "--verify", "a SNAPSHOT", 1, -1, 0, run_verify },
	{ &export, "--export", "a SNAPSHOT", 1, 1, 0, run_export },
	{ &import, "--import", "no argument", 0, 0, MAY_NAME | MAY_TRUST,
	  run_import },
	{ &hibernate, "--hibernate", "a SANDBOX", 1, 1, MAY_FORM,
	  run_hibernate },
	{ &resume, "--resume", "a SANDBOX", 1, 1, MAY_FORM, run_resume },
	{ &rollback, "--rollback", "a SNAPSHOT and a SANDBOX", 2, 2, MAY_FORM,
	  run_rollback },
	{ NULL, "iso-snap", "a SANDBOX, or a verb as --list", 1, 1,
	  MAY_NAME | MAY_FORM, run_checkpoint },
};

static const struct verb *choose(struct err *e)
{
	const struct verb *v, *found = NULL;

	for (v = verbs; v->chosen; v++) {
		if (!*v->chosen)
			continue;
		if (found) {
			err_set(e, EINVAL, "both %s and %s", found->name,
				v->name);
			err_fix(e, "one of them");
			return NULL;
		}
		found = v;
	}
	return found ? found : v;
}

static int check(const struct verb *v, int argc, struct err *e)
{
	const char *option = NULL;

	if (argc < v->min_args || (v->max_args >= 0 && argc > v->max_args)) {
		err_set(e, EINVAL, "%s wants %s", v->name, v->wants);
		return err_fix(e, "iso-snap --help");
	}
	if (name && !(v->may & MAY_NAME))
		option = "--name";
	if (trust && !(v->may & MAY_TRUST))
		option = "--trust";
	if ((json || quiet) && !(v->may & MAY_FORM))
		option = json ? "--json" : "--quiet";
	if (json && quiet)
		return err_set(e, EINVAL, "both --json and --quiet");
	if (option) {
		err_set(e, EINVAL, "%s goes with another verb", option);
		return err_fix(e, "iso-snap --help");
	}
	return name ? snapshot_check_name(name, e) : 0;
}

static int run(int argc, const char *const *argv)
{
	struct err e = ERR_INIT;
	const struct verb *v = choose(&e);

	if (!v || check(v, argc, &e) < 0) {
		tool_warn(&e);
		return EXIT_WRONG;
	}
	return tool_done(v->run(argc, argv));
}

#define FLAG(word, key, what, text)                                \
	{                                                          \
		.name = (word), .letter = (key), .kind = OPT_FLAG, \
		.out = &(what), .help = (text)                     \
	}

static const struct opt options[] = {
	{ .name = "name",
	  .letter = 'n',
	  .kind = OPT_TEXT,
	  .out = &name,
	  .arg = "NAME",
	  .help = "what the new snapshot is called" },
	FLAG("list", 'l', list, "list all snapshots"),
	FLAG("json", 'j', json, "print objects, with times"),
	FLAG("quiet", 'q', quiet, "only ids; no warnings"),
	FLAG("show", 0, show, "print all about a snapshot, as JSON"),
	FLAG("delete", 0, delete, "delete snapshots"),
	FLAG("verify", 0, verify, "check that snapshots are as they were made"),
	FLAG("export", 0, export, "write a snapshot to standard output"),
	FLAG("import", 0, import, "read one from standard input"),
	FLAG("trust", 0, trust, "even if another host made it"),
	FLAG("hibernate", 0, hibernate, "put a sandbox to sleep on disk"),
	FLAG("resume", 0, resume, "wake it up"),
	FLAG("rollback", 0, rollback, "take a sandbox back to a snapshot"),
	{ .name = NULL },
};

static const struct opt_prog prog = {
	.self = {
		.name = "iso-snap",
		.args = "[SANDBOX | SNAPSHOT...]",
		.help = "make, keep and move snapshots of sandboxes",
		.opts = options,
		.max_args = -1,
		.run = run,
	},
};

int main(int argc, char **argv)
{
	return tool_main(&prog, argc, argv);
}
