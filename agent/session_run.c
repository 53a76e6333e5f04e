/* SPDX-License-Identifier: MIT
 *
 * One command in a session's shell: see session.h.
 *
 * For command number N there are in.N, out.N, err.N and go.N, FIFOs, and
 * run.N:
 *
 *	{ command echo N s >|report; : <go.N; [ -e in.N ] && WORDS; } \
 *		<in.N >|out.N 2>|err.N
 *	command echo N $? >|report
 *
 * go.N is opened when the shell has said that it stands there, and so has all
 * others open.  A command that is taken back before that loses its in.N, and
 * never starts: a signal would meet the shell at its prompt, and garble what is
 * typed there.  Later, it can be found in the terminal's foreground.
 *
 * The shell's ends of the FIFOs must not be closed under it: a shell that
 * writes into a pipe without reader dies of it, and the session with it.  So
 * the agent reads to the end, wanted or not, and what stands for SIGPIPE is
 * sent to the job that is in the foreground.
 *
 * A command that is interrupted makes the shell forget the whole file, and
 * with it the last line.  The prompt that follows is output; upon that, the
 * shell is asked, by typing the last line again.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/pty.h"
#include "agent/server.h"
#include "agent/session.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"
#include "wire/msg.h"

/* Every character of a request may need four to be quoted. */
#define SCRIPT_MAX ((size_t)4 * WIRE_REQUEST_MAX + 4096)
#define KILL_LINE "\025" /* Ctrl-U */

static const char *const files[] = { "in", "out", "err", "go", "run" };
#define FIFOS 4 /* of them */

/* ---- the files ---- */

static void file_name(char name[static 32], const char *what, uint64_t number)
{
	snprintf(name, 32, "%s.%llu", what, (unsigned long long)number);
}

static void remove_files(struct session *t)
{
	char name[32];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(files); i++) {
		file_name(name, files[i], t->run.number);
		unlinkat(t->dirfd, name, 0);
	}
}

/* A FIFO of the session's user. */
static int make_fifo(struct session *t, const char *what, struct err *e)
{
	char name[32];

	file_name(name, what, t->run.number);
	if (mkfifoat(t->dirfd, name, 0600) < 0 ||
	    fchownat(t->dirfd, name, t->uid, (gid_t)-1, AT_SYMLINK_NOFOLLOW) <
		    0)
		return err_sys(e, errno, "cannot make %s/%s", t->dir, name);
	return 0;
}

static int open_fifo(struct session *t, const char *what, int flags)
{
	char name[32];

	file_name(name, what, t->run.number);
	return openat(t->dirfd, name,
		      flags | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
}

static int make_fifos(struct session *t, struct stream *s, struct err *e)
{
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < FIFOS; i++)
		r = make_fifo(t, files[i], e);
	if (r < 0)
		return r;
	t->run.in_hold = open_fifo(t, "in", O_RDWR);
	s->in_w.fd = open_fifo(t, "in", O_WRONLY);
	s->out[0].w.fd = open_fifo(t, "out", O_RDONLY);
	s->out[1].w.fd = open_fifo(t, "err", O_RDONLY);
	if (t->run.in_hold < 0 || s->in_w.fd < 0 || s->out[0].w.fd < 0 ||
	    s->out[1].w.fd < 0)
		return err_sys(e, errno, "cannot open the FIFOs of %s", t->dir);
	return 0;
}

static void add_word(struct buf *b, const char *w)
{
	const char *quote;

	buf_add(b, " '", 2);
	while ((quote = strchr(w, '\''))) {
		buf_add(b, w, (size_t)(quote - w));
		buf_add(b, "'\\''", 4);
		w = quote + 1;
	}
	buf_puts(b, w);
	buf_add(b, "'", 1);
}

static int write_script(struct session *t, const struct wire_request *x,
			struct err *e)
{
	buf_auto struct buf b = BUF_INIT_MAX(SCRIPT_MAX);
	unsigned long long n = t->run.number;
	fd_auto int fd = -1;
	char name[32];
	size_t i;
	int r;

