/* SPDX-License-Identifier: MIT
 *
 * The error object.
 */
#include "tests/tap.h"

#include "base/err.h"

static void set_and_extend(void)
{
	struct err e = ERR_INIT;

	is_int(err_set(&e, EINVAL, "bad %s", "thing"), -EINVAL,
	       "err_set returns the negative number");
	is_int(e.num, EINVAL, "the number is kept");
	is_str(e.text, "bad thing", "and the text");
	is_int(err_fix(&e, "try %d", 7), -EINVAL, "err_fix returns it too");
	is_str(e.fix, "try 7", "the remedy");
	is_int(err_in(&e, "image %s", "x"), -EINVAL, "and err_in");
	is_str(e.text, "image x: bad thing", "the context comes first");
	is_str(e.fix, "try 7", "the remedy survives it");
	is_int(err_sys(&e, ENOENT, "cannot open %s", "y"), -ENOENT, "err_sys");
	is_str(e.text, "cannot open y: No such file or directory",
	       "adds the text of the number");
	is_str(e.fix, "", "a new error has no old remedy");
}

static void without_object(void)
{
	is_int(err_set(NULL, EIO, "x"), -EIO, "err_set without an object");
	is_int(err_sys(NULL, EIO, "x"), -EIO, "err_sys without an object");
	is_int(err_fix(NULL, "x"), 0, "err_fix without an object");
	is_int(err_in(NULL, "x"), 0, "err_in without an object");
}

/* Texts longer than the object are cut, never written past it. */
static void long_texts(void)
{
	struct {
		struct err e;
		char after[16];
	} s = { .e = ERR_INIT, .after = "untouched" };
	char big[2000];

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	err_sys(&s.e, EIO, "%s", big);
	is_int(strlen(s.e.text), sizeof(s.e.text) - 1, "a long text is cut");
	err_fix(&s.e, "%s", big);
	is_int(strlen(s.e.fix), sizeof(s.e.fix) - 1, "a long remedy is cut");
	err_in(&s.e, "%s", big);
	is_int(strlen(s.e.text), sizeof(s.e.text) - 1, "a long context is cut");
	err_set(&s.e, EIO, "short");
	err_in(&s.e, "ctx");
	is_str(s.e.text, "ctx: short", "and all is well afterwards");
	is_str(s.after, "untouched", "nothing was written behind the object");
}

static void plain_texts(void)
{
	struct err e = ERR_INIT;

	err_set(&e, EIO,
		"a\033[2J\n\x7f \xc2\x9b"
		"5n \x9b"
		"5n");
	err_plain(&e);
	is_str(e.text, "a?[2J?? \xc2?5n ?5n", "control characters go");
	err_set(&e, EIO, "Z\xc3\xbcrich \xe2\x80\x93 \xc3\x9f");
	err_plain(&e);
	is_str(e.text, "Z\xc3\xbcrich \xe2\x80\x93 \xc3\x9f", "letters stay");
	err_plain(NULL);
}

int main(void)
{
	set_and_extend();
	without_object();
	long_texts();
	plain_texts();
	return tap_done();
}
