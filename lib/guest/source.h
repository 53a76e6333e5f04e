/* SPDX-License-Identifier: MIT
 *
 * Where a kernel comes from, and its unpacking into a tree of ours.
 *
 * Whatever the source, the tree at @tree gets lib/modules/RELEASE/ with regular
 * files and directories only, and the vmlinux comes back in memory.
 */
#ifndef GUEST_SOURCE_H
#define GUEST_SOURCE_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/sha256.h"
#include "guest/bzimage.h"

struct err;
struct progress;

enum source_kind {
	SOURCE_DEB,   /* a Debian package */
	SOURCE_DIR,   /* an unpacked one */
	SOURCE_IMAGE, /* a bzImage or vmlinux, and a directory of modules */
};

struct source {
	enum source_kind kind;
	const char *path;    /* borrowed */
	const char *modules; /* borrowed; SOURCE_IMAGE only */
	char id[SHA256_HEX]; /* the same for the same contents */
};

struct kernel_image {
	struct buf vmlinux;
	char release[KERNEL_RELEASE_MAX];
	char package[128]; /* "name version", or "" */
};

#define KERNEL_IMAGE_INIT           \
	{                           \
		.vmlinux = BUF_INIT \
	}
#define kernel_image_auto __attribute__((cleanup(kernel_image_free)))

void kernel_image_free(struct kernel_image *k);

/* Look at @path and say what it is; computes the id.  0 or -errno, @e
 * filled. */
int source_open(struct source *s, const char *path, const char *modules,
		struct err *e);

/* Unpack into the empty directory @tree.  0 or -errno, @e filled. */
int source_unpack(const struct source *s, int tree, struct kernel_image *k,
		  struct progress *p, struct err *e);

/* The unpacking of a package: deb.c. */
int deb_unpack(const char *path, int tree, struct buf *image, char *package,
	       size_t size, struct progress *p, struct err *e);

/* Kernel images: Debian's are 8 MB, a distribution's with everything built in
 * 60. */
#define IMAGE_MAX ((size_t)256 << 20)
/* A tree of modules: Debian's generic kernel has 4,200 files in 400 MB, one
 * with debugging symbols is ten times that. */
#define TREE_BYTES_MAX ((uint64_t)4 << 30)
#define TREE_FILES_MAX 65536
#define TREE_PATH_MAX 1024
#define TREE_DEPTH_MAX 32

/* What has gone into a tree so far. */
struct tree_use {
	uint64_t bytes;
	unsigned int files;
};

/* A new file at @path below @tree, its directories made as needed; counts it
 * against the limits.  @path has been found to hold no "..", and nothing but
 * directories and files is ever made in a tree, so that it cannot lead out.
 * A descriptor or -errno, @e filled. */
int tree_create(int tree, const char *path, struct tree_use *use,
		struct err *e);
/* 0 or -errno, @e filled. */
int tree_write(int fd, const char *path, const void *p, size_t n,
	       struct tree_use *use, struct err *e);

#endif
