/* SPDX-License-Identifier: MIT
 *
 * The status channel: see status.h.
 */
#include "agent/status.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
/* After sys/socket.h, which it wants. */
#include <linux/vm_sockets.h>

#include "agent/server.h"
#include "base/fd.h"

#define STATUS_PORT 1024

static bool opened, connected, is_busy;
static bool heard; /* there is a VMM that listens, or may be */
static struct watch channel = { .fd = -1 };

/* A byte fits, or the channel is broken and says so. */
static void tell(void)
{
	if (connected)
		(void)!send(channel.fd, is_busy ? "B" : "I", 1,
			    MSG_NOSIGNAL | MSG_DONTWAIT);
}

void status_set(bool busy)
{
	if (busy == is_busy)
		return;
	is_busy = busy;
	tell();
}

static int error_of(int fd)
{
	socklen_t len = sizeof(int);
	int error = 0;

	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
	return error;
}

/* The connection stands, or is lost.  One that is lost is made again, and so is
 * one that did not come to stand because the VMM took its time: among many
 * copies that start at once it is long before each has had its turn, and Linux
 * gives up after two seconds.  Only where nobody has ever listened, which is
 * said at once, that is the end of it. */
static void channel_ready(struct watch *w, uint32_t events)
{
	if (events & (EPOLLHUP | EPOLLERR | EPOLLIN)) {
		heard |= error_of(w->fd) == ETIMEDOUT;
		loop_close(w);
		connected = false;
		if (heard)
			status_open();
		return;
	}
	connected = heard = true;
	loop_arm(w, EPOLLIN);
	tell();
}

void status_open(void)
{
	static const struct sockaddr_vm host = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_HOST,
		.svm_port = STATUS_PORT,
	};

	if (!opened)
		channel = (struct watch)WATCH_INIT(&agent_loop, channel_ready);
	opened = true;
	channel.fd =
		socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (channel.fd < 0)
		return;
	if (connect(channel.fd, (const struct sockaddr *)&host, sizeof(host)) <
		    0 &&
	    errno != EINPROGRESS)
		loop_close(&channel);
	else
		loop_arm(&channel, EPOLLOUT);
}
