/* SPDX-License-Identifier: MIT
 *
 * Included ahead of every source when clang's analyzer reads it, and never
 * compiled: what that cannot know of functions in other files.
 */
#include "base/err.h"

/* These return a negative number, always: a path on which an error was set
 * and the function went on is none. */
static inline int lint_negative(int r)
{
	if (r >= 0)
		__builtin_unreachable();
	return r;
}

#define err_set(...) lint_negative(err_set(__VA_ARGS__))
#define err_sys(...) lint_negative(err_sys(__VA_ARGS__))
#define err_fix(...) lint_negative(err_fix(__VA_ARGS__))
#define err_in(...) lint_negative(err_in(__VA_ARGS__))
