/* SPDX-License-Identifier: MIT
 *
 * Users and groups of the image, read from its own /etc/passwd and /etc/group.
 *
 * Not by getpwnam(3): a static libc's would look where the agent's libc was
 * told to, and NSS modules of a hostile image would run inside PID 1.
 */
#ifndef AGENT_USER_H
#define AGENT_USER_H

#include <limits.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/str.h"
#include "wire/msg.h"

struct buf;
struct err;

struct user {
	uid_t uid;
	gid_t gid;
	gid_t groups[WIRE_GROUPS_MAX];
	size_t ngroups;
};

/* "name|uid[:group|gid]" as in an OCI image's config.User, looked up in the
 * texts of the two files.  A number that is in no file is taken as it is, with
 * group 0.  0, or -ENOENT, -EINVAL with @e filled. */
int user_resolve(const char *spec, struct str passwd, struct str group,
		 struct user *u, struct err *e);

/* The same from the two files below "/etc"; a file that is not there is
 * empty. */
int user_lookup(const char *spec, struct user *u, struct err *e);

/* Append name (unless NULL), home directory and login shell of @uid, as that
 * file has them; nothing for one that is not there. */
void user_entry(uid_t uid, struct buf *name, struct buf *home,
		struct buf *shell);

#endif
