/* SPDX-License-Identifier: MIT
 *
 * The client's end of a command, against a real agent; or against a false one,
 * played by the test, where it takes an agent that misbehaves.
 *
 * wire_run() works on this process' standard streams, so that it runs in a
 * child which has ours as its own.
 */
#include "tests/tap.h"

#include "tests/unit/agent_peer.h"
#include "wire/client.h"

#include <sched.h>
#include <sys/ioctl.h>
#include <termios.h>

/* A child in wire_run(), and what it left. */
struct client {
	pid_t pid;
	pid_t agent;
	int in, out, err; /* our ends of its streams; -1: closed */
	int conn;	  /* of its connection, when we are its agent */
	int report;	  /* where the text of its error comes out */
	int status; /* 128 + a signal, 200 refused, 201 lost, 202 neither */
	char text[600];
};

static int run_child(int conn, const struct wire_exec *x, int report)
{
	struct wire_exit ended = { 0 };
	struct err e = ERR_INIT;

	signal(SIGPIPE, SIG_IGN);
	if (wire_greet(conn, &e) < 0) {
		dprintf(report, "%s", e.text);
		return 202;
	}
	switch (wire_run(conn, x, &ended, &e)) {
	case WIRE_EXITED:
		return (int)(ended.signaled ? 128 + ended.code : ended.code);
	case WIRE_REFUSED:
		dprintf(report, "%s", e.text);
		return 200;
	case WIRE_LOST:
		dprintf(report, "%s", e.text);
		return 201;
	}
	return 203;
}

static void pipe_of(int p[2])
{
	if (pipe2(p, O_CLOEXEC) < 0)
		bail("no pipe");
}

/* Fork a child into it; @tty: its standard streams, or -1 for pipes.  With
 * @false_agent the connection is ours. */
static struct client client_fork(const struct wire_exec *x, int tty,
				 bool false_agent)
{
	struct client c = { .agent = 0, .status = -1 };
	int in[2], out[2], err[2], report[2], s[2], small = 4096;

	pipe_of(in);
	pipe_of(out);
	pipe_of(err);
	pipe_of(report);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) < 0)
		bail("no socket");
	/* So that little is enough to fill it. */
	setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	if (!false_agent)
		c.agent = agent_start("--serve", s[1]);
	fflush(stdout);
	c.pid = fork();
	if (c.pid == 0) {
		dup2(tty >= 0 ? tty : in[0], 0);
		dup2(tty >= 0 ? tty : out[1], 1);
		dup2(tty >= 0 ? tty : err[1], 2);
		close(in[1]);
		close(out[0]);
		close(err[0]);
		close(s[1]);
		_exit(run_child(s[0], x, report[1]));
	}
	close(in[0]);
	close(out[1]);
	close(err[1]);
	close(report[1]);
	close(s[0]);
	c.in = in[1];
	c.out = out[0];
	c.err = err[0];
	c.report = report[0];
	c.conn = false_agent ? s[1] : -1;
	if (!false_agent)
		close(s[1]);
	return c;
}

static struct wire_exec exec_of(const char **argv)
{
	struct wire_exec x = WIRE_EXEC_INIT;

	x.argv = argv;
	while (argv[x.argc])
		x.argc++;
	x.envp = (const char **)(uintptr_t)run_env();
	x.envc = 1;
	x.cwd = scratch_dir;
	return x;
}

static struct client client_sh(const char *script)
{
	const char *argv[] = { "sh", "-c", script, NULL };
	struct wire_exec x = exec_of(argv);

	return client_fork(&x, -1, false);
}

/* Its end. */
static void client_wait(struct client *c)
{
	int status;
	ssize_t n;

	fd_close(&c->in);
	waitpid(c->pid, &status, 0);
	c->status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
	n = read(c->report, c->text, sizeof(c->text) - 1);
	c->text[n > 0 ? n : 0] = '\0';
	fd_close(&c->out);
	fd_close(&c->err);
	fd_close(&c->report);
	fd_close(&c->conn);
	if (c->agent)
		waitpid(c->agent, NULL, 0);
}

