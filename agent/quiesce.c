/* SPDX-License-Identifier: MIT
 *
 * Standing still: see quiesce.h.
 *
 * That all commands are frozen is news in a file, cgroup.events, and takes as
 * long as the slowest of them is in a system call that nothing interrupts.
 * There is no time limit here: whoever asks has one, and hangs up.
 */
#include "agent/quiesce.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
/* After sys/socket.h, which it wants. */
#include <linux/vm_sockets.h>

#include "agent/server.h"
#include "agent/setup.h"
#include "base/err.h"

static int vsock = -1;	    /* the device, not a socket */
static struct stream *held; /* who asked; NULL: nobody has */
static unsigned int cid;    /* of the machine when it asked */
/* Open: they do not all stand still yet. */
static struct watch events = { .fd = -1 };

void quiesce_init(void)
{
	/* Now, while nobody can have put another in its place. */
	vsock = open("/dev/vsock", O_RDONLY | O_CLOEXEC);
}

int quiesce_check(struct err *e)
{
	if (!held)
		return 0;
	return err_set(e, EBUSY, "this machine stands still to be captured");
}

/* What cannot be told is taken for a copy. */
static bool is_same_machine(void)
{
	unsigned int now;

	return ioctl(vsock, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &now) == 0 &&
	       now == cid;
}

static void thaw_or_forget(void)
{
	held = NULL;
	loop_close(&events);
	if (is_same_machine())
		cgroup_thaw();
	else
		setup_forget();
	conn_hold(NULL);
}

/* ---- the stream ---- */

static void quiesce_in_end(struct stream *s)
{
	(void)s;
}

static void quiesce_output(struct stream *s, int i)
{
	(void)s;
	(void)i;
}

static void quiesce_reset(struct stream *s)
{
	bool begun = events.fd < 0;
	struct err why = ERR_INIT;

	thaw_or_forget();
	s->reset = true;
	if (begun) {
		stream_ended(s, 0);
		return;
	}
	err_set(&why, ECANCELED, "taken back");
	stream_fail(s, &why);
}

static bool quiesce_lost(struct stream *s)
{
	(void)s;
	thaw_or_forget();
	return true;
}

static const struct stream_ops quiesce_ops = {
	.in_end = quiesce_in_end,
	.more = quiesce_output,
	.unwanted = quiesce_output,
	.signal = quiesce_output,
	.reset = quiesce_reset,
	.lost = quiesce_lost,
};

/* ---- its beginning ---- */

static int failed(int r, struct err *e)
{
	thaw_or_forget();
	return err_sys(e, -r, "cannot see whether the commands are frozen");
}

static void events_ready(struct watch *w, uint32_t ready)
{
	struct stream *s = held;
	struct conn *c = s->conn;
	struct err why = ERR_INIT;
	int r = cgroup_is_frozen(w->fd);

	(void)ready;
	if (r == 0)
		return;
	if (r < 0) {
		failed(r, &why);
		stream_fail(s, &why);
	} else {
		loop_close(w);
		wire_put_u32(&c->out, WIRE_STARTED, 0, s->id, 0);
	}
	conn_flush(c);
}

int quiesce_start(struct stream *s, struct err *e)
{
	int r;

	if (ioctl(vsock, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid) < 0)
		return err_sys(
			e, errno,
			"copies of this machine could not tell that they are");
	events = (struct watch)WATCH_INIT(&agent_loop, events_ready);
	events.fd = cgroup_freeze(e);
	if (events.fd < 0)
		return events.fd;
	held = s;
	s->ops = &quiesce_ops;
	conn_hold(s->conn);
	r = cgroup_is_frozen(events.fd);
	if (r == 0) {
		r = loop_arm(&events, EPOLLPRI);
		return r < 0 ? failed(r, e) : RUN_LATER;
	}
	if (r < 0)
		return failed(r, e);
	loop_close(&events);
	return RUN_STARTED;
}
