/* SPDX-License-Identifier: MIT
 *
 * Command lines: the texts that come from the table.  See opt.h.
 *
 * The completions are whole scripts and need no helper at run time: a shell
 * that has to start a program for every TAB is a slow shell.
 */
#include "base/opt.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"

#define HELP_COLUMN 28

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

/* ---- bash ---- */

static void bash_words(struct buf *b, const struct opt_cmd *c)
{
	const struct opt *o;

	for (o = opts_of(c); o->name; o++)
		buf_printf(b, "--%s ", o->name);
}

static void bash_offer(struct buf *b, enum opt_offer offer, const char *words)
{
	switch (offer) {
	case OFFER_NONE:
		buf_puts(b, "COMPREPLY=()");
		break;
	case OFFER_FILE:
		buf_puts(b, "COMPREPLY=($(compgen -f -- \"$cur\"))");
		break;
	case OFFER_DIR:
		buf_puts(b, "COMPREPLY=($(compgen -d -- \"$cur\"))");
		break;
	case OFFER_COMMAND:
		buf_puts(b, "COMPREPLY=($(compgen -c -- \"$cur\"))");
		break;
	case OFFER_WORDS:
		buf_printf(b, "COMPREPLY=($(compgen -W '%s' -- \"$cur\"))",
			   words);
		break;
	}
}

/* A case arm a option that takes an argument. */
static void bash_opts(struct buf *b, const struct opt_cmd *c)
{
	const struct opt *o;

	for (o = opts_of(c); o->name; o++) {
		if (o->kind == OPT_FLAG)
			continue;
		buf_printf(b, "\t\t%s/--%s", c->name, o->name);
		if (o->letter)
			buf_printf(b, "|%s/-%c", c->name, o->letter);
		buf_puts(b, ") ");
		bash_offer(b, o->offer, o->words);
		buf_puts(b, "; return ;;\n");
	}
}

static void bash_args(struct buf *b, const struct opt_prog *p,
		      const struct opt_cmd *c)
{
	buf_printf(b, "\t\t%s) if [[ $cur == -* ]]; then "
		      "COMPREPLY=($(compgen -W '",
		   c->name);
	bash_words(b, c);
	if (c != &p->self)
		bash_words(b, &p->self);
	buf_puts(b, "--help' -- \"$cur\")); else ");
	bash_offer(b, c->offer, c->words);
	buf_puts(b, "; fi ;;\n");
}

static void bash_cmd_names(struct buf *b, const struct opt_prog *p)
{
	const struct opt_cmd *c;

	for (c = p->cmds; c->name; c++) {
		if (!c->hidden)
			buf_printf(b, "%s ", c->name);
	}
}

/* The function's name: dashes are no part of a shell identifier. */
static void shell_ident(struct buf *b, const char *name)
{
	for (; *name; name++)
		buf_add(b, *name == '-' ? "_" : name, 1);
}

static void gen_bash(const struct opt_prog *p, struct buf *b)
{
	const struct opt_cmd *c;

	buf_printf(b, "# bash completion for %s\n_", p->self.name);
	shell_ident(b, p->self.name);
	buf_puts(b, "() {\n"
		    "\tlocal cur=${COMP_WORDS[COMP_CWORD]}\n"
		    "\tlocal prev=${COMP_WORDS[COMP_CWORD-1]}\n");
	if (p->cmds)
		buf_puts(b, "\tlocal cmd=${COMP_WORDS[1]}\n"
			    "\tif ((COMP_CWORD == 1)); then "
			    "cmd=; prev=; fi\n");
	else
		buf_printf(b, "\tlocal cmd=%s\n", p->self.name);
	buf_puts(b, "\tcase $cmd/$prev in\n");
	if (!p->cmds)
		bash_opts(b, &p->self);
	for (c = p->cmds; c && c->name; c++) {
		if (!c->hidden)
			bash_opts(b, c);
	}
	buf_puts(b, "\tesac\n\tcase $cmd in\n");
	if (p->cmds) {
		buf_puts(b, "\t\t'') COMPREPLY=($(compgen -W '");
		bash_cmd_names(b, p);
		buf_puts(b, "--help' -- \"$cur\")) ;;\n");
	} else {
		bash_args(b, p, &p->self);
	}
	for (c = p->cmds; c && c->name; c++) {
		if (!c->hidden)
			bash_args(b, p, c);
	}
	buf_puts(b, "\tesac\n}\ncomplete -o filenames -F _");
	shell_ident(b, p->self.name);
	buf_printf(b, " %s\n", p->self.name);
}

/* ---- zsh ---- */

/* Text inside a zsh spec in single quotes: no quote, bracket or colon. */
static void zsh_text(struct buf *b, const char *s)
{
	for (; *s; s++) {
		if (*s == '\'')
			buf_puts(b, "'\\''");
		else if (strchr("[]:\\", *s))
			buf_printf(b, "\\%c", *s);
		else
			buf_add(b, s, 1);
	}
}

static void zsh_offer(struct buf *b, enum opt_offer offer, const char *words)
{
	switch (offer) {
	case OFFER_NONE:
		buf_puts(b, " ");
		break;
	case OFFER_FILE:
		buf_puts(b, "_files");
		break;
	case OFFER_DIR:
		buf_puts(b, "_files -/");
		break;
	case OFFER_COMMAND:
		buf_puts(b, "_normal");
		break;
	case OFFER_WORDS:
		buf_printf(b, "(%s)", words);
		break;
	}
}

