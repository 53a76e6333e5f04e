/* SPDX-License-Identifier: MIT
 *
 * iso-agent: PID 1 of the guest, at the service of the other end of a byte
 * stream.  iso-agent(7) has the protocol.
 *
 * As "iso-agent file ..." it is its own helper, see file.c.
 *
 * Not as PID 1 it serves one connection on a descriptor it was given, to its
 * end (--serve FD), or many on a listening one (--listen FD), and changes
 * nothing of the machine: that is how it is tested.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>
/* After sys/socket.h, which it wants. */
#include <linux/vm_sockets.h>

#include "agent/as.h"
#include "agent/boot.h"
#include "agent/file.h"
#include "agent/quiesce.h"
#include "agent/server.h"
#include "agent/setup.h"
#include "agent/status.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"

#define AGENT_PORT 1024 /* of vsock */

static struct watch sigchld;

static void sigchld_ready(struct watch *w, uint32_t events)
{
	struct signalfd_siginfo si;

	(void)events;
	(void)!read(w->fd, &si, sizeof(si));
	stream_reap();
}

static int server_init(struct err *e)
{
	sigset_t set;
	int r = loop_init(&agent_loop);

	if (r < 0)
		return err_sys(e, -r, "cannot make an event loop");
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigchld = (struct watch)WATCH_INIT(&agent_loop, sigchld_ready);
	sigchld.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (sigchld.fd < 0)
		return err_sys(e, errno, "cannot watch for ended processes");
	r = loop_arm(&sigchld, EPOLLIN);
	return r < 0 ? err_sys(e, -r, "cannot watch for ended processes") : 0;
}

/* Everything ends, files are written, the machine goes off. */
static void shut_down(void)
{
	kill(-1, SIGKILL);
	boot_power_off();
}

/* Say why the machine does not come up: to the host, or to the console. */
static void give_up(int port, const struct err *e)
{
	buf_auto struct buf b = BUF_INIT_MAX(4096);

	fprintf(stderr, "iso-agent: %s\n", e->text);
	if (port >= 0) {
		wire_put_error(&b, 0, e);
		io_write_full(port, b.data, b.len);
		/* Power-off does not wait for the port to drain; its close
		 * does. */
		close(port);
	}
	boot_power_off();
}

/* Clients come by vsock, and the machine lives on without them. */
static int listen_sandbox(struct err *e)
{
	static const struct sockaddr_vm any = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_ANY,
		.svm_port = AGENT_PORT,
	};
	fd_auto int fd =
		socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r;

	if (fd < 0 ||
	    bind(fd, (const struct sockaddr *)&any, sizeof(any)) < 0 ||
	    listen(fd, SOMAXCONN) < 0)
		return err_sys(e, errno, "cannot listen on vsock port %d",
			       AGENT_PORT);
	r = conn_listen(fd_steal(&fd));
	if (r < 0)
		return err_sys(e, -r, "cannot watch vsock port %d", AGENT_PORT);
	status_open();
	return 0;
}

/* One client is all there is, and when it goes the machine goes off. */
static int serve_host(int port, struct err *e)
{
	int r;

	conn_on_last(shut_down);
	r = conn_open(port);
	return r < 0 ? err_sys(e, -r, "cannot serve") : 0;
}

/* The kernel gives its first process 1024 descriptors, and what that has its
 * children get. */
static void raise_limits(void)
{
	const struct rlimit files = { 65536, 1 << 20 };

	setrlimit(RLIMIT_NOFILE, &files);
}

static int come_up(struct boot *b, struct err *e)
{
	int r = boot_early(b, e);

	setenv("PATH",
	       "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:"
	       "/sbin:/bin",
	       1);
	if (r == 0)
		r = boot_root(b, e);
	if (r == 0)
		r = server_init(e);
	if (r < 0)
		return r;
	raise_limits();
	if (b->sandbox) {
		setup_require();
		cgroup_confine();
		quiesce_init();
	}
	cgroup_init();
	conn_on_shutdown(shut_down);
	return b->sandbox ? listen_sandbox(e) : serve_host(b->port, e);
}

static void be_init(void)
{
	struct boot b = BOOT_INIT;
	struct err e = ERR_INIT;
	int r = come_up(&b, &e);

	if (r < 0)
		give_up(b.port, &e);
	r = loop_run(&agent_loop);
	err_sys(&e, -r, "cannot serve");
	give_up(-1, &e);
}

static void leave(void)
{
	exit(0);
}

static int serve(const char *how, const char *word)
{
	struct err e = ERR_INIT;
	uint64_t fd = 0;
	int r = str_u64(str_of(word), 0, 1 << 20, &fd, "descriptor", &e);

	if (r == 0)
		r = server_init(&e);
	if (r < 0) {
		fprintf(stderr, "iso-agent: %s\n", e.text);
		return 1;
	}
	if (strcmp(how, "--listen") == 0) {
		r = conn_listen((int)fd);
	} else {
		conn_on_last(leave);
		r = conn_open((int)fd);
	}
	if (r == 0)
		r = loop_run(&agent_loop);
	fprintf(stderr, "iso-agent: cannot serve descriptor %s: %s\n", word,
		strerror(-r));
	return 1;
}

int main(int argc, char **argv)
{
	if (getpid() == 1)
		be_init();
	if (argc > 2 && strcmp(argv[1], "as") == 0)
		return as_main(argc, argv);
	if (argc > 2 && strcmp(argv[1], "file") == 0)
		return file_main(argc - 2, argv + 2);
	if (argc == 3 && (strcmp(argv[1], "--serve") == 0 ||
			  strcmp(argv[1], "--listen") == 0))
		return serve(argv[1], argv[2]);
	fprintf(stderr, "iso-agent: it is the guest's first process, or "
			"--serve FD or --listen FD\n");
	return 2;
}
