/* SPDX-License-Identifier: MIT
 *
 * Snapshots: made, found, named, verified, deleted; and whatever is done to
 * one, it is noticed, and the file is named.
 */
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/buf.h"
#include "sandbox/box.h"
#include "sandbox/rundir.h"
#include "sandbox/snapshot_parts.h"
#include "tests/unit/snapshots.h"

static const char *const files[] = { "state", "memory", "scratch",
				     "manifest.json" };

/* ---- making and finding ------------------------------------------------- */

static void looks(const char *root, const struct snapshot *s)
{
	char path[PATH_MAX], to[256];
	struct stat st;
	ssize_t n;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(files); i++) {
		ok(fstatat(s->dir, files[i], &st, 0) == 0 &&
			   (st.st_mode & 07777) == 0400,
		   "%s can be read by its owner and written by nobody",
		   files[i]);
	}
	fstatat(s->dir, ".", &st, 0);
	is_int(st.st_mode & 07777, 0700, "the directory is its owner's");
	snprintf(path, sizeof(path), "%.3000s/snapshots/.key", root);
	ok(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600 &&
		   st.st_size == 32,
	   "so is the key, of 32 bytes");
	n = readlinkat(s->dir, "rootfs", to, sizeof(to));
	ok(n > 0 && strncmp(to, "../../rootfs/" ROOTFS_NAME, (size_t)n) == 0,
	   "the root file system is linked to");
	is_int(count_entries(s->path), 6, "nothing else is there");
}

static void making(void)
{
	const char *root = new_root("making");
	snapshot_auto struct snapshot s = SNAPSHOT_INIT, t = SNAPSHOT_INIT;
	json_t *config = some_config();

	is_int(count_snapshots(root), 0, "none there");
	is_int(snapshot_find(&t, root, "snap0", ERR), -ENOENT, "none found");
	has_str(e.fix, "iso-snap --list", "and where to look");
	is_int(begin(&s, root), 0, "begun");
	is_int(count_snapshots(root), 0, "one that is being made is not there");
	is_int(count_left(root), 1, "and is nobody's to remove");
	tick();
	is_int(snapshot_commit(&s, root, config, "snap00000000000000aa", "a",
			       ERR),
	       0, "made");
	is_int(count_snapshots(root), 1, "is there");
	is_int(count_left(root), 1, "and nothing else");
	ok(snapshot_is_verified(&s), "is verified");
	looks(root, &s);
	is_int(snapshot_find(&t, root, s.id, ERR), 0, "found by id");
	ok(snapshot_is_verified(&t), "and verified");
	ok(json_equal(snapshot_config(&t), config), "of that sandbox");
	is_str(json_string_value(json_object_get(t.manifest, "parent")),
	       "snap00000000000000aa", "and that parent");
	is_int(snapshot_size(&t, SNAPSHOT_STATE), 5000, "of that size");
	is_int(snapshot_check(&t, ERR), 0, "fit for this machine");
	is_int(snapshot_verify(&t, root, ERR), 0, "and sound");
	ok(is_verified(root, s.id), "which is noted");
	json_decref(config);
}

static void finding(void)
{
	const char *root = new_root("finding");
	snapshot_auto struct snapshot s = SNAPSHOT_INIT, t = SNAPSHOT_INIT;
	char name[SNAPSHOT_NAME_SIZE], path[PATH_MAX], word[SNAPSHOT_ID_SIZE];

	is_int(make(&s, root, "base"), 0, "one with a name");
	is_int(snapshot_find(&t, root, "base", ERR), 0, "by name");
	is_str(t.id, s.id, "it is it");
	snprintf(word, sizeof(word), "%.9s", s.id);
	is_int(snapshot_find(&t, root, word, ERR), 0, "by its beginning");
	is_str(t.id, s.id, "it is it");
	is_int(snapshot_find(&t, root, "snap", ERR), -ENOENT,
	       "'snap' is not enough");
	is_int(snapshot_find(&t, root, "../snapshots", ERR), -ENOENT,
	       "no path");
	is_int(snapshot_find(&t, root, ".names", ERR), -ENOENT, "no dot");
	snapshot_name_of(root, s.id, name);
	is_str(name, "base", "its name");
	snprintf(path, sizeof(path), "%.3000s/snapshots/%.9s00000000000", root,
		 s.id);
	snprintf(word, sizeof(word), "%.5s", s.id);
	path[strlen(path) - 15] = s.id[5] == '0' ? '1' : '0';
	mkdir(path, 0700);
	is_int(snapshot_find(&t, root, word, ERR), -ENOTUNIQ, "two begin so");
	has_str(e.text, s.id, "and are named");
	is_int(count_snapshots(root), 2, "one without a manifest is listed");
	rmdir(path);
}

