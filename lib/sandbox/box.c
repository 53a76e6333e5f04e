/* SPDX-License-Identifier: MIT
 *
 * A sandbox's life, as its directory shows it: see box.h.
 */
#include "sandbox/box.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"

#define ENDED_MAX 4096

void box_free(struct box *b)
{
	fd_close(&b->dir);
}

int box_open(struct box *b, int rundir, const char *entry, struct err *e)
{
	const char *id = entry[0] == '.' ? strrchr(entry, '.') + 1 : entry;

	if (!id_is(str_of(id)) || strlen(entry) >= sizeof(b->entry))
		return err_set(e, EINVAL, "'%.64s' is no sandbox", entry);
	fd_close(&b->dir);
	b->dir = openat(rundir, entry,
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (b->dir < 0)
		return err_sys(e, errno, "cannot open the directory of %s", id);
	memmove(b->id, id, ID_SIZE);
	memmove(b->entry, entry, strlen(entry) + 1);
	return 0;
}

/* Who holds the lock on vmm.pid; the kernel drops it with its holder. */
static pid_t holder(int fd)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (fcntl(fd, F_GETLK, &l) < 0 || l.l_type == F_UNLCK)
		return 0;
	return l.l_pid;
}

pid_t box_pid(const struct box *b)
{
	fd_auto int fd =
		openat(b->dir, "vmm.pid", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? 0 : holder(fd);
}

int box_pidfd(const struct box *b)
{
	fd_auto int fd =
		openat(b->dir, "vmm.pid", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	pid_t pid = fd < 0 ? 0 : holder(fd);
	fd_auto int pidfd = -1;

	/* The lock of a process outside of our PID namespace has no number. */
	if (pid <= 0)
		return pid < 0 ? -EPERM : -ESRCH;
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		return -errno;
	/* Whoever has the number now has the lock as well, so it is it. */
	return holder(fd) == pid ? fd_steal(&pidfd) : -ESRCH;
}

/* ---- the end ------------------------------------------------------------ */

/* The string member @key of the one-line object @s.  What writes it is in
 * touch with a hostile guest, and what reads it is a terminal: what is not
 * printable becomes '?'.  A JSON library would be another to load for every
 * iso-exec. */
static void member(struct str s, const char *key, char *out, size_t size)
{
	size_t i = strlen(key), n = 0;
	const char *at = memmem(s.p ? s.p : "", s.len, key, i);

	if (at) {
		s.len -= (size_t)(at - s.p) + i;
		s.p = at + i;
		for (i = 0; i < s.len && s.p[i] != '"' && n + 1 < size; i++) {
			if (s.p[i] == '\\' && i + 1 < s.len)
				i++;
			out[n] = s.p[i];
			if (out[n] < ' ' || out[n] > '~')
				out[n] = '?';
			n++;
		}
	}
	out[n] = '\0';
}

bool box_is_over(const struct box *b)
{
	struct stat st;

	return (fstatat(b->dir, "ended", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		st.st_size > 0) ||
	       !box_pid(b);
}

void box_end_of(const struct box *b, struct box_end *end)
{
	buf_auto struct buf t = BUF_INIT_MAX(ENDED_MAX);
	struct str s;

	if (io_read_file(b->dir, "ended", &t, NULL) < 0)
		buf_clear(&t);
	s = (struct str){ (const char *)t.data, t.len };
	member(s, "\"reason\": \"", end->reason, sizeof(end->reason));
	member(s, "\"detail\": \"", end->detail, sizeof(end->detail));
	if (!end->reason[0])
		snprintf(end->reason, sizeof(end->reason), "killed");
}

static bool ended_by(const struct box *b, const char *reason)
{
	struct box_end end;

	if (box_pid(b))
		return false;
	box_end_of(b, &end);
	return strcmp(end.reason, reason) == 0;
}

bool box_ended_idle(const struct box *b)
{
	return ended_by(b, "idle");
}

bool box_sleeps(const struct box *b)
{
	return ended_by(b, "hibernated");
}

int box_ended(const struct box *b, struct err *e)
{
	static const char *const words[][2] = {
		{ "power-off", "its guest switched itself off" },
		{ "reset", "its guest restarted" },
		{ "idle", "nobody used it for long enough" },
		{ "quit", "it was asked to" },
		{ "killed", "its monitor was killed" },
		{ "error", "its monitor failed" },
	};
	struct box_end end;
	const char *why;
	size_t i;

	box_end_of(b, &end);
	if (strcmp(end.reason, "hibernated") == 0) {
		err_set(e, ECONNREFUSED, "%s sleeps", b->id);
		return err_fix(e, "iso-snap --resume %s", b->id);
	}
	why = end.reason;
	for (i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcmp(end.reason, words[i][0]) == 0)
			why = words[i][1];
	}
	err_set(e, ECONNREFUSED, "%s has ended: %s%s%s", b->id, why,
		end.detail[0] ? ": " : "", end.detail);
	return err_fix(e, "iso-logs %s shows its console, iso-rm %s removes it",
		       b->id, b->id);
}
