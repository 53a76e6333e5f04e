/* SPDX-License-Identifier: MIT
 *
 * Starting, reaching and stopping the emulated host: see emu.h.
 */
#include "host/emu.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/proc.h"
#include "base/sock.h"
#include "base/str.h"
#include "wire/client.h"

/* How long a supervisor may take over a power-off that its own limit (see
 * supervise.c) should have ended before. */
#define STOP_MS 30000

char *emu_path(const char *iso_root, const char *name, const char *file)
{
	return str_printf("%s/host/%s/%s", iso_root, name, file);
}

/* ---- the state disk ---- */

static int disk_fill(const char *tmp, int fd, uint64_t size, struct err *e)
{
	const char *argv[] = { "mkfs.xfs", "-q",	"-f", "-m", "reflink=1",
			       "-L",	   "iso-state", tmp,  NULL };
	struct proc_spec spec = PROC_SPEC_INIT;
	int r;

	spec.argv = argv;
	if (ftruncate(fd, (off_t)size) < 0)
		return err_sys(e, errno, "cannot size %s", tmp);
	r = proc_run(&spec, NULL, e);
	if (r < 0)
		err_in(e, "cannot make the state disk");
	return r;
}

/* A sparse file with an empty XFS on it, unless it is there. */
static int disk_make(const char *path, uint64_t size, struct err *e)
{
	char tmp[IO_TMP_MAX];
	fd_auto int fd = -1;
	int r;

	if (access(path, F_OK) == 0)
		return 0;
	fd = io_tmp_open(AT_FDCWD, path, 0600, tmp, e);
	if (fd < 0)
		return fd;
	r = disk_fill(tmp, fd, size, e);
	if (r < 0) {
		unlink(tmp);
		return r;
	}
	return io_tmp_commit(AT_FDCWD, fd, tmp, path, e);
}

/* ---- up ---- */

static int make_dir(const char *dir, struct err *e)
{
	int r = io_mkdirs(dir, 0755, e);

	/* The socket in it is root's shell inside. */
	if (r == 0 && chmod(dir, 0700) < 0)
		r = err_sys(e, errno, "cannot protect %s", dir);
	return r;
}

static int lock_file(const char *iso_root, const char *name, const char *file,
		     bool wait, struct err *e)
{
	mem_auto char *path = emu_path(iso_root, name, file);

	return path ? io_lock(AT_FDCWD, path, wait, e) :
		      err_sys(e, ENOMEM, "lock");
}

/* Fork the supervisor and hear how it went. */
static int launch(const struct emu_config *c, int lock, int starting,
		  struct err *e)
{
	struct err report;
	int p[2];
	pid_t pid;
	ssize_t n;

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, errno, "cannot make a pipe");
	pid = fork();
	if (pid == 0) {
		close(p[0]);
		emu_supervise(c, &(struct emu_handed){ lock, starting, p[1] });
	}
	close(p[1]);
	if (pid < 0) {
		close(p[0]);
		return err_sys(e, errno, "cannot start the supervisor");
	}
	n = io_read_full(p[0], &report, sizeof(report));
	close(p[0]);
	if (n != sizeof(report)) {
		err_set(e, ECHILD,
			"the supervisor of the emulated host '%s' "
			"died",
			c->name);
		return err_fix(e, "see %s/host/%s/host.log", c->iso_root,
			       c->name);
	}
	if (report.num && e)
		*e = report;
	return -report.num;
}

