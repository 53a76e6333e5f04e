/* SPDX-License-Identifier: MIT
 *
 * Command lines: the completions of three shells.  See opt.h.
 *
 * They are whole scripts and need no helper at run time: a shell that has to
 * start a program for every TAB is a slow shell.  As in opt_parse(), options
 * end at the first argument, and what follows a command that a program runs
 * is completed as that command's own.
 */
#include "base/opt.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"

static const struct opt opt_none = { .name = NULL };

static const struct opt *opts_of(const struct opt_cmd *c)
{
	return c->opts ? c->opts : &opt_none;
}

/* ---- what the three shells are told ---- */

static bool has_offer(const struct opt_cmd *c, enum opt_offer offer)
{
	return c->max_args != 0 && c->offer == offer;
}

/* The function's name: dashes are no part of a shell identifier. */
static void shell_ident(struct buf *b, const char *name)
{
	for (; *name; name++)
		buf_add(b, *name == '-' ? "_" : name, 1);
}

/* Text within single quotes, for bash and zsh. */
static void quoted(struct buf *b, const char *s)
{
	for (; *s; s++) {
		if (*s == '\'')
			buf_puts(b, "'\\''");
		else
			buf_add(b, s, 1);
	}
}

/* ---- bash ---- */

/* The words before the cursor are walked as popt will: $cmd becomes the
 * command, $rest the index of the first argument, $takes what the last option
 * still wants.  readline makes words of their own of the "=" in --opt=value. */
static const char bash_begin[] =
	"() {\n"
	"\tlocal cur=${COMP_WORDS[COMP_CWORD]}\n"
	"\tlocal cmd='' takes='' offer=none rest=0 max=-1 word i\n"
	"\tCOMPREPLY=()\n"
	"\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	"\t\tword=${COMP_WORDS[i]}\n"
	"\t\tif [[ $takes ]]; then\n"
	"\t\t\t[[ $word == '=' ]] || takes=''\n"
	"\t\t\tcontinue\n"
	"\t\tfi\n"
	"\t\tcase $cmd/$word in\n"
	"\t\t*/--) rest=$((i + 1)); break ;;\n";

static const char bash_middle[] =
	"\t\t*) rest=$i; break ;;\n"
	"\t\tesac\n"
	"\tdone\n"
	"\t[[ $takes && $cur == '=' ]] && cur=''\n"
	"\tif [[ $takes ]]; then\n"
	"\t\toffer=$takes\n"
	"\telif [[ $rest == 0 && $cur == -* ]]; then\n"
	"\t\tcase $cmd in\n";

static const char bash_args[] = "\telse\n"
				"\t\t[[ $rest != 0 ]] || rest=$COMP_CWORD\n"
				"\t\tcase $cmd in\n";

static const char bash_end[] =
	"\t\tesac\n"
	"\t\t((max < 0 || COMP_CWORD - rest < max)) || offer=none\n"
	"\tfi\n"
	"\tcase $offer in\n"
	"\twords*) mapfile -t COMPREPLY < "
	"<(compgen -W \"${offer#words}\" -- \"$cur\") ;;\n"
	"\tdir) mapfile -t COMPREPLY < <(compgen -d -- \"$cur\") ;;\n"
	"\tcommand)\n"
	"\t\tif ((COMP_CWORD > rest)) && "
	"declare -F _command_offset >/dev/null; then\n"
	"\t\t\t_command_offset \"$rest\"\n"
	"\t\telif ((COMP_CWORD > rest)); then\n"
	"\t\t\toffer=file\n"
	"\t\telse\n"
	"\t\t\tmapfile -t COMPREPLY < <(compgen -c -- \"$cur\")\n"
	"\t\tfi ;;\n"
	"\tesac\n"
	"\t[[ $offer != file ]] ||\n"
	"\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
	"\t# Only names of files: else a word that is a directory's name, too,\n"
	"\t# would get a slash.\n"
	"\t[[ $offer != file && $offer != dir ]] ||\n"
	"\t\tcompopt -o filenames 2>/dev/null\n"
	"\treturn 0\n"
	"}\n"
	"complete -F _";

static void bash_offer(struct buf *b, enum opt_offer offer, const char *words)
{
	switch (offer) {
	case OFFER_NONE:
		buf_puts(b, "none");
		break;
	case OFFER_FILE:
		buf_puts(b, "file");
		break;
	case OFFER_DIR:
		buf_puts(b, "dir");
		break;
	case OFFER_COMMAND:
		buf_puts(b, "command");
		break;
	case OFFER_WORDS:
		buf_puts(b, "'words ");
		quoted(b, words);
		buf_puts(b, "'");
		break;
	}
}

