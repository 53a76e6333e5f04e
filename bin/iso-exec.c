/* SPDX-License-Identifier: MIT
 *
 * iso-exec: runs a command in a sandbox, as if it were here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "bin/ran.h"
#include "bin/tool.h"
#include "sandbox/box.h"
#include "sandbox/rundir.h"

/* A login shell: the user's own, if there is one and it can be run. */
#define LOGIN "test -x \"$SHELL\" || SHELL=sh; exec \"$SHELL\" -l"

/* For a machine to end whose agent has hung up. */
#define LOSS_PATIENCE CLOCK_S(10)

static const char *cwd, *user, *session;
static uint64_t timeout_s;
static struct opt_list env;
static bool tty;

static int wrong(struct err *e, const char *fix)
{
	err_fix(e, "%s", fix);
	tool_warn(e);
	return EXIT_WRONG;
}

static int check(struct err *e)
{
	int i;

	for (i = 0; i < env.n; i++) {
		const char *eq = strchr(env.v[i], '=');

		if (eq && eq != env.v[i])
			continue;
		err_set(e, EINVAL, "--env: '%s' sets no variable", env.v[i]);
		return wrong(e, "--env NAME=VALUE");
	}
	if (cwd && *cwd != '/') {
		err_set(e, EINVAL, "--workdir: '%s' is no absolute path", cwd);
		return wrong(e, "a path in the sandbox that begins with a "
				"slash");
	}
	if (session && !str_is_name(str_of(session))) {
		err_set(e, EINVAL, "--session: '%s' is not a name", session);
		return wrong(e, "letters, digits, '.', '_', '-', at most 64, "
				"the first no dot or dash");
	}
	return 0;
}

/* ---- the request -------------------------------------------------------- */

/* A terminal has a type, which programs in the sandbox want to know; what was
 * asked for by name comes after it and counts. */
static int add_env(struct wire_request *x, char **term)
{
	const char *type = x->tty ? getenv("TERM") : NULL;
	int i;

	x->envp = calloc((size_t)env.n + 2, sizeof(*x->envp));
	if (type)
		*term = str_printf("TERM=%s", type);
	if (!x->envp || (type && !*term))
		return -ENOMEM;
	if (*term)
		x->envp[x->envc++] = *term;
	for (i = 0; i < env.n; i++)
		x->envp[x->envc++] = env.v[i];
	return 0;
}

static int fill(struct wire_request *x, const char *const *argv, char **term)
{
	static const char *const login[] = { "sh", "-c", LOGIN, NULL };
	bool shell = !*argv;
	size_t n = 0;

	/* A session without a command is a shell by itself. */
	if (shell && !session)
		argv = login;
	while (argv[n])
		n++;
	x->argv = calloc(n + 1, sizeof(*x->argv));
	if (!x->argv)
		return -ENOMEM;
	for (; x->argc < n; x->argc++)
		x->argv[x->argc] = argv[x->argc];
	if (tty || (shell && isatty(STDIN_FILENO)))
		ran_tty(x);
	if (session) {
		x->op = WIRE_OP_SESSION;
		x->verb = WIRE_SESSION_RUN;
		x->session = session;
	}
	x->cwd = cwd;
	x->user = user;
	return add_env(x, term);
}

static int run_in(const struct box *b, const char *const *argv)
{
	struct box_wait w = box_wait_usual();
	uint64_t deadline = UINT64_MAX;
	wire_request_auto struct wire_request x = WIRE_REQUEST_INIT;
	mem_auto char *term = NULL;
	struct wire_exit ended = { .code = 0 };
	struct err e = ERR_INIT;
	enum wire_outcome how;
	fd_auto int conn = -1;

	if (timeout_s)
		deadline = clock_now() + CLOCK_S(timeout_s);
	if (deadline < w.deadline)
		w.deadline = deadline;
	if (fill(&x, argv, &term) < 0) {
		err_sys(&e, ENOMEM, "cannot ask for a command");
		return ran_fail(&e, RAN_FAILED);
	}
	conn = box_connect(b, &w, &e);
	if (conn < 0)
		return ran_fail(&e,
				conn == -ETIMEDOUT && w.deadline == deadline ?
					RAN_TIMEOUT :
					RAN_FAILED);
	how = wire_run_until(conn, &x, deadline, &ended, &e);
	/* Whoever kills the first process of a machine ends the machine. */
	if (how == WIRE_LOST)
		box_explain_loss(b, clock_now() + LOSS_PATIENCE, &e);
	return ran_code(how, &ended, &e);
}

static int run(int argc, const char *const *argv)
{
	rundir_auto struct rundir d = RUNDIR_INIT;
	box_auto struct box b = BOX_INIT;
	struct err e = ERR_INIT;
	int first = argc > 1 && strcmp(argv[1], "--") == 0 ? 2 : 1;

	if (check(&e))
		return EXIT_WRONG;
	if (rundir_open(&d, tool_root(), false, &e) < 0 ||
	    rundir_find(&d, argv[0], &b, &e) < 0)
		return ran_fail(&e, RAN_FAILED);
	return run_in(&b, argv + first);
}

static const struct opt options[] = {
	{ .name = "tty",
	  .letter = 't',
	  .kind = OPT_FLAG,
	  .out = &tty,
	  .help = "give the command a terminal" },
	{ .name = "env",
	  .letter = 'e',
	  .kind = OPT_TEXTS,
	  .out = &env,
	  .arg = "NAME=VALUE",
	  .help = "set a variable (may be repeated)" },
	{ .name = "workdir",
	  .letter = 'w',
	  .kind = OPT_TEXT,
	  .out = &cwd,
	  .arg = "DIR",
	  .help = "where it starts; the image's directory if not given" },
	{ .name = "user",
	  .letter = 'u',
	  .kind = OPT_TEXT,
	  .out = &user,
	  .arg = "USER[:GROUP]",
	  .help = "who it runs as; the image's user if not given" },
	{ .name = "timeout",
	  .kind = OPT_COUNT,
	  .out = &timeout_s,
	  .arg = "SECONDS",
	  .help = "kill all of it after that long, and exit with 124",
	  .min = 1,
	  .max = (uint64_t)365 * 86400 },
	{ .name = "session",
	  .letter = 's',
	  .kind = OPT_TEXT,
	  .out = &session,
	  .arg = "NAME",
	  .help = "in the shell of that name, which stays" },
	{ .name = NULL },
};

static const struct opt_prog prog = {
	.self = {
		.name = "iso-exec",
		.args = "SANDBOX [[--] COMMAND [ARGUMENT...]]",
		.help = "run a command in a sandbox",
		.opts = options,
		.min_args = 1,
		.max_args = -1,
		.run = run,
	},
};

int main(int argc, char **argv)
{
	return tool_main(&prog, argc, argv);
}
