/* SPDX-License-Identifier: MIT
 *
 * iso-kernel: prepares a guest kernel and its initramfs, and says where they
 * are.
 */
#include <stdio.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/progress.h"
#include "bin/tool.h"
#include "guest/kernel.h"

static const char *profile = "sandbox", *agent, *busybox, *modules;
static bool json, quiet, update;

static int print_lines(const struct kernel *k)
{
	printf("%s\n%s\n", k->vmlinux, k->initramfs);
	return tool_done(EXIT_DONE);
}

static int print_json(const struct kernel *k)
{
	json_t *o = json_pack("{ss ss s{ss ss} s{ss ss} ss sO}", "version",
			      k->version, "profile", profile, "vmlinux", "path",
			      k->vmlinux, "sha256", k->vmlinux_sha256,
			      "initramfs", "path", k->initramfs, "sha256",
			      k->initramfs_sha256, "modules_dir",
			      k->modules_dir, "modules", k->modules);
	int r = o ? json_dumpf(o, stdout, JSON_INDENT(2)) : -1;

	json_decref(o);
	putchar('\n');
	return tool_done(r < 0 ? EXIT_FAILED : EXIT_DONE);
}

static int wrong(struct err *e)
{
	tool_warn(e);
	return EXIT_WRONG;
}

static int run(int argc, const char *const *argv)
{
	struct progress progress = { .fd = STDERR_FILENO,
				     .prog = "iso-kernel",
				     .style = progress_style_of(STDERR_FILENO,
								quiet) };
	struct kernel_spec spec = { .root = tool_root(),
				    .source = argc ? argv[0] : NULL,
				    .modules = modules,
				    .agent = agent,
				    .busybox = busybox,
				    .update = update,
				    .progress = &progress };
	kernel_auto struct kernel k = KERNEL_INIT;
	struct err e = ERR_INIT;

	if (profile_parse(profile, &spec.profile, &e) < 0)
		return wrong(&e);
	if (modules && !spec.source) {
		err_set(&e, EINVAL, "--modules wants the KERNEL of them");
		return wrong(&e);
	}
	if (update && spec.source) {
		err_set(&e, EINVAL,
			"--update is for the distribution's "
			"kernel, not for a KERNEL");
		return wrong(&e);
	}
	if (kernel_prepare(&spec, &k, &e) < 0)
		return tool_fail(&e);
	return json ? print_json(&k) : print_lines(&k);
}

static const struct opt options[] = {
	{ .name = "profile",
	  .letter = 'p',
	  .kind = OPT_TEXT,
	  .out = &profile,
	  .arg = "NAME",
	  .help = "for a sandbox (default) or the emulated host",
	  .offer = OFFER_WORDS,
	  .words = "sandbox host" },
	{ .name = "modules",
	  .letter = 'm',
	  .kind = OPT_TEXT,
	  .out = &modules,
	  .arg = "DIR",
	  .help = "the modules of a KERNEL that is an image",
	  .offer = OFFER_DIR },
	{ .name = "agent",
	  .letter = 'a',
	  .kind = OPT_TEXT,
	  .out = &agent,
	  .arg = "PATH",
	  .help = "the guest's init",
	  .offer = OFFER_FILE },
	{ .name = "busybox",
	  .letter = 'b',
	  .kind = OPT_TEXT,
	  .out = &busybox,
	  .arg = "PATH",
	  .help = "the sandbox's own tools (/bin/busybox)",
	  .offer = OFFER_FILE },
	{ .name = "update",
	  .letter = 'u',
	  .kind = OPT_FLAG,
	  .out = &update,
	  .help = "look for a newer kernel of the distribution's" },
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
		.name = "iso-kernel",
		.args = "[KERNEL]",
		.help = "prepare a guest kernel and its initramfs",
		.opts = options,
		.max_args = 1,
		.offer = OFFER_FILE,
		.run = run,
	},
};

int main(int argc, char **argv)
{
	return tool_main(&prog, argc, argv);
}