static void naming(void)
{
	const char *root = new_root("naming");
	snapshot_auto struct snapshot s = SNAPSHOT_INIT, t = SNAPSHOT_INIT;

	is_int(snapshot_check_name("a.b-c_1", ERR), 0, "a name");
	is_int(snapshot_check_name("-a", ERR), -EINVAL, "no dash in front");
	is_int(snapshot_check_name("a/b", ERR), -EINVAL, "no slash");
	is_int(snapshot_check_name("snap12", ERR), -EINVAL,
	       "nothing that begins an id");
	is_int(snapshot_check_name("snapper", ERR), 0, "but a word");
	is_int(make(&s, root, "same"), 0, "a name given");
	is_int(make(&t, root, "same"), -EEXIST, "one name, one use");
	has_str(e.text, s.id, "the owner is named");
	snapshot_drop(&t);
	is_int(count_left(root), 1, "nothing is left of the other");
	is_int(snapshot_delete(root, "same", ERR), 0, "deleted by name");
	is_int(count_left(root), 0, "is gone");
	is_int(make(&t, root, "same"), 0, "and the name is free");
}

static void configs(void)
{
	const char *root = new_root("configs");
	snapshot_auto struct snapshot s = SNAPSHOT_INIT;
	json_t *config = some_config();
	mem_auto char *path = NULL, *big = malloc((9 << 20) + 1);

	json_object_set_new(config, "rootfs", json_string("/x/y.erofs"));
	begin(&s, root);
	is_int(snapshot_commit(&s, root, config, NULL, NULL, ERR), -EINVAL,
	       "no root file system");
	snapshot_drop(&s);
	memset(big, 'x', 9 << 20);
	big[9 << 20] = '\0';
	json_decref(config);
	config = some_config();
	json_object_set_new(config, "env", json_string(big));
	begin(&s, root);
	is_int(snapshot_commit(&s, root, config, NULL, NULL, ERR), -EFBIG,
	       "more than a manifest takes");
	snapshot_drop(&s);
	is_int(count_left(root), 0, "nothing is left of either");
	make(&s, root, NULL);
	is_int(snapshot_rootfs(&s, root, &path, ERR), -ENOENT,
	       "a root file system that is not there");
	has_str(e.fix, "debian:12.1", "and of which image it is");
	json_decref(config);
}

/* The digest of a file that has this in it, worked out by another program. */
static void digests(void)
{
	char with[SNAPSHOT_HEX], without[SNAPSHOT_HEX];
	char zeros[8192] = { 0 };
	int fd = memfd_create("digest", MFD_CLOEXEC);

	if (fd < 0 || pwrite(fd, "isokit", 6, 4096 * 3 + 7) != 6 ||
	    pwrite(fd, "end", 3, 4096 * 5) != 3)
		bail("cannot make a file");
	is_int(snapsum_file(fd, 4096 * 5 + 3, without), 0, "a digest");
	is_str(without,
	       "340e0f13d068982439dc5b3f0eaba86774ffe1c509403abc20295b3c7bc07ef5",
	       "is what it is to be");
	if (pwrite(fd, zeros, sizeof(zeros), 0) != sizeof(zeros))
		bail("cannot write");
	is_int(snapsum_file(fd, 4096 * 5 + 3, with), 0, "with a hole filled");
	is_str(with, without, "it is the same");
	is_int(snapsum_file(fd, 4096 * 5 + 4, with), -ENODATA,
	       "a file that is too short");
	close(fd);
}

/* ---- damage ------------------------------------------------------------- */

/* Do to one of its files what was never meant to be done. */
static int open_to_write(const struct snapshot *s, const char *file)
{
	int fd;

	if (fchmodat(s->dir, file, 0600, 0) < 0)
		bail("cannot change %s", file);
	fd = openat(s->dir, file, O_RDWR);
	if (fd < 0)
		bail("cannot open %s", file);
	if (fchmodat(s->dir, file, 0400, 0) < 0)
		bail("cannot change %s back", file);
	return fd;
}

