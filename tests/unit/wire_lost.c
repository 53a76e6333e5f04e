/* SPDX-License-Identifier: MIT
 *
 * The client's end of a command, against an agent that misbehaves, or just
 * does not do as the real one would.
 */
#include "tests/tap.h"

#include "tests/unit/client_child.h"

static void say(struct client *c, struct buf *b)
{
	io_write_full(c->conn, b->data, b->len);
	buf_clear(b);
}

static struct client client_false(const char *script)
{
	const char *argv[] = { "sh", "-c", script, NULL };
	struct wire_request x = exec_of(argv);

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
	/* The pipe behind it takes two at most; and what it leaves unread when
	 * it has seen enough must fit into the socket. */
	for (i = 0; i <= WIRE_WINDOW / WIRE_PAYLOAD_MAX + 2; i++)
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
	lost();
	credit();
	stop_with_full_socket();
	scratch_leave();
	is_int(count_fds(), fds, "no descriptor was left open");
	return tap_done();
}
