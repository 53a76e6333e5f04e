/* SPDX-License-Identifier: MIT
 *
 * An EROFS image, compressed: see pack.h.
 *
 * The plain image is mounted and mkfs.erofs run on it.  So what mkfs.erofs
 * finds does not depend on any other file system, and is ordered as we ordered
 * it; and there is one program only that knows the rules of layers.  The mount
 * is in a namespace of its own, and ends with mkfs.erofs, however it ends.
 *
 * SOURCE_DATE_EPOCH is more than it looks.  Given by -T a time would replace
 * every file's; given in this way it replaces those that are later, compared as
 * unsigned numbers.  The last second but one of all is later than every other
 * and so keeps them as they are; the very last means "not given".
 */
#include "rootfs/pack.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"
#include "base/str.h"

#define UUID_TEXT 37

static const char script[] =
	"mkdir mnt && mount -t erofs -o ro,loop image mnt && "
	"SOURCE_DATE_EPOCH=18446744073709551614 LC_ALL=C "
	"exec mkfs.erofs --quiet --preserve-mtime -zlz4hc -U \"$1\" packed mnt";

static void uuid_of(const char *hex, char out[static UUID_TEXT])
{
	snprintf(out, UUID_TEXT, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8,
		 hex + 12, hex + 16, hex + 20);
}

static int missing(const char *program, struct err *e)
{
	err_set(e, ENOENT, "there is no %s", program);
	return err_fix(e, "apt-get install erofs-utils");
}

/* In 1.5, -V prints the usage as well, and exits with 1. */
static int read_version(char version[static PACK_VERSION_MAX], struct err *e)
{
	static const char *const argv[] = { "mkfs.erofs", "-V", NULL };
	static const char word[] = "mkfs.erofs ";
	struct proc_spec s = PROC_SPEC_INIT;
	buf_auto struct buf out = BUF_INIT_MAX(65536);
	struct err ignored = ERR_INIT;
	const char *at;
	size_t n = 0;

	s.argv = argv;
	if (proc_run(&s, &out, &ignored) == -ENOENT)
		return missing(argv[0], e);
	at = buf_str(&out);
	at = at ? strstr(at, word) : NULL;
	for (at = at ? at + strlen(word) : "unknown";
	     n < PACK_VERSION_MAX - 1 && isgraph((unsigned char)*at); at++)
		version[n++] = *at;
	version[n] = '\0';
	return 0;
}

int pack_erofs(const char *dir, const char *hex,
	       char version[static PACK_VERSION_MAX], struct err *e)
{
	char uuid[UUID_TEXT];
	const char *argv[] = { "unshare", "--mount", "sh", "-c",
			       script,	  "sh",	     uuid, NULL };
	struct proc_spec s = PROC_SPEC_INIT;

	if (geteuid() != 0) {
		err_set(e, EPERM,
			"compression takes the privilege to mount a file "
			"system (CAP_SYS_ADMIN)");
		return err_fix(e, "root (sudo), or no --compress");
	}
	if (read_version(version, e) < 0)
		return -e->num;
	uuid_of(hex, uuid);
	s.argv = argv;
	s.cwd = dir;
	s.die_with_parent = SIGKILL;
	return proc_run(&s, NULL, e) < 0 ?
		       err_in(e, "cannot compress the file system") :
		       0;
}

int pack_check(const char *path, struct err *e)
{
	const char *argv[] = { "fsck.erofs", "--extract", path, NULL };
	struct proc_spec s = PROC_SPEC_INIT;
	int r;

	s.argv = argv;
	s.die_with_parent = SIGKILL;
	r = proc_run(&s, NULL, e);
	return r == -ENOENT ? missing(argv[0], e) : r;
}
