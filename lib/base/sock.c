/* SPDX-License-Identifier: MIT
 *
 * Unix sockets by path: see sock.h.
 */
#include "base/sock.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"

/* Fill @sa for @path; *@dir keeps its directory open meanwhile. */
static int address(const char *path, struct sockaddr_un *sa, int *dir,
		   struct err *e)
{
	const char *slash = strrchr(path, '/');
	struct str head = { path, slash ? (size_t)(slash - path) + 1 : 0 };
	mem_auto char *parent = str_dup(head.len ? head : STR("."));
	int n;

	if (!parent)
		return err_sys(e, ENOMEM, "%s", path);
	*dir = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*dir < 0)
		return err_sys(e, errno, "cannot open %s", parent);
	*sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
	n = snprintf(sa->sun_path, sizeof(sa->sun_path), "/proc/self/fd/%d/%s",
		     *dir, slash ? slash + 1 : path);
	if (n < 0 || (size_t)n >= sizeof(sa->sun_path))
		return err_set(e, ENAMETOOLONG, "socket name too long: %s",
			       path);
	return 0;
}

static int listen_type(const char *path, int type, struct err *e)
{
	struct sockaddr_un sa;
	fd_auto int dir = -1;
	fd_auto int fd = -1;
	struct stat st;
	int r = address(path, &sa, &dir, e);

	if (r < 0)
		return r;
	if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
		return err_set(e, EEXIST, "%s is there and is no socket", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return err_sys(e, errno, "cannot remove %s", path);
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	/* The mode of the descriptor becomes that of the name: no moment in
	 * which others could connect. */
	if (fd < 0 || fchmod(fd, 0600) < 0 ||
	    bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    listen(fd, 128) < 0)
		return err_sys(e, errno, "cannot listen on %s", path);
	return fd_steal(&fd);
}

static int connect_type(const char *path, int type, struct err *e)
{
	struct sockaddr_un sa;
	fd_auto int dir = -1;
	fd_auto int fd = -1;
	int r = address(path, &sa, &dir, e);

	if (r < 0)
		return r;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_sys(e, errno, "cannot connect to %s", path);
	return fd_steal(&fd);
}

int sock_listen(const char *path, struct err *e)
{
	return listen_type(path, SOCK_STREAM, e);
}

int sock_listen_packets(const char *path, struct err *e)
{
	return listen_type(path, SOCK_SEQPACKET, e);
}

int sock_connect(const char *path, struct err *e)
{
	return connect_type(path, SOCK_STREAM, e);
}

int sock_connect_packets(const char *path, struct err *e)
{
	return connect_type(path, SOCK_SEQPACKET, e);
}
