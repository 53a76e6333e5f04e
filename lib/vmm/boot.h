/* SPDX-License-Identifier: MIT
 *
 * Puts a kernel into the guest's memory, and next to it what it is told at its
 * PVH entry: hvm_start_info version 1 (Xen's public/arch-x86/hvm/start_info.h)
 * with the command line, the initramfs, the memory map and the ACPI tables.
 */
#ifndef VMM_BOOT_H
#define VMM_BOOT_H

#include <stdint.h>

struct err;
struct mem;

/* Linux's COMMAND_LINE_SIZE on x86, with the NUL; it would cut off the rest
 * without a word. */
#define BOOT_CMDLINE_MAX 2048

/* Where an x86 processor would look for a BIOS; the ACPI tables end before. */
#define BOOT_RESET_VECTOR 0xffff0ULL

struct boot_spec {
	int kernel;		    /* uncompressed ELF file; borrowed */
	int initramfs;		    /* regular file, borrowed; -1: none */
	const char *kernel_name;    /* for messages; NULL: "kernel" */
	const char *initramfs_name; /* NULL: "initramfs" */
	const char *cmdline;	    /* NULL: empty */
	uint64_t rsdp;		    /* from acpi_write(); 0: none */
};

#define BOOT_SPEC_INIT                        \
	{                                     \
		.kernel = -1, .initramfs = -1 \
	}

/* For kvm_vcpu_start_at(), and for those who want to know. */
struct boot_entry {
	uint32_t entry; /* first instruction */
	uint32_t info;	/* start info, for %ebx */
	uint64_t kernel_end;
	uint64_t initramfs, initramfs_size; /* 0, 0: none */
};

/* Load everything into @m, which is fresh: memory that no file says anything
 * about must be zero already.  0; -ENOTSUP when the kernel is of the wrong
 * kind, -EBADMSG when a file is damaged, -ENOSPC when the memory is too small,
 * -E2BIG when the command line is too long, or -errno, @e filled. */
int boot_load(const struct mem *m, const struct boot_spec *s,
	      struct boot_entry *out, struct err *e);

#endif
