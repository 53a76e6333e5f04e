/* SPDX-License-Identifier: MIT
 *
 * What every program of the suite does alike: see tool.h.
 */
#include "bin/tool.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"

static const char *prog_name = "iso";
static void (*inherited_sigpipe)(int);

void tool_warn(const struct err *e)
{
	fprintf(stderr, "%s: %s\n", prog_name, e->text);
	if (e->fix[0])
		fprintf(stderr, "%s: try: %s\n", prog_name, e->fix);
}

int tool_fail(const struct err *e)
{
	tool_warn(e);
	return EXIT_FAILED;
}

void tool_say(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s: ", prog_name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

int tool_done(int code)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	fprintf(stderr, "%s: cannot write to standard output: %s\n", prog_name,
		strerror(errno));
	return EXIT_FAILED;
}

void tool_restore_signals(void)
{
	signal(SIGPIPE, inherited_sigpipe);
}

const char *tool_root(void)
{
	static char *root;
	const char *env = getenv("ISO_ROOT");
	mem_auto char *cwd = NULL;

	if (root)
		return root;
	if (!env || !*env)
		env = "/var/lib/iso";
	cwd = *env == '/' ? NULL : getcwd(NULL, 0);
	root = cwd ? str_path(cwd, env) : str_dup(str_of(env));
	if (!root)
		abort();
	return root;
}

static int print_buf(struct buf *b)
{
	if (b->failed)
		return EXIT_FAILED;
	fwrite(b->data, 1, b->len, stdout);
	return tool_done(EXIT_DONE);
}

static int print_meta(const struct opt_prog *p, const struct opt_result *r)
{
	buf_auto struct buf b = BUF_INIT;
	struct err e = ERR_INIT;

	if (r->help) {
		opt_help(p, r->cmd, &b);
	} else if (r->list) {
		opt_list_all(p, &b);
	} else if (opt_completion(p, r->completion, &b) < 0) {
		err_set(&e, EINVAL, "no completion for the shell '%s'",
			r->completion);
		err_fix(&e, "bash, zsh or fish");
		tool_warn(&e);
		return EXIT_WRONG;
	}
	return print_buf(&b);
}

int tool_main(const struct opt_prog *p, int argc, char **argv)
{
	struct opt_result r;
	struct err e = ERR_INIT;
	int ret;

	prog_name = p->self.name;
	/* A reader that goes away is an error of write(2), not a death. */
	inherited_sigpipe = signal(SIGPIPE, SIG_IGN);
	ret = fd_ensure_stdio();
	if (ret < 0) {
		err_sys(&e, -ret, "cannot open /dev/null");
		return tool_fail(&e);
	}
	if (opt_parse(p, argc, (const char *const *)argv, &r, &e) < 0) {
		tool_warn(&e);
		return EXIT_WRONG;
	}
	if (r.help || r.list || r.completion)
		return print_meta(p, &r);
	return r.cmd->run(r.argc, r.argv);
}
