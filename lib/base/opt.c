/* SPDX-License-Identifier: MIT
 *
 * Command lines: parsing and --help.  See opt.h.
 *
 * popt does the words; this file turns our table into popt's, and popt's
 * complaints into ours.  Values are stored by our own code from popt's return
 * codes, so that numbers are checked against the table's range in one place.
 * getopt_long was the alternative: it knows neither help nor argument names,
 * and every program would keep its own switch in step with its own texts.
 */
#include "base/opt.h"

#include <popt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"

#define OPTS_MAX 48
#define HELP_COLUMN 28

/* Codes popt hands back: table index + 1, and these. */
enum {
	CODE_HELP = 1000,
	CODE_COMPLETION,
	CODE_LIST,
};

struct table {
	struct poptOption popt[OPTS_MAX + 4];
	const struct opt *opt[OPTS_MAX];
	int n;
};

static void table_add(struct table *t, const struct opt *o)
{
	for (; o && o->name && t->n < OPTS_MAX; o++) {
		t->popt[t->n] = (struct poptOption){
			.longName = o->name,
			.shortName = o->letter,
			.argInfo = o->kind == OPT_FLAG ? POPT_ARG_NONE :
							 POPT_ARG_STRING,
			.val = t->n + 1,
		};
		t->opt[t->n++] = o;
	}
}

static void table_end(struct table *t, bool top)
{
	struct poptOption *o = &t->popt[t->n];

	*o++ = (struct poptOption){ .longName = "help",
				    .shortName = 'h',
				    .val = CODE_HELP };
	if (top) {
		*o++ = (struct poptOption){ .longName = "completion",
					    .argInfo = POPT_ARG_STRING,
					    .val = CODE_COMPLETION };
		*o++ = (struct poptOption){ .longName = "list-options",
					    .val = CODE_LIST };
	}
	*o = (struct poptOption){ .longName = NULL };
}

static int list_add(struct opt_list *l, const char *word, struct err *e)
{
	const char **v = reallocarray(l->v, (size_t)l->n + 2, sizeof(*v));

	if (!v)
		return err_sys(e, ENOMEM, "cannot keep '%s'", word);
	l->v = v;
	l->v[l->n++] = word;
	l->v[l->n] = NULL;
	return 0;
}

/* @word is popt's copy, ours to keep: option texts live as long as the
 * process. */
static int store(const struct opt *o, char *word, struct err *e)
{
	uint64_t max = o->max ? o->max : UINT64_MAX;
	char name[64];
	int r = -EINVAL;

	snprintf(name, sizeof(name), "--%s", o->name);
	switch (o->kind) {
	case OPT_FLAG:
		*(bool *)o->out = true;
		return 0;
	case OPT_TEXT:
		*(const char **)o->out = word;
		return 0;
	case OPT_TEXTS:
		return list_add(o->out, word, e);
	case OPT_COUNT:
		r = str_u64(str_of(word), o->min, max, o->out, name, e);
		break;
	case OPT_BYTES:
		r = str_size(str_of(word), o->min, max, o->out, name, e);
		break;
	}
	free(word);
	return r;
}

static int parse_error(poptContext ctx, int rc, struct err *e)
{
	const char *word = poptBadOption(ctx, POPT_BADOPTION_NOALIAS);

	if (rc == POPT_ERROR_NOARG)
		return err_set(e, EINVAL, "option %s wants an argument", word);
	if (rc == POPT_ERROR_BADOPT)
		return err_set(e, EINVAL, "unknown option %s", word);
	return err_set(e, EINVAL, "option %s: %s", word, poptStrerror(rc));
}

/* The words that are left belong to popt's context, and live, as we promise,
 * as long as the process: so all contexts do. */
static int keep(poptContext ctx, struct err *e)
{
	static poptContext *kept;
	static size_t n;
	poptContext *more = reallocarray(kept, n + 1, sizeof(poptContext));

	if (!more) {
		poptFreeContext(ctx);
		return err_sys(e, ENOMEM, "cannot read the command line");
	}
	kept = more;
	kept[n++] = ctx;
	return 0;
}

/* Parse the words argv[1..] with @t; what is left goes to r->argv. */
static int parse_with(struct table *t, int argc, const char *const *argv,
		      struct opt_result *r, struct err *e)
{
	poptContext ctx = poptGetContext(NULL, argc,
					 (const char **)(uintptr_t)argv,
					 t->popt, POPT_CONTEXT_POSIXMEHARDER);
	const char **left;
	int rc, n = 0;

	if (!ctx)
		return err_sys(e, ENOMEM, "cannot read the command line");
	if (keep(ctx, e) < 0)
		return -ENOMEM;
	while ((rc = poptGetNextOpt(ctx)) > 0) {
		char *word = poptGetOptArg(ctx);
		int ret = 0;

		if (rc == CODE_HELP)
			r->help = true;
		else if (rc == CODE_LIST)
			r->list = true;
		else if (rc == CODE_COMPLETION)
			r->completion = word;
		else
			ret = store(t->opt[rc - 1], word, e);
		if (ret < 0)
			return ret;
	}
	if (rc < -1)
		return parse_error(ctx, rc, e);
	left = poptGetArgs(ctx);
	while (left && left[n])
		n++;
	r->argc = n;
	r->argv = left;
	return 0;
}

static const struct opt_cmd *find_cmd(const struct opt_prog *p,
				      const char *name)
{
	const struct opt_cmd *c;

	for (c = p->cmds; c && c->name; c++) {
		if (strcmp(c->name, name) == 0)
			return c;
	}
	return NULL;
}

