/* SPDX-License-Identifier: MIT
 *
 * The client's end of one command: see client.h.
 *
 * One poll(2) loop.  Standard output is never made non-blocking, because that
 * would change it for whoever else holds it; instead it is written in pieces
 * that poll says it has room for, so that a reader who has stopped does not
 * keep a Ctrl-C from getting through.
 */
#include "wire/client.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"

#define STREAM 1U
/* Frames waiting for the connection: above this, stdin is left alone. */
#define OUT_HIGH ((size_t)4 * WIRE_PAYLOAD_MAX)
/* How long an agent has to say that what it was told to kill is dead. */
#define GRACE CLOCK_S(10)

/* Where one of the command's outputs goes. */
struct sink {
	int fd; /* borrowed; -1: nobody reads it any more */
	bool file;
	struct buf pend;
	size_t off;	/* bytes of pend already written */
	uint32_t taken; /* written, not yet told to the agent */
};

struct relay {
	int conn;
	int sigfd;
	bool tty;
	bool in_open;
	bool stopping; /* as soon as everything is sent */
	bool late;     /* the deadline has passed: it is being killed */
	uint64_t deadline;
	uint32_t in_credit;
	struct sink sink[2];
	struct buf out;
	size_t out_off;
	bool done;
	enum wire_outcome outcome;
	struct wire_exit *ended;
	struct err *e;
	struct wire_reader in;
};

static const int forwarded[] = {
	SIGHUP,	 SIGINT,  SIGQUIT, SIGTERM,  SIGUSR1,
	SIGUSR2, SIGTSTP, SIGCONT, SIGWINCH,
};

static void finish(struct relay *r, enum wire_outcome how)
{
	r->done = true;
	r->outcome = how;
}

/* ---- to the agent ---- */

static size_t out_pending(const struct relay *r)
{
	return r->out.len - r->out_off;
}

static void flush_out(struct relay *r)
{
	ssize_t n = write(r->conn, r->out.data + r->out_off, out_pending(r));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		/* What the agent had to say is still there to be read. */
		buf_clear(&r->out);
		r->out_off = 0;
		r->in_open = false;
		return;
	}
	r->out_off += (size_t)n;
	if (out_pending(r) == 0) {
		buf_clear(&r->out);
		r->out_off = 0;
	} else if (r->out_off > OUT_HIGH) {
		/* There may always be something: it must not grow. */
		buf_shift(&r->out, r->out_off);
		r->out_off = 0;
	}
}

static void read_stdin(struct relay *r)
{
	uint8_t chunk[WIRE_PAYLOAD_MAX];
	size_t want = r->in_credit < sizeof(chunk) ? r->in_credit :
						     sizeof(chunk);
	ssize_t n = read(STDIN_FILENO, chunk, want);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		r->in_open = false;
		wire_put(&r->out, WIRE_EOF, WIRE_STDIN, STREAM, NULL, 0);
		return;
	}
	r->in_credit -= (uint32_t)n;
	wire_put(&r->out, WIRE_DATA, WIRE_STDIN, STREAM, chunk, (size_t)n);
}

static void send_winsize(struct relay *r)
{
	struct wire_winsize w;
	struct winsize ws;

	if (!r->tty || ioctl(STDIN_FILENO, TIOCGWINSZ, &ws) < 0)
		return;
	w = (struct wire_winsize){ ws.ws_row, ws.ws_col, ws.ws_xpixel,
				   ws.ws_ypixel };
	wire_put_winsize(&r->out, STREAM, &w);
}

static void take_signal(struct relay *r)
{
	struct signalfd_siginfo si;

	if (read(r->sigfd, &si, sizeof(si)) != sizeof(si))
		return;
	if (si.ssi_signo == SIGWINCH) {
		send_winsize(r);
		return;
	}
	/* The command leads a session without job control, where the kernel
	 * ignores SIGTSTP: it takes SIGSTOP to stop it. */
	wire_put_u32(&r->out, WIRE_SIGNAL, 0, STREAM,
		     si.ssi_signo == SIGTSTP ? SIGSTOP : si.ssi_signo);
	r->stopping = si.ssi_signo == SIGTSTP;
}

/* ---- from the agent ---- */

static size_t sink_pending(const struct sink *s)
{
	return s->pend.len - s->off;
}

static void sink_close(struct relay *r, struct sink *s)
{
	if (s->fd < 0)
		return;
	s->fd = -1;
	s->off = 0;
	buf_free(&s->pend);
	wire_put(&r->out, WIRE_EOF, (uint8_t)(WIRE_STDOUT + (s - r->sink)),
		 STREAM, NULL, 0);
}

