/* SPDX-License-Identifier: MIT
 *
 * Users and groups of an image.
 */
#include "tests/tap.h"

#include "agent/user.h"
#include "base/err.h"
#include "base/fd.h"

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
			     "# a comment\n"
			     "\n"
			     "melody:x:3:3:::\n"
			     "me:x:1000:1001:::\n"
			     "1234:x:77:78:a name of digits::\n"
			     "bad:x:no:0:::\n"
			     "nogid:x:5\n"
			     "big:x:4294967295:0:::\n"
			     "me:x:6:6:the second of a name loses::\n"
			     "last:x:9:9";
static const char group[] = "root:x:0:\n"
			    "us:x:50:you,me\n"
			    "them:x:51:me2,xme,m\n"
			    "all:x:52:me\n"
			    "bad:x:many:me\n"
			    "neg:x:-1:me\n"
			    "88:x:89:\n"
			    "short\n"
			    "end:x:53:last";

struct want {
	const char *spec;
	int r;
	unsigned int uid, gid;
	const char *groups;
};

static const char *groups_of(const struct user *u)
{
	static char text[2000];
	size_t i, n = 0;

	text[0] = '\0';
	for (i = 0; i < u->ngroups; i++)
		n += (size_t)sprintf(text + n, "%u ", u->groups[i]);
	return text;
}

static void resolving(void)
{
	static const struct want t[] = {
		{ "root", 0, 0, 0, "" },
		{ "me", 0, 1000, 1001, "50 52 " },
		{ "1000", 0, 1000, 1001, "50 52 " },
		{ "me:us", 0, 1000, 50, "" },
		{ "me:50", 0, 1000, 50, "" },
		{ "me:4000", 0, 1000, 4000, "" },
		{ "4000", 0, 4000, 0, "" },
		{ "4000:us", 0, 4000, 50, "" },
		{ "0:0", 0, 0, 0, "" },
		{ "1234", 0, 77, 78, "" },
		{ "77", 0, 77, 78, "" },
		{ "me:88", 0, 1000, 89, "" },
		{ "last", 0, 9, 9, "53 " },
		{ "4294967294", 0, 4294967294, 0, "" },
		{ "4294967295", -ENOENT, 0, 0, "" },
		{ "18446744073709551616", -ENOENT, 0, 0, "" },
		{ "nobody", -ENOENT, 0, 0, "" },
		{ "me:nobody", -ENOENT, 0, 0, "" },
		{ "me:4294967295", -ENOENT, 0, 0, "" },
		{ "me:us:us", -ENOENT, 0, 0, "" },
		{ "", -EINVAL, 0, 0, "" },
		{ ":", -EINVAL, 0, 0, "" },
		{ ":us", -EINVAL, 0, 0, "" },
		{ "me:", -EINVAL, 0, 0, "" },
		{ "bad", -EINVAL, 0, 0, "" },
		{ "nogid", -EINVAL, 0, 0, "" },
		{ "big", -EINVAL, 0, 0, "" },
		{ "# a comment", -EINVAL, 0, 0, "" },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(t); i++) {
		struct err e = ERR_INIT;
		struct user u = { 0 };
		int r = user_resolve(t[i].spec, STR(passwd), STR(group), &u,
				     &e);
		bool good = r == t[i].r &&
			    (r < 0 ? e.num == -r && e.text[0] :
				     u.uid == t[i].uid && u.gid == t[i].gid &&
					     strcmp(groups_of(&u),
						    t[i].groups) == 0);

		if (!ok(good, "user '%s'", t[i].spec))
			diag("%d: %u %u %s (%s)", r, u.uid, u.gid,
			     groups_of(&u), e.text);
	}
}

static void errors(void)
{
	struct err e = ERR_INIT;
	struct user u;

	user_resolve("who", STR(passwd), STR(group), &u, &e);
	is_str(e.text, "no user 'who' in /etc/passwd", "names the user");
	user_resolve("me:who", STR(passwd), STR(group), &u, &e);
	is_str(e.text, "no group 'who' in /etc/group", "names the group");
	user_resolve("bad", STR(passwd), STR(group), &u, &e);
	is_str(e.text, "/etc/passwd: bad entry of 'bad'", "names the entry");
}

static void no_files(void)
{
	struct str none = { NULL, 0 };
	struct user u;

	ok(user_resolve("5", none, none, &u, NULL) == 0 && u.uid == 5 &&
		   u.gid == 0 && u.ngroups == 0,
	   "a number needs no file");
	is_int(user_resolve("root", none, none, &u, NULL), -ENOENT,
	       "a name does");
}

static void many_groups(void)
{
	char text[100 * 20];
	struct user u;
	size_t n = 0;
	int i;

	for (i = 0; i < 100; i++)
		n += (size_t)sprintf(text + n, "g%d:x:%d:me\n", i, i);
	is_int(user_resolve("me", STR(passwd), (struct str){ text, n }, &u,
			    NULL),
	       0, "a user in 100 groups");
	is_int(u.ngroups, WIRE_GROUPS_MAX, "is in as many as there can be");
}

int main(void)
{
	struct user u;

	resolving();
	errors();
	no_files();
	many_groups();
	ok(user_lookup("root", &u, NULL) == 0 && u.uid == 0,
	   "from this machine's files");
	return tap_done();
}
