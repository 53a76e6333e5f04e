/* SPDX-License-Identifier: MIT
 *
 * What a sandbox is called: "run" and 16 hexadecimal digits, made from random
 * bytes, so that no counter has to be kept and no two hosts make the same.
 */
#ifndef SANDBOX_ID_H
#define SANDBOX_ID_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

struct err;

#define ID_SIZE 20	/* "run", 16 digits, NUL */
#define ID_PREFIX_MIN 4 /* of what stands for an id: "run" and a digit */

/* A new one.  0 or -errno, @e filled. */
int id_make(char id[static ID_SIZE], struct err *e);

/* Whether @s is an id; whether it is the beginning of one, and long enough to
 * stand for it. */
bool id_is(struct str s);
bool id_is_prefix(struct str s);

/* Whether a sandbox may be called so: str_is_name(), and nothing that could be
 * the beginning of an id.  0 or -EINVAL, @e filled. */
int id_check_name(const char *name, struct err *e);

/* @n random bytes as 2 @n hexadecimal digits and a NUL.  0 or -errno. */
int id_random_hex(char *hex, size_t n, struct err *e);

#endif
