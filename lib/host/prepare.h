/* SPDX-License-Identifier: MIT
 *
 * What the emulated host is made of: its kernel, and the directories that it
 * shares.
 */
#ifndef HOST_PREPARE_H
#define HOST_PREPARE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct err;

struct host_kernel {
	json_t *answer; /* iso-kernel's, owned; the two are in it */
	const char *vmlinux, *initramfs;
	char *modules; /* owned: the tree for /lib/modules */
};

#define HOST_KERNEL_INIT       \
	{                      \
		.answer = NULL \
	}
#define host_kernel_auto __attribute__((cleanup(host_kernel_free)))

void host_kernel_free(struct host_kernel *k);

/* Have iso-kernel, which stands beside this program, prepare it.  @kernel and
 * @agent are its arguments, or NULL.  Its talk and its errors go to standard
 * error: -EIO means that it has said why.  0, or another -errno with @e
 * filled. */
int host_kernel_prepare(struct host_kernel *k, const char *kernel,
			const char *agent, bool quiet, struct err *e);

struct host_shares {
	char **v; /* owned: real paths, a shorter one before a longer */
	size_t n;
};

#define HOST_SHARES_INIT  \
	{                 \
		.v = NULL \
	}
#define host_shares_auto __attribute__((cleanup(host_shares_free)))

void host_shares_free(struct host_shares *s);

/* Resolve and check the @n directories of @dirs; with none, the working
 * directory.  0 or -errno with @e filled. */
int host_shares_find(struct host_shares *s, const char *const *dirs, size_t n,
		     struct err *e);

#endif
