/* SPDX-License-Identifier: MIT
 *
 * Ends of commands that were run for somebody: see ran.h.
 */
#include "bin/ran.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include "base/err.h"
#include "bin/tool.h"

int ran_fail(const struct err *e, int code)
{
	tool_warn(e);
	return code;
}

int ran_code_of(int num)
{
	switch (num) {
	case ENOENT:
		return RAN_NOT_FOUND;
	case EACCES:
	case ENOEXEC:
		return RAN_NOT_EXECUTABLE;
	default:
		return RAN_FAILED;
	}
}

int ran_code(enum wire_outcome outcome, const struct wire_exit *ended,
	     const struct err *e)
{
	switch (outcome) {
	case WIRE_EXITED:
		return (int)ended->code + (ended->signaled ? RAN_SIGNALED : 0);
	case WIRE_REFUSED:
		return ran_fail(e, ran_code_of(e->num));
	case WIRE_TIMEOUT:
		return e->num ? ran_fail(e, RAN_TIMEOUT) : RAN_TIMEOUT;
	case WIRE_LOST:
		break;
	}
	return ran_fail(e, RAN_FAILED);
}

void ran_tty(struct wire_request *x)
{
	struct winsize ws;

	x->tty = true;
	/* What a terminal has that nobody measured. */
	x->winsize = (struct wire_winsize){ .rows = 24, .cols = 80 };
	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_row)
		x->winsize = (struct wire_winsize){ ws.ws_row, ws.ws_col,
						    ws.ws_xpixel,
						    ws.ws_ypixel };
}
