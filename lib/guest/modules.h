/* SPDX-License-Identifier: MIT
 *
 * The modules that a guest needs before it can reach its disk, in load order.
 */
#ifndef GUEST_MODULES_H
#define GUEST_MODULES_H

#include <stdbool.h>
#include <stddef.h>

struct err;

enum profile {
	PROFILE_SANDBOX, /* a guest of iso-vmm: virtio over mmio */
	PROFILE_HOST,	 /* the emulated host: a QEMU q35, virtio over PCI */
	PROFILE_COUNT,
};

const char *profile_name(enum profile p);
/* 0, or -EINVAL with @e filled. */
int profile_parse(const char *s, enum profile *p, struct err *e);

struct module {
	char *name; /* owned; virtio_rng */
	char *path; /* owned; .../virtio-rng.ko, or .ko.xz, .ko.zst, .ko.gz */
	char *file; /* owned; virtio-rng.ko */
};

struct module_list {
	struct module *v; /* owned */
	size_t n;
};

#define MODULE_LIST_INIT          \
	{                         \
		.v = NULL, .n = 0 \
	}
#define module_list_auto __attribute__((cleanup(module_list_free)))

void module_list_free(struct module_list *l);

/* The profile's module names, NULL at the end, for those who must know
 * whether the table has changed. */
const char *const *profile_modules(enum profile p);

/* Resolve the profile's modules with all they need against the tree at
 * @modules_dir (.../lib/modules/RELEASE, after depmod).  0, -ENOENT for a
 * module that must exist and does not, or another -errno; @e filled. */
int modules_resolve(const char *modules_dir, enum profile p,
		    struct module_list *l, struct err *e);

#endif
