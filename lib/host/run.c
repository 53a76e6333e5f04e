/* SPDX-License-Identifier: MIT
 *
 * A command in the emulated host: see run.h.
 */
#include "host/run.h"

#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"

static mode_t current_umask(void)
{
	mode_t mask = umask(0);

	umask(mask);
	return mask;
}

static int describe_user(struct wire_request *x, struct err *e)
{
	int n = getgroups(WIRE_GROUPS_MAX, x->groups);

	if (n < 0)
		return err_sys(e, errno, "more than %d groups",
			       WIRE_GROUPS_MAX);
	x->has_cred = true;
	x->uid = geteuid();
	x->gid = getegid();
	x->ngroups = (size_t)n;
	return 0;
}

static void describe_tty(struct wire_request *x)
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

enum wire_outcome host_run(int conn, const char *const *argv, bool tty,
			   struct wire_exit *ended, struct err *e)
{
	struct wire_request x = WIRE_REQUEST_INIT;
	mem_auto char *cwd = getcwd(NULL, 0);

	if (!cwd) {
		err_sys(e, errno, "cannot tell the working directory");
		return WIRE_REFUSED;
	}
	/* The two vectors stay the caller's: this structure is not freed. */
	x.argv = (const char **)(uintptr_t)argv;
	while (argv[x.argc])
		x.argc++;
	x.envp = (const char **)environ;
	while (environ[x.envc])
		x.envc++;
	x.cwd = cwd;
	x.umask = (int)current_umask();
	if (describe_user(&x, e) < 0)
		return WIRE_REFUSED;
	if (tty)
		describe_tty(&x);
	return wire_run(conn, &x, ended, e);
}
