/* SPDX-License-Identifier: MIT
 *
 * Files through the agent: there and back, what is refused, and whose they are.
 */
#include "tests/tap.h"

#include <fcntl.h>
#include <sys/un.h>

#include "base/io.h"
#include "tests/unit/agent_peer.h"

static struct wire_request file_of(uint32_t verb, const char *path)
{
	struct wire_request x = WIRE_REQUEST_INIT;

	x.op = WIRE_OP_FILE;
	x.verb = verb;
	x.path = path;
	x.cwd = scratch_dir;
	return x;
}

static struct run *file_in(struct peer *p, const struct wire_request *x,
			   const void *in, size_t n)
{
	struct run *r = run_exec(p, x);

	run_input(r, in, n);
	run_wait(p, r);
	return r;
}

static struct run *file(struct peer *p, uint32_t verb, const char *path)
{
	struct wire_request x = file_of(verb, path);

	return file_in(p, &x, NULL, 0);
}

static struct run *put(struct peer *p, const char *path, const char *text)
{
	struct wire_request x = file_of(WIRE_FILE_PUT, path);

	return file_in(p, &x, text, strlen(text));
}

static const char *text_of(const char *path)
{
	static char text[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	close(fd);
	text[n < 0 ? 0 : n] = '\0';
	return n < 0 ? "(none)" : text;
}

static mode_t mode_of(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 ? 0 : st.st_mode & 07777;
}

static void refused(struct run *r, int num, const char *text)
{
	is_exit(r, false, num, "refused with the number");
	has_str(run_text(r, 1), text, "and the reason");
	is_int(r->got[0], 0, "and nothing else");
}

/* ---- one file ---- */

static void there_and_back(struct peer *p)
{
	size_t n = 5 << 20, i;
	mem_auto uint8_t *data = malloc(n);
	struct wire_request x = file_of(WIRE_FILE_PUT, "big");
	struct run *r;

	for (i = 0; i < n; i++)
		data[i] = (uint8_t)(i * i >> 3);
	r = file_in(p, &x, data, n);
	is_exit(r, false, 0, "5 MB put");
	r = file(p, WIRE_FILE_GET, "big");
	is_exit(r, false, 0, "and got");
	is_mem(r->out[0].data, r->out[0].len, data, n, "are the same");
	r = put(p, "empty", "");
	is_exit(r, false, 0, "an empty one");
	is_str(text_of("empty"), "", "is there");
}

static void replacing(struct peer *p)
{
	struct wire_request x = file_of(WIRE_FILE_PUT, "mode");
	int fd;

	umask(022);
	put(p, "mode", "one");
	is_int(mode_of("mode"), 0644, "a new file is made by the mask");
	chmod("mode", 0751);
	fd = open("mode", O_RDONLY | O_CLOEXEC);
	put(p, "mode", "two");
	is_int(mode_of("mode"), 0751, "one that was there keeps its mode");
	is_str(text_of("mode"), "two", "and is the new one");
	x.mode = 04600;
	file_in(p, &x, "three", 5);
	is_int(mode_of("mode"), 04600, "unless one is given");
	ok(symlink("mode", "link") == 0, "a symbolic link");
	put(p, "link", "four");
	is_str(text_of("mode"), "four", "a link is followed");
	ok(symlink("nowhere", "dangling") == 0, "another, to nothing");
	put(p, "dangling", "five");
	is_str(text_of("dangling"), "five", "one to nothing is replaced");
	close(fd);
}

/* Everything or nothing: neither half a file nor a temporary one. */
static void cut_short(struct peer *p)
{
	struct wire_request x = file_of(WIRE_FILE_PUT, "sub/half");
	struct run *r;

	mkdir("sub", 0755);
	r = run_exec(p, &x);
	peer_until(p, r->started);
	peer_put(p, WIRE_DATA, WIRE_STDIN, r->id, "half", 4);
	peer_sync(p);
	peer_put(p, WIRE_RESET, 0, r->id, NULL, 0);
	run_wait(p, r);
	is_exit(r, true, SIGKILL, "a put is taken back");
	is_int(rmdir("sub"), 0, "and has left nothing");
}

/* The same by a signal, and in the middle of an archive. */
static void ended(struct peer *p, uint32_t verb, const void *in, size_t n)
{
	struct wire_request x = file_of(verb, "sub/part");
	struct run *r;

	mkdir("sub", 0755);
	r = run_exec(p, &x);
	peer_until(p, r->started);
	peer_put(p, WIRE_DATA, WIRE_STDIN, r->id, in, n);
	peer_sync(p);
	peer_put_u32(p, WIRE_SIGNAL, 0, r->id, SIGTERM);
	run_wait(p, r);
	ok(r->exit.signaled || r->exit.code == EIO, "verb %u is ended", verb);
	is_int(rmdir("sub"), 0, "and has left nothing");
}

static void parents(struct peer *p)
{
	struct wire_request x = file_of(WIRE_FILE_PUT, "a/b/c");

	refused(put(p, "a/b/c", "x"), ENOENT, "a/b/c");
	x.flags = WIRE_FLAG_PARENTS;
	is_exit(file_in(p, &x, "x", 1), false, 0, "with its directories");
	is_str(text_of("a/b/c"), "x", "it is there");
	x = file_of(WIRE_FILE_MKDIR, "a/d");
	x.mode = 01777;
	is_exit(file_in(p, &x, NULL, 0), false, 0, "a directory");
	is_int(mode_of("a/d"), 01777, "with its mode");
	refused(file(p, WIRE_FILE_MKDIR, "a/d"), EEXIST, "a/d: File exists");
	is_exit(file(p, WIRE_FILE_REMOVE, "a"), false, 0, "a tree goes");
	is_int(access("a", F_OK), -1, "and has gone");
	is_exit(file(p, WIRE_FILE_REMOVE, "a"), false, 0, "as it had before");
	refused(file(p, WIRE_FILE_REMOVE, "/./"), EBUSY, "will not remove");
}

static void refusals(struct peer *p)
{
	struct wire_request x = file_of(15, "x");

	mkdir("dir", 0755);
	mkfifo("fifo", 0644);
	refused(file(p, WIRE_FILE_GET, "none"), ENOENT, "cannot read none");
	refused(file(p, WIRE_FILE_GET, "dir"), EISDIR, "dir is a directory");
	refused(file(p, WIRE_FILE_GET, "fifo"), EINVAL, "fifo is not a reg");
	refused(file(p, WIRE_FILE_GET, "/dev/zero"), EINVAL, "not a regular");
	refused(put(p, "dir", "x"), EISDIR, "dir is a directory");
	refused(put(p, "new/", "x"), EISDIR, "new/ names a directory");
	refused(put(p, "fifo", "x"), EINVAL, "fifo is not a regular file");
	refused(file(p, WIRE_FILE_LIST, "fifo"), ENOTDIR, "cannot list fifo");
	refused(file_in(p, &x, NULL, 0), ENOSYS, "unknown file verb 15");
}

static void of_others(struct peer *p)
{
	struct wire_request x = file_of(WIRE_FILE_GET, "secret");
	struct stat st;
	struct run *r;

	if (geteuid() != 0) {
		diag("not root: no others' files");
		return;
	}
	chmod(scratch_dir, 0755);
	put(p, "secret", "s");
	chmod("secret", 0600);
	x.user = "daemon";
	r = file_in(p, &x, NULL, 0);
	refused(r, EACCES, "cannot read secret: Permission denied");
	x = file_of(WIRE_FILE_PUT, "theirs");
	x.user = "daemon";
	refused(file_in(p, &x, "x", 1), EACCES, "Permission denied");
	x.user = NULL;
	x.has_owner = true;
	x.owner_uid = 12;
	x.owner_gid = 34;
	file_in(p, &x, "x", 1);
	stat("theirs", &st);
	ok(st.st_uid == 12 && st.st_gid == 34, "given to another");
	put(p, "theirs", "y");
	stat("theirs", &st);
	ok(st.st_uid == 12 && st.st_gid == 34, "whose it stays");
}

/* ---- directories ---- */

static void records(struct peer *p)
{
	struct wire_request x = file_of(WIRE_FILE_STAT, "l/link");
	char want[256];
	struct stat st;
	struct run *r;

	mkdir("l", 0750);
	refused(file(p, WIRE_FILE_STAT, "l/none"), ENOENT, "cannot stat");
	is_int(file(p, WIRE_FILE_LIST, "l")->got[0], 0, "an empty directory");
	ok(symlink("to\nthere", "l/link") == 0, "a target with a newline");
	lstat("l/link", &st);
	r = file(p, WIRE_FILE_LIST, "l");
	is_exit(r, false, 0, "one with a link");
	snprintf(want, sizeof(want), "l 777 %u %u 8 %lld link", st.st_uid,
		 st.st_gid,
		 (long long)st.st_mtim.tv_sec * 1000000000 +
			 st.st_mtim.tv_nsec);
	is_str(run_text(r, 0), want, "its record");
	is_mem(r->out[0].data + strlen(want), r->out[0].len - strlen(want),
	       "\0to\nthere", 10, "and where it leads");
	r = file_in(p, &x, NULL, 0);
	has_str(run_text(r, 0), " l/link", "a stat has the path for a name");
	x.flags = WIRE_FLAG_FOLLOW;
	refused(file_in(p, &x, NULL, 0), ENOENT, "cannot stat l/link");
}

/* ---- archives ---- */

static void tar_round(struct peer *p)
{
	struct wire_request x = file_of(WIRE_FILE_TAR_PUT, "copy");
	struct run *r = file(p, WIRE_FILE_TAR_GET, "t/-dir");

	is_exit(r, false, 0, "a tree");
	is_exit(file_in(p, &x, r->out[0].data, r->out[0].len), false, 0,
		"is put where nothing was");
	is_str(text_of("copy/-dir/sub/file"), "text", "with its files");
	is_int(mode_of("copy/-dir/sub/file"), 0640, "and their modes");
	close(open("copy/-dir/mine", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	close(open("copy/-dir/sub/file", O_TRUNC | O_WRONLY | O_CLOEXEC));
	is_exit(file_in(p, &x, r->out[0].data, r->out[0].len), false, 0,
		"again, over what is there");
	is_str(text_of("copy/-dir/sub/file"), "text", "takes its place");
	is_str(text_of("copy/-dir/mine"), "", "and leaves the rest");
	unlink("copy/-dir/mine");
	x.path = "cut";
	refused(file_in(p, &x, r->out[0].data, 1700), EIO, "tar exited with");
	is_int(access("cut", F_OK), -1, "a damaged one makes nothing");
	x.path = "copy";
	refused(file_in(p, &x, r->out[0].data, 1700), EIO, "tar exited with");
	r = file(p, WIRE_FILE_LIST, "copy");
	ok(r->out[0].len && !memmem(r->out[0].data, r->out[0].len, ".tmp", 4),
	   "nor is anything left");
	x.path = "big";
	refused(file_in(p, &x, "", 0), ENOTDIR, "big is not a directory");
	refused(file(p, WIRE_FILE_TAR_GET, "none"), ENOENT, "cannot read none");
}

static void tar_ended(struct peer *p)
{
	struct run *r = file(p, WIRE_FILE_TAR_GET, "t/-dir");

	ended(p, WIRE_FILE_TAR_PUT, r->out[0].data, 1700);
}

static void tar_conflict(struct peer *p)
{
	struct wire_request x = file_of(WIRE_FILE_TAR_PUT, "copy");
	struct run *r = file(p, WIRE_FILE_TAR_GET, "t/-dir");

	io_remove_tree(AT_FDCWD, "copy/-dir/sub", NULL);
	close(open("copy/-dir/sub", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	r = file_in(p, &x, r->out[0].data, r->out[0].len);
	ok(r->exited && r->exit.code == ENOTDIR, "a directory for a file");
	has_str(run_text(r, 1), "cannot move sub", "is refused");
	r = file(p, WIRE_FILE_TAR_GET, "t/.");
	has_str(run_text(r, 0), "./", "contents alone");
}

static void make_tree(void)
{
	int fd;

	mkdir("t", 0755);
	mkdir("t/-dir", 0755);
	mkdir("t/-dir/sub", 0700);
	fd = open("t/-dir/sub/file", O_CREAT | O_WRONLY | O_CLOEXEC, 0640);
	if (write(fd, "text", 4) != 4)
		bail("cannot write");
	close(fd);
}

int main(void)
{
	struct peer *p;
	int fds = count_fds();

	scratch_enter();
	umask(022);
	p = peer_start();
	there_and_back(p);
	replacing(p);
	cut_short(p);
	ended(p, WIRE_FILE_PUT, "half", 4);
	parents(p);
	refusals(p);
	of_others(p);
	records(p);
	make_tree();
	tar_round(p);
	tar_ended(p);
	tar_conflict(p);
	peer_free(p);
	scratch_leave();
	is_int(count_fds(), fds, "no descriptor was left open");
	return tap_done();
}
