/* SPDX-License-Identifier: MIT
 *
 * Starting a sandbox's monitor: see start.h.
 *
 * It leads a session of its own and has nothing of ours: no terminal, no
 * descriptor but the three standard ones and the pipe that it says "ready"
 * on.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/proc.h"
#include "sandbox/helper.h"
#include "sandbox/start.h"

#define READY_FD 3
#define READY "ready\n"
#define WORDS_ROOM 1024
#define LOG_MAX ((size_t)2 << 20)
#define CONSOLE_LINES 5 /* of the console, that an error quotes */

/* Quiet, because each character is an exit of the guest; what is wrong is
 * said nevertheless.  A panic ends the sandbox: nobody is there to look.  Tests
 * of the kernel's own ciphers would be a tenth of its start. */
#define CMDLINE "console=ttyS0 quiet panic=-1 reboot=a cryptomgr.notests"

/* A user of its own for each sandbox, as root: from the part of the user ids
 * that nothing else hands out (2^28 of them from 1879048192 on), by the id,
 * which is random; so that no list of those in use has to be kept. */
#define UID_FIRST 0x70000000U
#define UID_MASK 0x0fffffffU

struct words {
	char vcpus[24], memory[24], timeout[24], uid[16], cid[16], ready[8];
};

uint32_t monitor_cid(void)
{
	uint32_t n = 0;

	/* 0 to 2 mean something else, and so does 2^32 - 1. */
	while (n < 3)
		(void)!getrandom(&n, sizeof(n), 0);
	return n == UINT32_MAX ? 3 : n;
}

static void describe(struct words *w, const json_t *config, const struct box *b)
{
	unsigned long low = strtoul(b->id + ID_SIZE - 1 - 7, NULL, 16);

	snprintf(w->vcpus, sizeof(w->vcpus), "%llu",
		 (unsigned long long)config_number(config, "vcpus"));
	snprintf(w->memory, sizeof(w->memory), "%llu",
		 (unsigned long long)config_number(config, "memory"));
	snprintf(w->timeout, sizeof(w->timeout), "%llu",
		 (unsigned long long)config_number(config, "timeout"));
	snprintf(w->uid, sizeof(w->uid), "%lu", UID_FIRST | (low & UID_MASK));
	snprintf(w->cid, sizeof(w->cid), "%u", monitor_cid());
	snprintf(w->ready, sizeof(w->ready), "%d", READY_FD);
}

/* The kernel's command line; on the heap, NULL: out of memory. */
static char *kernel_words(const struct start_source *from)
{
	return str_printf(CMDLINE "%s%s", from->cmdline ? " " : "",
			  from->cmdline ? from->cmdline : "");
}

static int run_monitor(struct proc *p, const char *const *argv,
		       const struct box *b, int cgroup, int ready,
		       struct err *e)
{
	struct proc_spec spec = PROC_SPEC_INIT;
	fd_auto int log = openat(b->dir, "vmm.log",
				 O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
				 0600);

	if (log < 0)
		return err_sys(e, errno, "cannot make vmm.log");
	spec.argv = argv;
	spec.out = spec.err = log;
	spec.keep = &ready;
	spec.nkeep = 1;
	spec.cgroup = cgroup;
	spec.session = true;
	spec.cwd = "/";
	return proc_spawn(p, &spec, e);
}

static int spawn(struct proc *p, const json_t *config,
		 const struct start_source *from, const struct rundir *d,
		 const struct box *b, int cgroup, int ready, struct err *e)
{
	mem_auto char *vmm = helper_libexec("iso-vmm");
	mem_auto char *dir = str_path(d->path, b->entry);
	mem_auto char *scratch = dir ? str_path(dir, "scratch") : NULL;
	mem_auto char *line = kernel_words(from);
	bool cold = !from->state;
	struct words w;

	if (!vmm)
		return err_set(e, ENOENT,
			       "no monitor (iso-vmm) beside this program");
	if (!scratch || !line)
		return err_sys(e, ENOMEM, "cannot start the monitor");
	describe(&w, config, b);
	/* Those that a restored machine has no use for are last. */
	const char *const argv[] = { vmm,
				     "--dir",
				     dir,
				     "--rootfs",
				     config_text(config, "rootfs"),
				     "--scratch",
				     scratch,
				     "--vcpus",
				     w.vcpus,
				     "--memory",
				     w.memory,
				     "--timeout",
				     w.timeout,
				     "--uid",
				     w.uid,
				     "--cid",
				     w.cid,
				     "--ready",
				     w.ready,
				     cold ? "--kernel" : "--state",
				     cold ? from->vmlinux : from->state,
				     cold ? "--initramfs" : "--memory-file",
				     cold ? from->initramfs : from->memory,
				     cold	    ? "--cmdline" :
				     from->prefetch ? "--prefetch" :
						      NULL,
				     cold ? line : from->prefetch,
				     NULL };

	return run_monitor(p, argv, b, cgroup, ready, e);
}