static bool refused(const char *root, const char *id, const char *file)
{
	int r;

	if (is_verified(root, id)) {
		diag("passes for verified");
		return false;
	}
	r = recheck(root, id);
	if ((r == -EBADMSG || r == -ENOTSUP) && strstr(e.text, file) &&
	    strstr(e.text, id))
		return true;
	diag("%d: %s", r, e.text);
	return false;
}

static void truncated(const char *root, const struct snapshot *s)
{
	char whole[8192];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(files); i++) {
		int fd = open_to_write(s, files[i]);
		off_t size = lseek(fd, 0, SEEK_END);
		off_t cut = size > 8192 ? size - 8192 : 0;
		ssize_t n = pread(fd, whole, sizeof(whole), cut);
		bool good = n > 0;

		for (; good && size > cut; size -= 1 + (size - cut) / 2) {
			good = ftruncate(fd, size - 1) == 0 &&
			       refused(root, s->id, files[i]);
		}
		ok(good, "%s, cut short, is refused and named", files[i]);
		if (pwrite(fd, whole, (size_t)n, cut) != n ||
		    pwrite(fd, "", 1, cut + n) != 1)
			bail("cannot write");
		ok(refused(root, s->id, files[i]), "and so with a byte more");
		if (ftruncate(fd, cut + n) < 0)
			bail("cannot truncate");
		close(fd);
		is_int(recheck(root, s->id), 0, "and as it was, it is sound");
	}
}

static bool flip(const char *root, const struct snapshot *s, const char *file)
{
	int fd = open_to_write(s, file);
	off_t at = random() % lseek(fd, 0, SEEK_END);
	uint8_t was, is;
	bool good;

	if (pread(fd, &was, 1, at) != 1)
		bail("cannot read %s", file);
	is = (uint8_t)(was ^ 1 << random() % 8);
	if (pwrite(fd, &is, 1, at) != 1)
		bail("cannot write %s", file);
	good = refused(root, s->id, file);
	if (!good)
		diag("%s at %jd: %02x for %02x", file, (intmax_t)at, is, was);
	if (pwrite(fd, &was, 1, at) != 1)
		bail("cannot write %s", file);
	close(fd);
	return good;
}

static void flipped(const char *root, const struct snapshot *s)
{
	int i, good = 0;

	for (i = 0; i < 1000; i++)
		good += flip(root, s, files[i % 4]);
	is_int(good, 1000, "1000 flipped bits are noticed, and the file named");
	is_int(recheck(root, s->id), 0, "and flipped back, it is sound");
}

static void missing(const char *root, const struct snapshot *s)
{
	size_t i;

	for (i = 0; i < 3; i++) {
		renameat(s->dir, files[i], s->dir, "away");
		ok(refused(root, s->id, files[i]), "%s away", files[i]);
		if (symlinkat("away", s->dir, files[i]) < 0)
			bail("cannot link %s", files[i]);
		ok(!is_verified(root, s->id) && recheck(root, s->id) < 0,
		   "a link in its place");
		unlinkat(s->dir, files[i], 0);
		renameat(s->dir, "away", s->dir, files[i]);
	}
	unlinkat(s->dir, "rootfs", 0);
	ok(recheck(root, s->id) == -EBADMSG && strstr(e.text, "'rootfs'"),
	   "no link to a root file system");
	if (symlinkat("../../rootfs/" ROOTFS_NAME, s->dir, "rootfs") < 0)
		bail("cannot link the root file system");
	is_int(recheck(root, s->id), 0, "and as it was, it is sound");
}

static void swapped(const char *root, const struct snapshot *s,
		    const struct snapshot *t)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(files); i++) {
		if (renameat2(s->dir, files[i], t->dir, files[i],
			      RENAME_EXCHANGE) < 0)
			bail("cannot swap");
		ok(refused(root, s->id, files[i]) &&
			   refused(root, t->id, files[i]),
		   "%s of two snapshots swapped", files[i]);
		renameat2(s->dir, files[i], t->dir, files[i], RENAME_EXCHANGE);
	}
	is_int(recheck(root, s->id), 0, "and swapped back, the one is sound");
	is_int(recheck(root, t->id), 0, "and the other");
}

