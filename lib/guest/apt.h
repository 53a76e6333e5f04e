/* SPDX-License-Identifier: MIT
 *
 * The distribution's kernel package, found and fetched by apt.
 */
#ifndef GUEST_APT_H
#define GUEST_APT_H

#include <stdint.h>

struct err;
struct progress;

struct apt_package {
	char name[96];
	char version[64];
	uint64_t size; /* of the .deb; 0: not known */
};

/* The package behind the meta package linux-image-cloud-amd64.  0 or -errno,
 * @e filled. */
int apt_resolve(struct apt_package *a, struct err *e);

/* Fetch it into the empty directory @dir; *@deb (owned by the caller) is its
 * path.  apt checks it against the archive's signature.  0 or -errno, @e
 * filled. */
int apt_fetch(const struct apt_package *a, const char *dir, char **deb,
	      struct progress *p, struct err *e);

#endif
