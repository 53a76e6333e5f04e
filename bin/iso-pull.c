/* SPDX-License-Identifier: MIT
 *
 * iso-pull: brings an image into the local store and says what it is called
 * for ever.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "bin/pulltalk.h"
#include "bin/tool.h"
#include "oci/pull.h"

#define NO_FD UINT64_MAX

static bool allow_floating, insecure, quiet, prune;
static const char *ca, *platform = "linux/amd64";
static uint64_t json_fd = NO_FD, stall = REGISTRY_STALL, tries = REGISTRY_TRIES;

static int wrong(const struct err *e)
{
	tool_warn(e);
	return EXIT_WRONG;
}

static void waiting(void)
{
	if (!quiet)
		tool_say("waiting for others to be done with the store");
}

static int run_prune(void)
{
	images_auto struct images s = IMAGES_INIT;
	struct prune_report report;
	struct err e = ERR_INIT;

	if (images_open(&s, tool_root(), &e) < 0 ||
	    images_prune(&s, waiting, &report, &e) < 0)
		return tool_fail(&e);
	if (!quiet)
		tool_say("removed %llu blobs, %llu root file systems and %llu "
			 "downloads, %.1f MiB; %llu in use were kept",
			 (unsigned long long)report.blobs,
			 (unsigned long long)report.rootfs,
			 (unsigned long long)report.partial,
			 (double)report.bytes / (1 << 20),
			 (unsigned long long)report.in_use);
	return tool_done(EXIT_DONE);
}

/* So that what is printed means the same from another directory. */
static int absolute(struct ref *r, struct err *e)
{
	char *real = r->path ? realpath(r->path, NULL) : NULL;

	if (!r->path)
		return 0;
	if (!real)
		return err_sys(e, errno, "cannot open %s", r->path);
	mem_free(&r->path);
	r->path = real;
	return 0;
}

static int run_pull(struct ref *ref, const struct platform *p)
{
	images_auto struct images s = IMAGES_INIT;
	struct pulltalk talk = { .prog = "iso-pull",
				 .json_fd = json_fd == NO_FD ? -1 :
							       (int)json_fd,
				 .quiet = quiet };
	struct pull_spec spec = { .store = &s,
				  .ref = ref,
				  .platform = *p,
				  .registry = { .ca = ca,
						.insecure = insecure,
						.stall = (unsigned int)stall,
						.tries = (unsigned int)tries },
				  .on_event = pulltalk_event,
				  .arg = &talk };
	mem_auto char *name = NULL;
	struct err e = ERR_INIT;
	struct desc out;
	int r = absolute(ref, &e);

	if (r == 0)
		r = images_open(&s, tool_root(), &e);
	if (r < 0)
		return tool_fail(&e);
	pulltalk_begin(&talk);
	r = pull_image(&spec, &out, &e);
	pulltalk_end(&talk, r == 0 ? &out : NULL, &e);
	if (r < 0)
		return tool_fail(&e);
	name = ref_canonical(ref, &out.digest);
	if (!name) {
		err_sys(&e, ENOMEM, "cannot print the name");
		return tool_fail(&e);
	}
	puts(name);
	return tool_done(EXIT_DONE);
}

static int run(int argc, const char *const *argv)
{
	ref_auto struct ref ref = REF_INIT;
	struct platform p;
	struct err e = ERR_INIT;

	if (argc == 0 && prune)
		return run_prune();
	if (argc == 0 || prune) {
		err_set(&e, EINVAL,
			prune ? "--prune wants no REF" :
				"iso-pull wants a REF, or --prune");
		err_fix(&e, "iso-pull --help");
		return wrong(&e);
	}
	if (platform_parse(&p, str_of(platform), &e) < 0)
		return wrong(&e);
	if (json_fd != NO_FD && fcntl((int)json_fd, F_GETFD) < 0) {
		err_set(&e, EBADF, "--json-fd: %d is not an open descriptor",
			(int)json_fd);
		return wrong(&e);
	}
	if (ref_parse(&ref, str_of(argv[0]), &e) < 0)
		return wrong(&e);
	if (!allow_floating && ref_check_pinned(&ref, argv[0], &e) < 0)
		return wrong(&e);
	return run_pull(&ref, &p);
}

static const struct opt options[] = {
	{ .name = "allow-floating",
	  .kind = OPT_FLAG,
	  .out = &allow_floating,
	  .help = "take a tag that is another image tomorrow" },
	{ .name = "platform",
	  .letter = 'p',
	  .kind = OPT_TEXT,
	  .out = &platform,
	  .arg = "OS/ARCH",
	  .help = "which of several images (linux/amd64)" },
	{ .name = "ca",
	  .kind = OPT_TEXT,
	  .out = &ca,
	  .arg = "FILE",
	  .help = "certificates to trust besides the system's",
	  .offer = OFFER_FILE },
	{ .name = "insecure",
	  .kind = OPT_FLAG,
	  .out = &insecure,
	  .help = "check no certificate, and speak plain HTTP" },
	{ .name = "stall",
	  .kind = OPT_COUNT,
	  .out = &stall,
	  .arg = "SECONDS",
	  .help = "silence after which to try again (30)",
	  .min = 1,
	  .max = 3600 },
	{ .name = "tries",
	  .kind = OPT_COUNT,
	  .out = &tries,
	  .arg = "N",
	  .help = "failures in a row after which to give up (8)",
	  .min = 1,
	  .max = 1000 },
	{ .name = "json-fd",
	  .kind = OPT_COUNT,
	  .out = &json_fd,
	  .arg = "N",
	  .help = "write events to this descriptor, an object a line",
	  .min = 1,
	  .max = 1 << 20 },
	{ .name = "prune",
	  .kind = OPT_FLAG,
	  .out = &prune,
	  .help = "remove what no name leads to, and pull nothing" },
	{ .name = "quiet",
	  .letter = 'q',
	  .kind = OPT_FLAG,
	  .out = &quiet,
	  .help = "no progress" },
	{ .name = NULL },
};

static const struct opt_prog prog = {
	.self = {
		.name = "iso-pull",
		.args = "REF",
		.help = "bring an image into the local store",
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
