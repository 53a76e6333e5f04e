/* SPDX-License-Identifier: MIT
 *
 * Which machine this is: see setup.h.
 *
 * /etc/machine-id and the kernel's boot ID are bound over, not written: the
 * first so that the image's file stays as it is, the second because the kernel
 * has no other way.  A later setup writes the same files again, which is seen
 * through the binds.  /etc/hosts and /etc/hostname are written, as files of
 * their own: bound ones cannot be replaced by those who use the machine, a
 * nuisance well known from containers.
 *
 * Commands may have run before, as root too, so that what lies in /etc is
 * anything: it is read only if it is a file, and replaced by a new one.
 */
#include "agent/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/server.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"

#define OWN_DIR "/run/iso"
#define MACHINE_ID OWN_DIR "/machine-id"
#define BOOT_ID OWN_DIR "/boot_id"
#define KERNEL_BOOT_ID "/proc/sys/kernel/random/boot_id"
#define HOSTS_MARK "# this machine"
#define TEXT_MAX ((size_t)1 << 20)

static bool required;
static bool done; /* of this machine, and not of one that it is a copy of */
static struct kept {
	struct buf bytes; /* what x points into */
	struct wire_request x;
} last;

#define KEPT_INIT                                        \
	{                                                \
		.bytes = BUF_INIT_MAX(WIRE_REQUEST_MAX), \
		.x = WIRE_REQUEST_INIT,                  \
	}
#define kept_auto __attribute__((cleanup(kept_free)))

void setup_require(void)
{
	required = true;
}

int setup_check(struct err *e)
{
	if (!required || done)
		return 0;
	return err_set(e, EAGAIN, "this machine is not set up yet");
}

void setup_forget(void)
{
	done = false;
}

const struct wire_request *setup_last(void)
{
	return done ? &last.x : NULL;
}

/* ---- the kernel's ---- */

/* Credited: it comes from the host's generator, and is what makes this machine
 * another than those that have the same memory. */
static int add_entropy(const struct wire_request *x, struct err *e)
{
	struct {
		struct rand_pool_info info;
		uint8_t bytes[WIRE_ENTROPY_MAX];
	} pool = { .info = { .entropy_count = (int)x->entropy_len * 8,
			     .buf_size = (int)x->entropy_len } };
	fd_auto int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
	int r = 0;

	memcpy(pool.bytes, x->entropy, x->entropy_len);
	if (fd < 0 || ioctl(fd, RNDADDENTROPY, &pool) < 0 ||
	    ioctl(fd, RNDRESEEDCRNG) < 0)
		r = err_sys(e, errno, "cannot add entropy");
	explicit_bzero(&pool, sizeof(pool));
	return r;
}

static int set_clock(const struct wire_request *x, struct err *e)
{
	struct timespec t = {
		.tv_sec = (time_t)(x->clock_ns / 1000000000),
		.tv_nsec = (long)(x->clock_ns % 1000000000),
	};

	if (clock_settime(CLOCK_REALTIME, &t) < 0)
		return err_sys(e, errno, "cannot set the clock");
	return 0;
}

/* ---- names ---- */

static bool is_bound(const char *over, const char *own)
{
	struct stat a, b;

	return stat(over, &a) == 0 && stat(own, &b) == 0 &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* Write @text, always of the same length, to the file @own and have it stand
 * over @over. */
static int bind_text(const char *own, const char *over, const char *text,
		     struct err *e)
{
	size_t n = strlen(text);
	fd_auto int fd = open(own, O_WRONLY | O_CREAT | O_CLOEXEC, 0444);

	if (fd < 0 || pwrite(fd, text, n, 0) != (ssize_t)n)
		return err_sys(e, errno, "cannot write %s", own);
	if (is_bound(over, own))
		return 0;
	if (mount(own, over, NULL, MS_BIND, NULL) < 0)
		return err_sys(e, errno, "cannot bind %s over %s", own, over);
	return 0;
}

static int set_machine_id(int etc, const char *id, struct err *e)
{
	char text[WIRE_MACHINE_ID + 2];
	int i, r = -ENOENT;

	snprintf(text, sizeof(text), "%s\n", id);
	/* A link that leads nowhere makes way; systemd's images have one. */
	for (i = 0; i < 2 && r == -ENOENT; i++) {
		if (i > 0)
			unlinkat(etc, "machine-id", 0);
		if (mknodat(etc, "machine-id", S_IFREG | 0444, 0) < 0 &&
		    errno != EEXIST)
			return err_sys(e, errno,
				       "cannot create /etc/machine-id");
		r = bind_text(MACHINE_ID, "/etc/machine-id", text, e);
	}
	return r;
}

static int set_boot_id(struct err *e)
{
	uint8_t v[16];
	char text[64];

	if (getrandom(v, sizeof(v), 0) != sizeof(v))
		return err_sys(e, errno, "cannot get random bytes");
	v[6] = (v[6] & 0x0f) | 0x40; /* a random UUID: RFC 4122, 4.4 */
	v[8] = (v[8] & 0x3f) | 0x80;
	snprintf(text, sizeof(text),
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-"
		 "%02x%02x%02x%02x%02x%02x\n",
		 v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9],
		 v[10], v[11], v[12], v[13], v[14], v[15]);
	return bind_text(BOOT_ID, KERNEL_BOOT_ID, text, e);
}