	buf_printf(&b,
		   "{ command echo %llu s >|%s/report; : <%s/go.%llu; "
		   "[ -e %s/in.%llu ] &&",
		   n, t->dir, t->dir, n, t->dir, n);
	for (i = 0; i < x->argc; i++)
		add_word(&b, x->argv[i]);
	buf_printf(&b, "; } <%s/in.%llu >|%s/out.%llu 2>|%s/err.%llu\n", t->dir,
		   n, t->dir, n, t->dir, n);
	buf_printf(&b, "command echo %llu $? >|%s/report\n", n, t->dir);
	if (b.failed)
		return err_sys(e, ENOMEM, "cannot write the command down");
	file_name(name, "run", n);
	fd = openat(t->dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
		    0600);
	if (fd < 0 || fchown(fd, t->uid, (gid_t)-1) < 0)
		return err_sys(e, errno, "cannot make %s/%s", t->dir, name);
	r = io_write_full(fd, b.data, b.len);
	return r < 0 ? err_sys(e, -r, "cannot write %s/%s", t->dir, name) : 0;
}

/* ---- what the shell is told and tells ---- */

static int type_line(struct session *t, const char *before, const char *after)
{
	mem_auto char *line =
		str_printf("%s %s%llu%s\n", t->half_line ? KILL_LINE : "",
			   before, (unsigned long long)t->run.number, after);
	int r = line ? session_type(t, line) : -ENOMEM;

	if (r == 0)
		t->half_line = false;
	return r;
}

static void ask(struct session *t)
{
	mem_auto char *after = str_printf(" $? >|%s/report", t->dir);

	t->run.asked = true;
	if (after)
		type_line(t, "command echo ", after);
}

void session_prompted(struct session *t)
{
	struct session_run *run = &t->run;

	if (run->stream && !run->asked && (run->begun || run->broken) &&
	    pty_foreground(t->pty.fd) == t->pid)
		ask(t);
}

/* All FIFOs are open at the shell's end, which waits to be let go. */
static void begun(struct session *t)
{
	t->run.begun = true;
	fd_close(&t->run.in_hold);
	/* What stands in the terminal is the line that was typed, and not yet
	 * a prompt. */
	session_drain(t);
	t->run.go = open_fifo(t, "go", O_RDWR);
}

/* "N s" or "N status", of the command that runs; anything else is nobody's. */
static void report_line(struct session *t, struct str line)
{
	struct str number = str_cut(&line, ' ');
	uint64_t n, status;

	if (!t->run.stream || !line.p ||
	    str_u64(number, 0, UINT64_MAX, &n, "", NULL) < 0 ||
	    n != t->run.number)
		return;
	if (str_eq(line, STR("s")) && !t->run.begun)
		begun(t);
	else if (str_u64(line, 0, 255, &status, "", NULL) == 0)
		session_run_ended(t, (int)status << 8);
}

void session_report(struct session *t)
{
	char bytes[512];
	ssize_t i, n = t->report.fd < 0 ?
			       0 :
			       read(t->report.fd, bytes, sizeof(bytes));

	for (i = 0; i < n; i++) {
		if (bytes[i] != '\n') {
			if (t->line_len < sizeof(t->line))
				t->line[t->line_len] = bytes[i];
			t->line_len += t->line_len <= sizeof(t->line);
			continue;
		}
		if (t->line_len <= sizeof(t->line))
			report_line(t, (struct str){ t->line, t->line_len });
		t->line_len = 0;
	}
}

void session_run_ended(struct session *t, int status)
{
	struct stream *s = t->run.stream;
	struct conn *c = s->conn;

	t->run.stream = NULL;
	s->session = NULL;
	if (t->run.early && !t->dead)
		status = (128 + t->run.early) << 8;
	fd_close(&t->run.in_hold);
	fd_close(&t->run.go);
	remove_files(t);
	loop_close(&s->in_w);
	stream_ended(s, s->reset ? SIGKILL : status);
	session_pace(t);
	session_check_busy(t);
	if (c)
		conn_flush(c);
}

/* ---- what the client does ---- */

