/* SPDX-License-Identifier: MIT
 *
 * iso-cp: copies files and directories into a sandbox and out of it.
 */
#include <stdio.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "bin/tool.h"
#include "sandbox/box.h"
#include "sandbox/copy.h"
#include "sandbox/rundir.h"

#define GIB ((uint64_t)1 << 30)

static const char *user;
static uint64_t bytes_max = 16 * GIB;
static bool parents, preserve, quiet;

static int wrong(const char *what, struct err *e)
{
	err_set(e, EINVAL, "%s", what);
	err_fix(e, "iso-cp FILE SANDBOX:PATH, or iso-cp SANDBOX:PATH FILE; a "
		   "file here with a colon in its name: ./FILE");
	tool_warn(e);
	return EXIT_WRONG;
}

/* "SANDBOX:PATH": what is before the first colon has no slash in it. */
static bool split(const char *word, char **sandbox, const char **path)
{
	struct str rest = str_of(word);
	struct str head = str_cut(&rest, ':');

	if (!rest.p || !head.len || memchr(head.p, '/', head.len))
		return false;
	*sandbox = str_dup(head);
	*path = rest.p;
	return *sandbox;
}

static int copy(struct copy_spec s, const char *sandbox, bool in)
{
	rundir_auto struct rundir d = RUNDIR_INIT;
	box_auto struct box b = BOX_INIT;
	struct err e = ERR_INIT;
	int r = rundir_open(&d, tool_root(), false, &e);

	if (r == 0)
		r = rundir_find(&d, sandbox, &b, &e);
	s.box = &b;
	if (r == 0)
		r = in ? copy_in(&s, &e) : copy_out(&s, &e);
	if (r == -ECONNRESET && b.dir >= 0)
		box_explain_loss(&b, clock_now() + CLOCK_S(10), &e);
	if (r < 0)
		return tool_fail(&e);
	if (s.left_out && !quiet)
		tool_say("left out %llu devices, FIFOs or sockets",
			 (unsigned long long)s.left_out);
	return EXIT_DONE;
}

static int run(int argc, const char *const *argv)
{
	struct copy_spec s = { .user = user,
			       .parents = parents,
			       .preserve = preserve,
			       .bytes_max = bytes_max };
	mem_auto char *from = NULL, *to = NULL;
	struct err e = ERR_INIT;
	bool out = split(argv[0], &from, &s.there);
	bool in = split(argv[1], &to, out ? &s.here : &s.there);

	(void)argc;
	if (in && out)
		return wrong("between two sandboxes nothing is copied", &e);
	if (!in && !out)
		return wrong("neither of the two is in a sandbox", &e);
	if (!*s.there)
		return wrong("no path behind the colon", &e);
	s.here = argv[in ? 0 : 1];
	return copy(s, in ? to : from, in);
}

static const struct opt options[] = {
	{ .name = "user",
	  .letter = 'u',
	  .kind = OPT_TEXT,
	  .out = &user,
	  .arg = "USER[:GROUP]",
	  .help = "as whom in the sandbox; the image's user if not given" },
	{ .name = "parents",
	  .letter = 'p',
	  .kind = OPT_FLAG,
	  .out = &parents,
	  .help = "make the directories in the sandbox that lead there" },
	{ .name = "preserve",
	  .kind = OPT_FLAG,
	  .out = &preserve,
	  .help = "keep owners, times and whole modes" },
	{ .name = "max-size",
	  .kind = OPT_BYTES,
	  .out = &bytes_max,
	  .arg = "SIZE",
	  .help = "of a directory that is copied out (16G)",
	  .min = 1,
	  .max = (uint64_t)1 << 50 },
	{ .name = "quiet",
	  .letter = 'q',
	  .kind = OPT_FLAG,
	  .out = &quiet,
	  .help = "say nothing but errors" },
	{ .name = NULL },
};

static const struct opt_prog prog = {
	.self = {
		.name = "iso-cp",
		.args = "SOURCE DESTINATION",
		.help = "copy files into a sandbox and out of it",
		.opts = options,
		.min_args = 2,
		.max_args = 2,
		.offer = OFFER_FILE,
		.run = run,
	},
};

int main(int argc, char **argv)
{
	return tool_main(&prog, argc, argv);
}
