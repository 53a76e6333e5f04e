/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/fd.h"
#include "rootfs/limits.h"
#include "rootfs/tree.h"
#include "tests/tap.h"

static const struct limits limits = LIMITS_DEFAULT;
static struct tree t;
static unsigned int gone;

static void count_gone(void *arg, const struct inode *i)
{
	(void)arg;
	gone += S_ISREG(i->mode);
}

static void begin(void)
{
	struct err e = ERR_INIT;

	if (tree_init(&t, &limits, -1, &e) < 0)
		bail("%s", e.text);
	t.gone = count_gone;
	t.layer = 1;
	gone = 0;
}

static uint32_t put(const char *dir, const char *name, uint16_t mode)
{
	struct err e = ERR_INIT;
	uint32_t d = tree_walk(&t, str_of(dir), true, &e);

	return tree_put(&t, d, str_of(name), tree_inode_new(&t, mode, &e), &e);
}

static uint32_t put_link(const char *dir, const char *name, const char *to)
{
	struct err e = ERR_INIT;
	uint32_t n = put(dir, name, S_IFLNK | 0777);

	tree_of(&t, n)->target = tree_keep(&t, to, strlen(to), &e);
	tree_of(&t, n)->size = strlen(to);
	return n;
}

static uint32_t walk(const char *path)
{
	return tree_walk(&t, str_of(path), false, NULL);
}

static bool has(const char *dir, const char *name)
{
	uint32_t d = walk(dir);

	return d && tree_lookup(&t, d, str_of(name));
}

static void test_names(void)
{
	uint32_t f;

	begin();
	f = put("a/b", "f", S_IFREG | 0644);
	ok(f && has("a/b", "f"), "a file, and its directories");
	is_int(tree_of(&t, walk("a"))->mode, S_IFDIR | 0755,
	       "which are 0755 when nobody said");
	is_int(tree_node(&t, f)->parent, walk("a/b"), "it knows where it is");
	ok(!has("a", "f") && !has("", "f"), "and is nowhere else");
	is_int(put("a/b", "f", S_IFREG | 0600), f, "put again: the same name");
	is_int(tree_of(&t, f)->mode & 07777, 0600, "with other attributes");
	is_int(gone, 1, "and the old inode is gone");
	tree_remove(&t, walk("a"));
	ok(!has("", "a") && gone == 2, "a tree is removed with what is in it");
	is_int(t.nnodes, 0, "nothing is left");
	tree_free(&t);
}

static void test_links(void)
{
	struct err e = ERR_INIT;
	uint32_t a, b, i;

	begin();
	a = put("d", "a", S_IFREG);
	i = tree_node(&t, a)->inode;
	b = tree_put(&t, TREE_ROOT, STR("b"), i, &e);
	is_int(tree_inode(&t, i)->links, 2, "two names");
	tree_remove(&t, a);
	ok(gone == 0 && tree_inode(&t, i)->links == 1, "one name");
	is_int(tree_put(&t, TREE_ROOT, STR("b"), i, &e), b, "linked to itself");
	is_int(tree_inode(&t, i)->links, 1, "changes nothing");
	put("x/y", "f", S_IFREG);
	i = tree_node(&t, tree_lookup(&t, walk("x/y"), STR("f")))->inode;
	tree_put(&t, TREE_ROOT, STR("x"), i, &e);
	ok(gone == 0 && tree_inode(&t, i)->links == 1,
	   "a file takes the place of the directory it was in");
	tree_free(&t);
}