static void is_status(struct client *c, int want, const char *what)
{
	client_wait(c);
	if (!ok(c->status == want, "%s", what))
		diag("got %d (%s)", c->status, c->text);
}

/* Everything that comes out of @fd. */
static const char *all_of(int fd)
{
	static char text[4096];
	ssize_t n = io_read_full(fd, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void until(int fd, const char *want)
{
	char text[64] = "";
	size_t n = strlen(want);

	if (io_read_full(fd, text, n) != (ssize_t)n || strcmp(text, want))
		diag("waited for '%s', got '%s'", want, text);
}

/* ---- with a real agent ---- */

static void plain(void)
{
	struct client c = client_sh("cat; echo err >&2; exit 9");

	io_write_full(c.in, "in\n", 3);
	fd_close(&c.in);
	is_str(all_of(c.out), "in\n", "stdin to stdout");
	is_str(all_of(c.err), "err\n", "stderr");
	is_status(&c, 9, "exit status");
	c = client_sh("kill -USR1 $$");
	is_status(&c, 128 + SIGUSR1, "a signal's");
	c = client_sh("exec /none/such");
	has_str(all_of(c.err), "/none/such", "a shell's own failure");
	is_status(&c, 127, "is the shell's");
}

static void refused(void)
{
	const char *argv[] = { "no-such-command", NULL };
	struct wire_exec x = exec_of(argv);
	struct client c = client_fork(&x, -1, false);

	is_status(&c, 200, "a command that is not there is refused");
	has_str(c.text, "cannot run no-such-command: No such file", "and why");
}

/* Ten megabytes each way at once, through a reader and a writer. */
static void volume(void)
{
	struct client c = client_sh("cat");
	size_t n = 10 << 20, got = 0, i, wrong = 0;
	uint8_t *data = malloc(n);
	uint8_t chunk[65536];
	pid_t writer;
	ssize_t r;

	for (i = 0; i < n; i++)
		data[i] = (uint8_t)(i * 7 ^ i >> 9);
	writer = fork();
	if (writer == 0)
		_exit(io_write_full(c.in, data, n) != 0);
	fd_close(&c.in);
	while ((r = read(c.out, chunk, sizeof(chunk))) > 0) {
		wrong += memcmp(chunk, data + got, (size_t)r) != 0;
		got += (size_t)r;
	}
	ok(got == n && wrong == 0, "10 MB there and back");
	waitpid(writer, NULL, 0);
	is_status(&c, 0, "and the end");
	free(data);
}

static void reader_gone(void)
{
	struct client c = client_sh("exec yes");
	char few[100];

	(void)!read(c.out, few, sizeof(few));
	fd_close(&c.out);
	is_status(&c, 128 + SIGPIPE, "a reader that goes ends the command");
	c = client_sh("exec 2>&-; head -c 290000 /dev/zero");
	(void)!read(c.out, few, sizeof(few));
	fd_close(&c.out);
	client_wait(&c);
	ok(c.status == 0 || c.status == 128 + SIGPIPE,
	   "or is too late for that, and does not hang");
	c = client_sh("echo ready >&2; read x; exit 5");
	until(c.err, "ready\n");
	fd_close(&c.out);
	io_write_full(c.in, "\n", 1);
	is_status(&c, 5, "one that writes nothing does not mind");
}

static void signals(void)
{
	static const int sig[] = { SIGHUP,  SIGINT,  SIGQUIT,
				   SIGTERM, SIGUSR1, SIGUSR2 };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sig); i++) {
		struct client c = client_sh("echo; exec sleep 1000");

		until(c.out, "\n");
		kill(c.pid, sig[i]);
		is_status(&c, 128 + sig[i], strsignal(sig[i]));
	}
}

/* As under nohup(1), and as a shell does with jobs in the background. */
static void ignored_signals(void)
{
	struct client c;

	signal(SIGHUP, SIG_IGN);
	c = client_sh("echo; read x; exit 6");
	until(c.out, "\n");
	kill(c.pid, SIGHUP);
	io_write_full(c.in, "\n", 1);
	is_status(&c, 6, "an ignored signal is not passed on");
	signal(SIGHUP, SIG_DFL);
}