static void sink_flush(struct relay *r, struct sink *s)
{
	/* What poll promises of a pipe is room for PIPE_BUF. */
	size_t left = sink_pending(s);
	size_t want = s->file || left < PIPE_BUF ? left : PIPE_BUF;
	ssize_t n = write(s->fd, s->pend.data + s->off, want);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n < 0) {
		sink_close(r, s);
		return;
	}
	s->off += (size_t)n;
	if (sink_pending(s) == 0) {
		buf_clear(&s->pend);
		s->off = 0;
	}
	s->taken += (uint32_t)n;
	if (s->taken < WIRE_WINDOW / 2)
		return;
	wire_put_u32(&r->out, WIRE_CREDIT,
		     (uint8_t)(WIRE_STDOUT + (s - r->sink)), STREAM, s->taken);
	s->taken = 0;
}

static void on_data(struct relay *r, const struct wire_frame *f)
{
	struct sink *s;

	if (f->channel == WIRE_STDIN)
		return;
	s = &r->sink[f->channel - WIRE_STDOUT];
	if (s->fd < 0)
		return;
	/* Now and then, not at each write: moving bytes is not free. */
	if (s->off > WIRE_WINDOW / 2) {
		buf_shift(&s->pend, s->off);
		s->off = 0;
	}
	/* What it may have sent is what was not credited yet. */
	if (f->len > WIRE_WINDOW - s->taken - sink_pending(s) ||
	    buf_add(&s->pend, f->data, f->len) < 0) {
		err_set(r->e, EPROTO,
			"protocol broken: the agent overran its window");
		finish(r, WIRE_LOST);
	}
}

static void on_frame(struct relay *r, const struct wire_frame *f)
{
	switch (f->type) {
	case WIRE_DATA:
		on_data(r, f);
		break;
	case WIRE_CREDIT:
		if (f->channel == WIRE_STDIN)
			r->in_credit += wire_get32(f->data);
		break;
	case WIRE_EOF:
		if (f->channel == WIRE_STDIN)
			r->in_open = false;
		break;
	case WIRE_EXIT:
		wire_get_exit(f, r->ended);
		finish(r, WIRE_EXITED);
		break;
	case WIRE_FAILED:
		wire_get_error(f, r->e);
		finish(r, WIRE_REFUSED);
		break;
	case WIRE_ERROR:
		wire_get_error(f, r->e);
		finish(r, WIRE_LOST);
		break;
	case WIRE_PING:
		wire_put(&r->out, WIRE_PONG, 0, 0, f->data, f->len);
		break;
	case WIRE_HELLO:
	case WIRE_PONG:
	case WIRE_STARTED:
	case WIRE_SHUTDOWN:
	case WIRE_OPEN:
	case WIRE_SIGNAL:
	case WIRE_WINSIZE:
	case WIRE_RESET:
		break;
	}
}

static void read_conn(struct relay *r)
{
	struct wire_frame f;
	int n = wire_read(&r->in, r->conn);

	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		err_sys(r->e, n ? -n : ECONNRESET, "connection to the agent");
		finish(r, WIRE_LOST);
		return;
	}
	while (!r->done && (n = wire_next(&r->in, &f, r->e)) > 0)
		on_frame(r, &f);
	if (n < 0)
		finish(r, WIRE_LOST);
}

/* ---- the loop ---- */

enum { P_CONN, P_SIG, P_IN, P_OUT, P_ERR, P_N };

static void want(const struct relay *r, struct pollfd pf[static P_N])
{
	int i;

	pf[P_CONN] = (struct pollfd){ r->done ? -1 : r->conn, POLLIN, 0 };
	if (out_pending(r))
		pf[P_CONN].events |= POLLOUT;
	pf[P_SIG] = (struct pollfd){ r->sigfd, POLLIN, 0 };
	pf[P_IN] = (struct pollfd){ -1, POLLIN, 0 };
	if (r->in_open && r->in_credit && !r->stopping &&
	    out_pending(r) < OUT_HIGH)
		pf[P_IN].fd = STDIN_FILENO;
	for (i = 0; i < 2; i++) {
		const struct sink *s = &r->sink[i];

		/* Without anything to write, still to hear of a reader's
		 * going away. */
		pf[P_OUT + i] = (struct pollfd){ s->fd,
						 sink_pending(s) ? POLLOUT : 0,
						 0 };
	}
}

static void serve(struct relay *r, const struct pollfd pf[static P_N])
{
	int i;

	for (i = 0; i < 2; i++) {
		struct sink *s = &r->sink[i];

		if (sink_pending(s) && pf[P_OUT + i].revents)
			sink_flush(r, s);
		else if (pf[P_OUT + i].revents & POLLERR)
			sink_close(r, s);
	}
	if (pf[P_SIG].revents)
		take_signal(r);
	if (pf[P_IN].revents && !r->stopping)
		read_stdin(r);
	if (pf[P_CONN].revents & (POLLIN | POLLHUP | POLLERR))
		read_conn(r);
	if (!r->done && out_pending(r))
		flush_out(r);
	/* Not before the command hears of it, nor in the middle of a frame. */
	if (r->stopping && (r->done || !out_pending(r))) {
		r->stopping = false;
		raise(SIGSTOP);
	}
}