static void test_walk(void)
{
	struct err e = ERR_INIT;
	uint32_t n;

	begin();
	put("usr", "lib", S_IFDIR | 0755);
	put_link("", "lib", "usr/lib");
	put_link("usr", "up", "../../../..");
	put_link("", "abs", "/usr/./lib//");
	put_link("", "loop", "loop/x");
	put_link("", "dangling", "new/dir");
	put("", "file", S_IFREG);
	is_int(walk(""), TREE_ROOT, "the root");
	is_int(walk("lib"), walk("usr/lib"), "a link");
	is_int(walk("usr/up"), TREE_ROOT, "nothing is above the root");
	is_int(walk("usr/up/usr/up/abs"), walk("usr/lib"), "an absolute link");
	ok(!tree_walk(&t, STR("loop"), true, &e) && e.num == ELOOP, "a loop");
	ok(!tree_walk(&t, STR("dangling"), false, &e) && e.num == ENOENT,
	   "a link to nothing");
	ok(!tree_walk(&t, STR("file/x"), true, &e) && e.num == ENOTDIR,
	   "a file is no directory");
	n = tree_walk(&t, STR("dangling/z"), true, &e);
	ok(n && n == walk("new/dir/z"),
	   "what is missing is made where the link leads");
	tree_free(&t);
}

static void test_purge(void)
{
	begin();
	put("d/e", "old", S_IFREG);
	put("d", "f", S_IFREG);
	tree_of(&t, walk("d"))->uid = 5;
	t.layer = 2;
	put("d/e", "new", S_IFREG);
	tree_purge(&t, walk("d"), false);
	ok(has("d/e", "new"), "what the layer itself put stays");
	ok(!has("d/e", "old") && !has("d", "f"), "what others put goes");
	is_int(tree_of(&t, walk("d"))->uid, 0,
	       "a directory that stays for what is in it has no attributes");
	is_int(gone, 2, "two files are gone");
	t.layer = 3;
	tree_purge(&t, TREE_ROOT, true);
	is_int(t.nnodes, 0, "an opaque root");
	tree_free(&t);
}

static void test_sort(void)
{
	static const char *const names[] = { "b", "a", "\xff", "ab", "B" };
	static const char *const want[] = { "B", "a", "ab", "b", "\xff" };
	struct err e = ERR_INIT;
	uint32_t n;
	size_t i;

	begin();
	for (i = 0; i < ARRAY_SIZE(names); i++)
		put("", names[i], S_IFREG);
	ok(tree_sort(&t, &e) == 0, "sorted");
	n = TREE_ROOT;
	for (i = 0; i < ARRAY_SIZE(want); i++) {
		n = tree_next(&t, n);
		ok(n && str_eq(tree_name(&t, n), str_of(want[i])), "number %zu",
		   i);
	}
	is_int(tree_next(&t, n), 0, "and no more");
	tree_free(&t);
}

/* Deep and wide enough for the table and the pools to grow, and for a
 * recursion to be noticed. */
static void test_many(void)
{
	struct err e = ERR_INIT;
	uint32_t n = TREE_ROOT, count = 0;
	char name[16];
	int i;

	begin();
	for (i = 0; i < 100000; i++) {
		uint32_t inode = tree_inode_new(&t, S_IFDIR, &e);

		snprintf(name, sizeof(name), "%d", i);
		n = tree_put(&t, i % 2 ? n : TREE_ROOT, str_of(name), inode,
			     &e);
	}
	for (n = TREE_ROOT; n; n = tree_next(&t, n))
		count++;
	is_int(count, 100001, "a hundred thousand names");
	tree_purge(&t, TREE_ROOT, true);
	is_int(t.nnodes, 100000, "all of this layer");
	t.layer = 2;
	tree_purge(&t, TREE_ROOT, true);
	is_int(t.nnodes, 0, "none of it");
	tree_free(&t);
}

static void test_limit(void)
{
	struct limits few = LIMITS_DEFAULT;
	struct err e = ERR_INIT;
	int i;

	few.names = 100;
	begin();
	t.limits = &few;
	for (i = 0; i < 100 && tree_keep(&t, "12345678", 8, &e); i++)
		;
	ok(i > 5 && i < 13, "strings end at their limit");
	has_str(e.text, "100 bytes allowed", "and say so");
	tree_free(&t);
}

int main(void)
{
	test_names();
	test_links();
	test_walk();
	test_purge();
	test_sort();
	test_many();
	test_limit();
	return tap_done();
}
