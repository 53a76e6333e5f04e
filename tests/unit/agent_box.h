/* SPDX-License-Identifier: MIT
 *
 * An agent of a sandbox, for tests: agent_boxed as the first process of
 * namespaces of its own, in a cgroup of its own; and commands of which it shows
 * whether they run, without waiting for a time to pass.
 */
#ifndef TESTS_UNIT_AGENT_BOX_H
#define TESTS_UNIT_AGENT_BOX_H

#include <linux/fuse.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>

#include "tests/unit/agent_ask.h"

static char box_cgroup[64]; /* all of them are below it */

struct agent_box {
	pid_t pid; /* of the one that waits for it */
	int status_listener;
	int status; /* connection to the status channel */
};

/* ---- surroundings ---- */

/* A mount namespace for the test, in which "cgroups" is the machine's tree of
 * them.  False: not here. */
static inline bool box_surroundings(void)
{
	return geteuid() == 0 && unshare(CLONE_NEWNS) == 0 &&
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mkdir("cgroups", 0700) == 0 &&
	       mount("cgroup2", "cgroups", "cgroup2", 0, NULL) == 0;
}

static inline const char *box_in_cgroup(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", box_cgroup, name);
	return path;
}

static inline void box_remove_cgroups(void)
{
	DIR *d = opendir(box_in_cgroup("user"));
	struct dirent *e;

	while (d && (e = readdir(d)))
		unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR);
	if (d)
		closedir(d);
	rmdir(box_in_cgroup("user"));
	rmdir(box_in_cgroup("agent"));
	is_int(rmdir(box_cgroup), 0, "all processes and cgroups have gone");
}

/* As the process that waits for the agent, and ends as it does. */
static inline void box_main(void)
{
	char path[PATH_MAX];
	int status = -1;
	pid_t pid;

	snprintf(path, sizeof(path), "%s", agent_path());
	strcpy(strrchr(path, '/'), "/agent_boxed");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (unshare(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS) < 0 ||
	    mount(box_cgroup, "/sys/fs/cgroup", NULL, MS_BIND, NULL) < 0 ||
	    mount("t", "/etc", "tmpfs", 0, NULL) < 0 ||
	    mount("t", "/run", "tmpfs", 0, NULL) < 0)
		_exit(127);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl(path, path, NULL);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	_exit(status != 0);
}

static inline char box_status(struct agent_box *b)
{
	struct pollfd pf = { b->status, POLLIN, 0 };
	char c = '-';

	if (poll(&pf, 1, GIVE_UP_MS) == 1)
		(void)!read(b->status, &c, 1);
	return c;
}

/* The agent connects to the host, now or again. */
static inline void box_status_accept(struct agent_box *b)
{
	struct pollfd pf = { b->status_listener, POLLIN, 0 };

	fd_close(&b->status);
	if (poll(&pf, 1, GIVE_UP_MS) != 1)
		bail("no status channel");
	b->status = accept4(b->status_listener, NULL, NULL, SOCK_CLOEXEC);
}

static inline void box_start(struct agent_box *b)
{
	struct err e = ERR_INIT;

	snprintf(box_cgroup, sizeof(box_cgroup), "cgroups/isokit-test.%d",
		 getpid());
	if (mkdir(box_cgroup, 0700) < 0)
		bail("cannot make a cgroup");
	scratch_file("cid", "100");
	b->status = -1;
	b->status_listener = sock_listen("status", &e);
	if (b->status_listener < 0)
		bail("%s", e.text);
	b->pid = fork();
	if (b->pid == 0)
		box_main();
	/* From then on it serves. */
	box_status_accept(b);
}

static inline void box_end(struct agent_box *b)
{
	struct peer *p = join();
	int status = -1;

	peer_put(p, WIRE_SHUTDOWN, 0, 0, NULL, 0);
	peer_until(p, p->closed);
	peer_free(p);
	waitpid(b->pid, &status, 0);
	is_int(status, 0, "the agent ended well");
	close(b->status);
	close(b->status_listener);
	box_remove_cgroups();
}

