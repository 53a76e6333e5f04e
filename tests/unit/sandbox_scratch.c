/* SPDX-License-Identifier: MIT
 *
 * Scratch disks: sparse, alike, and made once for each size.
 */
#include <sys/stat.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/proc.h"
#include "base/str.h"
#include "sandbox/scratch.h"
#include "tests/unit/scratch.h"

#define MIB ((uint64_t)1 << 20)

static bool same(const char *a, const char *b)
{
	const char *const argv[] = { "cmp", a, b, NULL };
	struct proc_spec spec = PROC_SPEC_INIT;

	spec.argv = argv;
	return proc_run(&spec, NULL, NULL) == 0;
}

static int check(const char *file, struct err *e)
{
	const char *const argv[] = { "/sbin/e2fsck", "-fn", file, NULL };
	struct proc_spec spec = PROC_SPEC_INIT;

	spec.argv = argv;
	return proc_run(&spec, NULL, e);
}

static void disk(const char *root, uint64_t size, const char *name, bool fresh)
{
	struct scratch s;
	struct err e = ERR_INIT;
	struct stat st;

	if (is_int(scratch_make(root, size, AT_FDCWD, name, &s, &e), 0,
		   "a disk is made"))
		diag("%s, %s", s.fresh ? "from a new template" : "from an old",
		     s.cloned ? "by reflink" : "by copying");
	else
		diag("%s", e.text);
	is_int(s.fresh, fresh, "the template is made once");
	if (stat(name, &st) < 0)
		bail("no disk");
	is_int(st.st_size, (int64_t)size, "it has the size asked for");
	ok(st.st_blocks * 512 < (int64_t)MIB, "it takes %lld KiB",
	   (long long)st.st_blocks / 2);
}

/* Every inode table counts as zeroed, or the guest would zero it. */
static void tables(const char *file)
{
	const char *const argv[] = { "/sbin/dumpe2fs", file, NULL };
	buf_auto struct buf out = BUF_INIT;
	struct proc_spec spec = PROC_SPEC_INIT;
	int groups = 0, zeroed = 0;
	struct str rest;

	spec.argv = argv;
	if (proc_run(&spec, &out, NULL) < 0)
		bail("cannot run dumpe2fs");
	rest = (struct str){ (const char *)out.data, out.len };
	while (rest.len) {
		struct str line = str_cut(&rest, '\n');

		if (!str_starts(line, STR("Group ")))
			continue;
		groups++;
		zeroed += memmem(line.p, line.len, "ITABLE_ZEROED", 13) != NULL;
	}
	ok(groups == 8, "%d groups", groups);
	is_int(zeroed, groups, "all inode tables are zeroed already");
}

int main(void)
{
	struct err e = ERR_INIT;
	struct scratch s;

	scratch_enter();
	disk("one", 1024 * MIB, "a", true);
	disk("one", 1024 * MIB, "b", false);
	disk("one", SCRATCH_MIN, "small", true);
	disk("one", 65536 * MIB, "large", true);
	disk("two", 1024 * MIB, "c", true);
	ok(same("a", "b"), "two of one template are the same");
	ok(same("a", "c"), "and of two templates");
	tables("a");
	is_int(check("a", &e), 0, "a clean file system");
	is_int(check("small", &e), 0, "a small one too");
	is_int(count_entries("one/scratch"), 4,
	       "three templates and a lock, nothing half made");
	is_int(scratch_make("one", 1024 * MIB, AT_FDCWD, "a", &s, &e), -EEXIST,
	       "a disk that is there is not overwritten");
	scratch_leave();
	return tap_done();
}
