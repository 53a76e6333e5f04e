/* SPDX-License-Identifier: MIT
 *
 * The processes of an emulated host: see machine.h.
 *
 * Resources reach them as descriptors or by names relative to their working
 * directory, so that no path of the user's has to fit into QEMU's option
 * syntax.
 */
#include "host/machine.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/sock.h"
#include "base/str.h"
#include "host/emu.h"

/* ---- the file servers ---- */

static const char *find_virtiofsd(void)
{
	static const char *const places[] = {
		"/usr/lib/qemu/virtiofsd",
		"/usr/libexec/virtiofsd",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(places); i++) {
		if (access(places[i], X_OK) == 0)
			return places[i];
	}
	return NULL;
}

/* @sock is where QEMU will find it: it listens before the server starts, so
 * nobody has to wait for anybody. */
static int start_fs(struct machine *m, const char *dir, int which,
		    struct err *e)
{
	static const char *const names[] = { "root", "share" };
	/* The machine's root hardly changes while it is up, and is read all
	 * the time; a share is where people build, and must never be stale. */
	static const char *const caches[] = { "cache=always",
					      "cache=auto,timeout=0" };
	mem_auto char *source = str_path(dir, names[which]);
	mem_auto char *sock = str_printf("%s/%s.sock", dir, names[which]);
	const char *argv[] = {
		find_virtiofsd(),	    "-f", "--fd=3",	    "-o",
		"source=/proc/self/fd/4/.", "-o", caches[which],    "-o",
		"sandbox=chroot",	    "-o", "log_level=warn", NULL
	};
	struct proc_spec spec = PROC_SPEC_INIT;
	fd_auto int fd = -1;
	fd_auto int source_fd = -1;
	int keep[2];

	if (!source || !sock)
		return err_sys(e, ENOMEM, "file server");
	if (!argv[0]) {
		err_set(e, ENOENT, "no virtiofsd on this machine");
		return err_fix(e, "apt-get install qemu-system-x86");
	}
	fd = sock_listen(sock, e);
	if (fd < 0)
		return fd;
	/* By descriptor: a comma in the path would end the option. */
	source_fd = open(source, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (source_fd < 0)
		return err_sys(e, errno, "cannot open %s", source);
	keep[0] = fd;
	keep[1] = source_fd;
	spec.argv = argv;
	spec.out = STDERR_FILENO;
	spec.err = STDERR_FILENO;
	spec.keep = keep;
	spec.nkeep = 2;
	spec.session = true;
	spec.die_with_parent = SIGKILL;
	return proc_spawn(&m->fs[which], &spec, e);
}

/* ---- QEMU ---- */

/* No process runs on processor 0, which is one more than was asked for, so that
 * no guest of KVM does.  On any of QEMU's processors FXRSTOR, XRSTOR and FLDENV
 * write to the flags of the first one (cpu_clear_ignne(), without a lock, up to
 * 7.2 at least): what it changes there itself at that moment is lost.  Of guests
 * those are flags that matter: that interrupts are off, that page tables are
 * nested.  Measured, before: with four restores at a time a guest or this kernel
 * died every 100 s.  A kernel that would hang is to end instead.
 *
 * Processes are all at the same addresses, for QEMU translates code for the
 * address at which it runs: elsewhere, which is to say in each process, it does
 * all of that again.  Measured: a program that does nothing takes 16 ms instead
 * of 40.  What is to be kept in is kept in by QEMU. */
static const char cmdline[] =
	"console=ttyS0 loglevel=4 panic=-1 mitigations=off nokaslr "
	"random.trust_cpu=on cryptomgr.notests apparmor=0 audit=0 "
	"softlockup_panic=1 watchdog_thresh=30 isolcpus=0 "
	"norandmaps";

struct qemu_args {
	const char *v[64];
	char text[8][256];
	int n, ntext;
};

static void arg(struct qemu_args *a, const char *word)
{
	a->v[a->n++] = word;
}

static void arg2(struct qemu_args *a, const char *option, const char *value)
{
	arg(a, option);
	arg(a, value);
}

static __attribute__((format(printf, 3, 4))) void
argf(struct qemu_args *a, const char *option, const char *fmt, ...)
{
	char *text = a->text[a->ntext++];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(a->text[0]), fmt, ap);
	va_end(ap);
	arg2(a, option, text);
}