/* The regular file @name in @etc; nothing if it is anything else. */
static void read_text(int etc, const char *name, struct buf *b)
{
	fd_auto int fd = openat(etc, name,
				O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    io_read_all(fd, b) < 0)
		buf_clear(b);
}

void setup_hosts(struct buf *b, const char *text, size_t n, const char *name)
{
	struct str rest = { n ? text : NULL, n }, line;

	if (!memmem(n ? text : "", n, "localhost", 9))
		buf_puts(b, "127.0.0.1\tlocalhost\n"
			    "::1\tlocalhost ip6-localhost ip6-loopback\n");
	while (rest.p) {
		line = str_cut(&rest, '\n');
		if (str_ends(line, STR(HOSTS_MARK)) ||
		    (line.len == 0 && !rest.p))
			continue;
		buf_add(b, line.p, line.len);
		buf_add(b, "\n", 1);
	}
	buf_printf(b, "127.0.1.1\t%s\t" HOSTS_MARK "\n", name);
}

static int write_text(int etc, const char *name, const struct buf *b,
		      struct err *e)
{
	if (b->failed)
		return err_sys(e, ENOMEM, "cannot write /etc/%s", name);
	return io_write_atomic(etc, name, b->data, b->len, 0644, e);
}

static int write_files(int etc, const char *name, struct err *e)
{
	buf_auto struct buf old = BUF_INIT_MAX(TEXT_MAX);
	buf_auto struct buf hosts = BUF_INIT_MAX(2 * TEXT_MAX);
	buf_auto struct buf host = BUF_INIT_MAX(256);
	buf_auto struct buf none = BUF_INIT_MAX(256);
	int r;

	buf_printf(&host, "%s\n", name);
	r = write_text(etc, "hostname", &host, e);
	if (r < 0)
		return r;
	read_text(etc, "hosts", &old);
	setup_hosts(&hosts, (const char *)old.data, old.len, name);
	r = write_text(etc, "hosts", &hosts, e);
	if (r < 0 ||
	    faccessat(etc, "resolv.conf", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return r;
	/* Without one, 127.0.0.1 would be asked. */
	buf_puts(&none, "# no name server is known\n");
	return write_text(etc, "resolv.conf", &none, e);
}

int setup_identity(const struct wire_request *x, struct err *e)
{
	fd_auto int etc = -1;
	int r = io_mkdirs(OWN_DIR, 0755, e);

	if (r < 0)
		return r;
	if (sethostname(x->hostname, strlen(x->hostname)) < 0)
		return err_sys(e, errno, "cannot set the host name to '%s'",
			       x->hostname);
	r = set_boot_id(e);
	if (r < 0)
		return r;
	r = io_mkdirs("/etc", 0755, e);
	if (r < 0)
		return r;
	etc = open("/etc", O_DIRECTORY | O_CLOEXEC);
	if (etc < 0)
		return err_sys(e, errno, "cannot open /etc");
	r = set_machine_id(etc, x->machine_id, e);
	return r < 0 ? r : write_files(etc, x->hostname, e);
}

/* ---- all of it ---- */

/* Entropy before anything that needs some; the clock last, so that it is right
 * when commands look at it. */
static int change_machine(const struct wire_request *x, struct err *e)
{
	int r = add_entropy(x, e);

	if (r == 0)
		r = setup_identity(x, e);
	/* Images name working directories that their layers lack. */
	if (r == 0 && x->cwd && !last.bytes.len)
		r = io_mkdirs(x->cwd, 0755, e);
	if (r == 0)
		r = set_clock(x, e);
	if (r < 0)
		return r;
	r = cgroup_thaw();
	return r < 0 ? err_sys(e, -r, "cannot thaw the commands") : 0;
}

static void kept_free(struct kept *k)
{
	wire_request_free(&k->x);
	buf_free(&k->bytes);
}

/* A copy of the request of our own, and what it says. */
static int keep(struct kept *k, const uint8_t *p, size_t n, struct err *e)
{
	if (buf_add(&k->bytes, p, n) < 0)
		return err_sys(e, ENOMEM, "cannot keep the setup");
	return wire_request_decode(&k->x, k->bytes.data, k->bytes.len, e);
}

int setup_apply(const struct wire_request *x, const uint8_t *p, size_t n,
		struct err *e)
{
	kept_auto struct kept new = KEPT_INIT;
	struct kept old = last;
	int r = keep(&new, p, n, e);

	/* After it, nothing can fail: the commands run. */
	if (r == 0 && required)
		r = change_machine(x, e);
	if (r < 0)
		return r;
	last = new;
	new = old;
	done = true;
	return 0;
}
