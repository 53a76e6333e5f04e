/* SPDX-License-Identifier: MIT
 *
 * Commands of other users: see as.h.
 */
#include "agent/as.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"
#include "wire/msg.h"

#define FIXED 6 /* words before the command */
#define FAIL_FD 3

/* What is sent on it. */
struct failure {
	int num;
	char text[sizeof(((struct err *)NULL)->text)];
};

static char *join(const gid_t *v, size_t n)
{
	buf_auto struct buf b = BUF_INIT;
	size_t i;

	buf_puts(&b, "");
	for (i = 0; i < n; i++)
		buf_printf(&b, "%s%u", i ? "," : "", v[i]);
	return b.failed ? NULL : str_dup((struct str){ (char *)b.data, b.len });
}

int as_make(struct as *a, const char *const *argv, const struct proc_cred *cred,
	    const char *cwd, struct err *e)
{
	size_t n = 0, i;

	while (argv[n])
		n++;
	*a = (struct as){ .groups = join(cred->groups, cred->ngroups) };
	a->argv = calloc(FIXED + n + 1, sizeof(*a->argv));
	if (!a->groups || !a->argv)
		return err_sys(e, ENOMEM, "cannot run %s", argv[0]);
	snprintf(a->uid, sizeof(a->uid), "%u", cred->uid);
	snprintf(a->gid, sizeof(a->gid), "%u", cred->gid);
	a->argv[0] = "/proc/self/exe";
	a->argv[1] = "as";
	a->argv[2] = a->uid;
	a->argv[3] = a->gid;
	a->argv[4] = a->groups;
	a->argv[5] = cwd;
	for (i = 0; i < n; i++)
		a->argv[FIXED + i] = argv[i];
	return 0;
}

void as_free(struct as *a)
{
	free(a->argv);
	free(a->groups);
}

/* ---- the other side ---- */

static int parse(char **argv, struct proc_cred *cred,
		 gid_t groups[static WIRE_GROUPS_MAX], struct err *e)
{
	struct str rest = str_of(argv[4]);
	uint64_t uid = 0, gid = 0, one;
	int r = str_u64(str_of(argv[2]), 0, UINT32_MAX, &uid, "user", e);

	if (r == 0)
		r = str_u64(str_of(argv[3]), 0, UINT32_MAX, &gid, "group", e);
	*cred = (struct proc_cred){ (uid_t)uid, (gid_t)gid, groups, 0 };
	while (r == 0 && rest.len && cred->ngroups < WIRE_GROUPS_MAX) {
		r = str_u64(str_cut(&rest, ','), 0, UINT32_MAX, &one, "group",
			    e);
		groups[cred->ngroups++] = (gid_t)one;
	}
	return r;
}

static void tell(const struct err *e)
{
	struct failure f = { .num = e->num };

	memcpy(f.text, e->text, sizeof(f.text));
	/* A session's shell has nobody there; its terminal is looked at. */
	if (io_write_full(FAIL_FD, &f, sizeof(f)) < 0)
		fprintf(stderr, "%s\n", e->text);
}

int as_main(int argc, char **argv)
{
	struct proc_spec s = PROC_SPEC_INIT;
	gid_t groups[WIRE_GROUPS_MAX];
	struct proc_cred cred;
	struct err e = ERR_INIT;

	if (argc <= FIXED)
		return 2;
	fcntl(FAIL_FD, F_SETFD, FD_CLOEXEC);
	s.argv = (const char *const *)argv + FIXED;
	s.cwd = argv[5];
	s.cred = &cred;
	if (parse(argv, &cred, groups, &e) == 0)
		proc_become(&s, &e);
	tell(&e);
	return e.num == ENOENT ? 127 : 126;
}

bool as_failed(int fd, struct err *e)
{
	struct failure f;

	if (fd < 0 || io_read_full(fd, &f, sizeof(f)) != sizeof(f))
		return false;
	f.text[sizeof(f.text) - 1] = '\0';
	err_set(e, f.num, "%s", f.text);
	return true;
}
