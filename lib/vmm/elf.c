/* SPDX-License-Identifier: MIT
 *
 * Kernel images: see elf.h.
 *
 * The file is not mapped: one that is truncated while we look at it would be a
 * SIGBUS, and the kernel's bytes have to be in the guest's memory anyway, where
 * pread(2) puts them without a copy of ours.
 */
#include "vmm/elf.h"

#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"

/* From xen/include/public/elfnote.h; the name is "Xen", the note says where to
 * enter in 32-bit protected mode. */
#define NOTE_PHYS32_ENTRY 18
#define NOTE_NAME "Xen"

static bool sum_overflows(uint64_t a, uint64_t b)
{
	return a + b < a;
}

int elf_read(int fd, const char *name, void *p, uint64_t n, uint64_t offset,
	     struct err *e)
{
	uint8_t *to = p;
	unsigned long long at = offset; /* read up to there */
	uint64_t done = 0;

	if (sum_overflows(offset, n) || offset + n > INT64_MAX)
		return err_set(e, EBADMSG,
			       "%s: wants %llu bytes at offset %llu", name,
			       (unsigned long long)n,
			       (unsigned long long)offset);
	while (done < n) {
		ssize_t r = pread(fd, to + done, n - done, (off_t)at);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return err_sys(e, errno, "cannot read %s", name);
		if (r == 0)
			return err_set(e, EBADMSG,
				       "%s is cut off: it ends at %llu, and "
				       "%llu bytes at %llu are needed",
				       name, at, (unsigned long long)n,
				       (unsigned long long)offset);
		done += (uint64_t)r;
		at += (uint64_t)r;
	}
	return 0;
}

/* ---- notes ---- */

static uint64_t padded(uint64_t n, uint64_t align)
{
	return (n + align - 1) / align * align;
}

/* The address that a note of @n bytes has at @p. */
static int entry_of(const uint8_t *p, uint32_t n, uint32_t *entry)
{
	uint64_t at = 0;

	if (n != 4 && n != 8)
		return -EBADMSG;
	memcpy(&at, p, n);
	if (at == 0 || at > UINT32_MAX)
		return -EBADMSG;
	*entry = (uint32_t)at;
	return 0;
}

int elf_pvh_entry(const uint8_t *p, size_t n, uint64_t align, uint32_t *entry)
{
	uint64_t at = 0;

	/* What is left must hold a header; a shorter rest is padding. */
	while (n - at >= sizeof(Elf64_Nhdr)) {
		uint64_t name, desc, rest;
		Elf64_Nhdr h;

		memcpy(&h, p + at, sizeof(h));
		/* The sizes have 32 bits, so no sum of these overflows. */
		name = at + sizeof(h);
		desc = at + padded(sizeof(h) + h.n_namesz, align);
		rest = desc + h.n_descsz;
		if (rest > n)
			return -EBADMSG;
		if (h.n_type == NOTE_PHYS32_ENTRY &&
		    h.n_namesz == sizeof(NOTE_NAME) &&
		    memcmp(p + name, NOTE_NAME, sizeof(NOTE_NAME)) == 0)
			return entry_of(p + desc, h.n_descsz, entry);
		/* The last one need not be padded. */
		at = desc + padded(h.n_descsz, align);
		if (at > n)
			break;
	}
	return -ENOENT;
}

/* Look for the entry in the note segment @ph.  As elf_pvh_entry(). */
static int search_notes(struct elf *x, const Elf64_Phdr *ph, struct err *e)
{
	buf_auto struct buf notes = BUF_INIT_MAX(ELF_NOTES_MAX);
	int r;

	if (ph->p_filesz > ELF_NOTES_MAX)
		return err_set(e, EBADMSG,
			       "%s has %llu bytes of notes, expected at most "
			       "%d",
			       x->name, (unsigned long long)ph->p_filesz,
			       ELF_NOTES_MAX);
	if (ph->p_filesz == 0)
		return -ENOENT;
	if (buf_reserve(&notes, ph->p_filesz) < 0)
		return err_sys(e, ENOMEM, "cannot read the notes of %s",
			       x->name);
	r = elf_read(x->fd, x->name, notes.data, ph->p_filesz, ph->p_offset, e);
	if (r < 0)
		return r;
	r = elf_pvh_entry(notes.data, ph->p_filesz, ph->p_align == 8 ? 8 : 4,
			  &x->entry);
	if (r == -EBADMSG)
		return err_set(e, EBADMSG, "%s has a damaged note", x->name);
	return r;
}

