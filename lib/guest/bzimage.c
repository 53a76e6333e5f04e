/* SPDX-License-Identifier: MIT
 *
 * The kernel image: see bzimage.h.
 *
 * A bzImage is a real-mode setup part of (setup_sects + 1) sectors with the
 * setup header at 0x1f1 (Documentation/x86/boot.rst), then the protected-mode
 * part, which carries the compressed vmlinux at payload_offset from its start,
 * payload_length long.  The build puts the vmlinux's size, 4 bytes, behind the
 * compressed data; in gzip they are the format's own and belong to it.
 *
 * The image is unpacked here, once, and the kernel entered at its 64-bit-ready
 * PVH entry, because that saves the guest's own decompressor on every cold
 * start (0.3 s of it under emulation).  Scanning for magic bytes, as
 * scripts/extract-vmlinux does, would also take the payload of a kernel that
 * merely holds another one; the header says where it is.
 *
 * Every read of the image goes through at(), which checks the whole range.
 */
#include "guest/bzimage.h"

#include <elf.h>
#include <endian.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"

#define SECTOR 512
#define HDR_SETUP_SECTS 0x1f1
#define HDR_BOOT_FLAG 0x1fe
#define HDR_MAGIC 0x202
#define HDR_VERSION 0x206
#define HDR_PAYLOAD_OFFSET 0x248
#define HDR_PAYLOAD_LENGTH 0x24c

#define BOOT_FLAG 0xaa55
#define BOOT_PROTOCOL_MIN 0x0208 /* the first with a payload_offset */

/* Debian's are 50 MB; ten times that is a mistake or an attack. */
#define VMLINUX_MAX ((size_t)512 << 20)

#define XEN_ELFNOTE_PHYS32_ENTRY 18
#define PHDRS_MAX 64 /* a vmlinux has 5 */

struct image {
	const uint8_t *p;
	size_t n;
};

static const uint8_t *at(const struct image *im, uint64_t off, uint64_t len)
{
	if (off > im->n || len > im->n - off)
		return NULL;
	return im->p + off;
}

/* The image's numbers are little-endian and need not be aligned. */
static uint16_t le16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return le16toh(v);
}

static uint32_t le32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

bool bzimage_is(const void *p, size_t n)
{
	struct image im = { p, n };

	return at(&im, 0, HDR_PAYLOAD_LENGTH + 4) &&
	       le16(im.p + HDR_BOOT_FLAG) == BOOT_FLAG &&
	       memcmp(im.p + HDR_MAGIC, "HdrS", 4) == 0;
}

/* The compressed stream and its size mark, once the payload is known to lie
 * within the image. */
static int payload_parse(const uint8_t *p, uint32_t len, struct bzimage *b,
			 struct err *e)
{
	if (len < 16)
		return err_set(e, EBADMSG, "bzImage payload of %u bytes", len);
	b->kind = raw_kind_of(p, len);
	if (b->kind == RAW_NONE)
		return err_set(e, ENOTSUP,
			       "bzImage payload is neither gzip, xz, lzma, "
			       "bzip2, lz4 nor zstd (it starts with "
			       "%02x %02x %02x %02x)",
			       p[0], p[1], p[2], p[3]);
	b->payload = p;
	b->payload_len = b->kind == RAW_GZIP ? len : len - 4;
	b->size = le32(p + len - 4);
	if (b->size < sizeof(Elf64_Ehdr) || b->size > VMLINUX_MAX)
		return err_set(e, EBADMSG,
			       "bzImage says its vmlinux has %u bytes, "
			       "expected %zu to %zu",
			       b->size, sizeof(Elf64_Ehdr), VMLINUX_MAX);
	return 0;
}

int bzimage_parse(const void *p, size_t n, struct bzimage *b, struct err *e)
{
	struct image im = { p, n };
	uint32_t sects, off, len;
	const uint8_t *payload;
	uint16_t version;

	if (!bzimage_is(p, n))
		return err_set(e, EBADMSG,
			       "not a bzImage (no boot sector mark and HdrS)");
	version = le16(im.p + HDR_VERSION);
	if (version < BOOT_PROTOCOL_MIN)
		return err_set(e, ENOTSUP,
			       "bzImage of boot protocol %u.%02u, "
			       "expected 2.08 or later",
			       version >> 8, version & 0xff);
	sects = im.p[HDR_SETUP_SECTS];
	if (sects == 0)
		sects = 4; /* boot.rst: for backwards compatibility */
	off = le32(im.p + HDR_PAYLOAD_OFFSET);
	len = le32(im.p + HDR_PAYLOAD_LENGTH);
	payload = at(&im, (uint64_t)(sects + 1) * SECTOR + off, len);
	if (!payload)
		return err_set(e, EBADMSG,
			       "bzImage is cut short: payload of %u bytes "
			       "at %u, file of %zu bytes",
			       len, (sects + 1) * SECTOR + off, n);
	return payload_parse(payload, len, b, e);
}

static uint64_t note_pad(uint32_t n)
{
	return ((uint64_t)n + 3) & ~(uint64_t)3;
}

