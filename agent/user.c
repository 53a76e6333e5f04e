/* SPDX-License-Identifier: MIT
 *
 * Users and groups of the image: see user.h.
 */
#include "agent/user.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"

#define FILE_MAX ((size_t)4 << 20)
#define ID_MAX 0xfffffffeU /* -1 means "no change" to setresuid(2) */

static int to_id(struct str s, unsigned *out)
{
	uint64_t v;
	int r = str_u64(s, 0, ID_MAX, &v, "id", NULL);

	if (r == 0)
		*out = (unsigned)v;
	return r;
}

/* One line of passwd or group: up to seven fields. */
struct entry {
	struct str field[7];
};

static bool next_entry(struct str *text, struct entry *en)
{
	struct str line;
	size_t i;

	if (!text->p)
		return false;
	line = str_cut(text, '\n');
	for (i = 0; i < 7; i++)
		en->field[i] = str_cut(&line, ':');
	return true;
}

/* The entry whose name, or else whose number (field 2), is @key. */
static bool find(struct str text, struct str key, struct entry *en)
{
	struct str rest = text;
	unsigned want = 0, have;

	while (next_entry(&rest, en)) {
		if (key.len && str_eq(en->field[0], key))
			return true;
	}
	if (to_id(key, &want) < 0)
		return false;
	rest = text;
	while (next_entry(&rest, en)) {
		if (to_id(en->field[2], &have) == 0 && have == want)
			return true;
	}
	return false;
}

static bool is_member(struct str members, struct str name)
{
	while (members.p) {
		if (str_eq(str_cut(&members, ','), name))
			return true;
	}
	return false;
}

static void add_groups(struct str group, struct str name, struct user *u)
{
	struct entry en;
	unsigned gid;

	while (u->ngroups < WIRE_GROUPS_MAX && next_entry(&group, &en)) {
		if (is_member(en.field[3], name) &&
		    to_id(en.field[2], &gid) == 0)
			u->groups[u->ngroups++] = gid;
	}
}

static int resolve_group(struct str spec, struct str group, struct user *u,
			 struct err *e)
{
	struct entry en;

	if (find(group, spec, &en) && to_id(en.field[2], &u->gid) == 0)
		return 0;
	if (to_id(spec, &u->gid) == 0)
		return 0;
	return err_set(e, ENOENT, "no group '%.*s' in /etc/group",
		       STR_ARG(spec));
}

int user_resolve(const char *spec, struct str passwd, struct str group,
		 struct user *u, struct err *e)
{
	struct str grp = str_of(spec);
	struct str name = str_cut(&grp, ':');
	struct entry en;
	bool known = find(passwd, name, &en);

	*u = (struct user){ .gid = 0 };
	if (name.len == 0 || (grp.p && grp.len == 0))
		return err_set(e, EINVAL, "user '%s' is not name[:group]",
			       spec);
	if (known && (to_id(en.field[2], &u->uid) < 0 ||
		      to_id(en.field[3], &u->gid) < 0))
		return err_set(e, EINVAL, "/etc/passwd: bad entry of '%.*s'",
			       STR_ARG(name));
	if (!known && to_id(name, &u->uid) < 0)
		return err_set(e, ENOENT, "no user '%.*s' in /etc/passwd",
			       STR_ARG(name));
	if (grp.p)
		return resolve_group(grp, group, u, e);
	if (known)
		add_groups(group, en.field[0], u);
	return 0;
}

/* What the guest's root has put there may be anything, a FIFO for one, at which
 * the agent must not wait.  What is no file is empty. */
static int read_file(const char *path, struct buf *b, struct err *e)
{
	fd_auto int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	int r;

	if (fd < 0)
		return errno == ENOENT ?
			       0 :
			       err_sys(e, errno, "cannot open %s", path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	r = io_read_all(fd, b);
	return r < 0 ? err_sys(e, -r, "cannot read %s", path) : 0;
}

int user_lookup(const char *spec, struct user *u, struct err *e)
{
	buf_auto struct buf passwd = BUF_INIT_MAX(FILE_MAX);
	buf_auto struct buf group = BUF_INIT_MAX(FILE_MAX);
	int r;

	r = read_file("/etc/passwd", &passwd, e);
	if (r == 0)
		r = read_file("/etc/group", &group, e);
	if (r < 0)
		return r;
	return user_resolve(spec,
			    (struct str){ (char *)passwd.data, passwd.len },
			    (struct str){ (char *)group.data, group.len }, u,
			    e);
}

void user_entry(uid_t uid, struct buf *name, struct buf *home,
		struct buf *shell)
{
	buf_auto struct buf passwd = BUF_INIT_MAX(FILE_MAX);
	struct str text;
	struct entry en;
	unsigned have = 0;

	if (read_file("/etc/passwd", &passwd, NULL) < 0)
		return;
	text = (struct str){ (char *)passwd.data, passwd.len };
	while (next_entry(&text, &en)) {
		if (to_id(en.field[2], &have) < 0 || have != uid)
			continue;
		if (name)
			buf_add(name, en.field[0].p, en.field[0].len);
		buf_add(home, en.field[5].p, en.field[5].len);
		buf_add(shell, en.field[6].p, en.field[6].len);
		return;
	}
}
