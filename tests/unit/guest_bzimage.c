/* SPDX-License-Identifier: MIT
 *
 * The kernel image's parser, on images made here: each one good but for the
 * one thing that is tested.
 */
#include "guest/bzimage.h"

#include <archive.h>
#include <archive_entry.h>
#include <elf.h>
#include <endian.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "tests/tap.h"

#define SETUP (4 * 512)

/* A vmlinux: header, one segment of code with the banner, one of notes. */
struct vmlinux {
	Elf64_Ehdr eh;
	Elf64_Phdr ph[2];
	char text[4000];
	Elf64_Nhdr nh;
	char name[4];
	uint64_t entry;
};

static const struct vmlinux good = {
	.eh = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
			     ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_phoff = offsetof(struct vmlinux, ph),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 2 },
	.ph = { { .p_type = PT_LOAD,
		  .p_offset = offsetof(struct vmlinux, text),
		  .p_filesz = sizeof(good.text) },
		{ .p_type = PT_NOTE,
		  .p_offset = offsetof(struct vmlinux, nh),
		  .p_filesz = sizeof(Elf64_Nhdr) + 12 } },
	.text = "Linux version %s (%s)\0Linux version 6.1.0-9-test (a@b) #1",
	.nh = { .n_namesz = 4, .n_descsz = 8, .n_type = 18 },
	.name = "Xen",
	.entry = 0x1000000,
};

static struct err err;
static char release[KERNEL_RELEASE_MAX];

static int check(const void *p, size_t n)
{
	/* An exact copy on the heap, so that the sanitizers see a read past
	 * the end. */
	void *copy = malloc(n ? n : 1);
	int r;

	memcpy(copy, p, n);
	err = (struct err)ERR_INIT;
	r = vmlinux_check(copy, n, release, &err);
	free(copy);
	return r;
}

static void test_vmlinux(void)
{
	struct vmlinux v = good;

	is_int(check(&v, sizeof(v)), 0, "a good vmlinux");
	is_str(release, "6.1.0-9-test", "its release, not the format string");
	v.eh.e_machine = EM_AARCH64;
	is_int(check(&v, sizeof(v)), -ENOTSUP, "another machine");
	v = good;
	v.eh.e_ident[EI_CLASS] = ELFCLASS32;
	is_int(check(&v, sizeof(v)), -ENOTSUP, "32 bits");
	v = good;
	v.nh.n_type = 17;
	is_int(check(&v, sizeof(v)), -ENOTSUP, "no PVH note");
	has_str(err.text, "no PVH entry", "the error says so");
	v = good;
	memset(v.text, 'x', sizeof(v.text));
	is_int(check(&v, sizeof(v)), -EBADMSG, "no banner");
	v = good;
	v.ph[0].p_type = PT_NULL;
	is_int(check(&v, sizeof(v)), -EBADMSG, "nothing to load");
}

static void test_vmlinux_bounds(void)
{
	struct vmlinux v = good;
	bool safe = true;
	size_t n;

	for (n = 0; n < sizeof(v); n++)
		safe = safe && check(&v, n) < 0;
	ok(safe, "cut anywhere, it is refused");
	v.ph[1].p_offset = UINT64_MAX - 4;
	is_int(check(&v, sizeof(v)), -EBADMSG, "a segment that wraps around");
	v = good;
	v.ph[0].p_filesz = UINT64_MAX;
	is_int(check(&v, sizeof(v)), -EBADMSG, "a segment without end");
	v = good;
	v.eh.e_phoff = UINT64_MAX - 8;
	is_int(check(&v, sizeof(v)), -EBADMSG, "headers that wrap around");
	v = good;
	v.eh.e_phnum = UINT16_MAX;
	is_int(check(&v, sizeof(v)), -EBADMSG, "too many headers");
	v = good;
	v.nh.n_namesz = UINT32_MAX;
	is_int(check(&v, sizeof(v)), -ENOTSUP, "a note without end");
	v = good;
	memcpy(v.text + sizeof(v.text) - 14, "Linux version ", 14);
	memset(v.text, 0, 100);
	is_int(check(&v, sizeof(v)), -EBADMSG, "a banner without a release");
}

static void test_release(void)
{
	static const char *const bad[] = { "",	  ".",	     "..",
					   "a",	  "1/2",     "1 2",
					   "1\n", "default", ".tmp.1" };
	char longest[KERNEL_RELEASE_MAX + 1];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		ok(!kernel_release_ok(bad[i]), "no release, case %zu", i);
	ok(kernel_release_ok("6.1.0-rc1+deb~1_x"), "a release");
	memset(longest, '1', sizeof(longest));
	longest[KERNEL_RELEASE_MAX - 1] = '\0';
	ok(kernel_release_ok(longest), "the longest release");
	longest[KERNEL_RELEASE_MAX - 1] = '1';
	longest[KERNEL_RELEASE_MAX] = '\0';
	ok(!kernel_release_ok(longest), "one character more");
}

/* ---- bzImage ----------------------------------------------------------- */

static void put16(struct buf *b, size_t off, uint16_t v)
{
	v = htole16(v);
	memcpy(b->data + off, &v, sizeof(v));
}

