/* SPDX-License-Identifier: MIT
 *
 * What a session is made of: see session.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/pty.h"
#include "agent/server.h"
#include "agent/session.h"
#include "agent/user.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"
#include "wire/msg.h"

#define SESSION_DIR "/run/iso/session"
#define BUSYBOX "/run/iso/bin/busybox"
#define ENV_MORE 2 /* variables that are added */

/* ---- the directory ---- */

/* Where the directories are.  It belongs to the agent, and only the FIFOs in
 * them to the sessions' users, so that nobody but the agent says what their
 * names mean. */
static const char *base_dir(struct err *e)
{
	static char path[128];
	const char *tmp = getenv("TMPDIR");

	if (path[0])
		return path;
	if (getpid() == 1) {
		if (io_mkdirs(SESSION_DIR, 0755, e) < 0)
			return NULL;
		strcpy(path, SESSION_DIR);
		return path;
	}
	/* Not the machine's agent: there may be several. */
	snprintf(path, sizeof(path), "%.64s/iso-agent.XXXXXX",
		 tmp && *tmp == '/' ? tmp : "/tmp");
	if (mkdtemp(path) && chmod(path, 0755) == 0)
		return path;
	err_sys(e, errno, "cannot make %s", path);
	path[0] = '\0';
	return NULL;
}

static int make_dir(struct session *t, struct err *e)
{
	const char *base = base_dir(e);
	const char *c;
	int r;

	if (!base)
		return -(e ? e->num : EIO);
	for (c = base; *c; c++) {
		if (!strchr("/._-", *c) && !(*c >= '0' && *c <= '9') &&
		    !(*c >= 'a' && *c <= 'z') && !(*c >= 'A' && *c <= 'Z'))
			return err_set(e, EINVAL,
				       "a shell would not take %s for a name",
				       base);
	}
	t->dir = str_path(base, t->name);
	if (!t->dir)
		return err_sys(e, ENOMEM, "cannot start session %s", t->name);
	r = io_remove_tree(AT_FDCWD, t->dir, e);
	if (r < 0)
		return r;
	if (mkdir(t->dir, 0755) == 0)
		t->dirfd = open(t->dir, O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return t->dirfd < 0 ? err_sys(e, errno, "cannot make %s", t->dir) : 0;
}

static int make_report(struct session *t, struct err *e)
{
	if (mkfifoat(t->dirfd, "report", 0600) == 0 &&
	    fchownat(t->dirfd, "report", t->uid, (gid_t)-1, 0) == 0)
		t->report.fd =
			openat(t->dirfd, "report",
			       O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	return t->report.fd < 0 ?
		       err_sys(e, errno, "cannot make %s/report", t->dir) :
		       0;
}

void session_remove_dir(struct session *t)
{
	if (t->dir)
		io_remove_tree(AT_FDCWD, t->dir, NULL);
	mem_free(&t->dir);
	fd_close(&t->dirfd);
}

/* ---- the shell ---- */

static const char *env_get(const struct wire_request *x, const char *name)
{
	size_t i, n = strlen(name);

	for (i = 0; i < x->envc; i++) {
		if (strncmp(x->envp[i], name, n) == 0 && x->envp[i][n] == '=')
			return x->envp[i] + n + 1;
	}
	return NULL;
}

/* Whether @path is a shell that understands what the agent types. */
static bool is_known(const char *path)
{
	static const char *const known[] = {
		"sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "busybox",
	};
	const char *base = strrchr(path, '/');
	size_t i;

	for (i = 0; base && i < ARRAY_SIZE(known); i++) {
		if (strcmp(base + 1, known[i]) == 0)
			return path[0] == '/';
	}
	return false;
}

struct shell_env {
	const char **v; /* owned */
	char *more[ENV_MORE];
	size_t n, nmore;
};

static void shell_env_free(struct shell_env *v)
{
	size_t i;

	for (i = 0; i < ENV_MORE; i++)
		mem_free(&v->more[i]);
	mem_free(&v->v);
}

static void env_default(struct shell_env *v, const struct wire_request *x,
			const char *name, const char *value)
{
	if (env_get(x, name) || v->nmore == ENV_MORE)
		return;
	v->more[v->nmore] = str_printf("%s=%s", name, value);
	if (v->more[v->nmore])
		v->v[v->n++] = v->more[v->nmore++];
}

/* Start @shell in place of a command.  Its pid or -errno. */
static pid_t start_shell(struct session *t, const struct wire_request *x,
			 const char *shell, struct err *e)
{
	bool busybox = strcmp(strrchr(shell, '/'), "/busybox") == 0;
	const char *argv[] = { shell, busybox ? "sh" : "-i",
			       busybox ? "-i" : NULL, NULL };
	__attribute__((cleanup(shell_env_free))) struct shell_env v = {
		.v = calloc(x->envc + ENV_MORE + 1, sizeof(char *)),
	};
	int fds[3] = { t->slave, t->slave, t->slave };
	struct wire_request copy = *x;

	if (!v.v)
		return err_sys(e, ENOMEM, "cannot start %s", shell);
	for (v.n = 0; v.n < x->envc; v.n++)
		v.v[v.n] = x->envp[v.n];
	env_default(&v, x, "SHELL", shell);
	/* What the agent types starts with a space. */
	env_default(&v, x, "HISTCONTROL", "ignorespace");
	copy.argv = argv;
	copy.argc = busybox ? 3 : 2;
	copy.envp = v.v;
	copy.envc = v.n;
	return run_spawn(&copy, fds, true, &t->cgroup, NULL, e);
}

/* The first that is there of: what the request's SHELL says, the user's login
 * shell, and what most images have. */
static int find_shell(struct session *t, const struct wire_request *x,
		      struct err *e)
{
	buf_auto struct buf login = BUF_INIT_MAX(4096);
	buf_auto struct buf home = BUF_INIT_MAX(4096);
	const char *candidates[] = {
		env_get(x, "SHELL"), NULL, "/bin/bash", "/bin/sh", BUSYBOX,
	};
	int r = -ENOENT;
	size_t i;

	user_entry(t->uid, NULL, &home, &login);
	candidates[1] = buf_str(&login);
	for (i = 0; i < ARRAY_SIZE(candidates); i++) {
		if (!candidates[i] || !is_known(candidates[i]))
			continue;
		r = start_shell(t, x, candidates[i], e);
		if (r != -ENOENT && r != -EACCES)
			break;
	}
	if (r < 0)
		return r;
	t->pid = r;
	return 0;
}

int session_shell(struct session *t, const struct wire_request *x,
		  struct err *e)
{
	static const struct wire_winsize usual = { 24, 80, 0, 0 };
	struct user u = { .uid = geteuid() };
	bool have;
	int r = run_user(x, &u, &have, e);

	if (r < 0)
		return r;
	t->uid = u.uid;
	r = make_dir(t, e);
	if (r == 0)
		r = make_report(t, e);
	if (r == 0)
		r = pty_open(&t->pty.fd, &t->slave,
			     x->tty ? &x->winsize : &usual, e);
	if (r == 0 && fchown(t->slave, t->uid, (gid_t)-1) < 0)
		r = err_sys(e, errno, "cannot hand over a terminal");
	if (r == 0)
		r = fd_nonblock(t->pty.fd, true);
	if (r == 0)
		r = find_shell(t, x, e);
	return r;
}
