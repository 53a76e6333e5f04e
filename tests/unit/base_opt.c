/* SPDX-License-Identifier: MIT
 *
 * Command lines, and the texts made from the same table.
 */
#include "tests/tap.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/opt.h"

#include <errno.h>

static bool quiet, force;
static const char *name;
static struct opt_list sets;
static uint64_t cpus, mem;

static const struct opt common[] = {
	{ .name = "quiet",
	  .letter = 'q',
	  .kind = OPT_FLAG,
	  .out = &quiet,
	  .help = "say less" },
	{ .name = "name",
	  .kind = OPT_TEXT,
	  .out = &name,
	  .arg = "NAME",
	  .help = "which one: it's [this]" },
	{ .name = NULL },
};

static const struct opt run_opts[] = {
	{ .name = "force",
	  .letter = 'f',
	  .kind = OPT_FLAG,
	  .out = &force,
	  .help = "at once" },
	{ .name = "set",
	  .letter = 's',
	  .kind = OPT_TEXTS,
	  .out = &sets,
	  .arg = "K=V",
	  .help = "may be given many times" },
	{ .name = "cpus",
	  .letter = 'c',
	  .kind = OPT_COUNT,
	  .out = &cpus,
	  .arg = "N",
	  .help = "processors",
	  .min = 1,
	  .max = 64 },
	{ .name = "mem",
	  .kind = OPT_BYTES,
	  .out = &mem,
	  .arg = "SIZE",
	  .help = "memory",
	  .min = 1 << 20,
	  .offer = OFFER_WORDS,
	  .words = "512M 1G" },
	{ .name = NULL },
};

static const struct opt_cmd cmds[] = {
	{ .name = "run",
	  .args = "[--] CMD...",
	  .help = "run it",
	  .opts = run_opts,
	  .min_args = 1,
	  .max_args = -1,
	  .offer = OFFER_COMMAND },
	{ .name = "stop", .help = "stop it" },
	{ .name = "secret", .help = "not told", .hidden = true },
	{ .name = NULL },
};

static const struct opt_prog many = {
	.self = { .name = "iso-x", .help = "does x", .opts = common },
	.cmds = cmds,
};

static const struct opt_prog single = {
	.self = { .name = "iso-y",
		  .args = "FILE",
		  .help = "does y",
		  .opts = run_opts,
		  .min_args = 1,
		  .max_args = 1 },
};

#define WORDS(...) ((const char *const[]){ "prog", __VA_ARGS__, NULL })

/* Texts of options live as long as the process, and here there are many. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libpopt\n";
}

/* Parse with everything at its default before. */
static int parse(const struct opt_prog *p, const char *const *argv,
		 struct opt_result *r, struct err *e)
{
	int argc = 0;

	quiet = force = false;
	name = NULL;
	cpus = mem = 0;
	free(sets.v);
	sets = (struct opt_list){ NULL, 0 };
	while (argv[argc])
		argc++;
	return opt_parse(p, argc, argv, r, e);
}

static void good(void)
{
	struct opt_result r;
	struct err e = ERR_INIT;

	is_int(parse(&many,
		     WORDS("-q", "run", "-fc", "3", "--name=n", "--set", "a=1",
			   "-s", "b", "--mem", "2M", "ls", "-l", "--force"),
		     &r, &e),
	       0, "options before and after the command");
	ok(quiet && force && cpus == 3 && mem == 2 << 20, "flags, numbers");
	is_str(name, "n", "a text");
	ok(sets.n == 2 && !strcmp(sets.v[0], "a=1") &&
		   !strcmp(sets.v[1], "b") && !sets.v[2],
	   "a list, in order");
	is_str(r.cmd->name, "run", "the command");
	ok(r.argc == 3 && !strcmp(r.argv[0], "ls") &&
		   !strcmp(r.argv[1], "-l") && !strcmp(r.argv[2], "--force") &&
		   !r.argv[3],
	   "options end at the first other word");
	is_int(parse(&many, WORDS("run", "--", "-x", "--", "y"), &r, &e), 0,
	       "or at --");
	ok(r.argc == 3 && !strcmp(r.argv[0], "-x") &&
		   !strcmp(r.argv[1], "--") && !strcmp(r.argv[2], "y"),
	   "which is taken away, once");
	is_int(parse(&single, WORDS("-f", "file"), &r, &e), 0, "no commands");
	ok(r.cmd == &single.self && r.argc == 1 && force, "but a program");
	is_int(parse(&single, WORDS("-"), &r, &e), 0, "a dash");
	is_str(r.argv[0], "-", "is a word");
	is_int(parse(&single, WORDS("--", ""), &r, &e), 0, "nothing");
	is_str(r.argv[0], "", "as well");
}

static void refuse(const struct opt_prog *p, const char *const *argv,
		   const char *text, const char *fix)
{
	struct opt_result r;
	struct err e = ERR_INIT;

	ok(parse(p, argv, &r, &e) == -e.num && e.num, "refused");
	is_str(e.text, text, text);
	is_str(e.fix, fix, fix);
}

