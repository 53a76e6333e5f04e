/* SPDX-License-Identifier: MIT
 *
 * The control socket: see ctl.h.
 *
 * Text, because it is read by people who debug and never in a hot path; and
 * packets, so that there is nothing to frame.  JSON requests were rejected: a
 * parser in the jail for four words.
 */
#include "vmm/ctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "vmm/snap.h"
#include "vmm/vm.h"

struct answer {
	char text[CTL_PACKET_MAX];
	size_t len;
};

static void say(struct answer *a, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void say(struct answer *a, const char *fmt, ...)
{
	size_t room = sizeof(a->text) - a->len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(a->text + a->len, room, fmt, ap);
	va_end(ap);
	if (n > 0)
		a->len += (size_t)n < room ? (size_t)n : room - 1;
}

static void do_stats(struct vm *vm, struct answer *a)
{
	unsigned i;

	say(a, "{\"vcpus\":%u,\"memory\":%llu,\"paused\":%s,", vm->cpus.n,
	    (unsigned long long)vm->mem.size,
	    vm->cpus.want == VCPU_RUN ? "false" : "true");
	say(a, "\"balloon_pages\":%u,\"inflated\":%llu,\"reported\":%llu,",
	    balloon_actual(&vm->balloon),
	    (unsigned long long)vm->balloon.inflated,
	    (unsigned long long)vm->balloon.reported);
	say(a, "\"exits\":[");
	for (i = 0; i < vm->cpus.n; i++)
		say(a, "%s%llu", i ? "," : "",
		    (unsigned long long)vm->cpus.v[i].exits);
	say(a, "],\"refused\":{");
	for (i = 0; i < vm->ndevs; i++)
		say(a, "%s\"%s%u\":%llu", i ? "," : "", vm->devs[i]->ops->name,
		    i, (unsigned long long)vm->devs[i]->refused);
	say(a, "}}");
}

static void do_balloon(struct vm *vm, struct str arg, struct answer *a)
{
	struct err e = ERR_INIT;
	uint64_t pages;

	if (str_u64(arg, 0, vm->mem.size / LAYOUT_PAGE, &pages, "pages", &e) <
	    0) {
		say(a, "error: %s", e.text);
		return;
	}
	balloon_set(&vm->balloon, (uint32_t)pages);
	say(a, "ok");
}

/* ---- descriptors --------------------------------------------------------- */

struct packet {
	struct str line;
	int fd[CTL_FDS_MAX];
	unsigned nfd;
	char text[CTL_PACKET_MAX];
};

static void packet_close(struct packet *p)
{
	unsigned i;

	for (i = 0; i < p->nfd; i++)
		fd_close(&p->fd[i]);
	p->nfd = 0;
}

static void take_fds(struct packet *p, struct msghdr *m)
{
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		p->nfd = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(p->fd, CMSG_DATA(c), p->nfd * sizeof(int));
	}
}