/* The manifest, with @from replaced by as long a @to. */
static void edit(const struct snapshot *s, const char *from, const char *to)
{
	char text[8192];
	int fd = open_to_write(s, "manifest.json");
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	char *at;

	text[n < 0 ? 0 : n] = '\0';
	at = strstr(text, from);
	if (!at)
		bail("no %s in %s", from, text);
	memcpy(at, to, strlen(to));
	if (pwrite(fd, text, (size_t)n, 0) != n)
		bail("cannot write");
	close(fd);
}

static void edited(const char *root, const struct snapshot *s)
{
	is_int(recheck(root, s->id), 0, "sound");
	edit(s, "\"format\":1,\"id\":\"snap", "\"format\":2,\"id\":\"snap");
	is_int(recheck(root, s->id), -ENOTSUP, "a newer format");
	has_str(e.text, "format 2", "which is said");
	has_str(e.fix, "newer", "and what to do");
	edit(s, "\"format\":2,\"id\":\"snap", "\"format\":1,\"id\":\"snap");
	edit(s, "debian:12.1", "debian:12.2");
	is_int(recheck(root, s->id), -EBADMSG, "another image");
	has_str(e.text, "MAC", "is not what was authenticated");
	edit(s, "debian:12.2", "debian:12.1");
	edit(s, "\"vcpus\":2", "\"vcpus\":3");
	is_int(recheck(root, s->id), -EBADMSG, "another number");
	ok(!is_verified(root, s->id), "does not pass for verified");
	edit(s, "\"vcpus\":3", "\"vcpus\":2");
	is_int(recheck(root, s->id), 0, "and as it was, it is sound");
}

static void damage(void)
{
	const char *root = new_root("damage");
	snapshot_auto struct snapshot s = SNAPSHOT_INIT, t = SNAPSHOT_INIT;

	if (make(&s, root, NULL) < 0 || make(&t, root, NULL) < 0)
		bail("%s", e.text);
	truncated(root, &s);
	flipped(root, &s);
	missing(root, &s);
	swapped(root, &s, &t);
	edited(root, &s);
}

/* ---- the key ------------------------------------------------------------ */

static void keys(void)
{
	const char *root = new_root("keys");
	snapshot_auto struct snapshot s = SNAPSHOT_INIT;
	char key[PATH_MAX];

	snprintf(key, sizeof(key), "%.3000s/snapshots/.key", root);
	make(&s, root, NULL);
	chmod(key, 0640);
	is_int(recheck(root, s.id), -EPERM, "a key that others may read");
	has_str(e.text, "640", "its mode is named");
	chmod(key, 0600);
	is_int(truncate(key, 31), 0, "a byte less");
	is_int(recheck(root, s.id), -EBADMSG, "is no key");
	is_int(truncate(key, 32), 0, "another byte");
	is_int(recheck(root, s.id), -EBADMSG, "is another key");
	has_str(e.text, "MAC", "which makes another MAC");
	unlink(key);
	is_int(recheck(root, s.id), -ENOENT, "no key");
	ok(access(key, F_OK) < 0, "and none is made to verify");
}

/* ---- other machines ----------------------------------------------------- */

static void machines(void)
{
	const char *root = new_root("machines");
	snapshot_auto struct snapshot s = SNAPSHOT_INIT;

	make(&s, root, NULL);
	json_object_set_new(s.manifest, "cpu", json_string("Zuse Z3"));
	is_int(snapshot_check(&s, ERR), -EXDEV, "another processor");
	has_str(e.text, "'Zuse Z3'", "the one is named");
	has_str(e.text, "family", "and the other");
	json_object_set_new(s.manifest, "state_format", json_integer(77));
	is_int(snapshot_check(&s, ERR), -EXDEV, "another format of the state");
	has_str(e.text, "77", "is named");
	json_object_set_new(s.manifest, "arch", json_string("vax\033[2J"));
	is_int(snapshot_check(&s, ERR), -EXDEV, "another architecture");
	has_str(e.text, "'vax?[2J'", "is named, and no terminal obeys it");
}

int main(void)
{
	int fds = count_fds();

	srandom(20261121);
	scratch_enter();
	making();
	finding();
	naming();
	configs();
	digests();
	damage();
	keys();
	machines();
	scratch_leave();
	is_int(count_fds(), fds, "no descriptor was left open");
	return tap_done();
}
