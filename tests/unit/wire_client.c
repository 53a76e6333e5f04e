/* SPDX-License-Identifier: MIT
 *
 * The client's end of a command, against a real agent.
 */
#include "tests/tap.h"

#include "tests/unit/client_child.h"

#include <sched.h>
#include <sys/ioctl.h>
#include <termios.h>

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
	struct wire_request x = exec_of(argv);
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

static int state_of(pid_t pid)
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
	if (!at)
		return '?';
	return at[2];
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
	struct wire_request x = exec_of(argv);
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
	scratch_leave();
	is_int(count_fds(), fds, "no descriptor was left open");
	return tap_done();
}
