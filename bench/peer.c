/* SPDX-License-Identifier: MIT
 *
 * The first process of a guest that is measured: moves bytes by vsock and to
 * and from its disk, past its page cache, as bench/talk.c asks it to.  The same
 * program in our monitor's guest and in QEMU's, so that what differs is the
 * monitor.  dd of busybox would have done for the disk, but its results come
 * over the serial console, which our monitor has no input of: a boot for every
 * figure.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
/* After sys/socket.h, which it wants. */
#include <linux/vm_sockets.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"
#include "bench/peer.h"

#define DISK "/dev/vda"

static struct err e = ERR_INIT;
static char block[PEER_BLOCK_MAX] __attribute__((aligned(4096)));

/* On the console, which is all that is left; the machine ends with it. */
static void must(int r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "peer: %s: %s\n", what, strerror(errno));
	reboot(RB_POWER_OFF);
	exit(1);
}

static void load_modules(void)
{
	buf_auto struct buf b = BUF_INIT_MAX(65536);
	struct str list, name;

	must(io_read_file(AT_FDCWD, "/modules/list", &b, &e), "modules");
	list = (struct str){ (char *)b.data, b.len };
	while (list.p) {
		mem_auto char *path = NULL;
		fd_auto int fd = -1;

		name = str_trim(str_cut(&list, '\n'));
		path = str_printf("/modules/%.*s", STR_ARG(name));
		if (!path || !name.len)
			continue;
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (syscall(SYS_finit_module, fd, "", 0) < 0 &&
		    errno != ENODEV && errno != EEXIST)
			must(-1, path);
	}
}

/* Tells our monitor that its clients can be served; there is nobody to tell in
 * QEMU. */
static void say_ready(void)
{
	static const struct sockaddr_vm host = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_HOST,
		.svm_port = PEER_PORT,
	};
	/* Stays open for good. */
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)!connect(fd, (const struct sockaddr *)&host, sizeof(host));
	printf("peer-ready\n");
	fflush(stdout);
}

/* ---- what is asked for ---- */

static int sink(int fd, const struct peer_request *q)
{
	uint64_t left = q->bytes;

	while (left > 0) {
		ssize_t n = read(fd, block, left < q->block ? left : q->block);

		if (n <= 0)
			return -1;
		left -= (uint64_t)n;
	}
	return 0;
}

static int source(int fd, const struct peer_request *q)
{
	uint64_t left = q->bytes;
	int r = 0;

	while (r == 0 && left > 0) {
		size_t n = left < q->block ? left : q->block;

		r = io_write_full(fd, block, n);
		left -= n;
	}
	return r;
}

static int disk(const struct peer_request *q)
{
	bool out = q->op == PEER_WRITE || q->op == PEER_RANDOM_WRITE;
	bool random = q->op == PEER_RANDOM_READ || q->op == PEER_RANDOM_WRITE;
	fd_auto int fd = open(DISK, O_RDWR | O_DIRECT | O_CLOEXEC);
	uint64_t blocks, i;
	uint32_t seed = 1;

	if (fd < 0)
		return -1;
	blocks = (uint64_t)lseek(fd, 0, SEEK_END) / q->block;
	for (i = 0; i < q->bytes / q->block; i++) {
		off_t at;

		seed = seed * 1664525 + 1013904223;
		at = (off_t)((random ? seed >> 8 : i) % blocks * q->block);
		if ((out ? pwrite(fd, block, q->block, at) :
			   pread(fd, block, q->block, at)) != q->block)
			return -1;
	}
	return out ? fsync(fd) : 0;
}

static int serve(int fd, const struct peer_request *q)
{
	int r;

	if (q->block == 0 || q->block > sizeof(block))
		return -1;
	if (q->op == PEER_SOURCE)
		return source(fd, q);
	r = q->op == PEER_SINK ? sink(fd, q) : disk(q);
	return r < 0 ? r : io_write_full(fd, "", 1);
}

int main(void)
{
	static const struct sockaddr_vm any = {
		.svm_family = AF_VSOCK,
		.svm_cid = VMADDR_CID_ANY,
		.svm_port = PEER_PORT,
	};
	struct peer_request q;
	int listener;

	must(mount("dev", "/dev", "devtmpfs", 0, NULL), "/dev");
	load_modules();
	listener = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(bind(listener, (const struct sockaddr *)&any, sizeof(any)),
	     "bind");
	must(listen(listener, 1), "listen");
	say_ready();
	for (;;) {
		fd_auto int fd = accept(listener, NULL, NULL);

		must(fd, "accept");
		while (io_read_full(fd, &q, sizeof(q)) == sizeof(q) &&
		       serve(fd, &q) == 0)
			;
	}
}
