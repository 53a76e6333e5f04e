/* SPDX-License-Identifier: MIT
 *
 * Snapshots from host to host: what comes is what went, and nothing else comes
 * in.
 */
#include <sys/mman.h>

#include "sandbox/snapshot_parts.h"
#include "tests/unit/snapshots.h"

/* ---- streams ------------------------------------------------------------ */

struct stream {
	uint8_t *p; /* owned */
	size_t n;
};

static int memory_file(const void *p, size_t n)
{
	int fd = memfd_create("stream", MFD_CLOEXEC);

	if (fd < 0 || (n && pwrite(fd, p, n, 0) != (ssize_t)n))
		bail("no memory file");
	return fd;
}

static struct stream export(const struct snapshot *s, const char *root)
{
	struct stream out;
	int fd = memory_file("", 0);

	if (snapshot_export(s, root, fd, ERR) < 0)
		bail("%s", e.text);
	out.n = (size_t)lseek(fd, 0, SEEK_END);
	out.p = malloc(out.n);
	if (!out.p || pread(fd, out.p, out.n, 0) != (ssize_t)out.n)
		bail("cannot read it back");
	close(fd);
	return out;
}

static int import(struct snapshot *s, const char *root, const void *p, size_t n,
		  bool trust)
{
	int fd = memory_file(p, n);
	int r = snapshot_import(s, root, fd, trust, NULL, ERR);

	close(fd);
	return r;
}

/* Whether all of this is refused, with words, and leaves nothing. */
static bool refuses(const char *root, const void *p, size_t n)
{
	snapshot_auto struct snapshot s = SNAPSHOT_INIT;
	int r = import(&s, root, p, n, true);

	if (r < 0 && e.text[0] && count_left(root) == 0)
		return true;
	diag("%d, '%s', %d entries left", r, e.text, count_left(root));
	return false;
}

/* ---- there and back ----------------------------------------------------- */

static void same_host(void)
{
	const char *root = new_root("same");
	snapshot_auto struct snapshot s = SNAPSHOT_INIT, t = SNAPSHOT_INIT;
	struct stream x;
	struct stat st;

	make(&s, root, NULL);
	x = export(&s, root);
	ok(x.n > 240 * 4096 && x.n < 280 * 4096,
	   "%zu bytes: long holes are no part of it", x.n);
	is_int(import(&t, root, x.p, x.n, false), -EEXIST, "its id is there");
	is_int(count_left(root), 1, "nothing else is");
	is_int(snapshot_delete(root, s.id, ERR), 0, "deleted");
	is_int(import(&t, root, x.p, x.n, false), 0, "comes back");
	is_str(t.id, s.id, "under its id");
	is_int(recheck(root, t.id), 0, "and sound");
	ok(json_equal(t.manifest, s.manifest), "as it went");
	fstatat(t.dir, "scratch", &st, 0);
	ok(st.st_size == SCRATCH_SIZE && st.st_blocks * 512 <= 6 * 4096,
	   "with its holes");
	fstatat(t.dir, "memory", &st, 0);
	ok(st.st_size == MEMORY_SIZE && st.st_blocks * 512 <= 25 * 4096,
	   "and the short ones, which were zeros on the way");
	free(x.p);
}

static void other_host(void)
{
	snapshot_auto struct snapshot s = SNAPSHOT_INIT, t = SNAPSHOT_INIT;
	const char *root = new_root("here");
	struct stream x;

	make(&s, root, NULL);
	x = export(&s, root);
	root = new_root("there");
	is_int(import(&t, root, x.p, x.n, false), -EPERM,
	       "another host's, and this one has made none");
	has_str(e.fix, "--trust", "and what to do");
	is_int(count_left(root), 0, "nothing is left of it");
	make(&t, root, NULL);
	snapshot_delete(root, t.id, ERR);
	is_int(import(&t, root, x.p, x.n, false), -EPERM, "or has");
	is_int(import(&t, root, x.p, x.n, true), 0, "but if it is trusted");
	is_int(recheck(root, t.id), 0, "it is one of this host's");
	ok(json_is_true(json_object_get(t.manifest, "imported")), "and marked");
	free(x.p);
	x = export(&t, root);
	snapshot_delete(root, t.id, ERR);
	is_int(import(&t, root, x.p, x.n, false), 0,
	       "and goes and comes as such");
	free(x.p);
}

