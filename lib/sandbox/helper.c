/* SPDX-License-Identifier: MIT
 *
 * Programs that another one runs: see helper.h.
 *
 * iso-boot has others do what they are for, instead of calling the libraries
 * that they are made of: it would load libcurl, libarchive and OpenSSL at each
 * start, to use them at the first.
 */
#include "sandbox/helper.h"

#include <limits.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/proc.h"
#include "base/str.h"

/* The directory of the program that runs, on the heap. */
static char *own_dir(void)
{
	char exe[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe));
	const char *slash = n > 0 ? memrchr(exe, '/', (size_t)n) : NULL;

	return slash ? str_dup((struct str){ exe, (size_t)(slash - exe) }) :
		       NULL;
}

char *helper_path(const char *name)
{
	mem_auto char *dir = own_dir();

	return dir ? str_path(dir, name) : NULL;
}

char *helper_libexec(const char *name)
{
	static const char *const places[] = { "../libexec", "../lib/isokit" };
	mem_auto char *dir = own_dir();
	size_t i;

	for (i = 0; dir && i < ARRAY_SIZE(places); i++) {
		char *path = str_printf("%s/%s/%s", dir, places[i], name);

		if (path && access(path, R_OK) == 0)
			return path;
		mem_free(&path);
	}
	return NULL;
}

int helper_run(const char *const *argv, struct buf *out, struct err *e)
{
	struct proc_spec spec = PROC_SPEC_INIT;
	int r;

	spec.argv = argv;
	spec.err = STDERR_FILENO;
	spec.die_with_parent = SIGTERM;
	r = proc_run(&spec, out, e);
	if (r != -EIO)
		return r;
	if (e)
		e->num = EREMOTEIO;
	return -EREMOTEIO;
}
