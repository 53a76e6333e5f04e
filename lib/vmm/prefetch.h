/* SPDX-License-Identifier: MIT
 *
 * Which pages of a memory file a machine that begins with it is going to want,
 * as a file: PREFETCH_MAGIC, then ranges, in the order of their addresses and
 * of this host's byte order.  It is advice: without it a machine is slower.
 */
#ifndef VMM_PREFETCH_H
#define VMM_PREFETCH_H

#include <stdint.h>

struct err;

#define PREFETCH_MAGIC "iso-pre1"
#define PREFETCH_MAGIC_SIZE 8
#define PREFETCH_RANGES_MAX 4096

/* Of its pages, that it writes to them: otherwise it only reads them, and pages
 * between two that it wants can be among them. */
#define PREFETCH_WRITTEN (1U << 31)

struct prefetch_range {
	uint32_t first; /* page of 4096 bytes */
	uint32_t pages; /* and PREFETCH_WRITTEN */
};

/* Make what the file @list says of @memory, a private mapping of all of @file,
 * ready for use: a page that is written to is copied now, and what is not in the
 * page cache is read.  @memory and @size, its bytes, are multiples of 2 MiB.  0;
 * -EBADMSG: it is no such list, and nothing was done; another -errno; @e filled.
 * That a page cannot be had is no error: it will be one when it is wanted.  Not
 * for two threads at a time. */
int prefetch(uint8_t *memory, uint64_t size, int file, int list, struct err *e);

/* When @file has been written and is on disk: have it in the page cache as
 * prefetch() wants it.  0 or -errno, @e filled. */
int prefetch_settle(uint64_t size, int file, int list, struct err *e);

#endif