static void put32(struct buf *b, size_t off, uint32_t v)
{
	v = htole32(v);
	memcpy(b->data + off, &v, sizeof(v));
}

/* @out gets @p packed by @filter. */
static size_t pack(int (*filter)(struct archive *), const void *p, size_t n,
		   void *out, size_t room)
{
	struct archive *a = archive_write_new();
	struct archive_entry *ae = archive_entry_new();
	size_t used = 0;

	filter(a);
	archive_write_set_format_raw(a);
	archive_write_set_bytes_per_block(a, 0);
	archive_write_open_memory(a, out, room, &used);
	archive_entry_set_filetype(ae, AE_IFREG);
	archive_write_header(a, ae);
	archive_write_data(a, p, n);
	archive_write_close(a);
	archive_entry_free(ae);
	archive_write_free(a);
	return used;
}

static void make(struct buf *b, int (*filter)(struct archive *), bool tail)
{
	static uint8_t packed[65536];
	uint32_t size = htole32((uint32_t)sizeof(good));
	size_t n = pack(filter, &good, sizeof(good), packed, sizeof(packed));

	buf_free(b);
	buf_reserve(b, SETUP + n + 4);
	memset(b->data, 0, SETUP);
	b->len = SETUP;
	buf_add(b, packed, n);
	if (tail)
		buf_add(b, &size, 4);
	b->data[0x1f1] = 3;
	put16(b, 0x1fe, 0xaa55);
	memcpy(b->data + 0x202, "HdrS", 4);
	put16(b, 0x206, 0x020f);
	put32(b, 0x24c, (uint32_t)(b->len - SETUP));
}

static int load(struct buf *image, struct buf *out)
{
	struct buf copy = BUF_INIT;
	int r;

	buf_add(&copy, image->data, image->len);
	err = (struct err)ERR_INIT;
	r = kernel_image_load(&copy, out, release, &err);
	buf_free(&copy);
	return r;
}

static void test_kinds(void)
{
	static const struct {
		const char *name;
		int (*filter)(struct archive *);
		enum raw_kind kind;
	} kinds[] = {
		{ "gzip", archive_write_add_filter_gzip, RAW_GZIP },
		{ "xz", archive_write_add_filter_xz, RAW_XZ },
		{ "lzma", archive_write_add_filter_lzma, RAW_LZMA },
		{ "bzip2", archive_write_add_filter_bzip2, RAW_BZIP2 },
		{ "lz4", archive_write_add_filter_lz4, RAW_LZ4 },
		{ "zstd", archive_write_add_filter_zstd, RAW_ZSTD },
	};
	buf_auto struct buf b = BUF_INIT, out = BUF_INIT;
	struct bzimage z;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		make(&b, kinds[i].filter, kinds[i].kind != RAW_GZIP);
		is_int(bzimage_parse(b.data, b.len, &z, &err), 0,
		       kinds[i].name);
		is_int(z.kind, kinds[i].kind, "the kind");
		is_int(load(&b, &out), 0, "it unpacks");
		is_mem(out.data, out.len, &good, sizeof(good), "to the same");
	}
}

static void test_bzimage_bad(void)
{
	buf_auto struct buf b = BUF_INIT, out = BUF_INIT;
	bool safe = true;
	size_t n;

	make(&b, archive_write_add_filter_gzip, false);
	for (n = 0; n < b.len; n++) {
		struct bzimage z;
		uint8_t *copy = malloc(n ? n : 1);

		memcpy(copy, b.data, n);
		safe = safe && bzimage_parse(copy, n, &z, NULL) < 0;
		free(copy);
	}
	ok(safe, "cut anywhere, it is refused");
	put32(&b, 0x248, UINT32_MAX);
	is_int(load(&b, &out), -EBADMSG, "a payload that is elsewhere");
	has_str(err.text, "cut short", "the error says so");
	put32(&b, 0x248, 0);
	put16(&b, 0x206, 0x0207);
	is_int(load(&b, &out), -ENOTSUP, "an old protocol");
	has_str(err.text, "2.07", "the error quotes it");
	put16(&b, 0x206, 0x020f);
	put32(&b, 0x24c, 8);
	is_int(load(&b, &out), -EBADMSG, "a payload of nothing");
	put32(&b, 0x24c, (uint32_t)(b.len - SETUP));
	put32(&b, b.len - 4, (uint32_t)sizeof(good) + 1);
	ok(load(&b, &out) < 0, "a size that is not true");
	put32(&b, b.len - 4, UINT32_MAX);
	is_int(load(&b, &out), -EBADMSG, "a size beyond all reason");
	b.data[SETUP] = 0;
	is_int(load(&b, &out), -ENOTSUP, "an unknown packing");
	has_str(err.text, "00 8b", "the error quotes its first bytes");
}

static void test_bomb(void)
{
	buf_auto struct buf b = BUF_INIT, out = BUF_INIT;

	make(&b, archive_write_add_filter_xz, true);
	put32(&b, b.len - 4, 100);
	is_int(load(&b, &out), -EMSGSIZE, "more than the size said");
	ok(out.cap <= 512, "no memory is spent on it");
}

int main(void)
{
	test_vmlinux();
	test_vmlinux_bounds();
	test_release();
	test_kinds();
	test_bzimage_bad();
	test_bomb();
	return tap_done();
}
