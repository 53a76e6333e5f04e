/* SPDX-License-Identifier: MIT
 *
 * A kernel image: an uncompressed 64-bit x86 ELF file whose notes name an entry
 * for PVH (the Xen x86/HVM direct boot ABI, which KVM guests use as well).
 */
#ifndef VMM_ELF_H
#define VMM_ELF_H

#include <elf.h>
#include <stddef.h>
#include <stdint.h>

struct err;

/* Linux has 5; what a linker makes by itself stays below 16. */
#define ELF_SEGMENTS_MAX 32
/* Bytes of a note segment; Linux has half a KiB. */
#define ELF_NOTES_MAX 65536

/* Physical address and file contents of a part.  Checked: file <= mem, and no
 * sum of two of them overflows. */
struct elf_segment {
	uint64_t paddr;	 /* where the guest wants it */
	uint64_t mem;	 /* bytes there; not zero */
	uint64_t file;	 /* bytes of them from the file, the rest is zero */
	uint64_t offset; /* in the file */
};

struct elf {
	int fd;		  /* borrowed */
	const char *name; /* borrowed; of the file, for messages */
	unsigned segments;
	struct elf_segment segment[ELF_SEGMENTS_MAX];
	uint64_t start, end; /* what the segments lie between */
	uint32_t entry;	     /* PVH entry, in one of the segments */
};

/* Look at the kernel in @fd, which is called @name in messages.  Reads its
 * headers and notes, nothing else.  0; -EBADMSG when it is damaged, -ENOTSUP
 * when it is a file of another kind, or -errno of pread(2), @e filled. */
int elf_open(struct elf *x, int fd, const char *name, struct err *e);

/* Find the PVH entry among the @n bytes of notes at @p, each padded to @align
 * (4 or 8) bytes.  0; -ENOENT: there is none; -EBADMSG: one is damaged, or is
 * not below 4 GiB. */
int elf_pvh_entry(const uint8_t *p, size_t n, uint64_t align, uint32_t *entry);

/* Read @n bytes at @offset, all of them: -EBADMSG when the file ends before.
 * 0 or -errno, @e filled. */
int elf_read(int fd, const char *name, void *p, uint64_t n, uint64_t offset,
	     struct err *e);

#endif