/* A case arm an option that takes an argument. */
static void bash_takes(struct buf *b, const char *cmd, const struct opt *o)
{
	for (; o->name; o++) {
		if (o->kind == OPT_FLAG)
			continue;
		buf_printf(b, "\t\t%s/--%s", cmd, o->name);
		if (o->letter)
			buf_printf(b, " | %s/-%c", cmd, o->letter);
		buf_puts(b, ") takes=");
		bash_offer(b, o->offer, o->words);
		buf_puts(b, " ;;\n");
	}
}

static void bash_opt_names(struct buf *b, const struct opt *o)
{
	for (; o->name; o++)
		buf_printf(b, "--%s ", o->name);
}

static void bash_opts_of(struct buf *b, const struct opt_prog *p,
			 const char *pattern, const struct opt *own)
{
	buf_printf(b, "\t\t%s) offer='words ", pattern);
	bash_opt_names(b, own);
	bash_opt_names(b, opts_of(&p->self));
	buf_puts(b, "--help' ;;\n");
}

static void bash_args_of(struct buf *b, const char *pattern,
			 const struct opt_cmd *c)
{
	buf_printf(b, "\t\t%s) max=%d offer=", pattern, c->max_args);
	bash_offer(b, c->offer, c->words);
	buf_puts(b, " ;;\n");
}

static void bash_cmd_names(struct buf *b, const struct opt_prog *p)
{
	const struct opt_cmd *c;

	buf_puts(b, "\t\t'') offer='words ");
	for (c = p->cmds; c->name; c++) {
		if (!c->hidden)
			buf_printf(b, "%s ", c->name);
	}
	buf_puts(b, "--help' ;;\n");
}

static void gen_bash(const struct opt_prog *p, struct buf *b)
{
	const struct opt_cmd *c;

	buf_printf(b, "# bash completion for %s\n_", p->self.name);
	shell_ident(b, p->self.name);
	buf_puts(b, bash_begin);
	for (c = p->cmds; c && c->name; c++)
		bash_takes(b, c->name, opts_of(c));
	bash_takes(b, "*", opts_of(&p->self));
	buf_puts(b, "\t\t*/-*) ;;\n");
	if (p->cmds)
		buf_puts(b, "\t\t/*) cmd=$word ;;\n");
	buf_puts(b, bash_middle);
	for (c = p->cmds; c && c->name; c++)
		bash_opts_of(b, p, c->name, opts_of(c));
	bash_opts_of(b, p, "*", &opt_none);
	buf_puts(b, "\t\tesac\n");
	buf_puts(b, bash_args);
	if (p->cmds)
		bash_cmd_names(b, p);
	else
		bash_args_of(b, "*", &p->self);
	for (c = p->cmds; c && c->name; c++)
		bash_args_of(b, c->name, c);
	buf_puts(b, bash_end);
	shell_ident(b, p->self.name);
	buf_printf(b, " %s\n", p->self.name);
}

/* ---- zsh ---- */

/* Text inside a spec in single quotes. */
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
		buf_puts(b, "_command_names -e");
		break;
	case OFFER_WORDS:
		buf_puts(b, "(");
		quoted(b, words);
		buf_puts(b, ")");
		break;
	}
}

/* '(-n --name)'{-n+,--name=}'[help]:ARG:action', or with a star in front for
 * one that may be repeated. */
static void zsh_opt(struct buf *b, const struct opt *o)
{
	bool flag = o->kind == OPT_FLAG;

	buf_puts(b, " \\\n\t\t");
	if (o->kind == OPT_TEXTS)
		buf_puts(b, "'*'");
	else if (o->letter)
		buf_printf(b, "'(-%c --%s)'", o->letter, o->name);
	if (o->letter)
		buf_printf(b, "{-%c%s,--%s%s}", o->letter, flag ? "" : "+",
			   o->name, flag ? "" : "=");
	else
		buf_printf(b, "--%s%s", o->name, flag ? "" : "=");
	buf_puts(b, "'[");
	zsh_text(b, o->help);
	buf_puts(b, "]");
	if (!flag) {
		buf_puts(b, ":");
		zsh_text(b, o->arg);
		buf_puts(b, ":");
		zsh_offer(b, o->offer, o->words);
	}
	buf_puts(b, "'");
}

/* Options end at the first argument, as in opt_parse(). */
static void zsh_opts(struct buf *b, const struct opt_prog *p,
		     const struct opt *own)
{
	const struct opt *o;

	for (o = own; o->name; o++)
		zsh_opt(b, o);
	for (o = opts_of(&p->self); o->name; o++)
		zsh_opt(b, o);
	buf_puts(b, " \\\n\t\t'(-h --help)'{-h,--help}'[print the usage]'");
}