static void qemu_args(struct qemu_args *a, const struct emu_config *c)
{
	unsigned long long mib = c->memory >> 20;

	arg(a, "qemu-system-x86_64");
	arg2(a, "-name", "isokit");
	/* q35: on microvm the kernel fails to calibrate its clock. */
	arg2(a, "-machine", "q35,memory-backend=mem,vmport=off,smm=off");
	arg2(a, "-accel", "tcg,thread=multi,tb-size=512");
	/* QEMU 7.2 loses what a second-level guest writes to XCR0, so that its
	 * kernel finds vector state inconsistent: better none. */
	arg2(a, "-cpu", "max,xsave=off");
	argf(a, "-smp", "%llu", (unsigned long long)c->cpus + 1);
	argf(a, "-m", "%lluM", mib);
	argf(a, "-object", "memory-backend-memfd,id=mem,size=%lluM,share=on",
	     mib);
	arg(a, "-nodefaults");
	arg(a, "-no-user-config");
	arg(a, "-no-reboot");
	arg2(a, "-display", "none");
	arg2(a, "-kernel", c->vmlinux);
	arg2(a, "-initrd", c->initramfs);
	arg2(a, "-append", cmdline);
	arg2(a, "-device", "virtio-serial-pci,max_ports=2");
	arg2(a, "-chardev", "socket,id=agent,fd=3");
	arg2(a, "-device", "virtserialport,chardev=agent,name=iso.agent");
	arg2(a, "-chardev", "socket,id=console,fd=4");
	arg2(a, "-serial", "chardev:console");
	arg2(a, "-chardev", "socket,id=root,path=root.sock");
	arg2(a, "-device",
	     "vhost-user-fs-pci,chardev=root,tag=root,"
	     "queue-size=512");
	arg2(a, "-chardev", "socket,id=share,path=share.sock");
	arg2(a, "-device",
	     "vhost-user-fs-pci,chardev=share,tag=share,"
	     "queue-size=512");
	arg2(a, "-drive",
	     "file=state.img,format=raw,if=none,id=state,"
	     "discard=unmap,detect-zeroes=unmap,werror=report,"
	     "rerror=report");
	arg2(a, "-device", "virtio-blk-pci,drive=state");
	arg2(a, "-device", "virtio-rng-pci");
}

/* @port: what it inherits as 3, the agent's, and 4, the serial one. */
static int start_qemu(struct machine *m, const struct emu_config *c,
		      const char *dir, const int port[static 2], struct err *e)
{
	struct proc_spec spec = PROC_SPEC_INIT;
	struct qemu_args a = { .n = 0 };
	int r;

	qemu_args(&a, c);
	spec.argv = a.v;
	spec.cwd = dir;
	spec.out = STDERR_FILENO;
	spec.err = STDERR_FILENO;
	spec.keep = port;
	spec.nkeep = 2;
	spec.session = true;
	spec.die_with_parent = SIGKILL;
	r = proc_spawn(&m->qemu, &spec, e);
	if (r == -ENOENT)
		err_fix(e, "apt-get install qemu-system-x86");
	return r;
}

int machine_start(struct machine *m, const struct emu_config *c,
		  const char *dir, int *agent, int *console, struct err *e)
{
	int a[2], b[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, a) < 0)
		return err_sys(e, errno, "cannot make a socket pair");
	*agent = a[0];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, b) < 0) {
		r = err_sys(e, errno, "cannot make a socket pair");
		close(a[1]);
		return r;
	}
	*console = b[0];
	r = start_fs(m, dir, FS_ROOT, e);
	if (r == 0)
		r = start_fs(m, dir, FS_SHARE, e);
	if (r == 0)
		r = start_qemu(m, c, dir, (const int[]){ a[1], b[1] }, e);
	close(a[1]);
	close(b[1]);
	return r;
}

void machine_end(struct machine *m)
{
	proc_end(&m->qemu);
	proc_end(&m->fs[FS_ROOT]);
	proc_end(&m->fs[FS_SHARE]);
}
