/* SPDX-License-Identifier: MIT
 *
 * The run directory: finding, naming, removing and sweeping sandboxes, with
 * processes that hold what a monitor or a program would hold.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "sandbox/box.h"
#include "sandbox/rundir.h"
#include "tests/unit/scratch.h"

static struct rundir d = RUNDIR_INIT;
static struct err e;

#define ERR (e = (struct err)ERR_INIT, &e)

static void put(const struct box *b, const char *file, const char *text)
{
	int fd = openat(b->dir, file, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		bail("cannot write %s", file);
	close(fd);
}

static void make(struct box *b, const char *name)
{
	box_free(b);
	if (rundir_make(&d, name, b, ERR) < 0 || rundir_commit(&d, b, ERR) < 0)
		bail("%s", e.text);
	put(b, "ended", "");
}

static bool there(const char *entry)
{
	return faccessat(d.dir, entry, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* A process that holds the lock of a monitor until it is killed. */
static pid_t monitor(const struct box *b)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int ready[2];
	pid_t pid;
	char c;

	if (pipe(ready) < 0 || (pid = fork()) < 0)
		bail("cannot fork");
	if (pid == 0) {
		int fd = openat(b->dir, "vmm.pid", O_RDWR | O_CREAT, 0600);

		if (fcntl(fd, F_SETLK, &l) == 0 && write(ready[1], "", 1) == 1)
			pause();
		_exit(1);
	}
	close(ready[1]);
	if (read(ready[0], &c, 1) != 1)
		bail("the process died");
	close(ready[0]);
	return pid;
}

static void finding(void)
{
	box_auto struct box a = BOX_INIT, b = BOX_INIT, found = BOX_INIT;
	char prefix[ID_SIZE];

	is_int(rundir_find(&d, "run0", &found, ERR), -ENOENT, "none there");
	has_str(e.fix, "iso-ps", "and where to look");
	make(&a, "web");
	make(&b, NULL);
	is_int(rundir_find(&d, a.id, &found, ERR), 0, "by id");
	is_str(found.id, a.id, "it is it");
	is_int(rundir_find(&d, "web", &found, ERR), 0, "by name");
	is_str(found.id, a.id, "it is it");
	memcpy(prefix, b.id, 12);
	prefix[12] = '\0';
	is_int(rundir_find(&d, prefix, &found, ERR), 0, "by its beginning");
	is_str(found.id, b.id, "it is it");
	is_int(rundir_find(&d, "run", &found, ERR), -ENOENT,
	       "'run' is not enough");
	is_int(rundir_find(&d, "../run", &found, ERR), -ENOENT, "no path");
	is_int(rundir_find(&d, ".names", &found, ERR), -ENOENT, "no dot");
	is_int(rundir_remove(&d, &a, ERR), 0, "removed");
	ok(!there(a.id) && !there(".names/web"), "with its name");
	is_int(rundir_remove(&d, &b, ERR), 0, "and the other");
}

static void ambiguous(void)
{
	static const char *const ids[] = { "run00aa000000000000",
					   "run00ab000000000000" };
	box_auto struct box found = BOX_INIT;
	size_t i;

	for (i = 0; i < 2; i++)
		if (mkdirat(d.dir, ids[i], 0700) < 0)
			bail("cannot make a directory");
	is_int(rundir_find(&d, "run00a", &found, ERR), -ENOTUNIQ,
	       "two begin so");
	has_str(e.text, ids[0], "one is named");
	has_str(e.text, ids[1], "and the other");
	is_int(rundir_find(&d, "run00ab", &found, ERR), 0, "one more digit");
	for (i = 0; i < 2; i++)
		unlinkat(d.dir, ids[i], AT_REMOVEDIR);
}

static void naming(void)
{
	box_auto struct box a = BOX_INIT, b = BOX_INIT;
	char name[NAME_SIZE];

	is_int(id_check_name("a.b-c_1", ERR), 0, "a name");
	is_int(id_check_name("-a", ERR), -EINVAL, "no dash in front");
	is_int(id_check_name("a/b", ERR), -EINVAL, "no slash");
	is_int(id_check_name("run12", ERR), -EINVAL,
	       "nothing that begins an id");
	is_int(id_check_name("runner", ERR), 0, "but a word");
	make(&a, "same");
	is_int(rundir_make(&d, "same", &b, ERR), -EEXIST, "one name, one use");
	has_str(e.text, a.id, "the owner is named");
	ok(!there(b.entry), "nothing is left of the other");
	rundir_name_of(&d, a.id, name);
	is_str(name, "same", "its name is found");
	/* As if its remover had been killed before the name was gone. */
	unlinkat(a.dir, "ended", 0);
	unlinkat(d.dir, a.id, AT_REMOVEDIR);
	make(&b, "same");
	rundir_name_of(&d, b.id, name);
	is_str(name, "same", "the name of one that is gone is free");
	is_int(rundir_remove(&d, &b, ERR), 0, "removed");
}