/* 1, 0 at the end, -EAGAIN, or another -errno. */
static int packet_read(struct packet *p, int fd)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(CTL_FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = { p->text, sizeof(p->text) };
	struct msghdr m = { .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = &control,
			    .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);

	p->nfd = 0;
	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	take_fds(p, &m);
	if (n == 0 || (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return n == 0 ? 0 : -EMSGSIZE;
	p->line = str_trim((struct str){ p->text, (size_t)n });
	return 1;
}

static bool wants_fds(struct vm *vm, const struct packet *p, unsigned n,
		      struct answer *a)
{
	if (p->nfd != n)
		say(a, "error: %u descriptors; it takes %u", p->nfd, n);
	else if (vm->cpus.want == VCPU_RUN)
		say(a, "error: the VM runs; pause it first");
	else
		return true;
	return false;
}

#define HIBERNATE_FDS 3 /* state, memory, page map */

static void do_fork(struct vm *vm, struct packet *p, struct str arg,
		    struct answer *a)
{
	struct err e = ERR_INIT;
	uint64_t cid;
	pid_t pid = -1;

	if (!wants_fds(vm, p, VM_CLONE_FDS, a))
		return;
	if (str_u64(arg, VSOCK_GUEST_CID_MIN, UINT32_MAX - 1, &cid, "cid",
		    &e) == 0)
		pid = vm_clone(vm, &e);
	if (pid < 0) {
		say(a, "error: %s", e.text);
	} else if (pid > 0) {
		say(a, "ok %d", (int)pid);
	} else {
		memcpy(vm->clone_fd, p->fd, sizeof(vm->clone_fd));
		vm->clone_cid = cid;
		p->nfd = 0;
	}
}

static void do_snapshot(struct vm *vm, const struct packet *p, struct str arg,
			struct answer *a)
{
	struct err e = ERR_INIT;
	pid_t pid;

	if (!wants_fds(vm, p, SNAP_FDS, a))
		return;
	pid = snap_start(vm, p->fd, str_eq(arg, STR("shared")), &e);
	if (pid < 0)
		say(a, "error: %s", e.text);
	else
		say(a, "ok %d", (int)pid);
}

/* Who asked for it need not live to see it: it is whole, or did not happen. */
static void do_hibernate(struct vm *vm, const struct packet *p, struct str arg,
			 struct answer *a)
{
	struct snap_memory to = { .shared = str_eq(arg, STR("shared")) };
	struct err e = ERR_INIT;
	uint64_t written;

	if (!wants_fds(vm, p, HIBERNATE_FDS, a))
		return;
	to.fd = p->fd[1];
	to.pagemap = p->fd[2];
	if (vm->scratch.v.ops && fsync(vm->scratch.fd) < 0) {
		say(a, "error: cannot bring the disk's data to disk: %s",
		    strerror(errno));
	} else if (snap_write(vm, p->fd[0], &to, &written, &e) < 0) {
		say(a, "error: %s", e.text);
	} else {
		vm_end(vm, VM_HIBERNATED, "%llu bytes of memory",
		       (unsigned long long)written);
		say(a, "ok %llu", (unsigned long long)written);
	}
}

/* ---- requests ------------------------------------------------------------ */

static void set_paused(struct ctl_client *c, bool paused)
{
	c->paused = paused;
	if (paused)
		vm_pause(c->ctl->vm);
	else
		vm_resume(c->ctl->vm);
}

static void request(struct ctl_client *c, struct packet *p, struct answer *a)
{
	struct vm *vm = c->ctl->vm;
	struct str line = p->line, verb = str_cut(&line, ' ');

	if (str_eq(verb, STR("stats"))) {
		do_stats(vm, a);
	} else if (str_eq(verb, STR("pause")) || str_eq(verb, STR("resume"))) {
		set_paused(c, str_eq(verb, STR("pause")));
		say(a, "ok");
	} else if (str_eq(verb, STR("balloon"))) {
		do_balloon(vm, line, a);
	} else if (str_eq(verb, STR("fork"))) {
		do_fork(vm, p, line, a);
	} else if (str_eq(verb, STR("snapshot"))) {
		do_snapshot(vm, p, line, a);
	} else if (str_eq(verb, STR("hibernate"))) {
		do_hibernate(vm, p, line, a);
	} else if (str_eq(verb, STR("quit"))) {
		vm_end(vm, VM_QUIT, "asked to end");
		say(a, "ok");
	} else {
		say(a, "error: unknown request; expected stats, pause, "
		       "resume, fork, snapshot, hibernate, balloon or "
		       "quit");
	}
}

static void drop(struct ctl_client *c)
{
	loop_close(&c->w);
	if (c->paused)
		set_paused(c, false);
	c->ctl->n--;
	loop_arm(&c->ctl->listen, EPOLLIN);
}

static void client_ready(struct watch *w, uint32_t events)
{
	struct ctl_client *c = container_of(w, struct ctl_client, w);
	struct answer a = { .len = 0 };
	struct packet p;
	int r = packet_read(&p, w->fd);

	(void)events;
	if (r == -EAGAIN)
		return;
	if (r > 0)
		request(c, &p, &a);
	packet_close(&p);
	/* A child of fork(2) has no clients. */
	if (c->ctl->vm->cloned)
		return;
	/* Who does not read its answers gets none. */
	if (r <= 0 ||
	    send(w->fd, a.text, a.len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		drop(c);
}

static void listen_ready(struct watch *w, uint32_t events)
{
	struct ctl *c = container_of(w, struct ctl, listen);
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	unsigned i;

	(void)events;
	/* The one that could not be accepted, for want of descriptors, would be
	 * reported without end: only the next one's coming is, then. */
	if (fd < 0 && errno != EAGAIN && errno != EINTR &&
	    errno != ECONNABORTED)
		loop_arm(w, EPOLLIN | EPOLLET);
	if (fd < 0)
		return;
	loop_arm(w, EPOLLIN);
	for (i = 0; c->clients[i].w.fd >= 0; i++)
		;
	c->clients[i].w.fd = fd;
	c->clients[i].paused = false;
	/* Whom we cannot hear we cannot serve. */
	if (loop_arm(&c->clients[i].w, EPOLLIN) < 0) {
		fd_close(&c->clients[i].w.fd);
		return;
	}
	/* The rest waits in the backlog. */
	if (++c->n == CTL_CLIENTS_MAX)
		loop_arm(&c->listen, 0);
}

int ctl_init(struct ctl *c, struct vm *vm, int listen, struct err *e)
{
	unsigned i;
	int r;

	c->vm = vm;
	c->n = 0;
	for (i = 0; i < CTL_CLIENTS_MAX; i++)
		c->clients[i] = (struct ctl_client){
			.w = WATCH_INIT(&vm->loop, client_ready), .ctl = c
		};
	c->listen = (struct watch)WATCH_INIT(&vm->loop, listen_ready);
	c->listen.fd = listen;
	r = loop_arm(&c->listen, EPOLLIN);
	return r < 0 ? err_sys(e, -r, "cannot serve the control socket") : 0;
}

int ctl_renew(struct ctl *c, int listen, struct err *e)
{
	unsigned i;

	/* What is watched is gone with the parent's loop. */
	for (i = 0; i < CTL_CLIENTS_MAX; i++)
		fd_close(&c->clients[i].w.fd);
	fd_close(&c->listen.fd);
	return ctl_init(c, c->vm, listen, e);
}

void ctl_free(struct ctl *c)
{
	unsigned i;

	if (!c->vm)
		return;
	for (i = 0; i < CTL_CLIENTS_MAX; i++)
		loop_close(&c->clients[i].w);
	loop_close(&c->listen);
}