static char state_of(pid_t pid)
{
	char path[64], line[512] = "";
	FILE *f;
	char *at;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	if (f && !fgets(line, sizeof(line), f))
		line[0] = '\0';
	if (f)
		fclose(f);
	at = strrchr(line, ')');
	return at ? at[2] : '?';
}

static void stop(void)
{
	struct client c = client_sh("echo $$; read x; echo $x; exit 7");
	char text[32] = "";
	int status;
	pid_t cmd;

	(void)!read(c.out, text, sizeof(text) - 1);
	cmd = atoi(text);
	kill(c.pid, SIGTSTP);
	waitpid(c.pid, &status, WUNTRACED);
	ok(WIFSTOPPED(status), "SIGTSTP stops the client");
	while (state_of(cmd) == 'S' || state_of(cmd) == 'R')
		sched_yield();
	is_int(state_of(cmd), 'T', "and the command");
	kill(c.pid, SIGCONT);
	io_write_full(c.in, "on\n", 3);
	is_str(all_of(c.out), "on\n", "SIGCONT lets both go on");
	is_status(&c, 7, "to the end");
}

static void agent_gone(void)
{
	struct client c = client_sh("echo; exec cat");

	until(c.out, "\n");
	kill(c.agent, SIGKILL);
	is_status(&c, 201, "an agent that dies");
	has_str(c.text, "connection to the agent", "is an error");
}

static void terminal(void)
{
	const char *argv[] = { "sh", "-c", "stty size; read x; echo got $x",
			       NULL };
	struct winsize ws = { 17, 71, 0, 0 };
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;
	struct wire_exec x = exec_of(argv);
	struct termios before, raw, after;
	struct client c;
	char text[256];
	ssize_t n;

	unlockpt(master);
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	ioctl(master, TIOCSWINSZ, &ws);
	tcgetattr(slave, &before);
	x.tty = true;
	x.winsize = (struct wire_winsize){ 17, 71, 0, 0 };
	c = client_fork(&x, slave, false);
	until(master, "17 71\r\n");
	tcgetattr(slave, &raw);
	ok(!(raw.c_lflag & (ECHO | ICANON | ISIG)), "the terminal is raw");
	io_write_full(master, "a\r", 2);
	until(master, "a\r\ngot a\r\n");
	is_status(&c, 0, "what is typed is echoed once, by the far end");
	tcgetattr(slave, &after);
	ok(before.c_lflag == after.c_lflag && before.c_iflag == after.c_iflag &&
		   before.c_oflag == after.c_oflag,
	   "the terminal is as it was");
	fd_nonblock(master, true);
	n = read(master, text, sizeof(text));
	ok(n <= 0, "nothing else came out");
	close(slave);
	close(master);
}

/* ---- with a false one ---- */

static void say(struct client *c, struct buf *b)
{
	io_write_full(c->conn, b->data, b->len);
	buf_clear(b);
}

static struct client client_false(const char *script)
{
	const char *argv[] = { "sh", "-c", script, NULL };
	struct wire_exec x = exec_of(argv);

	return client_fork(&x, -1, true);
}

static void lost(void)
{
	buf_auto struct buf b = BUF_INIT;
	struct err why = { .num = EIO, .text = "no luck" };
	uint8_t data[WIRE_PAYLOAD_MAX];
	struct client c;
	int i;

	memset(data, 'x', sizeof(data));
	c = client_false("x");
	wire_put_error(&b, 0, &why);
	say(&c, &b);
	is_status(&c, 202, "ERROR for a greeting");
	is_str(c.text, "no luck", "says why");
	/* One piece, which a single read takes in. */
	c = client_false("x");
	wire_put_hello(&b, "false");
	wire_put_error(&b, 0, &why);
	say(&c, &b);
	is_status(&c, 201, "ERROR right behind the greeting");
	is_str(c.text, "no luck", "is not lost");
	c = client_false("x");
	wire_put_hello(&b, "false");
	/* The pipe behind it takes two or so. */
	for (i = 0; i <= WIRE_WINDOW / WIRE_PAYLOAD_MAX + 4; i++)
		wire_put(&b, WIRE_DATA, WIRE_STDOUT, 1, data, sizeof(data));
	say(&c, &b);
	/* What came before is written all the same. */
	while (*all_of(c.out))
		;
	is_status(&c, 201, "an agent that overruns its window");
	has_str(c.text, "overran its window", "is told from others");
	c = client_false("x");
	wire_put_hello(&b, "false");
	buf_puts(&b, "no frame at all");
	say(&c, &b);
	is_status(&c, 201, "nonsense");
	has_str(c.text, "protocol broken", "is one, too");
}

