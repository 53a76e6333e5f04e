/* SPDX-License-Identifier: MIT
 *
 * The image store: blobs, names, garbage.
 */
#include "tests/tap.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "oci/store.h"

static char root[64];

static void path_to(char out[static 512], const char *kind,
		    const struct digest *d, const char *suffix)
{
	snprintf(out, 512, "%s/images/%s/%s%s", root, kind, digest_hex(d),
		 suffix);
}

static struct desc desc_of(const char *text)
{
	struct desc d = { .size = strlen(text) };

	if (digest_of(&d.digest, text, strlen(text), NULL) < 0)
		bail("no digest");
	return d;
}

static bool there(const char *kind, const struct digest *d, const char *suffix)
{
	char path[512];

	path_to(path, kind, d, suffix);
	return access(path, F_OK) == 0;
}

static void blobs(struct images *s)
{
	struct desc d = desc_of("hello, world");
	blob_auto struct blob b = BLOB_INIT;
	buf_auto struct buf got = BUF_INIT;
	struct err e = ERR_INIT;

	ok(!images_has(s, &d), "not there");
	is_int(blob_begin(&b, s, &d, true, &e), 0, "begin");
	is_int(blob_append(&b, "hello, ", 7, &e), 0, "append");
	ok(!images_has(s, &d), "not yet there");
	is_int(blob_append(&b, "worlds", 6, &e), -EFBIG, "too much");
	is_int(blob_append(&b, "world", 5, &e), 0, "the rest");
	is_int(blob_commit(&b, &e), 0, "commit");
	ok(images_has(s, &d) && !there(".partial", &d.digest, "") &&
		   !there(".partial", &d.digest, ".lock"),
	   "there, and nothing else");
	is_int(blob_begin(&b, s, &d, true, &e), 1, "once is enough");
	is_int(images_read(s, &d, &got, &e), 0, "read");
	is_mem(got.data, got.len, "hello, world", 12, "the same");
	d.size++;
	ok(!images_has(s, &d) && images_blob(s, &d, &e) == -EBADMSG,
	   "another size is another blob");
}

static void resuming(struct images *s)
{
	struct desc d = desc_of("resumed and resumed");
	blob_auto struct blob b = BLOB_INIT, other = BLOB_INIT;
	struct err e = ERR_INIT;

	blob_begin(&b, s, &d, true, &e);
	blob_append(&b, "resumed", 7, &e);
	is_int(blob_begin(&other, s, &d, false, &e), -EWOULDBLOCK,
	       "one at a time");
	blob_free(&b);
	is_int(blob_begin(&b, s, &d, false, &e), 0, "another time");
	is_int((int64_t)b.front, 7, "it goes on where it was");
	is_int(blob_commit(&b, &e), -EBADMSG, "half is not whole");
	blob_append(&b, " and resumed", 12, &e);
	is_int(blob_commit(&b, &e), 0, "the other half is");
}

static void out_of_order(struct images *s)
{
	struct desc d = desc_of("aaaabbbbcccc");
	blob_auto struct blob b = BLOB_INIT;
	struct err e = ERR_INIT;

	blob_begin(&b, s, &d, true, &e);
	blob_append(&b, "aa", 2, &e);
	is_int(blob_write_at(&b, 8, "cccc", 4, &e), 0, "the end first");
	is_int(blob_write_at(&b, 10, "xxx", 3, &e), -EFBIG, "not past it");
	blob_free(&b);
	is_int(blob_begin(&b, s, &d, true, &e), 0, "another process");
	is_int((int64_t)b.front, 2, "believes the front alone");
	blob_write_at(&b, 8, "cccc", 4, &e);
	blob_write_at(&b, 4, "bbbb", 4, &e);
	is_int((int64_t)b.front, 2, "a gap");
	blob_write_at(&b, 2, "aa", 2, &e);
	is_int(blob_advance(&b, 12, &e), 0, "closed");
	is_int(blob_commit(&b, &e), 0, "is whole");
}

static void wrong(struct images *s)
{
	struct desc d = desc_of("right");
	blob_auto struct blob b = BLOB_INIT;
	struct err e = ERR_INIT;
	char path[512];

	blob_begin(&b, s, &d, true, &e);
	blob_append(&b, "wrong", 5, &e);
	is_int(blob_commit(&b, &e), -EBADMSG, "wrong bytes");
	has_str(e.text, "wrong digest", "are called so");
	is_int((int64_t)b.front, 0, "and thrown away");
	blob_free(&b);
	ok(!images_has(s, &d) && !there(".partial", &d.digest, "") &&
		   !there(".partial", &d.digest, ".lock"),
	   "nothing is left");
	blob_begin(&b, s, &d, true, &e);
	blob_append(&b, "rig", 3, &e);
	blob_free(&b);
	path_to(path, ".partial", &d.digest, "");
	ok(truncate(path, 100) == 0 && blob_begin(&b, s, &d, true, &e) == 0 &&
		   b.front == 0,
	   "more than there can be is not believed");
}

