/* SPDX-License-Identifier: MIT
 *
 * The agent of a sandbox without a sandbox, for tests: all of the agent but its
 * boot, as the first process of a PID namespace.  What is missing of a machine
 * is played here, in the place of the C library's functions, in the directory
 * that it is started in:
 *
 *	sock	vsock's port 1024 of this machine
 *	status	that of the host
 *	cid	the machine's CID, in decimal; no file: it cannot be told
 *	fail	"add", "reseed", "hostname" or "clock": which fails
 *	log	the same words, in the order in which they were done
 *
 * The clock and the generator of the machine that the test runs on are left
 * alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
/* After sys/socket.h, which it wants. */
#include <linux/vm_sockets.h>

#include "agent/boot.h"
#include "base/err.h"

/* ---- the boot ---- */

int boot_early(struct boot *b, struct err *e)
{
	b->sandbox = true;
	if (mount("proc", "/proc", "proc", 0, NULL) < 0)
		return err_sys(e, errno, "cannot mount /proc");
	return 0;
}

int boot_root(struct boot *b, struct err *e)
{
	(void)b;
	(void)e;
	return 0;
}

void boot_power_off(void)
{
	exit(0);
}

/* ---- the machine ---- */

static void words_of(const char *file, char words[static 32])
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, words, 31);

	words[n < 0 ? 0 : n] = '\0';
	if (fd >= 0)
		close(fd);
}

/* It is done, unless it is to fail. */
static int play(const char *what)
{
	int fd = open("log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	char fail[32];

	dprintf(fd, "%s ", what);
	close(fd);
	words_of("fail", fail);
	if (strcmp(fail, what) != 0)
		return 0;
	errno = EIO;
	return -1;
}

static int tell_cid(unsigned int *cid)
{
	char text[32];

	words_of("cid", text);
	if (!*text) {
		errno = ENODEV;
		return -1;
	}
	*cid = (unsigned int)strtoul(text, NULL, 10);
	return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (request == RNDADDENTROPY)
		return play("add");
	if (request == RNDRESEEDCRNG)
		return play("reseed");
	if (request == IOCTL_VM_SOCKETS_GET_LOCAL_CID)
		return tell_cid(arg);
	return (int)syscall(SYS_ioctl, fd, request, arg);
}

int clock_settime(clockid_t id, const struct timespec *tp)
{
	(void)id;
	(void)tp;
	return play("clock");
}

int sethostname(const char *name, size_t n)
{
	return play("hostname") < 0 ? -1 :
				      (int)syscall(SYS_sethostname, name, n);
}

/* ---- vsock ---- */

static struct sockaddr_un in_its_place(const char *name)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	strcpy(sa.sun_path, name);
	return sa;
}

int socket(int domain, int type, int protocol)
{
	return (int)syscall(SYS_socket, domain == AF_VSOCK ? AF_UNIX : domain,
			    type, protocol);
}

int bind(int fd, __CONST_SOCKADDR_ARG addr, socklen_t n)
{
	struct sockaddr_un sa = in_its_place("sock");

	if (addr.__sockaddr__->sa_family == AF_VSOCK)
		return (int)syscall(SYS_bind, fd, &sa, sizeof(sa));
	return (int)syscall(SYS_bind, fd, addr.__sockaddr__, n);
}

int connect(int fd, __CONST_SOCKADDR_ARG addr, socklen_t n)
{
	struct sockaddr_un sa = in_its_place("status");

	if (addr.__sockaddr__->sa_family == AF_VSOCK)
		return (int)syscall(SYS_connect, fd, &sa, sizeof(sa));
	return (int)syscall(SYS_connect, fd, addr.__sockaddr__, n);
}
