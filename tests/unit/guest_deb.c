/* SPDX-License-Identifier: MIT
 *
 * Hostile packages: made here entry by entry, unpacked into a directory whose
 * surroundings are then looked at.
 */
#include "guest/source.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/progress.h"
#include "base/str.h"
#include "tests/tap.h"

#define ROOM (1 << 20)

struct item {
	const char *path;
	unsigned int type; /* AE_IFREG, ... */
	const char *text;  /* contents, or a link's target */
};

static char top[64]; /* the test's directory; the tree is top/tree */
static char package[128];
static struct err err;

static void put(struct archive *a, const char *path, unsigned int type,
		const void *p, size_t n)
{
	struct archive_entry *ae = archive_entry_new();

	archive_entry_set_pathname(ae, path);
	archive_entry_set_filetype(ae, type);
	archive_entry_set_perm(ae, 06777);
	archive_entry_set_size(ae, type == AE_IFREG ? (la_int64_t)n : 0);
	if (type == AE_IFLNK)
		archive_entry_set_symlink(ae, p);
	if (type == AE_IFMT) { /* a hard link, for these tests */
		archive_entry_set_filetype(ae, AE_IFREG);
		archive_entry_set_hardlink(ae, p);
	}
	archive_write_header(a, ae);
	if (type == AE_IFREG)
		archive_write_data(a, p, n);
	archive_entry_free(ae);
}

static size_t make_tar(const struct item *items, size_t count, void *out)
{
	struct archive *a = archive_write_new();
	size_t i, used = 0;

	archive_write_set_format_pax_restricted(a);
	archive_write_open_memory(a, out, ROOM, &used);
	for (i = 0; i < count; i++)
		put(a, items[i].path, items[i].type, items[i].text,
		    items[i].text ? strlen(items[i].text) : 0);
	archive_write_close(a);
	archive_write_free(a);
	return used;
}

/* A package of @items at top/x.deb. */
static void make_deb(const struct item *items, size_t count)
{
	static const struct item control = {
		"./control", AE_IFREG,
		"Package: p\nVersion: 1\nArchitecture: amd64\n"
	};
	static char tar[ROOM];
	char path[96];
	struct archive *a = archive_write_new();

	snprintf(path, sizeof(path), "%s/x.deb", top);
	archive_write_set_format_ar_svr4(a);
	archive_write_open_filename(a, path);
	put(a, "debian-binary", AE_IFREG, "2.0\n", 4);
	put(a, "control.tar", AE_IFREG, tar, make_tar(&control, 1, tar));
	put(a, "data.tar", AE_IFREG, tar, make_tar(items, count, tar));
	archive_write_close(a);
	archive_write_free(a);
}

/* Unpack @items into a new tree. */
static int unpack(const struct item *items, size_t count, struct buf *image)
{
	struct progress p = { .style = PROGRESS_QUIET };
	char path[96];
	fd_auto int fd = -1;

	make_deb(items, count);
	snprintf(path, sizeof(path), "%s/tree", top);
	io_remove_tree(AT_FDCWD, path, NULL);
	mkdir(path, 0755);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(path, sizeof(path), "%s/x.deb", top);
	buf_clear(image);
	err = (struct err)ERR_INIT;
	return deb_unpack(path, fd, image, package, sizeof(package), &p, &err);
}

static bool exists(const char *below, struct stat *st)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", top, below);
	return lstat(path, st) == 0;
}

#define KERNEL                                           \
	{                                                \
		"./boot/vmlinuz-1.0", AE_IFREG, "kernel" \
	}

