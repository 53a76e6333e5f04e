/* SPDX-License-Identifier: MIT
 *
 * Snapshots from strangers: a manifest, and the stream that --import reads.
 * What is refused is refused with words and leaves nothing; what comes in can be
 * found and exported again.  Digests and MAC are looked at, so little comes in;
 * but all that is parsed is parsed before.
 */
#include <sys/mman.h>

#include "sandbox/snapshot_parts.h"
#include "tests/unit/snapshots.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static const char *root(void)
{
	static char path[] = "/dev/shm/isokit-fuzz.XXXXXX";
	static bool made;

	if (!made && !mkdtemp(path))
		abort();
	made = true;
	return path;
}

static void manifest(const uint8_t *p, size_t n)
{
	json_t *m = NULL, *again = NULL;
	mem_auto char *text = NULL;
	int r = snapshot_parse(&m, (struct str){ (const char *)p, n }, NULL,
			       ERR);

	if (r < 0) {
		if (!e.text[0])
			abort();
		return;
	}
	/* It is the one form that it can have. */
	text = manifest_text(m, true);
	if (!text || strlen(text) != n || memcmp(text, p, n) != 0 ||
	    snapshot_parse(&again, str_of(text), NULL, ERR) < 0)
		abort();
	json_decref(again);
	json_decref(m);
}

static void stream(const uint8_t *p, size_t n)
{
	snapshot_auto struct snapshot s = SNAPSHOT_INIT;
	int in = memfd_create("in", MFD_CLOEXEC);
	int out = memfd_create("out", MFD_CLOEXEC);
	int r;

	if (in < 0 || out < 0 || pwrite(in, p, n, 0) != (ssize_t)n)
		abort();
	r = snapshot_import(&s, root(), in, true, NULL, ERR);
	if (r < 0 && !e.text[0])
		abort();
	if (r == 0 && (recheck(root(), s.id) < 0 ||
		       snapshot_export(&s, root(), out, ERR) < 0 ||
		       snapshot_delete(root(), s.id, ERR) < 0))
		abort();
	if (count_left(root()))
		abort();
	close(in);
	close(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	if (n && p[0] == '{')
		manifest(p, n);
	else
		stream(p, n);
	return 0;
}