/* The shell itself is spared: it ends what it does by itself and goes back to
 * its prompt. */
static void send_signal(struct session *t, int sig, bool force)
{
	pid_t fg = t->pty.fd >= 0 ? pty_foreground(t->pty.fd) : 0;
	bool ends = sig == SIGINT || sig == SIGTERM || sig == SIGHUP ||
		    sig == SIGQUIT || sig == SIGKILL;
	char name[32];

	if (!fg || t->dead)
		return;
	if (ends && !t->run.begun && !force) {
		t->run.early = sig;
		file_name(name, "in", t->run.number);
		unlinkat(t->dirfd, name, 0);
		return;
	}
	t->run.broken |= ends;
	t->run.asked = false;
	/* What would come after the job is not to come either. */
	if (ends && (fg == t->pid || sig == SIGKILL))
		kill(-t->pid, SIGINT);
	if (fg != t->pid)
		kill(-fg, sig);
}

static void run_in_end(struct stream *s)
{
	loop_close(&s->in_w);
}

static void run_more(struct stream *s, int i)
{
	loop_arm(&s->out[i].w, EPOLLIN);
}

static void run_unwanted(struct stream *s, int i)
{
	s->out[i].eof_sent = true;
	s->out[i].broken = true;
	out_discard(s, i);
}

static void run_signal(struct stream *s, int sig)
{
	send_signal(s->session, sig, false);
}

/* The second time, what does not let itself be killed is left alone. */
static void run_reset(struct stream *s)
{
	bool again = s->reset;

	s->reset = true;
	loop_close(&s->in_w);
	run_unwanted(s, 0);
	run_unwanted(s, 1);
	send_signal(s->session, SIGKILL, again);
	if (again) {
		s->status = SIGKILL;
		out_exit(s);
		stream_leave_alone(s);
		stream_tell_busy();
	}
}

static bool run_lost(struct stream *s)
{
	stream_leave_alone(s);
	return false;
}

/* Something was written that nobody wants, or by what should be dead: a job
 * that was just being started is not in the foreground yet, and survives. */
static void run_unheard(struct stream *s)
{
	struct session *t = s->session;
	pid_t fg = t->pty.fd >= 0 ? pty_foreground(t->pty.fd) : 0;

	if (fg && fg != t->pid)
		kill(-fg, s->reset ? SIGKILL : SIGPIPE);
}

static const struct stream_ops run_ops = {
	.in_end = run_in_end,
	.more = run_more,
	.unwanted = run_unwanted,
	.signal = run_signal,
	.reset = run_reset,
	.lost = run_lost,
	.unheard = run_unheard,
};

/* ---- the start ---- */

static int start(struct session *t, struct stream *s,
		 const struct wire_request *x, struct err *e)
{
	mem_auto char *line = str_printf(". %s/run.", t->dir);
	int r = line ? make_fifos(t, s, e) : err_sys(e, ENOMEM, "no memory");

	if (r == 0)
		r = write_script(t, x, e);
	if (r == 0 && type_line(t, line, "") < 0)
		r = err_set(e, EBUSY,
			    "session %s is busy: its terminal takes no input",
			    t->name);
	if (r == 0)
		r = loop_arm(&s->out[0].w, EPOLLIN);
	if (r == 0)
		r = loop_arm(&s->out[1].w, EPOLLIN);
	return r;
}

int session_run(struct session *t, struct stream *s,
		const struct wire_request *x, struct err *e)
{
	int r;

	if (t->run.stream || pty_foreground(t->pty.fd) != t->pid) {
		err_set(e, EBUSY, "session %s is busy: a command runs in it",
			t->name);
		return err_fix(e, "wait for it, or take another session");
	}
	t->run.number++;
	t->run.begun = t->run.asked = t->run.broken = false;
	t->run.early = 0;
	r = start(t, s, x, e);
	if (r < 0) {
		fd_close(&t->run.in_hold);
		remove_files(t);
		return r;
	}
	t->run.stream = s;
	s->session = t;
	s->ops = &run_ops;
	session_pace(t);
	return RUN_STARTED;
}
