/* SPDX-License-Identifier: MIT
 *
 * The command line of iso-vmm: see vmmopt.h.  getopt and no table of the other
 * programs' kind: nobody types it, and it links nothing.
 */
#include "bin/vmmopt.h"

#include <getopt.h>
#include <stddef.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "vmm/layout.h"
#include "vmm/virtio/vsock.h"

enum {
	OPT_ID = 1,
	OPT_DIR,
	OPT_KERNEL,
	OPT_INITRAMFS,
	OPT_CMDLINE,
	OPT_ROOTFS,
	OPT_ROOTFS_BLK,
	OPT_SCRATCH,
	OPT_VCPUS,
	OPT_MEMORY,
	OPT_TIMEOUT,
	OPT_UID,
	OPT_TAP,
	OPT_CID,
	OPT_READY,
	OPT_KVM,
	OPT_STATE,
	OPT_MEMORY_FILE,
	OPT_PREFETCH,
	OPT_NO_JAIL,
};

#define NEEDS required_argument

static const struct option options[] = {
	/* For whoever looks at the list of processes. */
	{ "id", NEEDS, NULL, OPT_ID },
	{ "dir", NEEDS, NULL, OPT_DIR },
	{ "kernel", NEEDS, NULL, OPT_KERNEL },
	{ "initramfs", NEEDS, NULL, OPT_INITRAMFS },
	{ "cmdline", NEEDS, NULL, OPT_CMDLINE },
	{ "rootfs", NEEDS, NULL, OPT_ROOTFS },
	{ "rootfs-blk", no_argument, NULL, OPT_ROOTFS_BLK },
	{ "scratch", NEEDS, NULL, OPT_SCRATCH },
	{ "vcpus", NEEDS, NULL, OPT_VCPUS },
	{ "memory", NEEDS, NULL, OPT_MEMORY },
	{ "timeout", NEEDS, NULL, OPT_TIMEOUT },
	{ "uid", NEEDS, NULL, OPT_UID },
	{ "tap", NEEDS, NULL, OPT_TAP },
	{ "cid", NEEDS, NULL, OPT_CID },
	{ "ready", NEEDS, NULL, OPT_READY },
	{ "kvm", NEEDS, NULL, OPT_KVM },
	{ "state", NEEDS, NULL, OPT_STATE },
	{ "memory-file", NEEDS, NULL, OPT_MEMORY_FILE },
	{ "prefetch", NEEDS, NULL, OPT_PREFETCH },
	{ "no-jail", no_argument, NULL, OPT_NO_JAIL },
	{ NULL, 0, NULL, 0 },
};

static int number(const char *what, uint64_t min, uint64_t max, uint64_t *out,
		  struct err *e)
{
	return str_u64(str_of(optarg), min, max, out, what, e);
}

static int set_number(struct vmmopt *c, int opt, struct err *e)
{
	switch (opt) {
	case OPT_VCPUS:
		return number("vcpus", 1, LAYOUT_VCPUS_MAX, &c->vcpus, e);
	case OPT_MEMORY:
		return number("memory", LAYOUT_RAM_MIN, LAYOUT_RAM_MAX,
			      &c->memory, e);
	case OPT_TIMEOUT:
		return number("timeout", 0, UINT32_MAX, &c->timeout, e);
	case OPT_UID:
		return number("uid", 1, UINT32_MAX - 1, &c->uid, e);
	case OPT_TAP:
		return number("tap", 0, VMMOPT_FDS - 1, &c->tap, e);
	case OPT_CID:
		return number("cid", VSOCK_GUEST_CID_MIN, UINT32_MAX - 1,
			      &c->cid, e);
	default:
		return number("ready", 0, VMMOPT_FDS - 1, &c->ready, e);
	}
}

static int set(struct vmmopt *c, int opt, struct err *e)
{
	const char **words[] = {
		[OPT_ID] = &c->id,
		[OPT_DIR] = &c->dir,
		[OPT_KERNEL] = &c->kernel,
		[OPT_INITRAMFS] = &c->initramfs,
		[OPT_CMDLINE] = &c->cmdline,
		[OPT_ROOTFS] = &c->rootfs,
		[OPT_SCRATCH] = &c->scratch,
		[OPT_KVM] = &c->kvm,
		[OPT_STATE] = &c->state,
		[OPT_MEMORY_FILE] = &c->memory_file,
		[OPT_PREFETCH] = &c->prefetch,
	};

	if (opt == OPT_ROOTFS_BLK)
		c->rootfs_blk = true;
	else if (opt == OPT_NO_JAIL)
		c->no_jail = true;
	else if ((size_t)opt < ARRAY_SIZE(words) && words[opt])
		*words[opt] = optarg;
	else
		return set_number(c, opt, e);
	return 0;
}

int vmmopt_parse(struct vmmopt *c, int argc, char **argv, struct err *e)
{
	int opt, r = 0;

	while (r == 0 &&
	       (opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == '?')
			return err_set(e, EINVAL,
				       "wrong usage; see iso-vmm(8)");
		r = set(c, opt, e);
	}
	if (r < 0)
		return r;
	if (optind != argc || !c->dir || !c->kernel == !c->state ||
	    !c->state != !c->memory_file)
		return err_set(e, EINVAL,
			       "it takes --dir and either --kernel or --state "
			       "and --memory-file; see iso-vmm(8)");
	return 0;
}
