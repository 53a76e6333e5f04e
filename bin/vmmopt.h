/* SPDX-License-Identifier: MIT
 *
 * The command line of iso-vmm.
 */
#ifndef BIN_VMMOPT_H
#define BIN_VMMOPT_H

#include <stdbool.h>
#include <stdint.h>

struct err;

/* Those that are open when the jail closes, and stay, are below this. */
#define VMMOPT_FDS 256

#define VMMOPT_NONE UINT64_MAX /* of tap and ready */

/* Set to what is the default before it is read. */
struct vmmopt {
	const char *id, *dir, *kernel, *initramfs, *cmdline, *rootfs, *scratch;
	const char *kvm, *state, *memory_file, *prefetch;
	bool rootfs_blk, no_jail;
	uint64_t vcpus, memory, timeout, uid, ready, tap, cid;
};

/* 0, or -EINVAL with @e filled. */
int vmmopt_parse(struct vmmopt *c, int argc, char **argv, struct err *e);

#endif
