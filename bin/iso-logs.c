/* SPDX-License-Identifier: MIT
 *
 * iso-logs: shows what a sandbox wrote to its console.
 */
#include <unistd.h>

#include "base/err.h"
#include "bin/tool.h"
#include "sandbox/box.h"
#include "sandbox/logs.h"
#include "sandbox/rundir.h"

static bool follow, vmm;

static int run(int argc, const char *const *argv)
{
	struct logs_spec spec = { .file = vmm ? "vmm.log" : "console.log",
				  .follow = follow,
				  .plain = isatty(STDOUT_FILENO),
				  .out = STDOUT_FILENO };
	rundir_auto struct rundir d = RUNDIR_INIT;
	box_auto struct box b = BOX_INIT;
	struct err e = ERR_INIT;
	int r;

	(void)argc;
	if (rundir_open(&d, tool_root(), false, &e) < 0 ||
	    rundir_find(&d, argv[0], &b, &e) < 0)
		return tool_fail(&e);
	r = logs_copy(&b, &spec, &e);
	/* A reader that has seen enough. */
	if (r == -EPIPE)
		return EXIT_DONE;
	return r < 0 ? tool_fail(&e) : EXIT_DONE;
}

static const struct opt options[] = {
	{ .name = "follow",
	  .letter = 'f',
	  .kind = OPT_FLAG,
	  .out = &follow,
	  .help = "go on until the sandbox ends" },
	{ .name = "vmm",
	  .kind = OPT_FLAG,
	  .out = &vmm,
	  .help = "what its monitor said, instead" },
	{ .name = NULL },
};

static const struct opt_prog prog = {
	.self = {
		.name = "iso-logs",
		.args = "SANDBOX",
		.help = "show a sandbox's console",
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
