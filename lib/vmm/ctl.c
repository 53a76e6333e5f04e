/* SPDX-License-Identifier: MIT
 *
 * The control socket: see ctl.h.
 *
 * Text, because it is read by people who debug and never in a hot path; and
 * packets, so that there is nothing to frame.  JSON requests were rejected: a
 * parser in the jail for four words.
 */
#include "vmm/ctl.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/str.h"
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

static void request(struct vm *vm, struct str line, struct answer *a)
{
	struct str verb = str_cut(&line, ' ');

	if (str_eq(verb, STR("stats"))) {
		do_stats(vm, a);
	} else if (str_eq(verb, STR("pause"))) {
		vm_pause(vm);
		say(a, "ok");
	} else if (str_eq(verb, STR("resume"))) {
		vm_resume(vm);
		say(a, "ok");
	} else if (str_eq(verb, STR("balloon"))) {
		do_balloon(vm, line, a);
	} else if (str_eq(verb, STR("quit"))) {
		vm_end(vm, VM_QUIT, "asked to end");
		say(a, "ok");
	} else {
		say(a, "error: unknown request; expected stats, pause, "
		       "resume, balloon or quit");
	}
}

static void drop(struct ctl_client *c)
{
	loop_close(&c->w);
	if (c->ctl->n-- == CTL_CLIENTS_MAX)
		loop_arm(&c->ctl->listen, EPOLLIN);
}

static void client_ready(struct watch *w, uint32_t events)
{
	struct ctl_client *c = container_of(w, struct ctl_client, w);
	char line[CTL_PACKET_MAX];
	struct answer a = { .len = 0 };
	ssize_t n = recv(w->fd, line, sizeof(line), MSG_TRUNC);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || (size_t)n > sizeof(line)) {
		drop(c);
		return;
	}
	request(c->ctl->vm, str_trim((struct str){ line, (size_t)n }), &a);
	/* Who does not read its answers gets none. */
	if (send(w->fd, a.text, a.len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		drop(c);
}

static void listen_ready(struct watch *w, uint32_t events)
{
	struct ctl *c = container_of(w, struct ctl, listen);
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	unsigned i;

	(void)events;
	if (fd < 0)
		return;
	for (i = 0; c->clients[i].w.fd >= 0; i++)
		;
	c->clients[i].w.fd = fd;
	loop_arm(&c->clients[i].w, EPOLLIN);
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

void ctl_free(struct ctl *c)
{
	unsigned i;

	if (!c->vm)
		return;
	for (i = 0; i < CTL_CLIENTS_MAX; i++)
		loop_close(&c->clients[i].w);
	loop_close(&c->listen);
}