static bool finished(const struct relay *r)
{
	return r->done && sink_pending(&r->sink[0]) == 0 &&
	       sink_pending(&r->sink[1]) == 0;
}

/* The time is over: for the command, then for the agent. */
static void too_late(struct relay *r)
{
	size_t i;

	if (r->late) {
		err_set(r->e, ETIMEDOUT,
			"the agent did not say that the command was killed");
		for (i = 0; i < ARRAY_SIZE(r->sink); i++) {
			buf_clear(&r->sink[i].pend);
			r->sink[i].off = 0;
		}
		finish(r, WIRE_TIMEOUT);
		return;
	}
	r->late = true;
	r->in_open = false;
	r->deadline = clock_now() + GRACE;
	wire_put(&r->out, WIRE_RESET, 0, STREAM, NULL, 0);
}

static void relay_loop(struct relay *r)
{
	struct pollfd pf[P_N];

	while (!finished(r)) {
		want(r, pf);
		if (r->deadline != UINT64_MAX && clock_now() >= r->deadline) {
			too_late(r);
			continue;
		}
		if (poll(pf, P_N, clock_until_ms(r->deadline)) < 0 &&
		    errno != EINTR) {
			err_sys(r->e, errno, "cannot wait");
			finish(r, WIRE_LOST);
			return;
		}
		serve(r, pf);
	}
}

/* ---- around it ---- */

static void sink_init(struct sink *s, int fd)
{
	struct stat st;

	*s = (struct sink){ .fd = fd,
			    .pend = BUF_INIT_MAX((size_t)2 * WIRE_WINDOW) };
	s->file = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static int block_signals(sigset_t *old)
{
	struct sigaction sa;
	sigset_t set;
	size_t i;

	sigemptyset(&set);
	/* What is ignored here (nohup, a shell's background) is ignored. */
	for (i = 0; i < ARRAY_SIZE(forwarded); i++) {
		if (sigaction(forwarded[i], NULL, &sa) == 0 &&
		    sa.sa_handler != SIG_IGN)
			sigaddset(&set, forwarded[i]);
	}
	sigprocmask(SIG_BLOCK, &set, old);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int relay_open(struct relay *r, const struct wire_request *x)
{
	buf_auto struct buf request = BUF_INIT_MAX(WIRE_REQUEST_MAX + 1);
	int ret = wire_request_encode(&request, x, r->e);

	if (ret < 0)
		return ret;
	if (wire_put_open(&r->out, STREAM, &request) < 0)
		return err_sys(r->e, ENOMEM, "cannot send the request");
	return 0;
}

static void relay_run(struct relay *r)
{
	struct termios cooked, raw;
	bool is_raw = r->tty && tcgetattr(STDIN_FILENO, &cooked) == 0;
	sigset_t old;

	r->sigfd = block_signals(&old);
	fd_nonblock(r->conn, true);
	if (is_raw) {
		raw = cooked;
		cfmakeraw(&raw);
		tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
	}
	relay_loop(r);
	if (is_raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &cooked);
	fd_close(&r->sigfd);
	sigprocmask(SIG_SETMASK, &old, NULL);
}

enum wire_outcome wire_run(int conn, const struct wire_request *x,
			   struct wire_exit *ended, struct err *e)
{
	return wire_run_until(conn, x, UINT64_MAX, ended, e);
}

enum wire_outcome wire_run_until(int conn, const struct wire_request *x,
				 uint64_t deadline, struct wire_exit *ended,
				 struct err *e)
{
	mem_auto struct relay *r = calloc(1, sizeof(*r));
	enum wire_outcome outcome;

	if (!r) {
		err_sys(e, ENOMEM, "cannot run %s", x->argv[0]);
		return WIRE_LOST;
	}
	r->conn = conn;
	r->tty = x->tty;
	r->in_open = true;
	r->deadline = deadline;
	r->in_credit = WIRE_WINDOW;
	r->out = (struct buf)BUF_INIT;
	r->ended = ended;
	r->e = e;
	wire_reader_init(&r->in, WIRE_AGENT);
	sink_init(&r->sink[0], STDOUT_FILENO);
	sink_init(&r->sink[1], STDERR_FILENO);
	outcome = WIRE_REFUSED;
	if (relay_open(r, x) == 0) {
		relay_run(r);
		outcome = r->outcome;
		if (r->late && outcome == WIRE_EXITED)
			outcome = WIRE_TIMEOUT;
	}
	buf_free(&r->out);
	buf_free(&r->sink[0].pend);
	buf_free(&r->sink[1].pend);
	return outcome;
}
