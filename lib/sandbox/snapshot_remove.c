/* SPDX-License-Identifier: MIT
 *
 * Deleting snapshots: see snapshot.h.
 *
 * A monitor that has the memory mapped reads it whenever its guest does, so the
 * file must not go while one lives.  (Linux would keep an unlinked one; but then
 * nobody could say what the disk is full of.)
 */
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "sandbox/box.h"
#include "sandbox/rundir.h"
#include "sandbox/snapdir.h"
#include "sandbox/start.h"

#define SHOWN_MAX 5 /* sandboxes that an error lists */

/* ---- who uses it -------------------------------------------------------- */

struct users {
	const char *id;
	struct buf names;
	size_t n;
};

static int add_user(const struct rundir *d, const char *id, bool starting,
		    void *arg)
{
	struct users *u = arg;
	box_auto struct box b = BOX_INIT;
	char entry[sizeof(b.entry)];
	const char *from;
	json_t *config;

	snprintf(entry, sizeof(entry), "%s%s", starting ? ".boot." : "", id);
	if (box_open(&b, d->dir, entry, NULL) < 0 || !box_pid(&b))
		return 0;
	config = config_read(&b, NULL);
	from = json_string_value(json_object_get(config, "snapshot"));
	if (from && strcmp(from, u->id) == 0 && u->n++ < SHOWN_MAX)
		buf_printf(&u->names, "%s%s", u->n > 1 ? " " : "", id);
	json_decref(config);
	return 0;
}

static int in_use(const char *root, const struct snapshot *s, struct err *e)
{
	struct users u = { .id = s->id, .names = BUF_INIT };
	rundir_auto struct rundir d = RUNDIR_INIT;
	const char *names = NULL;

	if (rundir_open(&d, root, false, NULL) == 0 && d.dir >= 0)
		rundir_each(&d, true, add_user, &u, NULL);
	names = u.n ? buf_str(&u.names) : NULL;
	if (names) {
		err_set(e, EBUSY, "%s is in use by %s%s", s->id, names,
			u.n > SHOWN_MAX ? " and more" : "");
		err_fix(e, "iso-rm %s", names);
	} else {
		err_set(e, EBUSY, "%s is in use by a process", s->id);
	}
	buf_free(&u.names);
	return -EBUSY;
}

/* Hold its memory so that no monitor can begin to use it.  The descriptor; -1:
 * there is none to hold; -EBUSY. */
static int hold(const char *root, const struct snapshot *s, struct err *e)
{
	fd_auto int fd = openat(s->dir, snapshot_file_names[SNAPSHOT_MEMORY],
				O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	int r;

	if (fd < 0)
		return -1;
	do {
		r = flock(fd, LOCK_EX | LOCK_NB);
	} while (r < 0 && errno == EINTR);
	if (r < 0 && errno == EWOULDBLOCK)
		return in_use(root, s, e);
	return fd_steal(&fd);
}

/* ---- the golden link ---------------------------------------------------- */

static bool leads_to(int dir, const char *name, const char *id)
{
	char to[PATH_MAX];
	ssize_t n = readlinkat(dir, name, to, sizeof(to) - 1);
	const char *slash;

	if (n < 0)
		return false;
	to[n] = '\0';
	slash = strrchr(to, '/');
	return strcmp(slash ? slash + 1 : to, id) == 0;
}

/* The golden links to it: whether there is one; and away with them. */
static bool golden_links(const char *root, const char *id, bool away)
{
	mem_auto char *path = str_path(root, "golden");
	DIR *dir = path ? opendir(path) : NULL;
	struct dirent *n;
	bool found = false;

	while (dir && (n = readdir(dir))) {
		if (!leads_to(dirfd(dir), n->d_name, id))
			continue;
		found = true;
		if (away)
			unlinkat(dirfd(dir), n->d_name, 0);
	}
	if (dir)
		closedir(dir);
	return found;
}

bool snapshot_is_golden(const char *root, const char *id)
{
	return golden_links(root, id, false);
}

/* ---- deleting ----------------------------------------------------------- */

/* Under .gone.ID, and locked by us, nobody takes it for a snapshot. */
static int doom(const struct snapdir *d, const struct snapshot *s,
		const char *root, const char *gone, struct err *e)
{
	fd_auto int held = snapdir_lock(d, e);

	if (held < 0)
		return held;
	if (flock(s->dir, LOCK_EX | LOCK_NB) < 0)
		return err_sys(e, errno, "cannot lock %s", s->path);
	/* First, for a golden link leads to a snapshot that is there. */
	golden_links(root, s->id, true);
	if (renameat(d->dir, s->id, d->dir, gone) < 0)
		return err_sys(e, errno, "cannot delete %s", s->path);
	snapdir_unname(d, s->id);
	return 0;
}

int snapshot_delete(const char *root, const char *word, struct err *e)
{
	snapshot_auto struct snapshot s = SNAPSHOT_INIT;
	snapdir_auto struct snapdir d = SNAPDIR_INIT;
	char gone[SNAPDIR_ENTRY];
	fd_auto int memory = -1;
	int r = snapshot_locate(&s, root, word, e);

	if (r == 0)
		r = snapdir_open(&d, root, false, e);
	if (r < 0)
		return r;
	memory = hold(root, &s, e);
	if (memory == -EBUSY)
		return -EBUSY;
	snprintf(gone, sizeof(gone), SNAPDIR_GONE "%s", s.id);
	r = doom(&d, &s, root, gone, e);
	return r < 0 ? r : io_remove_tree(d.dir, gone, e);
}
