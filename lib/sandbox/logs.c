/* SPDX-License-Identifier: MIT
 *
 * A sandbox's log: see logs.h.
 *
 * The console's file is bounded: when it is full its older half goes, and what
 * is left moves to the front.  Who follows it then finds its place again by
 * the last bytes that it has shown.
 */
#include "sandbox/logs.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "sandbox/box.h"

#define FILE_MAX ((size_t)4 << 20) /* the monitor bounds them far below */
#define TAIL 256
#define PIECE 16384

/* The bytes are the guest's, and a terminal obeys some: those that are no plain
 * text are shown as "\xNN", as dmesg does. */
static int show(const struct logs_spec *s, const char *p, size_t n)
{
	char text[4 * PIECE + 1];
	size_t at = 0, i;

	if (!s->plain)
		return io_write_full(s->out, p, n);
	for (i = 0; i < n; i++) {
		unsigned char c = (unsigned char)p[i];

		if ((c >= ' ' && c < 0x7f) || c == '\n' || c == '\t')
			text[at++] = p[i];
		else if (c != '\r') /* at the end of every line */
			at += (size_t)sprintf(text + at, "\\x%02x", c);
	}
	return io_write_full(s->out, text, at);
}

struct logs {
	const struct logs_spec *spec;
	int fd;
	off_t at;	 /* up to here it was shown */
	char tail[TAIL]; /* the last that was */
	size_t ntail;
};

static void keep_tail(struct logs *l, const char *p, size_t n)
{
	size_t drop;

	if (n >= TAIL) {
		memcpy(l->tail, p + n - TAIL, TAIL);
		l->ntail = TAIL;
		return;
	}
	drop = l->ntail + n > TAIL ? l->ntail + n - TAIL : 0;
	memmove(l->tail, l->tail + drop, l->ntail - drop);
	memcpy(l->tail + l->ntail - drop, p, n);
	l->ntail = l->ntail - drop + n;
}

/* The file has been cut: go to behind what was shown, or to the front if that
 * is gone. */
static int find_place(struct logs *l)
{
	buf_auto struct buf b = BUF_INIT_MAX(FILE_MAX);
	const char *at = NULL;
	int r;

	if (lseek(l->fd, 0, SEEK_SET) < 0)
		return -errno;
	r = io_read_all(l->fd, &b);
	if (r < 0)
		return r;
	if (b.len && l->ntail)
		at = memmem(b.data, b.len, l->tail, l->ntail);
	l->at = at ? at - (const char *)b.data + (off_t)l->ntail : 0;
	return 0;
}

/* Show what is new. */
static int catch_up(struct logs *l)
{
	char piece[PIECE];
	struct stat st;
	ssize_t n;
	int r;

	if (fstat(l->fd, &st) < 0)
		return -errno;
	r = st.st_size < l->at ? find_place(l) : 0;
	while (r == 0) {
		n = pread(l->fd, piece, sizeof(piece), l->at);
		if (n <= 0)
			return n < 0 ? -errno : 0;
		r = show(l->spec, piece, (size_t)n);
		l->at += n;
		keep_tail(l, piece, (size_t)n);
	}
	return r;
}

/* Wait for a change of the file, or the end of the sandbox. */
static int wait_change(int notify, int pidfd, bool *ended)
{
	struct pollfd pf[2] = { { notify, POLLIN, 0 }, { pidfd, POLLIN, 0 } };
	char events[4096];

	if (poll(pf, 2, -1) < 0)
		return errno == EINTR ? 0 : -errno;
	if (pf[0].revents && read(notify, events, sizeof(events)) < 0 &&
	    errno != EAGAIN)
		return -errno;
	*ended = pf[1].revents;
	return 0;
}

static int follow(struct logs *l, const struct box *b)
{
	fd_auto int notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	fd_auto int pidfd = box_pidfd(b);
	bool ended = pidfd < 0;
	char path[64];
	int r = 0;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", l->fd);
	if (notify < 0 || inotify_add_watch(notify, path, IN_MODIFY) < 0)
		return -errno;
	/* What came before the watch was set is shown first. */
	while (r == 0) {
		r = catch_up(l);
		if (r < 0 || ended)
			break;
		r = wait_change(notify, pidfd, &ended);
	}
	return r;
}

int logs_copy(const struct box *b, const struct logs_spec *s, struct err *e)
{
	fd_auto int fd =
		openat(b->dir, s->file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct logs l = { .spec = s, .fd = fd };
	int r;

	if (fd < 0)
		return err_sys(e, errno, "cannot open the %s of %s", s->file,
			       b->id);
	r = s->follow ? follow(&l, b) : catch_up(&l);
	return r < 0 ? err_sys(e, -r, "cannot show the %s of %s", s->file,
			       b->id) :
		       0;
}
