/* SPDX-License-Identifier: MIT
 *
 * The initramfs, read back with libarchive.
 */
#include "guest/initramfs.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "tests/tap.h"

static struct err err;

/* What stands for programs and modules: any files do. */
static char name[] = "tap", file[] = "tap.ko";
static char source[] = "tests/tap.h";
static struct module one = { name, source, file };

static void write_one(struct buf *b, char hex[static SHA256_HEX])
{
	const struct module_list l = { &one, 1 };
	const struct initramfs_spec s = { .profile = PROFILE_SANDBOX,
					  .agent = source,
					  .busybox = source,
					  .modules = &l };
	fd_auto int fd = memfd_create("initramfs", MFD_CLOEXEC);

	is_int(initramfs_write(&s, fd, hex, &err), 0, "written");
	lseek(fd, 0, SEEK_SET);
	buf_clear(b);
	is_int(io_read_all(fd, b), 0, "read back");
}

static void test_same(void)
{
	buf_auto struct buf a = BUF_INIT, b = BUF_INIT;
	char first[SHA256_HEX], second[SHA256_HEX];
	mode_t old;

	write_one(&a, first);
	old = umask(077);
	setenv("TZ", "Asia/Tokyo", 1);
	write_one(&b, second);
	umask(old);
	is_mem(a.data, a.len, b.data, b.len, "the same bytes");
	is_str(first, second, "the same digest");
}

static void check_entry(struct archive_entry *ae, la_int64_t ino)
{
	const char *path = archive_entry_pathname(ae);

	ok(archive_entry_mtime(ae) == 0 && archive_entry_uid(ae) == 0 &&
		   archive_entry_gid(ae) == 0 && archive_entry_ino64(ae) == ino,
	   "%s: plain time, owner and inode", path);
	if (strcmp(path, "dev/console") == 0)
		ok(archive_entry_filetype(ae) == AE_IFCHR &&
			   archive_entry_rdevmajor(ae) == 5 &&
			   archive_entry_rdevminor(ae) == 1,
		   "dev/console is what it should be");
	if (strcmp(path, "init") == 0)
		is_int(archive_entry_perm(ae), 0755, "init can be executed");
}

static void test_entries(void)
{
	static const char want[] =
		"bin bin/busybox dev dev/console etc init mnt modules "
		"modules/list modules/tap.ko proc profile root run sys tmp ";
	buf_auto struct buf b = BUF_INIT, names = BUF_INIT;
	struct archive *a = archive_read_new();
	struct archive_entry *ae;
	char hex[SHA256_HEX];
	la_int64_t ino = 0;

	write_one(&b, hex);
	archive_read_support_format_cpio(a);
	archive_read_open_memory(a, b.data, b.len);
	while (archive_read_next_header(a, &ae) == ARCHIVE_OK) {
		check_entry(ae, ++ino);
		buf_printf(&names, "%s ", archive_entry_pathname(ae));
	}
	is_str(buf_str(&names), want, "the entries, sorted");
	archive_read_free(a);
}

static void test_errors(void)
{
	const struct module_list none = MODULE_LIST_INIT;
	struct initramfs_spec s = { .profile = PROFILE_HOST,
				    .agent = source,
				    .modules = &none };
	char hex[SHA256_HEX];
	fd_auto int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

	is_int(initramfs_write(&s, full, hex, &err), -ENOSPC, "a full disk");
	has_str(err.text, "No space left", "the error says so");
	s.agent = "/nowhere";
	is_int(initramfs_write(&s, full, hex, &err), -ENOENT, "no agent");
	has_str(err.text, "/nowhere", "the error names it");
	is_int(initramfs_check_static("/nowhere", "agent", &err), -ENOENT,
	       "a program that is not there");
	is_int(initramfs_check_static(source, "agent", &err), -ENOEXEC,
	       "one that is none");
	is_int(initramfs_check_static("/proc/self/exe", "agent", &err),
	       -ENOEXEC, "one that is linked dynamically");
	has_str(err.text, "not statically linked", "the error says so");
	is_int(initramfs_check_static("/bin/busybox", "busybox", &err), 0,
	       "a static one");
}

int main(void)
{
	test_same();
	test_entries();
	test_errors();
	return tap_done();
}