static void test_good(void)
{
	static const struct item items[] = {
		{ "./", AE_IFDIR, NULL },
		{ "./lib/modules/1.0/a.ko", AE_IFREG, "module a" },
		{ "./usr/lib/modules/1.0/b.ko", AE_IFREG, "module b" },
		{ "./etc/passwd", AE_IFREG, "not wanted" },
		KERNEL,
	};
	buf_auto struct buf image = BUF_INIT;
	struct stat st;

	is_int(unpack(items, ARRAY_SIZE(items), &image), 0, "a package");
	is_mem(image.data, image.len, "kernel", 6, "its image");
	is_str(package, "p 1", "its name and version");
	ok(exists("tree/lib/modules/1.0/a.ko", &st), "its module");
	is_int(st.st_mode & 07777, 0644, "with a mode of ours");
	ok(exists("tree/lib/modules/1.0/b.ko", &st), "one from usr");
	ok(!exists("tree/etc", &st), "and nothing else");
}

static void test_links(void)
{
	static const struct item items[] = {
		{ "lib/modules/1.0/out", AE_IFLNK, "../../../.." },
		{ "lib/modules/1.0/out/escaped", AE_IFREG, "x" },
		{ "lib/modules/1.0/passwd", AE_IFMT, "/etc/passwd" },
		{ "lib/modules/1.0/null", AE_IFCHR, NULL },
		{ "lib/modules/1.0/pipe", AE_IFIFO, NULL },
		KERNEL,
	};
	buf_auto struct buf image = BUF_INIT;
	struct stat st;

	is_int(unpack(items, ARRAY_SIZE(items), &image), 0, "links and nodes");
	ok(!exists("escaped", &st), "nothing is written through a link");
	ok(exists("tree/lib/modules/1.0/out", &st) && S_ISDIR(st.st_mode),
	   "the link was not made");
	ok(!exists("tree/lib/modules/1.0/passwd", &st), "no hard link");
	ok(!exists("tree/lib/modules/1.0/null", &st), "no device");
	ok(!exists("tree/lib/modules/1.0/pipe", &st), "no pipe");
}

static void refused(const struct item *items, size_t count, const char *text,
		    const char *what)
{
	buf_auto struct buf image = BUF_INIT_MAX(64);

	ok(unpack(items, count, &image) < 0, "%s: refused", what);
	has_str(err.text, text, "with the reason");
}

static void test_refused(void)
{
	static const char *const paths[] = { "../x",	  "/x",
					     "a/../../x", "a//x",
					     "./../x",	  "lib/modules/./x",
					     "//",	  "lib/modules/.." };
	static const struct item two[] = {
		KERNEL, { "boot/vmlinuz-2", AE_IFREG, "other" }
	};
	static const struct item twice[] = { { "lib/modules/a", AE_IFREG, "1" },
					     { "lib/modules/a", AE_IFREG,
					       "2" } };
	static const struct item below[] = { { "lib/modules/a", AE_IFREG, "1" },
					     { "lib/modules/a/b", AE_IFREG,
					       "2" } };
	static char big[100];
	const struct item large = { "boot/vmlinuz-1", AE_IFREG, big };
	char deep[2 * TREE_PATH_MAX] = "lib/modules";
	const struct item deepest = { deep, AE_IFREG, "x" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(paths); i++) {
		struct item one = { paths[i], AE_IFREG, "x" };

		refused(&one, 1, "unsafe path", paths[i]);
	}
	refused(two, 2, "more than one", "two kernels");
	refused(two, 0, "no kernel", "none");
	refused(twice, 2, "File exists", "the same file twice");
	refused(below, 2, "Not a directory", "a file below a file");
	memset(big, 'x', sizeof(big) - 1);
	refused(&large, 1, "too long", "an image beyond the limit");
	for (i = strlen(deep); i + 3 < sizeof(deep); i += 2)
		memcpy(deep + i, "/x", 3);
	refused(&deepest, 1, "path too long", "a path beyond the limit");
}

int main(void)
{
	const char *base = getenv("TMPDIR");

	snprintf(top, sizeof(top), "%.40s/deb.XXXXXX", base ? base : "/tmp");
	if (!mkdtemp(top))
		bail("cannot make %s", top);
	test_good();
	test_links();
	test_refused();
	io_remove_tree(AT_FDCWD, top, NULL);
	return tap_done();
}