static void bad(void)
{
	const char *x = "iso-x --help", *run = "iso-x run --help";
	const char *y = "iso-y --help";

	refuse(&many, WORDS("--none", "run"), "unknown option --none", x);
	refuse(&many, WORDS("run", "--none", "x"), "unknown option --none",
	       run);
	refuse(&many, WORDS("run", "-z", "x"), "unknown option -z", run);
	refuse(&many, WORDS("run", "-fz", "x"), "unknown option -fz", run);
	refuse(&many, WORDS("run", "--set"), "option --set wants an argument",
	       run);
	refuse(&many, WORDS("dance"), "unknown command 'dance'", x);
	refuse(&many, (const char *const[]){ "prog", NULL },
	       "iso-x wants a command", x);
	refuse(&many, WORDS("run"), "iso-x run wants [--] CMD...", run);
	refuse(&many, WORDS("stop", "now"), "unexpected argument 'now'",
	       "iso-x stop --help");
	refuse(&single, WORDS("a", "b"), "unexpected argument 'b'", y);
	refuse(&single, (const char *const[]){ "prog", NULL },
	       "iso-y wants FILE", y);
	refuse(&many, WORDS("--completion", "bash", "--help=x"),
	       "option --help=x: option does not take an argument", x);
}

static void ranges(void)
{
	const char *y = "iso-y --help";
	struct opt_result r;
	struct err e = ERR_INIT;

	refuse(&single, WORDS("--cpus=0", "f"),
	       "--cpus: '0' is not a whole number from 1 to 64", y);
	refuse(&single, WORDS("-c65", "f"),
	       "--cpus: '65' is not a whole number from 1 to 64", y);
	refuse(&single, WORDS("-c", "two", "f"),
	       "--cpus: 'two' is not a whole number from 1 to 64", y);
	ok(parse(&single, WORDS("-c", "64", "--mem=1M", "f"), &r, &e) == 0 &&
		   cpus == 64 && mem == 1 << 20,
	   "both ends of a range");
	is_int(parse(&single, WORDS("--mem", "16E", "f"), &r, &e), -EINVAL,
	       "a size that is none");
	is_int(parse(&single, WORDS("--mem", "16777215T", "f"), &r, &e), 0,
	       "no limit is no limit");
}

static void asked_for_help(void)
{
	struct opt_result r;
	struct err e = ERR_INIT;

	is_int(parse(&many, WORDS("--help"), &r, &e), 0, "help");
	ok(r.help && r.cmd == &many.self, "of the program");
	is_int(parse(&many, WORDS("run", "-h"), &r, &e), 0, "help");
	ok(r.help && r.cmd == &cmds[0], "of a command, without arguments");
	is_int(parse(&many, WORDS("--completion", "fish"), &r, &e), 0, "and");
	is_str(r.completion, "fish", "completions");
	is_int(parse(&many, WORDS("--list-options"), &r, &e), 0, "and");
	ok(r.list, "the list");
}

/* ---- texts ---- */

static void names_all(const char *text, const char *prefix, const char *what)
{
	static const char *const all[] = { "quiet", "name", "force",
					   "set",   "cpus", "mem" };
	char want[64];
	size_t i;

	for (i = 0; i < 6; i++) {
		snprintf(want, sizeof(want), "%s%s", prefix, all[i]);
		has_str(text, want, what);
	}
	has_str(text, "help", what);
}

static void help(void)
{
	buf_auto struct buf b = BUF_INIT, top = BUF_INIT, all = BUF_INIT;

	is_int(opt_help(&many, &cmds[0], &b), 0, "help of a command");
	names_all(buf_str(&b), "--", "help");
	has_str(buf_str(&b), "usage: iso-x run [OPTION...] [--] CMD...\n",
		"usage");
	has_str(buf_str(&b), "  -c, --cpus N              processors\n",
		"a line an option");
	opt_help(&many, NULL, &top);
	has_str(buf_str(&top), "  run                       run it\n",
		"a line a command");
	ok(!strstr(buf_str(&top), "secret"), "but none that is hidden");
	is_int(opt_list_all(&many, &all), 0, "the list for the manual");
	is_str(buf_str(&all),
	       "\t--quiet\n\t--name\nrun\nrun\t--force\nrun\t--set\n"
	       "run\t--cpus\nrun\t--mem\nstop\n",
	       "has every one");
}

/* What shells make of them is in tests/shell/completion.t. */
static void completion(const char *shell, const char *prefix)
{
	buf_auto struct buf b = BUF_INIT;

	is_int(opt_completion(&many, shell, &b), 0, shell);
	names_all(buf_str(&b), prefix, shell);
	has_str(buf_str(&b), "512M 1G", "words are offered");
}

int main(void)
{
	buf_auto struct buf b = BUF_INIT;

	good();
	bad();
	ranges();
	asked_for_help();
	help();
	completion("bash", "--");
	completion("zsh", "--");
	completion("fish", "-l ");
	is_int(opt_completion(&many, "csh", &b), -EINVAL, "no such shell");
	free(sets.v);
	return tap_done();
}
