/* SPDX-License-Identifier: MIT
 *
 * Golden snapshots: see golden.h.
 *
 * One is made the way that a user would make it: a sandbox is booted, a command
 * is run in it, and it is captured, by the programs for that.  It destroys
 * itself if its maker is killed.  Then one is restored, runs a command that does
 * nothing, and what of memory that has touched is noted beside the snapshot, so
 * that all others can have it ready.
 *
 * The command is run so that what it reads is in memory when the next one wants
 * it.  What was free memory is filled with zeros after that, for zeros take no
 * room in the file.  A balloon that takes it away and gives it back was rejected:
 * it does the same by way of the host, page by page.
 */
#include "sandbox/golden.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"
#include "sandbox/capture.h"
#include "sandbox/helper.h"
#include "sandbox/id.h"
#include "sandbox/prefetch.h"

#define BUILDER_IDLE_S 120
/* To be raised with every change of what is done to warm a machine. */
#define FORMAT 3

/* What images are made for, asked for its version; and a shell. */
#define WARM                                                                  \
	"for c in 'python3 -V' 'node -v' 'ruby -v' 'go version' "             \
	"'rustc -V' 'java -version' 'sh -c :'; do "                           \
	"set -- $c; command -v \"$1\" >/dev/null && \"$@\" >/dev/null 2>&1; " \
	"done; :"
/* Three quarters of what is free, so that nothing is driven out. */
#define SETTLE                                                      \
	"sync; echo 3 >/proc/sys/vm/drop_caches; "                  \
	"while read -r k v u; do [ $k = MemFree: ] && break; done " \
	"</proc/meminfo; "                                          \
	"dd if=/dev/zero of=/dev/null bs=$((v / 4 * 3))k count=1 2>/dev/null; :"
/* What was dropped and will be wanted first: of the disk, what it takes to make
 * a file where each sandbox gets some, and what is read there. */
#define REFRESH                                                               \
	"exec >/dev/null 2>&1; cd /etc || exit; "                             \
	": >.isokit.1 && mv .isokit.1 .isokit.2; rm -f .isokit.1 .isokit.2; " \
	"for f in hostname hosts resolv.conf passwd group; "                  \
	"do [ -f $f ] && cat $f; done; sync"

/* ---- the key ------------------------------------------------------------ */

/* FNV-1a: nobody gains by two that are the same, for all of it is our own. */
static uint64_t hash(const uint8_t *p, size_t n)
{
	uint64_t h = 0xcbf29ce484222325;

	while (n--)
		h = (h ^ *p++) * 0x100000001b3;
	return h;
}

