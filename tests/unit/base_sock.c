/* SPDX-License-Identifier: MIT
 *
 * Unix sockets by path.
 */
#include "tests/tap.h"

#include "base/err.h"
#include "base/fd.h"
#include "base/sock.h"
#include "tests/unit/scratch.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* A byte from a client to the one that listens. */
static void talk(const char *path, const char *what)
{
	struct err e = ERR_INIT;
	fd_auto int listener = sock_listen(path, &e);
	fd_auto int client = sock_connect(path, &e);
	fd_auto int peer = accept(listener, NULL, NULL);
	struct stat st;
	char c = 0;

	ok(listener >= 0 && client >= 0 && peer >= 0, "%s (%s)", what, e.text);
	ok(write(client, "x", 1) == 1 && read(peer, &c, 1) == 1 && c == 'x',
	   "a byte goes through");
	ok(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600,
	   "nobody else may connect");
	ok(fcntl(listener, F_GETFD) & fcntl(client, F_GETFD) & FD_CLOEXEC,
	   "neither end reaches a child");
}

static void long_path(void)
{
	char path[600] = "";
	struct err e = ERR_INIT;
	size_t n = 0;

	while (n < 500)
		n += (size_t)sprintf(path + n, "long-directory-name/");
	io_mkdirs(path, 0755, &e);
	strcpy(path + n, "control.sock");
	ok(strlen(path) > sizeof(((struct sockaddr_un *)0)->sun_path),
	   "longer than a socket's address");
	talk(path, "a long path");
}

static void errors(void)
{
	struct err e = ERR_INIT;
	char name[200];

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	is_int(sock_listen(name, &e), -ENAMETOOLONG, "a long last name");
	has_str(e.text, "socket name too long: nnn", "says so");
	is_int(sock_connect(name, &e), -ENAMETOOLONG, "from either side");
	is_int(sock_listen("no/sock", &e), -ENOENT, "no directory");
	is_int(sock_connect("none", &e), -ENOENT, "no socket");
	is_str(e.text, "cannot connect to none: No such file or directory",
	       "is named");
	/* Left by a listener that has gone. */
	is_int(sock_connect("left", &e), -ECONNREFUSED, "nobody listens");
	talk("left", "its place is taken over");
	scratch_file("file", "precious");
	is_int(sock_listen("file", &e), -EEXIST, "not that of a file, though");
	ok(access("file", F_OK) == 0, "which is still there");
}

int main(void)
{
	int fds = count_fds();

	scratch_enter();
	umask(0);
	talk("sock", "here");
	talk("./sock", "at the same place again");
	talk("left", "another");
	long_path();
	errors();
	scratch_leave();
	is_int(count_fds(), fds, "no descriptor was left open");
	return tap_done();
}
