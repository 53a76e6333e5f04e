/* SPDX-License-Identifier: MIT
 *
 * What a sandbox is called: see id.h.
 */
#include "sandbox/id.h"

#include <stdint.h>
#include <string.h>
#include <sys/random.h>

#include "base/err.h"

#define HEAD "run"
#define RANDOM_MAX 32

int id_random_hex(char *hex, size_t n, struct err *e)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t bytes[RANDOM_MAX];
	size_t i;

	if (n > sizeof(bytes))
		return err_set(e, EINVAL, "%zu random bytes at once", n);
	if (getrandom(bytes, n, 0) != (ssize_t)n)
		return err_sys(e, errno, "cannot get random bytes");
	for (i = 0; i < n; i++) {
		hex[2 * i] = digits[bytes[i] >> 4];
		hex[2 * i + 1] = digits[bytes[i] & 15];
	}
	hex[2 * n] = '\0';
	return 0;
}

int id_make(char id[static ID_SIZE], struct err *e)
{
	memcpy(id, HEAD, sizeof(HEAD));
	return id_random_hex(id + strlen(HEAD), 8, e);
}

bool id_is_prefix(struct str s)
{
	size_t i;

	if (s.len < ID_PREFIX_MIN || s.len >= ID_SIZE ||
	    !str_starts(s, STR(HEAD)))
		return false;
	for (i = strlen(HEAD); i < s.len; i++) {
		if (!(s.p[i] >= '0' && s.p[i] <= '9') &&
		    !(s.p[i] >= 'a' && s.p[i] <= 'f'))
			return false;
	}
	return true;
}

bool id_is(struct str s)
{
	return s.len == ID_SIZE - 1 && id_is_prefix(s);
}

int id_check_name(const char *name, struct err *e)
{
	if (!str_is_name(str_of(name))) {
		err_set(e, EINVAL, "'%.80s' is not a name for a sandbox", name);
		return err_fix(e, "letters, digits, '.', '_', '-', at most 64, "
				  "the first no dot or dash");
	}
	if (id_is_prefix(str_of(name))) {
		err_set(e, EINVAL, "the name '%s' looks like an id", name);
		return err_fix(e, "one that is not 'run' and digits");
	}
	return 0;
}