static int find_entry(struct elf *x, const Elf64_Phdr *ph, unsigned n,
		      struct err *e)
{
	unsigned i;
	int r;

	for (i = 0; i < n; i++) {
		if (ph[i].p_type != PT_NOTE)
			continue;
		r = search_notes(x, &ph[i], e);
		if (r != -ENOENT)
			return r;
	}
	err_set(e, ENOTSUP, "%s has no PVH entry (note %d of \"%s\")", x->name,
		NOTE_PHYS32_ENTRY, NOTE_NAME);
	return err_fix(e, "use a Linux kernel built with CONFIG_PVH, as "
			  "iso-kernel prepares it");
}

/* ---- segments ---- */

static int add_segment(struct elf *x, const Elf64_Phdr *ph, struct err *e)
{
	struct elf_segment *s;

	if (ph->p_memsz == 0 && ph->p_filesz == 0)
		return 0;
	if (ph->p_filesz > ph->p_memsz ||
	    sum_overflows(ph->p_paddr, ph->p_memsz) ||
	    sum_overflows(ph->p_offset, ph->p_filesz))
		return err_set(e, EBADMSG,
			       "%s has a bad segment: %llu bytes of the file "
			       "at %#llx, %llu in memory at %#llx",
			       x->name, (unsigned long long)ph->p_filesz,
			       (unsigned long long)ph->p_offset,
			       (unsigned long long)ph->p_memsz,
			       (unsigned long long)ph->p_paddr);
	s = &x->segment[x->segments++];
	s->paddr = ph->p_paddr;
	s->mem = ph->p_memsz;
	s->file = ph->p_filesz;
	s->offset = ph->p_offset;
	if (x->segments == 1 || s->paddr < x->start)
		x->start = s->paddr;
	if (s->paddr + s->mem > x->end)
		x->end = s->paddr + s->mem;
	return 0;
}

static int check_entry(const struct elf *x, struct err *e)
{
	unsigned i;

	for (i = 0; i < x->segments; i++) {
		const struct elf_segment *s = &x->segment[i];

		if (x->entry >= s->paddr && x->entry - s->paddr < s->file)
			return 0;
	}
	return err_set(e, EBADMSG,
		       "%s has its PVH entry at %#x, which is in none of its "
		       "segments",
		       x->name, x->entry);
}

/* ---- headers ---- */

static int check_header(const struct elf *x, const Elf64_Ehdr *h, struct err *e)
{
	if (memcmp(h->e_ident, ELFMAG, SELFMAG) != 0) {
		err_set(e, ENOTSUP, "%s is not an ELF file", x->name);
		return err_fix(e, "it must be an uncompressed kernel "
				  "(vmlinux), as iso-kernel prepares it");
	}
	if (h->e_ident[EI_CLASS] != ELFCLASS64 ||
	    h->e_ident[EI_DATA] != ELFDATA2LSB || h->e_machine != EM_X86_64)
		return err_set(e, ENOTSUP,
			       "%s is not for 64-bit x86 (ELF class %u, "
			       "machine %u)",
			       x->name, h->e_ident[EI_CLASS], h->e_machine);
	if (h->e_phentsize != sizeof(Elf64_Phdr) || h->e_phnum == 0 ||
	    h->e_phnum > ELF_SEGMENTS_MAX)
		return err_set(
			e, EBADMSG,
			"%s has %u program headers of %u bytes, expected "
			"1 to %d of %zu",
			x->name, h->e_phnum, h->e_phentsize, ELF_SEGMENTS_MAX,
			sizeof(Elf64_Phdr));
	return 0;
}

int elf_open(struct elf *x, int fd, const char *name, struct err *e)
{
	Elf64_Phdr ph[ELF_SEGMENTS_MAX] = { { .p_type = PT_NULL } };
	Elf64_Ehdr h;
	unsigned i;
	int r;

	*x = (struct elf){ .fd = fd, .name = name };
	r = elf_read(fd, name, &h, sizeof(h), 0, e);
	if (r == 0)
		r = check_header(x, &h, e);
	if (r == 0)
		r = elf_read(fd, name, ph, h.e_phnum * sizeof(ph[0]), h.e_phoff,
			     e);
	for (i = 0; r == 0 && i < h.e_phnum; i++)
		if (ph[i].p_type == PT_LOAD)
			r = add_segment(x, &ph[i], e);
	if (r == 0 && x->segments == 0)
		r = err_set(e, EBADMSG, "%s has nothing to load", name);
	if (r == 0)
		r = find_entry(x, ph, h.e_phnum, e);
	return r < 0 ? r : check_entry(x, e);
}