static void zsh_args(struct buf *b, const struct opt_cmd *c)
{
	if (has_offer(c, OFFER_COMMAND)) {
		buf_puts(b, " \\\n\t\t'(-)1:command:_command_names -e'"
			    " \\\n\t\t'*::argument:_normal'\n");
	} else if (c->max_args) {
		buf_printf(b, " \\\n\t\t'%s:argument:",
			   c->max_args == 1 ? ":" : "*");
		zsh_offer(b, c->offer, c->words);
		buf_puts(b, "'\n");
	} else {
		buf_puts(b, "\n");
	}
}

static void zsh_commands(struct buf *b, const struct opt_prog *p)
{
	const struct opt_cmd *c;

	buf_puts(b, "case $state in\ncommand)\n\tlocal -a commands=(");
	for (c = p->cmds; c->name; c++) {
		if (c->hidden)
			continue;
		buf_printf(b, "\n\t\t'%s:", c->name);
		zsh_text(b, c->help);
		buf_puts(b, "'");
	}
	buf_puts(b, "\n\t)\n\t_describe command commands\n\t;;\n"
		    "argument)\n\tcase $words[1] in\n");
	for (c = p->cmds; c->name; c++) {
		if (c->hidden)
			continue;
		buf_printf(b, "\t%s)\n\t\t_arguments -S -A '-*'", c->name);
		zsh_opts(b, p, opts_of(c));
		zsh_args(b, c);
		buf_puts(b, "\t\t;;\n");
	}
	buf_puts(b, "\tesac\n\t;;\nesac\n");
}

static void gen_zsh(const struct opt_prog *p, struct buf *b)
{
	buf_printf(b, "#compdef %s\n", p->self.name);
	if (!p->cmds) {
		buf_puts(b, "_arguments -S -A '-*'");
		zsh_opts(b, p, &opt_none);
		zsh_args(b, &p->self);
		return;
	}
	buf_puts(b, "local curcontext=$curcontext state line\n"
		    "typeset -A opt_args\n_arguments -C -S -A '-*'");
	zsh_opts(b, p, &opt_none);
	buf_puts(b, " \\\n\t\t'1:command:->command' \\\n"
		    "\t\t'*::argument:->argument' && return\n");
	zsh_commands(b, p);
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

static void fish_letters(struct buf *b, const struct opt *o)
{
	for (; o->name; o++) {
		if (o->kind != OPT_FLAG && o->letter)
			buf_printf(b, " -%c", o->letter);
	}
}

static void fish_names(struct buf *b, const struct opt *o)
{
	for (; o->name; o++) {
		if (o->kind != OPT_FLAG)
			buf_printf(b, " --%s", o->name);
	}
}

/* The command's own completions: what to skip before it are two words, and
 * the options that take a third.  (fish takes the long ones for its own until
 * it has met another.) */
static void fish_command(struct buf *b, const struct opt_prog *p,
			 const struct opt_cmd *c)
{
	buf_puts(b, " -x -a '(__fish_complete_subcommand --fcs-skip=2 -h");
	fish_letters(b, opts_of(c));
	fish_letters(b, opts_of(&p->self));
	fish_names(b, opts_of(c));
	fish_names(b, opts_of(&p->self));
	buf_puts(b, ")'");
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
		buf_puts(b, " -x -a '(__fish_complete_command)'");
		break;
	case OFFER_WORDS:
		buf_puts(b, " -x -a '");
		fish_text(b, words);
		buf_puts(b, "'");
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
	if (c->max_args == 0)
		return;
	fish_when(b, p, c);
	if (has_offer(c, OFFER_COMMAND))
		fish_command(b, p, c);
	else if (has_offer(c, OFFER_FILE))
		buf_puts(b, " -F");
	else
		fish_offer(b, c->offer, c->words);
	buf_puts(b, "\n");
}

static void gen_fish(const struct opt_prog *p, struct buf *b)
{
	const struct opt_cmd *c;

	buf_printf(b,
		   "# fish completion for %s\n"
		   "complete -c %s -f\n"
		   "complete -c %s -l help -s h -d 'print the usage'\n",
		   p->self.name, p->self.name, p->self.name);
	fish_opts(b, p, &p->self);
	for (c = p->cmds; c && c->name; c++) {
		if (c->hidden)
			continue;
		buf_printf(b,
			   "complete -c %s -f "
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