static void zsh_opt(struct buf *b, const struct opt *o)
{
	buf_puts(b, " \\\n\t\t'");
	if (o->kind == OPT_TEXTS)
		buf_puts(b, "*");
	buf_printf(b, "--%s[", o->name);
	zsh_text(b, o->help);
	buf_puts(b, "]");
	if (o->kind != OPT_FLAG) {
		buf_puts(b, ":");
		zsh_text(b, o->arg);
		buf_puts(b, ":");
		zsh_offer(b, o->offer, o->words);
	}
	buf_puts(b, "'");
}

static void zsh_arguments(struct buf *b, const struct opt_prog *p,
			  const struct opt_cmd *c)
{
	const struct opt *o;

	buf_puts(b, "_arguments -S");
	for (o = opts_of(c); o->name; o++)
		zsh_opt(b, o);
	for (o = opts_of(&p->self); c != &p->self && o->name; o++)
		zsh_opt(b, o);
	buf_puts(b, " \\\n\t\t'--help[print the usage]'");
	if (c->args) {
		buf_puts(b, c->offer == OFFER_COMMAND ? " '*::" : " '*:");
		zsh_text(b, c->args);
		buf_puts(b, ":");
		zsh_offer(b, c->offer, c->words);
		buf_puts(b, "'");
	}
	buf_puts(b, "\n");
}

static void gen_zsh(const struct opt_prog *p, struct buf *b)
{
	const struct opt_cmd *c;

	buf_printf(b, "#compdef %s\n", p->self.name);
	if (!p->cmds) {
		zsh_arguments(b, p, &p->self);
		return;
	}
	buf_puts(b, "if ((CURRENT == 2)); then\n\tlocal -a cmds=(");
	for (c = p->cmds; c->name; c++) {
		if (c->hidden)
			continue;
		buf_printf(b, "\n\t\t'%s:", c->name);
		zsh_text(b, c->help);
		buf_puts(b, "'");
	}
	buf_puts(b, "\n\t)\n\t_describe command cmds\n\treturn\nfi\n"
		    "local cmd=$words[2]\n"
		    "shift words\n((CURRENT--))\ncase $cmd in\n");
	for (c = p->cmds; c->name; c++) {
		if (c->hidden)
			continue;
		buf_printf(b, "%s)\n\t", c->name);
		zsh_arguments(b, p, c);
		buf_puts(b, "\t;;\n");
	}
	buf_puts(b, "esac\n");
}

/* ---- fish ---- */

static void fish_text(struct buf *b, const char *s)
{
	for (; *s; s++) {
		if (*s == '\'' || *s == '\\')
			buf_puts(b, "\\");
		buf_add(b, s, 1);
	}
}

static void fish_offer(struct buf *b, enum opt_offer offer, const char *words)
{
	switch (offer) {
	case OFFER_NONE:
		buf_puts(b, " -x");
		break;
	case OFFER_FILE:
		buf_puts(b, " -rF");
		break;
	case OFFER_DIR:
		buf_puts(b, " -x -a '(__fish_complete_directories)'");
		break;
	case OFFER_COMMAND:
		buf_puts(b, " -x -a '(__fish_complete_subcommand)'");
		break;
	case OFFER_WORDS:
		buf_printf(b, " -x -a '%s'", words);
		break;
	}
}

static void fish_when(struct buf *b, const struct opt_prog *p,
		      const struct opt_cmd *c)
{
	buf_printf(b, "complete -c %s", p->self.name);
	if (c != &p->self)
		buf_printf(b, " -n '__fish_seen_subcommand_from %s'", c->name);
}

static void fish_opts(struct buf *b, const struct opt_prog *p,
		      const struct opt_cmd *c)
{
	const struct opt *o;

	for (o = opts_of(c); o->name; o++) {
		fish_when(b, p, c);
		buf_printf(b, " -l %s", o->name);
		if (o->letter)
			buf_printf(b, " -s %c", o->letter);
		if (o->kind != OPT_FLAG)
			fish_offer(b, o->offer, o->words);
		buf_puts(b, " -d '");
		fish_text(b, o->help);
		buf_puts(b, "'\n");
	}
	if (c->args || (c == &p->self && !p->cmds)) {
		fish_when(b, p, c);
		if (c->offer == OFFER_NONE || c->offer == OFFER_FILE)
			buf_puts(b, c->offer == OFFER_NONE ? " -f" : " -F");
		else
			fish_offer(b, c->offer, c->words);
		buf_puts(b, "\n");
	}
}

static void gen_fish(const struct opt_prog *p, struct buf *b)
{
	const struct opt_cmd *c;

	buf_printf(b, "# fish completion for %s\n", p->self.name);
	fish_opts(b, p, &p->self);
	for (c = p->cmds; c && c->name; c++) {
		if (c->hidden)
			continue;
		buf_printf(b, "complete -c %s -f "
			      "-n __fish_use_subcommand -a %s -d '",
			   p->self.name, c->name);
		fish_text(b, c->help);
		buf_puts(b, "'\n");
		fish_opts(b, p, c);
	}
}

int opt_completion(const struct opt_prog *p, const char *shell, struct buf *b)
{
	if (strcmp(shell, "bash") == 0)
		gen_bash(p, b);
	else if (strcmp(shell, "zsh") == 0)
		gen_zsh(p, b);
	else if (strcmp(shell, "fish") == 0)
		gen_fish(p, b);
	else
		return -EINVAL;
	return b->failed ? -ENOMEM : 0;
}
