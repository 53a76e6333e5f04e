/* SPDX-License-Identifier: MIT
 *
 * iso-mkrootfs: makes the root file system of an image, and says where it is.
 */
#include <stdio.h>
#include <unistd.h>

#include "base/err.h"
#include "base/progress.h"
#include "bin/tool.h"
#include "rootfs/build.h"
#include "rootfs/pack.h"

static bool packed, again, verify, json, quiet;
static struct limits limits = LIMITS_DEFAULT;

static int print_json(const struct built *b)
{
	json_t *o = json_pack("{ss sb}", "path", b->path, "built", !b->had);
	int r = -1;

	if (o && json_object_update(o, b->record) == 0)
		r = json_dumpf(o, stdout, JSON_INDENT(2));
	json_decref(o);
	putchar('\n');
	return tool_done(r < 0 ? EXIT_FAILED : EXIT_DONE);
}

static void waiting(void)
{
	if (!quiet)
		tool_say("waiting for another run that makes it");
}

static int run(int argc, const char *const *argv)
{
	struct progress progress = { .fd = STDERR_FILENO,
				     .prog = "iso-mkrootfs",
				     .style = progress_style_of(STDERR_FILENO,
								quiet) };
	struct build_spec spec = { .root = tool_root(),
				   .image = argv[0],
				   .packed = packed,
				   .again = again,
				   .limits = limits,
				   .progress = &progress,
				   .waiting = waiting };
	built_auto struct built b = BUILT_INIT;
	struct err e = ERR_INIT;

	(void)argc;
	if (build_rootfs(&spec, &b, &e) < 0 ||
	    (verify && pack_check(b.path, &e) < 0))
		return tool_fail(&e);
	if (json)
		return print_json(&b);
	printf("%s\n", b.path);
	return tool_done(EXIT_DONE);
}

static const struct opt options[] = {
	{ .name = "compress",
	  .letter = 'z',
	  .kind = OPT_FLAG,
	  .out = &packed,
	  .help = "compress it (lz4hc): smaller, slower, no DAX" },
	{ .name = "rebuild",
	  .letter = 'f',
	  .kind = OPT_FLAG,
	  .out = &again,
	  .help = "make it even if it is there" },
	{ .name = "verify",
	  .kind = OPT_FLAG,
	  .out = &verify,
	  .help = "read all of it once and check it" },
	{ .name = "max-size",
	  .kind = OPT_BYTES,
	  .out = &limits.bytes,
	  .arg = "SIZE",
	  .help = "of the image unpacked (32G)",
	  .min = 1,
	  .max = (uint64_t)1 << 43 },
	{ .name = "max-entries",
	  .kind = OPT_COUNT,
	  .out = &limits.entries,
	  .arg = "N",
	  .help = "files and other entries of all layers (1048576)",
	  .min = 1,
	  .max = (uint64_t)1 << 26 },
	{ .name = "max-ratio",
	  .kind = OPT_COUNT,
	  .out = &limits.ratio,
	  .arg = "N",
	  .help = "of a layer's size unpacked to its size (200)",
	  .min = 1,
	  .max = (uint64_t)1 << 32 },
	{ .name = "max-depth",
	  .kind = OPT_COUNT,
	  .out = &limits.depth,
	  .arg = "N",
	  .help = "directories of a path (256)",
	  .min = 1,
	  .max = 2048 },
	{ .name = "max-xattr",
	  .kind = OPT_BYTES,
	  .out = &limits.xattr,
	  .arg = "SIZE",
	  .help = "of one entry's extended attributes (60K)",
	  .min = 0,
	  .max = 61440 },
	{ .name = "max-names",
	  .kind = OPT_BYTES,
	  .out = &limits.names,
	  .arg = "SIZE",
	  .help = "of names, link targets and attributes of all (64M)",
	  .min = 1,
	  .max = (uint64_t)1 << 31 },
	{ .name = "max-window",
	  .kind = OPT_BYTES,
	  .out = &limits.window,
	  .arg = "SIZE",
	  .help = "that compressed data may reach back (32M)",
	  .min = 1024,
	  .max = (uint64_t)1 << 31 },
	{ .name = "json",
	  .kind = OPT_FLAG,
	  .out = &json,
	  .help = "print an object" },
	{ .name = "quiet",
	  .letter = 'q',
	  .kind = OPT_FLAG,
	  .out = &quiet,
	  .help = "no progress" },
	{ .name = NULL },
};

static const struct opt_prog prog = {
	.self = {
		.name = "iso-mkrootfs",
		.args = "IMAGE",
		.help = "make the root file system of an image",
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