static void living(void)
{
	box_auto struct box b = BOX_INIT;
	struct box_end end;
	pid_t pid;
	int pidfd;

	make(&b, NULL);
	is_int(box_pid(&b), 0, "no monitor yet");
	is_int(box_pidfd(&b), -ESRCH, "so no descriptor of it");
	/* A number alone says nothing. */
	put(&b, "vmm.pid", "1\n");
	is_int(box_pid(&b), 0, "a pid in a file is nobody");
	pid = monitor(&b);
	is_int(box_pid(&b), pid, "who holds the lock is it");
	pidfd = box_pidfd(&b);
	ok(pidfd >= 0, "and can be watched");
	close(pidfd);
	is_int(box_stop(&b, clock_now(), ERR), 0, "stopped");
	is_int(box_pid(&b), 0, "it lives no longer");
	waitpid(pid, NULL, 0);
	box_end_of(&b, &end);
	is_str(end.reason, "killed", "nobody wrote why: killed");
	put(&b, "ended",
	    "{\"reason\": \"error\", \"detail\": \"vCPU \\\"0\\\" \033[2J\"}\n");
	box_end_of(&b, &end);
	is_str(end.reason, "error", "a reason is read");
	is_str(end.detail, "vCPU \"0\" ?[2J", "and made fit for a terminal");
	is_int(box_ended(&b, ERR), -ECONNREFUSED, "described");
	has_str(e.text, b.id, "by its id");
	is_int(rundir_remove(&d, &b, ERR), 0, "removed");
}

static void removing(void)
{
	box_auto struct box b = BOX_INIT, again = BOX_INIT;
	pid_t pid;

	make(&b, NULL);
	put(&b, "scratch", "data");
	pid = monitor(&b);
	is_int(box_open(&again, d.dir, b.id, ERR), 0, "opened twice");
	is_int(rundir_remove(&d, &b, ERR), 0, "removed with its monitor");
	waitpid(pid, NULL, 0);
	ok(!there(b.id), "nothing is left");
	flock(b.dir, LOCK_UN);
	is_int(rundir_remove(&d, &again, ERR), 0,
	       "removed by two, both are content");
}

/* A process that is killed while it boots a sandbox. */
static void killed_boot(char entry[static ID_SIZE + 8], bool living_booter)
{
	int ready[2];
	pid_t pid;

	if (pipe(ready) < 0 || (pid = fork()) < 0)
		bail("cannot fork");
	if (pid == 0) {
		struct box b = BOX_INIT;

		if (rundir_make(&d, "half", &b, NULL) < 0 ||
		    write(ready[1], b.entry, ID_SIZE + 8) != ID_SIZE + 8)
			_exit(1);
		pause();
	}
	if (read(ready[0], entry, ID_SIZE + 8) != ID_SIZE + 8)
		bail("no sandbox was made");
	close(ready[0]);
	close(ready[1]);
	if (living_booter) {
		rundir_sweep(&d);
		ok(there(entry), "one that is being booted is left alone");
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void sweeping(void)
{
	box_auto struct box idle = BOX_INIT, dead = BOX_INIT, found = BOX_INIT;
	char entry[ID_SIZE + 8];

	make(&idle, "lazy");
	put(&idle, "ended", "{\"reason\": \"idle\", \"detail\": \"\"}\n");
	make(&dead, NULL);
	put(&dead, "ended", "{\"reason\": \"power-off\", \"detail\": \"\"}\n");
	rundir_sweep(&d);
	ok(!there(idle.id) && !there(".names/lazy"), "an idle one is swept");
	ok(there(dead.id), "one that died otherwise stays to be seen");
	is_int(rundir_remove(&d, &dead, ERR), 0, "removed");

	make(&idle, "lazy");
	put(&idle, "ended", "{\"reason\": \"idle\", \"detail\": \"\"}\n");
	is_int(rundir_find(&d, "lazy", &found, ERR), -ENOENT,
	       "an idle one is not found");
	has_str(e.text, "destroyed itself", "and it is said why");
	ok(!there(idle.id), "and swept");

	killed_boot(entry, true);
	ok(there(entry), "a killed boot leaves something");
	rundir_sweep(&d);
	ok(!there(entry) && !there(".names/half"), "which is swept");
	is_int(count_entries("run/.names"), 0, "no name is left");
	/* .lock and .names */
	is_int(count_entries("run"), 2, "nothing is left at all");
}

int main(void)
{
	int fds;

	scratch_enter();
	is_int(rundir_open(&d, ".", false, ERR), 0, "no directory yet");
	is_int(d.dir, -1, "so nothing is open");
	rundir_sweep(&d);
	rundir_free(&d);
	if (rundir_open(&d, ".", true, ERR) < 0)
		bail("%s", e.text);
	fds = count_fds();
	finding();
	ambiguous();
	naming();
	living();
	removing();
	sweeping();
	is_int(count_fds(), fds, "no descriptor is left open");
	rundir_free(&d);
	scratch_leave();
	return tap_done();
}