/* ---- readiness ---------------------------------------------------------- */

static int wait_readable(int fd, int cancel, struct err *e)
{
	struct pollfd pf[2] = { { fd, POLLIN, 0 }, { cancel, POLLIN, 0 } };

	while (poll(pf, 2, -1) < 0) {
		if (errno != EINTR)
			return err_sys(e, errno, "cannot wait");
	}
	return pf[1].revents ? err_set(e, EINTR, "interrupted") : 0;
}

static bool is_ready(const char *text, size_t n)
{
	return n == strlen(READY) && memcmp(text, READY, n) == 0;
}

/* All that the monitor says: "ready", or what is wrong and perhaps what to do
 * about it. */
static int read_words(int fd, int cancel, char text[static WORDS_ROOM],
		      struct err *e)
{
	ssize_t got = 1;
	size_t n = 0;

	while (got > 0 && n + 1 < WORDS_ROOM && !is_ready(text, n)) {
		int r = wait_readable(fd, cancel, e);

		if (r < 0)
			return r;
		got = read(fd, text + n, WORDS_ROOM - 1 - n);
		if (got < 0 && errno == EINTR)
			got = 1;
		else if (got > 0)
			n += (size_t)got;
	}
	text[n] = '\0';
	return 0;
}

/* @text is the monitor's one line: what it says of a state file begins so. */
static int refused(const char *text, struct err *e)
{
	int num = strncmp(text, "state, ", 7) == 0 ? EBADMSG : EIO;
	struct str rest = str_of(text), fix;
	struct str why = str_cut(&rest, '\n');
	const char *at = rest.len ? strstr(rest.p, "try: ") : NULL;

	err_set(e, num, "the monitor did not start: %.*s", STR_ARG(why));
	if (!at)
		return -num;
	fix = str_trim(str_of(at + strlen("try: ")));
	return err_fix(e, "%.*s", STR_ARG(fix));
}

int monitor_start(struct proc *p, const struct start_spec *s,
		  const json_t *config, const struct start_source *from,
		  const struct rundir *d, const struct box *b, int cgroup,
		  struct err *e)
{
	char text[WORDS_ROOM] = "";
	int pipe[2], r;

	if (pipe2(pipe, O_CLOEXEC) < 0)
		return err_sys(e, errno, "cannot make a pipe");
	r = spawn(p, config, from, d, b, cgroup, pipe[1], e);
	close(pipe[1]);
	if (r == 0)
		r = read_words(pipe[0], s->cancel, text, e);
	close(pipe[0]);
	if (r < 0 || is_ready(text, strlen(text)))
		return r;
	if (*text)
		return refused(text, e);
	err_set(e, EIO, "the monitor died");
	monitor_explain(b, e);
	return -EIO;
}

/* ---- explanations ------------------------------------------------------- */

/* The last @lines lines of a file, joined by " | ", into @out. */
static void tail(const struct box *b, const char *file, int lines, char *out,
		 size_t size)
{
	buf_auto struct buf t = BUF_INIT_MAX(LOG_MAX);
	struct str s;
	size_t from, i, n = 0;

	out[0] = '\0';
	if (io_read_file(b->dir, file, &t, NULL) < 0 || t.len == 0)
		return;
	s = str_trim((struct str){ (const char *)t.data, t.len });
	for (from = s.len; from > 0; from--) {
		if (s.p[from - 1] == '\n' && --lines == 0)
			break;
	}
	/* The end of it, if not all fits; and only what can be printed. */
	if (s.len - from >= size)
		from = s.len - size + 1;
	for (i = from; i < s.len; i++) {
		char c = s.p[i];

		if (c == '\n' && n + 3 < size - (s.len - i)) {
			out[n++] = ' ';
			out[n++] = '|';
			c = ' ';
		}
		if (c == '\r')
			continue;
		if (c < ' ' || c > '~')
			c = ' ';
		out[n++] = c;
	}
	out[n] = '\0';
}

void monitor_explain(const struct box *b, struct err *e)
{
	char text[256];
	struct err was;

	if (!e)
		return;
	/* It will not be there to be looked at. */
	e->fix[0] = '\0';
	was = *e;
	tail(b, "vmm.log", 1, text, sizeof(text));
	if (*text)
		err_set(e, was.num, "%s: %s", was.text, text);
	was = *e;
	tail(b, "console.log", CONSOLE_LINES, text, sizeof(text));
	if (*text)
		err_set(e, was.num, "%s; the guest's console ends in: %s",
			was.text, text);
}
