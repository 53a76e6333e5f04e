/* SPDX-License-Identifier: MIT
 *
 * Pseudo-terminals: see pty.h.
 */
#include "agent/pty.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "base/err.h"
#include "base/fd.h"
#include "wire/msg.h"

int pty_open(int *master, int *slave, const struct wire_winsize *w,
	     struct err *e)
{
	fd_auto int m = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	fd_auto int s = -1;

	if (m < 0 || unlockpt(m) < 0)
		return err_sys(e, errno, "cannot make a terminal");
	/* Not by name: /dev/pts of this root may be another one. */
	s = ioctl(m, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (s < 0)
		return err_sys(e, errno, "cannot make a terminal");
	pty_resize(m, w);
	*master = fd_steal(&m);
	*slave = fd_steal(&s);
	return 0;
}

void pty_resize(int fd, const struct wire_winsize *w)
{
	struct winsize ws = { w->rows, w->cols, w->xpixel, w->ypixel };

	ioctl(fd, TIOCSWINSZ, &ws);
}

pid_t pty_foreground(int master)
{
	pid_t pgrp = 0;

	/* Nobody is in groups 0 and 1, which mean something else to kill(2). */
	if (ioctl(master, TIOCGPGRP, &pgrp) < 0 || pgrp <= 1)
		return 0;
	return pgrp;
}