/* What the kernel says of the commands. */
static inline bool box_says(const char *file, const char *what)
{
	buf_auto struct buf b = BUF_INIT;
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "user/%s", file);
	fd = open(box_in_cgroup(name), O_RDONLY | O_CLOEXEC);
	io_read_all(fd, &b);
	close(fd);
	return strstr(buf_str(&b), what);
}

static inline bool box_is_frozen(void)
{
	return box_says("cgroup.events", "frozen 1");
}

/* ---- whether a command runs: it writes into a FIFO ---- */

static inline int ticks_open(const char *fifo)
{
	if (mkfifo(fifo, 0666) < 0 || chmod(fifo, 0666) < 0)
		bail("no fifo");
	return open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
}

/* Take what is there: how many bytes. */
static inline size_t ticks_drain(int fd)
{
	char bytes[65536];
	size_t n = 0;
	ssize_t got;

	while ((got = read(fd, bytes, sizeof(bytes))) > 0)
		n += (size_t)got;
	return n;
}

static inline bool ticks(int fd)
{
	struct pollfd pf = { fd, POLLIN, 0 };

	return poll(&pf, 1, GIVE_UP_MS) == 1 && pf.revents & POLLIN;
}

/* While the like of it, which nobody freezes, writes a megabyte, it does not
 * write a byte.  Takes what it had written before. */
static inline bool ticks_not(int fd)
{
	char bytes[65536];
	size_t left = 1 << 20;
	FILE *other;

	ticks_drain(fd);
	other = popen("exec yes", "re");
	while (other && left) {
		size_t n = fread(bytes, 1, sizeof(bytes), other);

		if (n == 0)
			bail("no yes");
		left -= n < left ? n : left;
	}
	pclose(other);
	return ticks_drain(fd) == 0;
}

/* ---- a command that nothing interrupts: it waits for a file system ---- */

struct stall {
	int fd;
	uint64_t unique; /* of the question that it waits for */
};

static inline void stall_answer(struct stall *s, uint64_t unique, int error,
				const void *p, size_t n)
{
	struct {
		struct fuse_out_header h;
		uint8_t body[256];
	} out = { .h = { (uint32_t)(sizeof(out.h) + n), error, unique } };

	if (n)
		memcpy(out.body, p, n);
	if (write(s->fd, &out, out.h.len) < 0)
		bail("cannot answer the file system's question");
}

static inline uint32_t stall_question(struct stall *s)
{
	static uint8_t bytes[1 << 17];
	const struct fuse_in_header *h = (const void *)bytes;
	struct pollfd pf = { s->fd, POLLIN, 0 };

	if (poll(&pf, 1, GIVE_UP_MS) != 1 ||
	    read(s->fd, bytes, sizeof(bytes)) < (ssize_t)sizeof(*h))
		bail("the file system is asked nothing");
	s->unique = h->unique;
	return h->opcode;
}

/* The file system "stall".  False: not here. */
static inline bool stall_make(struct stall *s)
{
	struct fuse_init_out init = { .major = FUSE_KERNEL_VERSION,
				      .minor = FUSE_KERNEL_MINOR_VERSION,
				      .max_write = 4096 };
	char options[64];

	s->fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=40000,user_id=0,group_id=0", s->fd);
	if (s->fd < 0 || mkdir("stall", 0700) < 0 ||
	    mount("stall", "stall", "fuse", 0, options) < 0)
		return false;
	if (stall_question(s) != FUSE_INIT)
		bail("a file system that does not begin");
	stall_answer(s, s->unique, 0, &init, sizeof(init));
	return true;
}

/* Somebody is stalled. */
static inline void stall_wait(struct stall *s)
{
	while (stall_question(s) != FUSE_LOOKUP)
		stall_answer(s, s->unique, -ENOSYS, NULL, 0);
}

static inline void stall_end(struct stall *s)
{
	stall_answer(s, s->unique, -ENOENT, NULL, 0);
}

#endif
