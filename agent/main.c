/* SPDX-License-Identifier: MIT
 *
 * iso-agent: PID 1 of the guest, at the service of the other end of a byte
 * stream.  iso-agent(7) has the protocol.
 *
 * Not as PID 1 it serves one connection on a descriptor it was given, to its
 * end (--serve FD), or many on a listening one (--listen FD), and changes
 * nothing of the machine: that is how it is tested.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/boot.h"
#include "agent/server.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"

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

static void be_init(void)
{
	struct err e = ERR_INIT;
	int port = boot_early(&e);
	int r = port;

	setenv("PATH",
	       "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:"
	       "/sbin:/bin",
	       1);
	if (r >= 0)
		r = boot_root(&e);
	if (r == 0)
		r = server_init(&e);
	if (r < 0)
		give_up(port, &e);
	cgroup_init();
	conn_on_shutdown(shut_down);
	conn_on_last(shut_down);
	r = conn_open(port);
	if (r == 0)
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
	if (argc == 3 && (strcmp(argv[1], "--serve") == 0 ||
			  strcmp(argv[1], "--listen") == 0))
		return serve(argv[1], argv[2]);
	fprintf(stderr, "iso-agent: it is the guest's first process, or "
			"--serve FD or --listen FD\n");
	return 2;
}
