/* SPDX-License-Identifier: MIT
 *
 * The guest's RAM: one range of private mappings of ours, of which the guest
 * sees the first 3 GiB from address 0 on and the rest from 4 GiB on.
 *
 * A guest's address becomes a pointer in one place, mem_at(), which checks the
 * whole range (and mem_at_ro() beside it).  Nothing else may add a number from
 * the guest to a pointer.
 */
#ifndef VMM_MEM_H
#define VMM_MEM_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/layout.h"

struct err;
struct kvm_vm;

struct mem {
	uint8_t *host; /* owned mapping of size bytes; NULL: none */
	uint64_t size;
	uint64_t low; /* bytes of it below the hole */
	int file;     /* borrowed: what it began as; -1: zeros */
	/* What else the guest can read, and not write: see mem_show(). */
	const uint8_t *rom; /* borrowed */
	uint64_t rom_at, rom_size;
};

#define MEM_INIT                          \
	{                                 \
		.host = NULL, .file = -1, \
	}
#define mem_ram_auto __attribute__((cleanup(mem_free_ram)))

/* Map @size bytes of zeros (a multiple of 2 MiB within LAYOUT_RAM_MIN and
 * _MAX); nothing is committed yet.  Huge pages are asked for.  0 or -errno. */
int mem_create(struct mem *m, uint64_t size, struct err *e);
/* The same with the contents of @file, a private copy: what is written stays
 * ours, and pages that are not come from the page cache, but for holes, which
 * are zeros of ours in small pages (prefetch() knows where huge ones pay).  The
 * file must have @size bytes and never change. */
int mem_create_from(struct mem *m, uint64_t size, int file, struct err *e);
void mem_free_ram(struct mem *m);

/* Register it with the VM, as slots 0 and, if it is that large, 1. */
#define MEM_SLOTS 2
int mem_attach(const struct mem *m, struct kvm_vm *vm, struct err *e);

/* Bytes [@gpa, @gpa + @len) of the guest as a pointer to host memory, or NULL
 * if any of it is not RAM.  A range of no bytes is good where one byte would
 * be. */
void *mem_at(const struct mem *m, uint64_t gpa, uint64_t len);

/* The guest also sees @size bytes at @host from address @gpa on, outside of
 * RAM: persistent memory.  It is the guest's to have them read by a device: a
 * file there that a program has mapped, and writes with O_DIRECT.  @host is
 * borrowed; once. */
void mem_show(struct mem *m, uint64_t gpa, const void *host, uint64_t size);

/* mem_at() for what is only read: also in what mem_show() has shown. */
const void *mem_at_ro(const struct mem *m, uint64_t gpa, uint64_t len);

/* The first address above RAM at which a device of memory may be. */
uint64_t mem_end(const struct mem *m);

#endif