static void damaged_goes_nowhere(void)
{
	const char *root = new_root("bad");
	snapshot_auto struct snapshot s = SNAPSHOT_INIT;
	int fd, out = memory_file("", 0);

	make(&s, root, NULL);
	if (fchmodat(s.dir, "memory", 0600, 0) < 0)
		bail("cannot change a mode");
	fd = openat(s.dir, "memory", O_RDWR);
	if (pwrite(fd, "x", 1, 7777) != 1)
		bail("cannot write");
	close(fd);
	is_int(snapshot_export(&s, root, out, ERR), -EBADMSG, "a damaged one");
	has_str(e.text, "'memory'", "is not exported");
	is_int(lseek(out, 0, SEEK_END), 0, "not even begun");
	close(out);
}

/* Data at the very end, none at all, nothing but. */
static void odd_files(void)
{
	const char *root = new_root("odd");
	snapshot_auto struct snapshot s = SNAPSHOT_INIT, t = SNAPSHOT_INIT;
	json_t *config = some_config();
	struct stream x;

	if (snapshot_make(&s, root, ERR) < 0)
		bail("%s", e.text);
	put_noise(&s, "state", 0, 0);
	put_noise(&s, "memory", (off_t)70 << 30, 0);
	put_noise(&s, "scratch", 3 * 4096, 3);
	is_int(snapshot_commit(&s, root, config, NULL, NULL, ERR), -EBADMSG,
	       "70 GiB of memory");
	snapshot_drop(&s);
	snapshot_make(&s, root, ERR);
	put_noise(&s, "state", 5, 0);
	put_noise(&s, "memory", (off_t)64 << 30, 0);
	put_noise(&s, "scratch", ((off_t)2 << 40) + 4, 0);
	is_int(snapshot_commit(&s, root, config, NULL, NULL, ERR), 0,
	       "64 GiB of holes, 2 TiB of disk");
	x = export(&s, root);
	ok(x.n < 8 * 4096, "take %zu bytes", x.n);
	snapshot_delete(root, s.id, ERR);
	is_int(import(&t, root, x.p, x.n, false), 0, "come back");
	is_int(recheck(root, t.id), 0, "and are sound");
	free(x.p);
	json_decref(config);
}

/* ---- what else may come ------------------------------------------------- */

static void cut(const char *root, const struct stream *x)
{
	size_t n, tried = 0, good = 0;

	for (n = 0; n < x->n; n += n % 512 == 511 ? 1 + n / 64 : 1) {
		if (n % 512 > 2 && n % 512 < 510)
			n += 510 - n % 512;
		tried++;
		good += refuses(root, x->p, n);
	}
	is_int(good, tried, "a stream that ends early is refused");
}

static void turned(const char *root, const struct stream *x)
{
	int i, good = 0;

	for (i = 0; i < 1000; i++) {
		/* As often in what describes it as in what it is. */
		size_t at = (size_t)random() % (i % 2 ? x->n : 4096);
		uint8_t bit = (uint8_t)(1 << random() % 8);

		x->p[at] ^= bit;
		good += refuses(root, x->p, x->n);
		x->p[at] ^= bit;
	}
	is_int(good, 1000, "1000 streams with a bit turned are refused");
}

static void others(const char *root, const struct stream *x)
{
	static uint8_t zeros[8192];
	uint8_t *p = malloc(x->n + 512);

	ok(refuses(root, zeros, sizeof(zeros)), "zeros");
	ok(refuses(root, "isokit", 6), "a word");
	/* A member more: what stands behind the last is not looked at. */
	memcpy(p, x->p, x->n - 1024);
	memcpy(p + x->n - 1024, x->p, 1536);
	ok(refuses(root, p, x->n + 512), "a member more");
	memcpy(p, x->p, 512);
	snprintf((char *)p, 100, "snap/../../../../etc");
	ok(refuses(root, p, x->n), "another path");
	free(p);
}

static void hostile(void)
{
	const char *root = new_root("from");
	snapshot_auto struct snapshot s = SNAPSHOT_INIT, t = SNAPSHOT_INIT;
	struct stream x;

	make(&s, root, NULL);
	x = export(&s, root);
	root = new_root("to");
	cut(root, &x);
	turned(root, &x);
	others(root, &x);
	is_int(import(&t, root, x.p, x.n, true), 0, "as it was, it comes in");
	free(x.p);
}

int main(void)
{
	int fds = count_fds();

	srandom(20261121);
	/* What is brought to disk hundreds of times need not come to one. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	scratch_enter();
	same_host();
	other_host();
	damaged_goes_nowhere();
	odd_files();
	hostile();
	scratch_leave();
	is_int(count_fds(), fds, "no descriptor was left open");
	return tap_done();
}