static bool notes_have_pvh(const struct image *im, uint64_t off, uint64_t size)
{
	const uint64_t end = off + size;

	while (end - off >= sizeof(Elf64_Nhdr)) {
		const uint8_t *p = at(im, off, sizeof(Elf64_Nhdr));
		Elf64_Nhdr nh;
		uint64_t body;

		if (!p)
			return false;
		memcpy(&nh, p, sizeof(nh));
		off += sizeof(nh);
		body = note_pad(nh.n_namesz) + note_pad(nh.n_descsz);
		if (body > end - off)
			return false;
		p = at(im, off, body);
		if (!p)
			return false;
		if (nh.n_type == XEN_ELFNOTE_PHYS32_ENTRY && nh.n_namesz == 4 &&
		    memcmp(p, "Xen", 4) == 0 &&
		    (nh.n_descsz == 4 || nh.n_descsz == 8))
			return true;
		off += body;
	}
	return false;
}

/* Every segment within the file, and one of them with the PVH note. */
static int phdrs_check(const struct image *im, const Elf64_Ehdr *eh,
		       struct err *e)
{
	bool pvh = false, load = false;
	unsigned int i;

	for (i = 0; i < eh->e_phnum; i++) {
		const uint8_t *p = at(im, eh->e_phoff + i * sizeof(Elf64_Phdr),
				      sizeof(Elf64_Phdr));
		Elf64_Phdr ph;

		if (!p)
			return err_set(e, EBADMSG, "vmlinux is cut short");
		memcpy(&ph, p, sizeof(ph));
		if (!at(im, ph.p_offset, ph.p_filesz))
			return err_set(e, EBADMSG, "vmlinux is cut short");
		load = load || ph.p_type == PT_LOAD;
		if (ph.p_type == PT_NOTE && !pvh)
			pvh = notes_have_pvh(im, ph.p_offset, ph.p_filesz);
	}
	if (!load)
		return err_set(e, EBADMSG, "vmlinux has nothing to load");
	if (pvh)
		return 0;
	err_set(e, ENOTSUP, "kernel has no PVH entry point");
	return err_fix(e, "a kernel built with CONFIG_PVH=y, as Debian's are");
}

bool kernel_release_ok(const char *s)
{
	static const char ok[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				 "abcdefghijklmnopqrstuvwxyz.-_+~";
	size_t n = strlen(s);

	/* Always a number first: so never "..", nor one of our own names. */
	return n && n < KERNEL_RELEASE_MAX && *s >= '0' && *s <= '9' &&
	       strspn(s, ok) == n;
}

/* The kernel's banner: "Linux version 6.1.0-56-cloud-amd64 (debian-...". */
static int find_release(const struct image *im,
			char release[static KERNEL_RELEASE_MAX], struct err *e)
{
	static const char banner[] = "Linux version ";
	const uint8_t *p = im->p, *end = im->p + im->n;

	while ((p = memmem(p, (size_t)(end - p), banner, strlen(banner)))) {
		size_t room, n = 0;

		p += strlen(banner);
		room = (size_t)(end - p);
		while (n < room && n < KERNEL_RELEASE_MAX && p[n] != ' ')
			n++;
		if (n == room || n == KERNEL_RELEASE_MAX)
			continue;
		memcpy(release, p, n);
		release[n] = '\0';
		if (kernel_release_ok(release))
			return 0;
	}
	return err_set(e, EBADMSG,
		       "not a Linux kernel (no \"Linux version\" in it)");
}

int vmlinux_check(const void *p, size_t n,
		  char release[static KERNEL_RELEASE_MAX], struct err *e)
{
	struct image im = { p, n };
	Elf64_Ehdr eh;
	int r;

	if (!at(&im, 0, sizeof(eh)) || memcmp(p, ELFMAG, SELFMAG) != 0)
		return err_set(e, EBADMSG, "vmlinux is not an ELF file");
	memcpy(&eh, p, sizeof(eh));
	if (eh.e_ident[EI_CLASS] != ELFCLASS64 ||
	    eh.e_ident[EI_DATA] != ELFDATA2LSB || eh.e_machine != EM_X86_64)
		return err_set(e, ENOTSUP,
			       "kernel is not for 64-bit x86 "
			       "(ELF class %u, machine %u)",
			       eh.e_ident[EI_CLASS], eh.e_machine);
	if (eh.e_phentsize != sizeof(Elf64_Phdr) || eh.e_phnum > PHDRS_MAX ||
	    eh.e_phoff > n)
		return err_set(e, EBADMSG, "vmlinux has bad program headers");
	r = phdrs_check(&im, &eh, e);
	return r < 0 ? r : find_release(&im, release, e);
}

static int unpack(const struct buf *image, struct buf *out, struct err *e)
{
	struct bzimage b = { .payload = NULL };
	int r = bzimage_parse(image->data, image->len, &b, e);

	if (r < 0)
		return r;
	/* The limit makes more than the size an error, the reservation one
	 * allocation of it. */
	buf_free(out);
	out->max = b.size;
	if (buf_reserve(out, b.size) < 0)
		return err_sys(e, ENOMEM, "cannot unpack the kernel");
	r = raw_unpack(b.kind, b.payload, b.payload_len, out, e);
	if (r < 0)
		return r;
	if (out->len != b.size)
		return err_set(e, EBADMSG,
			       "bzImage unpacks to %zu bytes, %u expected",
			       out->len, b.size);
	return 0;
}

int kernel_image_load(struct buf *image, struct buf *out,
		      char release[static KERNEL_RELEASE_MAX], struct err *e)
{
	int r = 0;

	if (image->len >= SELFMAG && !memcmp(image->data, ELFMAG, SELFMAG)) {
		buf_free(out);
		*out = *image;
		*image = (struct buf)BUF_INIT;
	} else {
		r = unpack(image, out, e);
	}
	return r < 0 ? r : vmlinux_check(out->data, out->len, release, e);
}
