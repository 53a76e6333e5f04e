/* SPDX-License-Identifier: MIT
 *
 * Command lines.  One table a program, from which come the parsing (by
 * libpopt), --help, the completions of three shells, and the list that the
 * man page is checked against.
 */
#ifndef BASE_OPT_H
#define BASE_OPT_H

#include <stdbool.h>
#include <stdint.h>

struct buf;
struct err;

enum opt_kind {
	OPT_FLAG,  /* out: bool * */
	OPT_TEXT,  /* out: const char **; lives as long as the process */
	OPT_TEXTS, /* out: struct opt_list *; may be given many times */
	OPT_COUNT, /* out: uint64_t *, within [min, max] */
	OPT_BYTES, /* out: uint64_t *, "512M", within [min, max] */
};

/* What a shell offers after the option (or as a program's argument). */
enum opt_offer {
	OFFER_NONE,
	OFFER_FILE,
	OFFER_DIR,
	OFFER_COMMAND,
	OFFER_WORDS, /* the blank-separated words of .words */
};

struct opt_list {
	const char **v; /* owned, NULL at its end */
	int n;
};

struct opt {
	const char *name; /* long name; NULL ends the table */
	char letter;	  /* or 0 */
	enum opt_kind kind;
	void *out;
	const char *arg; /* what --help calls the argument, NULL for flags */
	const char *help;
	uint64_t min, max;
	enum opt_offer offer;
	const char *words;
};

/* A program, or one of its commands. */
struct opt_cmd {
	const char *name;
	const char *args; /* "[--] CMD..." in the usage line; NULL: none */
	const char *help; /* one line */
	const struct opt *opts; /* may be NULL */
	int min_args, max_args; /* max_args -1: any number */
	enum opt_offer offer;	/* of the arguments */
	const char *words;
	/* Called with the arguments left; the program's exit status. */
	int (*run)(int argc, const char *const *argv);
	bool hidden; /* neither in --help nor in completions */
};

struct opt_prog {
	struct opt_cmd self; /* its name is the program's; opts: common to all */
	const struct opt_cmd *cmds; /* NULL-named end; NULL: no commands */
};

/* What opt_parse() found. */
struct opt_result {
	const struct opt_cmd *cmd; /* &prog->self when there are no commands */
	int argc;
	const char *const *argv; /* lives as long as the process */
	bool help;		 /* --help was given: nothing else counts */
	const char *completion;	 /* hidden --completion SHELL */
	bool list;		 /* hidden --list-options */
};

/* Parse; options end at the first other word or at "--".  0, or -EINVAL or
 * -ERANGE with @e filled (the offending word, and the remedy). */
int opt_parse(const struct opt_prog *p, int argc, const char *const *argv,
	      struct opt_result *r, struct err *e);

/* The text of --help for the program or one command. */
int opt_help(const struct opt_prog *p, const struct opt_cmd *c, struct buf *b);

/* The completion script for "bash", "zsh" or "fish"; -EINVAL for another. */
int opt_completion(const struct opt_prog *p, const char *shell, struct buf *b);

/* One "command<TAB>--option" a line: what the man page must name. */
int opt_list_all(const struct opt_prog *p, struct buf *b);

#endif
