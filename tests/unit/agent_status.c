/* SPDX-License-Identifier: MIT
 *
 * The agent's status channel.  The kernel's vsock is played: each socket is one
 * end of a pair, what becomes of a connect(2) is the test's to say, and so is
 * the error of a connection that is lost.
 */
#include "tests/tap.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/server.h"
#include "agent/status.h"

struct loop agent_loop;

static int monitor = -1; /* its end of the last connection */
static int error;	 /* of that, once it is lost */
static unsigned connects;

int __wrap_socket(int family, int type, int protocol);
int __wrap_connect(int fd, const struct sockaddr *to, socklen_t len);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len);

int __wrap_socket(int family, int type, int protocol)
{
	int s[2];

	(void)protocol;
	if (family != AF_VSOCK || socketpair(AF_UNIX, type, 0, s) < 0)
		bail("no socket");
	if (monitor >= 0)
		close(monitor);
	monitor = s[1];
	return s[0];
}

int __wrap_connect(int fd, const struct sockaddr *to, socklen_t len)
{
	(void)fd;
	(void)to;
	(void)len;
	connects++;
	errno = EINPROGRESS;
	return -1;
}

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	(void)fd;
	if (level != SOL_SOCKET || name != SO_ERROR || *len != sizeof(error))
		bail("what does it ask for?");
	*(int *)value = error;
	return 0;
}

/* What the loop does about what has happened: false when nothing has. */
static bool step(void)
{
	struct epoll_event ev;
	struct watch *w;

	if (epoll_wait(agent_loop.epoll, &ev, 1, 0) != 1)
		return false;
	w = ev.data.ptr;
	w->ready(w, ev.events);
	return true;
}

/* The connection ends, whether it stood or not. */
static void lose(int why)
{
	error = why;
	close(monitor);
	monitor = -1;
	step();
}

/* What the monitor has read. */
static const char *heard(void)
{
	static char text[16];
	ssize_t n = recv(monitor, text, sizeof(text) - 1, MSG_DONTWAIT);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void begin(void)
{
	connects = 0;
	status_open();
}

int main(void)
{
	if (loop_init(&agent_loop) < 0)
		bail("no loop");
	begin();
	lose(ECONNRESET);
	is_int(connects, 1, "where nobody listens it is tried once");
	ok(!step(), "and then nothing is waited for");

	begin();
	lose(ETIMEDOUT);
	is_int(connects, 2, "a monitor that is late is asked again");
	lose(ETIMEDOUT);
	is_int(connects, 3, "and again");
	lose(ECONNRESET);
	is_int(connects, 4, "refused, because the late answer came then");
	step();
	is_str(heard(), "I", "it stands, and says that nothing runs");
	ok(!step(), "once");
	status_set(true);
	is_str(heard(), "B", "a command runs");

	lose(ECONNRESET);
	is_int(connects, 5, "lost: the machine is a copy");
	lose(ETIMEDOUT);
	is_int(connects, 6, "whose monitor is late");
	lose(ECONNRESET);
	is_int(connects, 7, "or is captured itself meanwhile");
	status_set(false);
	step();
	is_str(heard(), "I", "it says what is true by then");
	return tap_done();
}