/* What there is no credit for stays where it was. */
static void credit(void)
{
	static char data[65536];
	struct wire_reader *in = calloc(1, sizeof(*in));
	buf_auto struct buf b = BUF_INIT;
	struct client c = client_false("x");
	struct wire_exit x = { .code = 4 };
	struct wire_frame f;
	int pongs = 0, want = 0;
	size_t got = 0;

	fd_nonblock(c.in, true);
	wire_put_hello(&b, "false");
	say(&c, &b);
	wire_reader_init(in, WIRE_CLIENT);
	while (pongs < 3) {
		(void)!write(c.in, data, sizeof(data));
		if (wire_read(in, c.conn) <= 0)
			break;
		while (wire_next(in, &f, NULL) > 0) {
			got += f.type == WIRE_DATA ? f.len : 0;
			pongs += f.type == WIRE_PONG;
		}
		/* An answer to what was asked when the window was shut is an
		 * answer of one that could have read more. */
		if (got < WIRE_WINDOW || want > pongs)
			continue;
		wire_put(&b, WIRE_PING, 0, 0, NULL, 0);
		say(&c, &b);
		want++;
	}
	is_int(got, WIRE_WINDOW, "stdin is read up to the window, to the byte");
	wire_put_exit(&b, 1, &x);
	say(&c, &b);
	is_status(&c, 4, "and the rest of it is left");
	free(in);
}

/* The client stops in the middle of what it has to send, with an agent that
 * takes nothing: when both go on, the frames are whole. */
static void stop_with_full_socket(void)
{
	static char data[65536];
	struct wire_reader *in = calloc(1, sizeof(*in));
	buf_auto struct buf b = BUF_INIT;
	struct client c = client_false("x");
	struct wire_exit x = { .code = 4 };
	struct err e = ERR_INIT;
	struct wire_frame f;
	bool stopped = false;
	int n = 0, r = 0;
	size_t got = 0;

	wire_put_hello(&b, "false");
	say(&c, &b);
	for (n = 0; n < 3; n++)
		io_write_full(c.in, data, sizeof(data));
	kill(c.pid, SIGTSTP);
	fd_close(&c.in);
	wire_reader_init(in, WIRE_CLIENT);
	n = 1;
	while (n > 0 && r >= 0 && (got < 3 * sizeof(data) || !stopped)) {
		n = wire_read(in, c.conn);
		while ((r = wire_next(in, &f, &e)) > 0) {
			got += f.type == WIRE_DATA ? f.len : 0;
			if (f.type != WIRE_SIGNAL ||
			    wire_get32(f.data) != SIGSTOP)
				continue;
			/* It has sent all it had, so now it stops. */
			stopped = waitpid(c.pid, NULL, WUNTRACED) == c.pid;
			kill(c.pid, SIGCONT);
		}
	}
	ok(r == 0 && got == 3 * sizeof(data) && stopped,
	   "stopped with a full socket, no byte is lost (%s)", e.text);
	wire_put_exit(&b, 1, &x);
	say(&c, &b);
	is_status(&c, 4, "and it goes on to the end");
	free(in);
}

int main(void)
{
	int fds = count_fds();

	signal(SIGPIPE, SIG_IGN);
	scratch_enter();
	plain();
	refused();
	volume();
	reader_gone();
	signals();
	ignored_signals();
	stop();
	agent_gone();
	terminal();
	lost();
	credit();
	stop_with_full_socket();
	scratch_leave();
	is_int(count_fds(), fds, "no descriptor was left open");
	return tap_done();
}