static void name_it(struct images *s, const char *name, const char *text)
{
	struct image_name n = { .name = name,
				.type = "application/vnd.oci.image.manifest.v1"
					"+json",
				.platform = PLATFORM_DEFAULT };
	struct err e = ERR_INIT;

	n.desc.size = strlen(text);
	if (images_put(s, text, strlen(text), &n.desc.digest, &e) < 0 ||
	    images_name(s, &n, &e) < 0)
		bail("%s", e.text);
}

static int count_one(const struct image_name *n, void *arg)
{
	(void)n;
	++*(int *)arg;
	return 0;
}

static int names_of(struct images *s)
{
	int n = 0;

	images_each(s, count_one, &n, NULL);
	return n;
}

static bool finds(struct images *s, const char *ref, const char *text)
{
	ref_auto struct ref r = REF_INIT;
	const struct platform p = PLATFORM_DEFAULT;
	struct desc d, want = desc_of(text);
	struct err e = ERR_INIT;

	return ref_parse(&r, str_of(ref), &e) == 0 &&
	       images_find(s, &r, &p, &d, &e) == 0 &&
	       digest_eq(&d.digest, &want.digest);
}

static void naming(struct images *s)
{
	struct desc d = desc_of("{}");
	struct err e = ERR_INIT;

	name_it(s, "docker.io/library/a:1", "{}");
	ok(finds(s, "a:1", "{}") && finds(s, d.digest.text, "{}"),
	   "by tag and by digest");
	ok(!finds(s, "a:2", "{}") && !finds(s, "oci:/a:1", "{}"),
	   "nothing else");
	name_it(s, "docker.io/library/a:1", "{} ");
	ok(finds(s, "a:1", "{} ") && names_of(s) == 1, "a name moves");
	name_it(s, "docker.io/library/b:1", "{} ");
	is_int(names_of(s), 2, "another name");
	is_int(images_unname(s, "docker.io/library/b:1", &e), 0,
	       "is forgotten");
	is_int(images_unname(s, "docker.io/library/b:1", &e), -ENOENT, "once");
}

static void pruning(struct images *s)
{
	struct desc kept = desc_of("{} "), gone = desc_of("{}");
	struct prune_report report;
	struct err e = ERR_INIT;

	is_int(images_prune(s, NULL, &report, &e), 0, "prune");
	ok(images_has(s, &kept) && !images_has(s, &gone), "by name");
	ok(report.blobs == 4 && report.rootfs == 0, "%d blobs",
	   (int)report.blobs);
	is_int(images_prune(s, NULL, &report, &e), 0, "again");
	is_int((int64_t)report.blobs, 0, "there is nothing to do");
}

/* What cannot be read may name anything. */
static void pruning_blind(struct images *s)
{
	struct desc d = desc_of("{} ");
	struct prune_report report;
	struct err e = ERR_INIT;
	struct digest other;
	char path[512];

	images_put(s, "other", 5, &other, &e);
	path_to(path, "blobs/sha256", &d.digest, "");
	if (unlink(path) < 0 ||
	    io_write_atomic(AT_FDCWD, path, "{x ", 3, 0644, &e) < 0)
		bail("cannot spoil a blob");
	is_int(images_prune(s, NULL, &report, &e), -EBADMSG,
	       "a manifest with other bytes");
	ok(there("blobs/sha256", &other, ""), "nothing was removed");
}

int main(void)
{
	images_auto struct images s = IMAGES_INIT, again = IMAGES_INIT;
	struct err e = ERR_INIT;

	snprintf(root, sizeof(root), "%s", "/tmp/oci_store.XXXXXX");
	if (!mkdtemp(root))
		bail("no directory");
	is_int(images_open(&s, root, &e), 0, "open");
	is_int(images_open(&again, root, &e), 0, "twice");
	images_free(&again);
	blobs(&s);
	resuming(&s);
	out_of_order(&s);
	wrong(&s);
	naming(&s);
	pruning(&s);
	pruning_blind(&s);
	io_remove_tree(AT_FDCWD, root, NULL);
	return tap_done();
}
