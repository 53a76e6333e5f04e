/* SPDX-License-Identifier: MIT
 *
 * iso-fork: makes copies of a running sandbox, and prints their ids.
 */
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "bin/tool.h"
#include "sandbox/fork.h"
#include "sandbox/rundir.h"
#include "sandbox/start.h"

static uint64_t count = 1;
static uint64_t patience = 60;
static bool json, quiet;

static void warn(const struct err *e)
{
	if (!quiet)
		tool_warn(e);
}

static json_int_t us(uint64_t ns)
{
	return (json_int_t)(ns / 1000);
}

static int print_json(const struct box *parent, const struct box *copies,
		      const struct fork_report *f)
{
	json_t *ids = json_array(), *o;
	unsigned i;
	int r;

	for (i = 0; i < count; i++)
		json_array_append_new(ids, json_string(copies[i].id));
	o = json_pack("{ss so s{sI sI sI sI}}", "parent", parent->id, "ids",
		      ids, "us", "frozen", us(f->frozen_ns), "paused",
		      us(f->pause_ns), "forked", us(f->forked - f->begun),
		      "ready", us(f->ready - f->begun));
	r = o ? json_dumpf(o, stdout, JSON_INDENT(2)) : -1;
	json_decref(o);
	putchar('\n');
	return tool_done(r < 0 ? EXIT_FAILED : EXIT_DONE);
}

static int print(const struct box *parent, const struct box *copies,
		 const struct fork_report *f)
{
	unsigned i;

	if (json)
		return print_json(parent, copies, f);
	for (i = 0; i < count; i++)
		puts(copies[i].id);
	return tool_done(EXIT_DONE);
}

static int fork_it(const struct box *parent, struct box *copies)
{
	struct start_spec s = { .root = tool_root(),
				.patience = CLOCK_S(patience),
				.cancel = -1,
				.on_lack = warn };
	struct fork_report report;
	struct err e = ERR_INIT;

	if (fork_sandbox(&s, parent, copies, (unsigned)count, &report, &e) < 0)
		return tool_fail(&e);
	return print(parent, copies, &report);
}

static int run(int argc, const char *const *argv)
{
	rundir_auto struct rundir d = RUNDIR_INIT;
	box_auto struct box parent = BOX_INIT;
	struct err e = ERR_INIT;
	struct box *copies;
	unsigned i;
	int r;

	(void)argc;
	if (rundir_open(&d, tool_root(), false, &e) < 0 ||
	    rundir_find(&d, argv[0], &parent, &e) < 0)
		return tool_fail(&e);
	copies = calloc(count, sizeof(*copies));
	for (i = 0; copies && i < count; i++)
		copies[i] = (struct box)BOX_INIT;
	r = copies ? fork_it(&parent, copies) : EXIT_FAILED;
	for (i = 0; copies && i < count; i++)
		box_free(&copies[i]);
	free(copies);
	return r;
}

static const struct opt options[] = {
	{ .name = "count",
	  .letter = 'n',
	  .kind = OPT_COUNT,
	  .out = &count,
	  .arg = "N",
	  .help = "how many copies (1)",
	  .min = 1,
	  .max = FORK_MAX },
	{ .name = "timeout",
	  .kind = OPT_COUNT,
	  .out = &patience,
	  .arg = "SECONDS",
	  .help = "how long a copy may take to answer (60)",
	  .min = 1,
	  .max = 86400 },
	{ .name = "json",
	  .letter = 'j',
	  .kind = OPT_FLAG,
	  .out = &json,
	  .help = "print an object, with times" },
	{ .name = "quiet",
	  .letter = 'q',
	  .kind = OPT_FLAG,
	  .out = &quiet,
	  .help = "say nothing but errors" },
	{ .name = NULL },
};

static const struct opt_prog prog = {
	.self = {
		.name = "iso-fork",
		.args = "SANDBOX",
		.help = "make copies of a running sandbox",
		.opts = options,
		.min_args = 1,
		.max_args = 1,
		.run = run,
	},
};

int main(int argc, char **argv)
{
	return tool_main(&prog, argc, argv);
}
