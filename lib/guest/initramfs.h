/* SPDX-License-Identifier: MIT
 *
 * The first file system of a guest.
 */
#ifndef GUEST_INITRAMFS_H
#define GUEST_INITRAMFS_H

#include "base/sha256.h"
#include "guest/modules.h"

struct err;

/* Changes with anything in initramfs.c that changes its output. */
#define INITRAMFS_FORMAT 1

struct initramfs_spec {
	enum profile profile;
	const char *agent;   /* becomes /init */
	const char *busybox; /* becomes /bin/busybox; NULL: none */
	const struct module_list *modules;
};

/* Write the archive to @fd; @hex gets its digest.  0 or -errno, @e filled. */
int initramfs_write(const struct initramfs_spec *s, int fd,
		    char hex[static SHA256_HEX], struct err *e);

/* Whether the file at @path can run where there is nothing but itself: a
 * 64-bit x86 ELF file without an interpreter.  @what names it in the error.
 * 0 or -errno, @e filled. */
int initramfs_check_static(const char *path, const char *what, struct err *e);

#endif
