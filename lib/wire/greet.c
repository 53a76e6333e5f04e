/* SPDX-License-Identifier: MIT
 *
 * The first words on a connection to an agent: see client.h.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "wire/client.h"

/* All @n bytes, however slowly they come.  0 or -errno. */
static int read_until(int conn, uint8_t *p, size_t n, uint64_t deadline)
{
	struct pollfd pf = { conn, POLLIN, 0 };

	while (n) {
		int ready = poll(&pf, 1, clock_until_ms(deadline));
		ssize_t got = ready > 0 ? read(conn, p, n) : -1;

		if (ready == 0)
			return -ETIMEDOUT;
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -ECONNRESET;
		p += got;
		n -= (size_t)got;
	}
	return 0;
}

/* One frame and not a byte more, for what is behind it is for wire_run(). */
static int read_frame(int conn, uint64_t deadline, struct wire_reader *in,
		      struct wire_frame *f, struct err *e)
{
	uint8_t piece[WIRE_PAYLOAD_MAX];
	size_t want = WIRE_HEADER;
	int r;

	wire_reader_init(in, WIRE_AGENT);
	while ((r = wire_next(in, f, e)) == 0) {
		r = read_until(conn, piece, want, deadline);
		if (r < 0)
			return err_sys(e, -r, "no greeting from the agent");
		wire_feed(in, piece, want);
		want = wire_get16(in->data);
	}
	return r < 0 ? r : 0;
}

int wire_greet(int conn, struct err *e)
{
	return wire_greet_until(conn, UINT64_MAX, e);
}

int wire_greet_until(int conn, uint64_t deadline, struct err *e)
{
	/* Too big for a small stack, and only needed here for one frame. */
	mem_auto struct wire_reader *in = malloc(sizeof(*in));
	buf_auto struct buf b = BUF_INIT_MAX(256);
	struct wire_frame f;
	int r;

	if (!in || wire_put_hello(&b, "isokit " ISO_VERSION) < 0)
		return err_sys(e, ENOMEM, "cannot greet the agent");
	r = io_write_full(conn, b.data, b.len);
	/* One that sends us away does not wait for our greeting, but what it
	 * said is there to be read. */
	if (r < 0 && r != -EPIPE && r != -ECONNRESET)
		return err_sys(e, -r, "cannot greet the agent");
	r = read_frame(conn, deadline, in, &f, e);
	if (r < 0)
		return r;
	if (f.type == WIRE_ERROR) {
		wire_get_error(&f, e);
		return -ECONNABORTED;
	}
	return wire_check_hello(&f, e);
}