int emu_start(const struct emu_config *c, bool *already, struct err *e)
{
	mem_auto char *dir = emu_path(c->iso_root, c->name, ".");
	mem_auto char *disk = emu_path(c->iso_root, c->name, "state.img");
	fd_auto int starting = -1;
	fd_auto int lock = -1;
	fd_auto int conn = -1;
	int r;

	if (!dir || !disk)
		return err_sys(e, ENOMEM, "emulated host '%s'", c->name);
	r = make_dir(dir, e);
	if (r < 0)
		return r;
	/* Whoever starts it holds this one, so that a second `up` waits until
	 * the first knows how it went; and the supervisor, until it listens,
	 * so that one whose `up` was killed is not taken for one that ends. */
	starting = lock_file(c->iso_root, c->name, "up.lock", true, e);
	if (starting < 0)
		return starting;
	lock = lock_file(c->iso_root, c->name, "lock", false, e);
	if (lock == -EWOULDBLOCK) {
		conn = emu_connect(c->iso_root, c->name, e);
		*already = conn >= 0;
		if (*already)
			return 0;
		/* It is on its way down: wait for its end, start anew. */
		lock = lock_file(c->iso_root, c->name, "lock", true, e);
	}
	if (lock < 0)
		return lock;
	*already = false;
	r = io_sweep_tmp(dir, e);
	if (r == 0)
		r = disk_make(disk, c->disk, e);
	return r < 0 ? r : launch(c, lock, starting, e);
}

/* ---- reaching it ---- */

static int connect_to(const char *iso_root, const char *name, struct err *e)
{
	mem_auto char *path = emu_path(iso_root, name, "agent.sock");
	int fd;

	if (!path)
		return err_sys(e, ENOMEM, "socket");
	fd = sock_connect(path, e);
	if (fd == -ENOENT || fd == -ECONNREFUSED) {
		err_set(e, ENOENT, "the emulated host '%s' is not up", name);
		return err_fix(e, "iso-host up%s%s",
			       strcmp(name, "default") ? " --name " : "",
			       strcmp(name, "default") ? name : "");
	}
	return fd;
}

int emu_connect(const char *iso_root, const char *name, struct err *e)
{
	fd_auto int fd = connect_to(iso_root, name, e);
	int r;

	if (fd < 0)
		return fd;
	r = wire_greet(fd, e);
	return r < 0 ? r : fd_steal(&fd);
}

int emu_is_up(const char *iso_root, const char *name, struct err *e)
{
	mem_auto char *path = emu_path(iso_root, name, "lock");
	fd_auto int fd = -1;

	if (!path)
		return err_sys(e, ENOMEM, "lock");
	if (access(path, F_OK) < 0)
		return errno == ENOENT ? 0 : err_sys(e, errno, "%s", path);
	fd = io_lock(AT_FDCWD, path, false, e);
	if (fd == -EWOULDBLOCK)
		return 1;
	return fd < 0 ? fd : 0;
}

/* ---- down ---- */

/* The last means: its supervisor does not answer.  Its children go with it. */
static int kill_peer(int conn, struct err *e)
{
	struct ucred cred = { .pid = 0 };
	socklen_t len = sizeof(cred);
	fd_auto int pidfd = -1;

	if (getsockopt(conn, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return err_sys(e, errno, "cannot find the supervisor");
	pidfd = (int)syscall(SYS_pidfd_open, cred.pid, 0);
	if (pidfd < 0 ||
	    syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) < 0)
		return errno == ESRCH ?
			       0 :
			       err_sys(e, errno,
				       "cannot kill the supervisor, pid %d",
				       cred.pid);
	return 0;
}

int emu_stop(const char *iso_root, const char *name, struct err *e)
{
	fd_auto int conn = connect_to(iso_root, name, e);
	buf_auto struct buf b = BUF_INIT_MAX(512);
	fd_auto int lock = -1;
	struct pollfd pf = { conn, POLLIN, 0 };
	uint8_t sink[512];
	int r;

	if (conn < 0)
		return conn;
	/* No waiting for its greeting: it may be starting still. */
	wire_put_hello(&b, "isokit " ISO_VERSION);
	wire_put(&b, WIRE_SHUTDOWN, 0, 0, NULL, 0);
	r = io_write_full(conn, b.data, b.len);
	while (r == 0 && poll(&pf, 1, STOP_MS) > 0 &&
	       read(conn, sink, sizeof(sink)) > 0)
		;
	if (!pf.revents)
		r = kill_peer(conn, e);
	/* Held until the last of it has gone. */
	lock = lock_file(iso_root, name, "lock", true, e);
	return lock < 0 ? lock : r == -EPIPE ? 0 : r;
}