static int check_args(const struct opt_prog *p, const struct opt_result *r,
		      struct err *e)
{
	const struct opt_cmd *c = r->cmd;

	if (r->argc < c->min_args)
		return err_set(e, EINVAL, "%s%s%s wants %s", p->self.name,
			       c == &p->self ? "" : " ",
			       c == &p->self ? "" : c->name, c->args);
	if (c->max_args >= 0 && r->argc > c->max_args)
		return err_set(e, EINVAL, "unexpected argument '%s'",
			       r->argv[c->max_args]);
	return 0;
}

static int advise(const struct opt_prog *p, const struct opt_result *r,
		  struct err *e)
{
	if (r->cmd && r->cmd != &p->self)
		return err_fix(e, "%s %s --help", p->self.name, r->cmd->name);
	return err_fix(e, "%s --help", p->self.name);
}

static int parse_cmd(const struct opt_prog *p, struct opt_result *r,
		     struct err *e)
{
	struct table t = { .n = 0 };

	if (r->argc == 0)
		return err_set(e, EINVAL, "%s wants a command", p->self.name);
	r->cmd = find_cmd(p, r->argv[0]);
	if (!r->cmd)
		return err_set(e, EINVAL, "unknown command '%s'", r->argv[0]);
	table_add(&t, r->cmd->opts);
	table_add(&t, p->self.opts);
	table_end(&t, false);
	return parse_with(&t, r->argc, r->argv, r, e);
}

int opt_parse(const struct opt_prog *p, int argc, const char *const *argv,
	      struct opt_result *r, struct err *e)
{
	struct table t = { .n = 0 };
	int ret;

	*r = (struct opt_result){ .cmd = &p->self };
	table_add(&t, p->self.opts);
	table_end(&t, true);
	ret = parse_with(&t, argc, argv, r, e);
	if (ret == 0 && !r->help && !r->list && !r->completion && p->cmds) {
		r->cmd = NULL;
		ret = parse_cmd(p, r, e);
	}
	if (ret == 0 && !r->help && !r->list && !r->completion)
		ret = check_args(p, r, e);
	return ret < 0 ? advise(p, r, e) : 0;
}

static const struct opt opt_none = { .name = NULL };

static const struct opt *opts_of(const struct opt_cmd *c)
{
	return c->opts ? c->opts : &opt_none;
}

/* ---- --help ---- */

static void help_line(struct buf *b, const char *left, size_t len,
		      const char *text)
{
	buf_printf(b, "  %s", left);
	if (len + 2 >= HELP_COLUMN) {
		buf_puts(b, "\n");
		len = 0;
		buf_puts(b, "  ");
	}
	for (; len + 2 < HELP_COLUMN; len++)
		buf_puts(b, " ");
	buf_printf(b, "%s\n", text);
}

static void help_opts(struct buf *b, const struct opt_cmd *c)
{
	const struct opt *o;

	for (o = opts_of(c); o->name; o++) {
		buf_auto struct buf left = BUF_INIT_MAX(256);

		if (o->letter)
			buf_printf(&left, "-%c, ", o->letter);
		else
			buf_puts(&left, "    ");
		buf_printf(&left, "--%s%s%s", o->name, o->arg ? " " : "",
			   o->arg ? o->arg : "");
		help_line(b, buf_str(&left), left.len, o->help);
	}
}

static void help_usage(struct buf *b, const struct opt_prog *p,
		       const struct opt_cmd *c)
{
	bool top = c == &p->self;

	buf_printf(b, "usage: %s", p->self.name);
	if (top && p->cmds)
		buf_puts(b, " COMMAND [OPTION...] [ARGUMENT...]");
	else
		buf_printf(b, "%s%s [OPTION...]%s%s", top ? "" : " ",
			   top ? "" : c->name, c->args ? " " : "",
			   c->args ? c->args : "");
	buf_printf(b, "\n\n%s\n", c->help);
}

static void help_cmds(struct buf *b, const struct opt_prog *p)
{
	const struct opt_cmd *c;

	buf_puts(b, "\nCommands:\n");
	for (c = p->cmds; c->name; c++) {
		if (!c->hidden)
			help_line(b, c->name, strlen(c->name), c->help);
	}
}

int opt_help(const struct opt_prog *p, const struct opt_cmd *c, struct buf *b)
{
	if (!c)
		c = &p->self;
	help_usage(b, p, c);
	if (c == &p->self && p->cmds)
		help_cmds(b, p);
	buf_puts(b, "\nOptions:\n");
	if (c != &p->self)
		help_opts(b, c);
	help_opts(b, &p->self);
	help_line(b, "-h, --help", strlen("-h, --help"), "print this text");
	buf_printf(b, "\nman %s says the rest.\n", p->self.name);
	return b->failed ? -ENOMEM : 0;
}

/* ---- --list-options ---- */

static void list_opts(struct buf *b, const char *cmd, const struct opt *o)
{
	for (; o->name; o++)
		buf_printf(b, "%s\t--%s\n", cmd, o->name);
}

int opt_list_all(const struct opt_prog *p, struct buf *b)
{
	const struct opt_cmd *c;

	list_opts(b, "", opts_of(&p->self));
	for (c = p->cmds; c && c->name; c++) {
		if (c->hidden)
			continue;
		buf_printf(b, "%s\n", c->name);
		list_opts(b, c->name, opts_of(c));
	}
	return b->failed ? -ENOMEM : 0;
}
