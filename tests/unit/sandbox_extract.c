/* SPDX-License-Identifier: MIT
 *
 * Archives from a hostile guest: whatever is in them, nothing is made outside
 * of the one directory, and nothing but files, directories and links.
 */
#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "sandbox/extract.h"
#include "sandbox/pack.h"
#include "tests/unit/scratch.h"

struct item {
	const char *name;
	unsigned int type;
	unsigned int mode;
	const char *text; /* contents, or a link's target */
	bool hard;
};

static struct buf tar;
static size_t at;
static struct extract_report report;
static struct err e;

static ssize_t read_tar(void *arg, void *p, size_t n)
{
	size_t left = tar.len - at;

	(void)arg;
	n = n < left ? n : left;
	if (n)
		memcpy(p, tar.data + at, n);
	at += n;
	return (ssize_t)n;
}

static int write_tar(void *arg, const void *p, size_t n)
{
	(void)arg;
	return buf_add(&tar, p, n);
}

static la_ssize_t on_write(struct archive *a, void *arg, const void *p,
			   size_t n)
{
	(void)a;
	return write_tar(arg, p, n) < 0 ? -1 : (la_ssize_t)n;
}

static void make_tar(const struct item *items)
{
	struct archive *a = archive_write_new();
	const struct item *i;

	buf_clear(&tar);
	archive_write_set_format_pax_restricted(a);
	archive_write_open(a, NULL, NULL, on_write, NULL);
	for (i = items; i->name; i++) {
		struct archive_entry *n = archive_entry_new();
		size_t len = i->type == AE_IFREG && !i->hard && i->text ?
				     strlen(i->text) :
				     0;

		archive_entry_set_pathname(n, i->name);
		archive_entry_set_filetype(n, i->type);
		archive_entry_set_perm(n, i->mode);
		archive_entry_set_size(n, (la_int64_t)len);
		if (i->hard)
			archive_entry_set_hardlink(n, i->text);
		else if (i->type == AE_IFLNK)
			archive_entry_set_symlink(n, i->text);
		if (archive_write_header(a, n) < ARCHIVE_WARN)
			bail("%s", archive_error_string(a));
		if (len)
			archive_write_data(a, i->text, len);
		archive_entry_free(n);
	}
	archive_write_close(a);
	archive_write_free(a);
}

/* Unpack into "in", under the name "top". */
static int unpack(uint64_t max, bool preserve)
{
	fd_auto int dir = -1;
	struct extract_spec s = { .name = "top",
				  .bytes_max = max,
				  .preserve = preserve,
				  .read = read_tar };

	if (mkdir("in", 0755) < 0 && errno != EEXIST)
		bail("cannot make a directory");
	dir = open("in", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	s.dir = dir;
	at = 0;
	e = (struct err)ERR_INIT;
	return extract_tree(&s, &report, &e);
}

static int unpack_items(const struct item *items)
{
	io_remove_tree(AT_FDCWD, "in", NULL);
	make_tar(items);
	return unpack(1 << 20, false);
}

static mode_t mode_of(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 ? st.st_mode : 0;
}

static void good(void)
{
	static const struct item items[] = {
		{ "tree", AE_IFDIR, 01750, NULL, false },
		{ "tree/file", AE_IFREG, 04755, "words", false },
		{ "tree/deep/er/file", AE_IFREG, 0600, "more", false },
		{ "tree/link", AE_IFLNK, 0777, "/etc/passwd", false },
		{ "tree/hard", AE_IFREG, 0644, "tree/file", true },
		{ "tree/fifo", AE_IFIFO, 0644, NULL, false },
		{ "tree/null", AE_IFCHR, 0666, NULL, false },
		{ NULL, 0, 0, NULL, false },
	};
	struct stat a, b;

	umask(022);
	is_int(unpack_items(items), 0, "a tree is unpacked");
	is_int(mode_of("in/top"), S_IFDIR | 0750, "a directory's mode");
	is_int(mode_of("in/top/file"), S_IFREG | 0755, "no set-user-ID bit");
	ok(mode_of("in/top/deep/er/file"), "missing directories are made");
	is_int(mode_of("in/top/link") & S_IFMT, S_IFLNK, "a link is a link");
	ok(stat("in/top/file", &a) == 0 && stat("in/top/hard", &b) == 0 &&
		   a.st_ino == b.st_ino,
	   "a hard link within");
	is_int((int64_t)report.left_out, 2, "devices and FIFOs are left out");
	is_int(mode_of("in/top/fifo"), 0, "not made at all");
	is_int(unpack(1 << 20, false), 0, "over what is there");
	is_int(unpack(1 << 20, true), 0, "and with modes whole");
	is_int(mode_of("in/top/file"), S_IFREG | 04755, "set-user-ID");
}

static void hostile(void)
{
	static const struct item cases[][5] = {
		{ { "t", AE_IFDIR, 0755, NULL, false },
		  { "t/../../out", AE_IFREG, 0644, "x", false } },
		{ { "t", AE_IFDIR, 0755, NULL, false },
		  { "/tmp/out", AE_IFREG, 0644, "x", false } },
		{ { "..", AE_IFDIR, 0755, NULL, false },
		  { "../out", AE_IFREG, 0644, "x", false } },
		{ { "t", AE_IFDIR, 0755, NULL, false },
		  { "out", AE_IFREG, 0644, "x", false } },
		{ { "t", AE_IFDIR, 0755, NULL, false },
		  { "tt/out", AE_IFREG, 0644, "x", false } },
		{ { "t", AE_IFDIR, 0755, NULL, false },
		  { "t/l", AE_IFLNK, 0777, "../../", false },
		  { "t/l/out", AE_IFREG, 0644, "x", false } },
		{ { "t", AE_IFLNK, 0777, "..", false },
		  { "t/out", AE_IFREG, 0644, "x", false } },
		{ { "t", AE_IFDIR, 0755, NULL, false },
		  { "t/h", AE_IFREG, 0644, "../secret", true } },
		{ { "t", AE_IFDIR, 0755, NULL, false },
		  { "t/l", AE_IFLNK, 0777, "../../secret", false },
		  { "t/h", AE_IFREG, 0644, "t/l", true } },
	};
	size_t i;

	scratch_file("secret", "do not touch");
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		ok(unpack_items(cases[i]) < 0, "case %zu is refused: %s", i,
		   e.text);
		ok(!mode_of("out") && !mode_of("in/out") &&
			   !mode_of("/tmp/out"),
		   "and nothing is outside");
	}
	/* A link is replaced by what takes its name, not followed. */
	{
		static const struct item items[] = {
			{ "t", AE_IFDIR, 0755, NULL, false },
			{ "t/l", AE_IFLNK, 0777, "../../secret", false },
			{ "t/l", AE_IFREG, 0644, "new", false },
			{ NULL, 0, 0, NULL, false },
		};
		struct stat st;

		is_int(unpack_items(items), 0, "a file takes a link's place");
		ok(stat("secret", &st) == 0 && st.st_size == 12,
		   "what it led to is as it was");
	}
}

