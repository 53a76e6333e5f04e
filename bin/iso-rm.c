/* SPDX-License-Identifier: MIT
 *
 * iso-rm: ends sandboxes, removes all trace of them, and says what they have
 * used.
 */
#include <jansson.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "bin/tool.h"
#include "sandbox/rundir.h"
#include "sandbox/usage.h"

#define MIB (1 << 20)

static bool all, dead, json, quiet, force;
static uint64_t grace_s = 5;

struct removal {
	json_t *list; /* of what was removed; NULL: lines are printed */
	int code;
};

static void print_line(const struct usage *u)
{
	char up[24];

	if (u->counted)
		printf("%s\tcpu %.2f s\tmemory %.1f MiB", u->id,
		       (double)u->cpu_us / 1e6, (double)u->memory_peak / MIB);
	else
		printf("%s\tcpu -\tmemory -", u->id);
	printf("\tdisk %.1f MiB\tup %s\n", (double)u->disk / MIB,
	       usage_time(u->up_s, up));
}

static json_t *object(const struct usage *u)
{
	json_t *o = json_pack("{ss ss ss sI sI}", "id", u->id, "state",
			      usage_state_name(u->state), "reason",
			      u->end.reason, "disk", (json_int_t)u->disk,
			      "uptime", (json_int_t)u->up_s);

	if (o && u->counted) {
		json_object_set_new(o, "cpu_us",
				    json_integer((json_int_t)u->cpu_us));
		json_object_set_new(o, "memory_peak",
				    json_integer((json_int_t)u->memory_peak));
	}
	return o;
}

/* What it has used, counted when nothing runs any more; where there is no
 * cgroup, only a living monitor could tell. */
static void take_figures(struct usage *last, const struct usage *first)
{
	if (!last->counted && first->counted) {
		last->cpu_us = first->cpu_us;
		last->memory_peak = first->memory_peak;
		last->counted = true;
	}
	last->state = first->state;
}

static int remove_box(const struct rundir *d, struct box *b, struct removal *rm)
{
	usage_auto struct usage first = USAGE_INIT, last = USAGE_INIT;
	struct err e = ERR_INIT;
	int r;

	usage_of(&first, b);
	r = box_stop(b, clock_now() + CLOCK_S(grace_s), &e);
	usage_of(&last, b);
	take_figures(&last, &first);
	if (r == 0)
		r = rundir_remove(d, b, &e);
	if (r < 0) {
		rm->code = tool_fail(&e);
		return r;
	}
	if (rm->list)
		json_array_append_new(rm->list, object(&last));
	else if (!quiet)
		print_line(&last);
	return 0;
}

static int remove_each(const struct rundir *d, const char *id, bool starting,
		       void *arg)
{
	box_auto struct box b = BOX_INIT;

	(void)starting;
	/* Another may have been faster. */
	if (box_open(&b, d->dir, id, NULL) < 0 ||
	    (dead && (box_pid(&b) || box_sleeps(&b))))
		return 0;
	remove_box(d, &b, arg);
	return 0;
}

static void remove_named(const struct rundir *d, const char *word,
			 struct removal *rm)
{
	box_auto struct box b = BOX_INIT;
	struct err e = ERR_INIT;
	int r = rundir_find(d, word, &b, &e);

	if (r == -ENOENT && force)
		return;
	if (r < 0)
		rm->code = tool_fail(&e);
	else
		remove_box(d, &b, rm);
}

static int wrong(struct err *e)
{
	tool_warn(e);
	return EXIT_WRONG;
}

static int finish(struct removal *rm)
{
	int r = 0;

	if (rm->list) {
		r = json_dumpf(rm->list, stdout, JSON_INDENT(2));
		putchar('\n');
	}
	json_decref(rm->list);
	return tool_done(r < 0 ? EXIT_FAILED : rm->code);
}

static int run(int argc, const char *const *argv)
{
	rundir_auto struct rundir d = RUNDIR_INIT;
	struct removal rm = { .code = EXIT_DONE };
	struct err e = ERR_INIT;
	int i;

	if ((argc == 0) != (all || dead) || (all && dead)) {
		err_set(&e, EINVAL,
			"iso-rm wants sandboxes, or --all, or --dead");
		err_fix(&e, "iso-rm --help");
		return wrong(&e);
	}
	if (rundir_open(&d, tool_root(), false, &e) < 0)
		return tool_fail(&e);
	rm.list = json ? json_array() : NULL;
	for (i = 0; i < argc; i++)
		remove_named(&d, argv[i], &rm);
	if (argc == 0 && rundir_each(&d, false, remove_each, &rm, &e) < 0)
		rm.code = tool_fail(&e);
	rundir_sweep(&d);
	return finish(&rm);
}

static const struct opt options[] = {
	{ .name = "all",
	  .letter = 'a',
	  .kind = OPT_FLAG,
	  .out = &all,
	  .help = "all sandboxes" },
	{ .name = "dead",
	  .kind = OPT_FLAG,
	  .out = &dead,
	  .help = "all that have ended" },
	{ .name = "force",
	  .letter = 'f',
	  .kind = OPT_FLAG,
	  .out = &force,
	  .help = "one that is not there is no error" },
	{ .name = "grace",
	  .kind = OPT_COUNT,
	  .out = &grace_s,
	  .arg = "SECONDS",
	  .help = "how long a monitor may take to end (5)",
	  .max = 3600 },
	{ .name = "json",
	  .letter = 'j',
	  .kind = OPT_FLAG,
	  .out = &json,
	  .help = "print an array of objects" },
	{ .name = "quiet",
	  .letter = 'q',
	  .kind = OPT_FLAG,
	  .out = &quiet,
	  .help = "do not print what they used" },
	{ .name = NULL },
};

static const struct opt_prog prog = {
	.self = {
		.name = "iso-rm",
		.args = "[SANDBOX...]",
		.help = "end and remove sandboxes",
		.opts = options,
		.max_args = -1,
		.run = run,
	},
};

int main(int argc, char **argv)
{
	return tool_main(&prog, argc, argv);
}
