/* SPDX-License-Identifier: MIT
 *
 * The verdicts of the KVM check, on nodes made for the purpose and on the real
 * one.  ISO_EXPECT_KVM=able (or another verdict's name) says what the real one
 * must be found to be; without it, it only has to be consistent.
 */
#include "tests/tap.h"

#include "base/err.h"
#include "vmm/check.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534
#define GROUP_DAEMON 1 /* a group that every system has */

static char dir[] = "/tmp/kvm_check.XXXXXX";

static const char *in_dir(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static const char *make_file(const char *name, mode_t mode)
{
	const char *path = in_dir(name);
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);

	if (fd < 0 || fchmod(fd, mode) < 0)
		bail("cannot make %s", path);
	close(fd);
	return path;
}

static void expect(const char *path, enum check_verdict want, const char *what)
{
	struct err e = ERR_INIT;
	struct check c;

	is_int(check_kvm(&c, path, &e), 0, what);
	is_str(check_verdict_name(c.verdict), check_verdict_name(want), what);
	has_str(c.reason, path, "the reason names the path");
	ok(c.remedy[0] && !strchr(c.remedy, '\n'), "there is a remedy: %s",
	   c.remedy);
	ok(!c.ran, "no guest was run");
}

static void test_absent(void)
{
	const char *path;

	expect(in_dir("missing"), CHECK_ABSENT, "a missing node");
	expect("/dev/null", CHECK_ABSENT, "a device that is not KVM");
	expect("/dev/null/kvm", CHECK_ABSENT, "a path through a file");
	expect(dir, CHECK_ABSENT, "a directory");
	expect(make_file("plain", 0600), CHECK_ABSENT, "a regular file");
	path = in_dir("fifo");
	if (mkfifo(path, 0600) < 0)
		bail("cannot make a fifo");
	expect(path, CHECK_ABSENT, "a fifo, which must not block us");
	path = in_dir("loop");
	if (symlink(path, path) < 0)
		bail("cannot make a symbolic link");
	expect(path, CHECK_ABSENT, "a symbolic link to itself");
}

/* A character device whose number no driver has. */
static void test_no_driver(void)
{
	const char *path = in_dir("nodriver");
	struct stat st;

	if (stat("/dev/kvm", &st) == 0)
		diag("the real one is %u:%u", major(st.st_rdev),
		     minor(st.st_rdev));
	if (mknod(path, S_IFCHR | 0600, makedev(10, 253)) < 0)
		skip("a node without a driver", "needs the right to mknod");
	else
		expect(path, CHECK_ABSENT, "a node without a driver");
}

/* What an ordinary user is told about @path: the verdict and the remedy. */
static void expect_as_nobody(const char *path, const char *remedy,
			     const char *what)
{
	struct err e = ERR_INIT;
	struct check c;
	pid_t pid;
	int status;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (geteuid() == 0 &&
		    (setgroups(0, NULL) < 0 || setgid(NOBODY) < 0 ||
		     setuid(NOBODY) < 0))
			_exit(2);
		if (check_kvm(&c, path, &e) < 0)
			_exit(3);
		diag("%s; %s", c.reason, c.remedy);
		_exit(c.verdict == CHECK_DENIED && strstr(c.remedy, remedy) &&
				      strstr(c.reason, path) ?
			      0 :
			      1);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		bail("cannot run a child");
	is_int(status, 0, what);
}

static void test_denied(void)
{
	const char *path = make_file("secret", 0000);

	if (chmod(dir, 0755) < 0)
		bail("cannot open up %s", dir);
	expect_as_nobody(path, "chmod 660", "a node for nobody");
	path = make_file("group", 0660);
	if (chown(path, 0, GROUP_DAEMON) < 0)
		skip("a node for a group", "needs root");
	else
		expect_as_nobody(path, "usermod -aG daemon",
				 "a node for a group");
	path = in_dir("closed");
	if (mkdir(path, 0) < 0)
		bail("cannot make a directory");
	expect_as_nobody(in_dir("closed/kvm"), "directory",
			 "a node in a closed directory");
}

static void test_real(void)
{
	const char *want = getenv("ISO_EXPECT_KVM");
	struct err e = ERR_INIT;
	struct check c;
	bool went_well;

	is_int(check_kvm(&c, NULL, &e), 0, "the check comes to a verdict");
	diag("%s: %s", check_verdict_name(c.verdict), c.reason);
	diag("%" PRIu64 " us in all, %" PRIu64 " us of it in the guest",
	     c.total_ns / 1000, c.run.total_ns / 1000);
	if (want)
		is_str(check_verdict_name(c.verdict), want, "as expected");
	went_well = c.ran && c.run.end == TINY_EXITED &&
		    c.run.code == GUEST_EXIT_OK && c.run.step == STEP_LAST;
	is_int(c.verdict == CHECK_ABLE, went_well && (c.cpu.vmx || c.cpu.svm),
	       "able is a guest that went well on hardware");
	is_int(c.remedy[0] == '\0', c.verdict == CHECK_ABLE,
	       "a remedy for every verdict but able");
	has_str(c.reason, "/dev/kvm", "the reason names the path");
	ok(c.total_ns < 2000000000U, "no guest hung");
}

static void test_names(void)
{
	for (unsigned int v = 0; v < CHECK_VERDICTS; v++)
		ok(check_verdict_name(v)[0] != '?', "verdict %u has a name", v);
	for (unsigned int s = 1; s <= STEP_LAST; s++)
		ok(check_step_name(s)[0] != '?', "step %u has a name", s);
	is_str(check_step_name(0), "?", "step 0 has none");
	is_str(check_step_name(STEP_LAST + 1), "?", "nor has one too many");
}

static void clean_up(void)
{
	static const char *const names[] = { "plain",	 "fifo",   "loop",
					     "nodriver", "secret", "group" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlink(in_dir(names[i]));
	rmdir(in_dir("closed"));
	rmdir(dir);
}

int main(void)
{
	if (!mkdtemp(dir))
		bail("cannot make a directory in /tmp");
	test_names();
	test_absent();
	test_no_driver();
	test_denied();
	test_real();
	clean_up();
	return tap_done();
}
