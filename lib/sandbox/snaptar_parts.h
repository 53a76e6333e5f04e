/* SPDX-License-Identifier: MIT
 *
 * What both directions of snaptar.h share: headers and maps.
 */
#ifndef SANDBOX_SNAPTAR_PARTS_H
#define SANDBOX_SNAPTAR_PARTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/fd.h"

struct buf;

#define TAR_BLOCK 512
#define TAR_PIECE ((size_t)1 << 20) /* a multiple of SNAPSHOT_PAGE */
#define TAR_OCTAL_MAX 077777777777U /* what a header's size can say */
#define TAR_PAX_MAX 512
/* Extents of a file.  Those that are nearer than TAR_GAP_MIN are one, so that
 * this many stand for 256 GiB of the worst kind. */
#define TAR_MAP_MAX ((size_t)4 << 20)
#define TAR_GAP_MIN 65536

/* POSIX.1-2008, pax, ustar */
struct tar_header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8];
	char type, link[100], magic[6], version[2], uname[32], gname[32];
	char major[8], minor[8], prefix[155], pad[12];
};

enum tar_kind {
	TAR_PAX = 'x',
	TAR_FILE = '0',
};

void tar_header_make(struct tar_header *h, const char *id, const char *name,
		     enum tar_kind kind, uint64_t size);

/* What a pax header says of a sparse file of @size bytes, which takes @stored
 * bytes of the archive.  0 or -ENOMEM. */
int tar_pax_make(struct buf *b, const char *id, const char *name, uint64_t size,
		 uint64_t stored);

static inline size_t tar_pad_of(uint64_t n)
{
	return (size_t)((TAR_BLOCK - n % TAR_BLOCK) % TAR_BLOCK);
}

struct tar_extent {
	uint64_t at, len;
};

struct tar_map {
	struct tar_extent *v; /* owned */
	size_t n, room;
	uint64_t bytes; /* of all extents */
};

#define tar_map_auto __attribute__((cleanup(tar_map_free)))

static inline void tar_map_free(struct tar_map *m)
{
	mem_free(&m->v);
}

/* 0, -ENOMEM, or -E2BIG. */
int tar_map_add(struct tar_map *m, uint64_t at, uint64_t len);

#endif