static void bounds(void)
{
	static const struct item items[] = {
		{ "t", AE_IFDIR, 0755, NULL, false },
		{ "t/a", AE_IFREG, 0644, "0123456789", false },
		{ "t/b", AE_IFREG, 0644, "0123456789", false },
		{ NULL, 0, 0, NULL, false },
	};

	make_tar(items);
	is_int(unpack(20, false), 0, "as much as is allowed");
	is_int(unpack(19, false), -EFBIG, "and not a byte more");
	/* In the middle of the last file: a header is 512 bytes, and so is a
	 * block of contents. */
	tar.len = 4 * 512 + 5;
	ok(unpack(20, false) < 0, "an archive that is cut short: %s", e.text);
	tar.len = 0;
	ok(unpack(20, false) < 0, "none at all: %s", e.text);
	buf_puts(&tar, "this is not an archive, and not a short text either");
	ok(unpack(20, false) < 0, "and something else: %s", e.text);
}

static void round_trip(void)
{
	struct pack_spec p = { .path = "src", .top = ".", .write = write_tar };

	if (mkdir("src", 0750) < 0 || mkdir("src/d", 0700) < 0 ||
	    symlink("a", "src/l") < 0 || mkfifo("src/fifo", 0600) < 0)
		bail("cannot make a tree");
	scratch_file("src/a", "aaa");
	scratch_file("src/d/b", "");
	io_remove_tree(AT_FDCWD, "in", NULL);
	buf_clear(&tar);
	is_int(pack_tree(&p, &e), 0, "packed");
	is_int(unpack(100, false), 0, "unpacked");
	is_int((int64_t)report.entries, 5, "all of it");
	is_int((int64_t)report.bytes, 3, "every byte");
	is_int(mode_of("in/top"), S_IFDIR | 0750, "as it was");
	is_int(mode_of("in/top/d/b") & S_IFMT, S_IFREG, "to its depth");
	is_int(mode_of("in/top/l") & S_IFMT, S_IFLNK, "and its links");
	p.path = "nothing";
	ok(pack_tree(&p, &e) < 0, "what is not there is not packed: %s",
	   e.text);
}

int main(void)
{
	int fds;

	tar = (struct buf)BUF_INIT;
	scratch_enter();
	fds = count_fds();
	good();
	hostile();
	bounds();
	round_trip();
	is_int(count_fds(), fds, "no descriptor is left open");
	buf_free(&tar);
	scratch_leave();
	return tap_done();
}