/* A file, without reading it. */
static void add_file(struct buf *b, const char *path)
{
	struct stat st;

	if (!path || stat(path, &st) < 0) {
		b->failed = true;
		return;
	}
	buf_printf(b, "%lld %lld.%09ld\n", (long long)st.st_size,
		   (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

static void add_text(struct buf *b, const char *s)
{
	buf_add(b, s ? s : "\n", s ? strlen(s) + 1 : 1);
}

int golden_key(const struct golden_spec *s, char key[static GOLDEN_KEY],
	       struct err *e)
{
	static const char *const numbers[] = { "vcpus", "memory", "disk" };
	buf_auto struct buf b = BUF_INIT_MAX((size_t)1 << 20);
	mem_auto char *vmm = helper_libexec("iso-vmm");
	const char *digest = config_text(s->config, "digest");
	const char *hex = strchr(digest, ':');
	size_t i;

	buf_printf(&b, "%d\n", FORMAT);
	add_file(&b, s->cold.vmlinux);
	add_file(&b, s->cold.initramfs);
	add_file(&b, config_text(s->config, "rootfs"));
	add_file(&b, vmm);
	add_text(&b, s->cold.cmdline);
	add_text(&b, s->prewarm);
	for (i = 0; i < ARRAY_SIZE(numbers); i++)
		buf_printf(&b, "%llu\n",
			   (unsigned long long)config_number(s->config,
							     numbers[i]));
	if (!vmm)
		return err_set(e, ENOENT,
			       "no monitor (iso-vmm) beside this program");
	if (b.failed || !hex || strlen(hex) > GOLDEN_KEY - 20)
		return err_set(e, EIO,
			       "what a golden snapshot is made of "
			       "cannot be told");
	snprintf(key, GOLDEN_KEY, "%s-%016llx", hex + 1,
		 (unsigned long long)hash(b.data, b.len));
	return 0;
}

/* ---- looking ------------------------------------------------------------ */

/* Where it leads to, whether that is there or not. */
static bool follow(const char *path, char id[static SNAPSHOT_ID_SIZE])
{
	char to[64];
	const char *base;
	ssize_t n = path ? readlink(path, to, sizeof(to) - 1) : -1;

	if (n <= 0)
		return false;
	to[n] = '\0';
	base = strrchr(to, '/');
	if (!base || strlen(base + 1) + 1 != SNAPSHOT_ID_SIZE)
		return false;
	memcpy(id, base + 1, SNAPSHOT_ID_SIZE);
	return true;
}

int golden_look(const char *root, const char *key,
		char id[static SNAPSHOT_ID_SIZE])
{
	mem_auto char *path = str_printf("%s/golden/%s", root, key);
	snapshot_auto struct snapshot found = SNAPSHOT_INIT;

	return follow(path, id) && snapshot_find(&found, root, id, NULL) == 0 &&
			       snapshot_check(&found, NULL) == 0 ?
		       0 :
		       -ENOENT;
}

/* ---- one that is not, or not any more ----------------------------------- */

/* The link of a snapshot that is being tried, or was refused. */
static char *other_link(const char *root, const char *key)
{
	return str_printf("%s/golden/.%s.new", root, key);
}

void golden_forget(const struct golden_spec *s, const char *id)
{
	mem_auto char *path = NULL, *other = NULL;
	char key[GOLDEN_KEY], now[SNAPSHOT_ID_SIZE];

	/* Somebody may have made another. */
	if (golden_key(s, key, NULL) < 0 ||
	    golden_look(s->root, key, now) < 0 || strcmp(now, id) != 0)
		return;
	path = str_printf("%s/golden/%s", s->root, key);
	other = other_link(s->root, key);
	if (path && other)
		rename(path, other);
}

/* With the lock held: that it is there says that it is of no use, or that who
 * tried it was killed.  One that is in use stays, as a snapshot like any other. */
static void drop_other(const struct golden_spec *s, const char *key)
{
	mem_auto char *other = other_link(s->root, key);
	char id[SNAPSHOT_ID_SIZE];

	if (follow(other, id))
		snapshot_delete(s->root, id, NULL);
	if (other)
		unlink(other);
}

int golden_lock(const char *root, const char *key, struct err *e)
{
	mem_auto char *dir = str_path(root, "golden");
	mem_auto char *path = str_printf("%s/golden/.%s.lock", root, key);
	int r = dir && path ? io_mkdirs(dir, 0755, e) :
			      err_sys(e, ENOMEM, "cannot lock");

	return r < 0 ? r : io_lock(AT_FDCWD, path, true, e);
}

/* ---- making ------------------------------------------------------------- */

/* A script for busybox's shell, as root or as the image's user.  What it prints
 * is nobody's business. */
static int run_inside(const struct box *b, bool root, const char *script,
		      struct err *e)
{
	mem_auto char *program = helper_path("iso-exec");
	buf_auto struct buf out = BUF_INIT_MAX((size_t)1 << 20);
	const char *const argv[] = {
		program, "--timeout",	    "120", "--user", "0:0", b->id,
		"--",	 "/run/iso/bin/sh", "-c",  script,   NULL
	};
	const char *const as_user[] = { program, "--timeout", "120",
					b->id,	 "--",	      "/run/iso/bin/sh",
					"-c",	 script,      NULL };

	if (!program)
		return err_sys(e, ENOMEM, "iso-exec");
	return helper_run(root ? argv : as_user, &out, e);
}

/* A command that fails has warmed what it has, and the first user of the
 * image will see it fail as well. */
static int warm(const struct golden_spec *s, const struct box *b, struct err *e)
{
	struct err w = ERR_INIT;
	bool works =
		run_inside(b, false, s->prewarm ? s->prewarm : WARM, NULL) == 0;
	int r = run_inside(b, true, SETTLE, e);

	if (!works) {
		err_set(&w, EIO, "the pre-warm command failed");
		s->on_lack(&w);
	}
	/* A user's own may be one that is to run once. */
	if (r == 0 && works)
		run_inside(b, false, s->prewarm ? ":" : WARM, NULL);
	if (r == 0)
		run_inside(b, true, REFRESH, NULL);
	return r;
}

static int capture(const struct box *b, char id[static SNAPSHOT_ID_SIZE],
		   struct err *e)
{
	mem_auto char *program = helper_path("iso-snap");
	buf_auto struct buf out = BUF_INIT_MAX(65536);
	const char *const argv[] = { program, "--quiet", "--", b->id, NULL };
	struct str s;
	int r = program ? helper_run(argv, &out, e) :
			  err_sys(e, ENOMEM, "iso-snap");

	if (r < 0)
		return r;
	s = str_trim((struct str){ (const char *)out.data, out.len });
	if (s.len != SNAPSHOT_ID_SIZE - 1)
		return err_set(e, EPROTO, "iso-snap's answer makes no sense");
	memcpy(id, s.p, s.len);
	id[s.len] = '\0';
	return 0;
}

/* Whoever is killed from here on leaves what the next one drops. */
static int link_other(const struct golden_spec *s, const char *key,
		      const char *id, struct err *e)
{
	mem_auto char *other = other_link(s->root, key);
	mem_auto char *to = str_printf("../snapshots/%s", id);

	if (!other || !to)
		return err_sys(e, ENOMEM, "cannot name a golden snapshot");
	return symlink(to, other) < 0 ?
		       err_sys(e, errno, "cannot make %s", other) :
		       0;
}

/* It is the golden one, at once, and over one that led nowhere. */
static int link_golden(const struct golden_spec *s, const char *key,
		       struct err *e)
{
	mem_auto char *other = other_link(s->root, key);
	mem_auto char *path = str_printf("%s/golden/%s", s->root, key);

	if (!other || !path)
		return err_sys(e, ENOMEM, "cannot name a golden snapshot");
	return rename(other, path) < 0 ?
		       err_sys(e, errno, "cannot make %s", path) :
		       0;
}

static int start(const struct golden_spec *s, json_t *config,
		 const struct start_source *from, struct box *b, struct err *e)
{
	struct start_spec spec = { .root = s->root,
				   .patience = s->patience,
				   .cancel = s->cancel,
				   .on_lack = s->on_lack };
	struct start_times t;

	return start_sandbox(&spec, config, from, b, &t, e);
}

static void end(const struct golden_spec *s, struct box *b)
{
	rundir_auto struct rundir d = RUNDIR_INIT;

	if (b->dir >= 0 && rundir_open(&d, s->root, false, NULL) == 0)
		rundir_remove(&d, b, NULL);
}

static int make(const struct golden_spec *s, struct box *b,
		char id[static SNAPSHOT_ID_SIZE], bool *booted, struct err *e)
{
	json_t *config = config_derive(s->config, BUILDER_IDLE_S, NULL);
	int r = config ? start(s, config, &s->cold, b, e) :
			 err_sys(e, ENOMEM, "cannot describe the sandbox");

	json_decref(config);
	*booted = r == 0;
	if (r == 0)
		r = warm(s, b, e);
	return r < 0 ? r : capture(b, id, e);
}

static int try_one(const struct golden_spec *s, const struct restore *from,
		   struct box *b, struct err *e)
{
	int r = start(s, from->config, &from->from, b, e);

	if (r == 0)
		r = run_inside(b, false, ":", e);
	return r < 0 ? r : prefetch_record(from->snap.dir, box_pid(b), e);
}

/* What a first command wants of the snapshot's memory.  A wish: without it the
 * snapshot is as good, and slower. */
static void note_wants(const struct golden_spec *s, const char *id)
{
	restore_auto struct restore from = RESTORE_INIT;
	box_auto struct box b = BOX_INIT;
	struct err w = ERR_INIT;
	int r = restore_find(&from, s->root, id, BUILDER_IDLE_S, NULL, &w);

	if (r == 0)
		r = try_one(s, &from, &b, &w);
	end(s, &b);
	if (r == 0)
		r = prefetch_ready(from.snap.dir, &w);
	if (r < 0 && r != -EREMOTEIO)
		s->on_lack(&w);
}

/* Whoever asked for it has given up, if perhaps only a program that was run has
 * noticed. */
static bool is_cancelled(const struct golden_spec *s)
{
	struct pollfd pf = { s->cancel, POLLIN, 0 };

	return poll(&pf, 1, 0) > 0;
}

int golden_build(const struct golden_spec *s, const char *key,
		 char id[static SNAPSHOT_ID_SIZE], bool *booted, struct err *e)
{
	box_auto struct box b = BOX_INIT;
	int r;

	drop_other(s, key);
	r = make(s, &b, id, booted, e);
	if (r == 0)
		r = link_other(s, key, id, e);
	end(s, &b);
	if (r < 0)
		return r;
	note_wants(s, id);
	if (is_cancelled(s)) {
		drop_other(s, key);
		return err_set(e, EINTR, "interrupted");
	}
	return link_golden(s, key, e);
}
