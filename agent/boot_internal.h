/* SPDX-License-Identifier: MIT
 *
 * What the two profiles share: see boot.h.
 */
#ifndef AGENT_BOOT_INTERNAL_H
#define AGENT_BOOT_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/mount.h>

struct err;

#define NEW_ROOT "/newroot"
#define NODEVEXEC (MS_NOSUID | MS_NODEV | MS_NOEXEC)

struct mount_rule {
	const char *type;
	const char *source;
	const char *target; /* made, with what leads there */
	unsigned long flags;
	const char *data;
	bool optional; /* the kernel may lack it */
};

int boot_mount(const struct mount_rule *m, struct err *e);
int boot_mounts(const struct mount_rule *m, size_t n, struct err *e);

/* What every root has: /proc, /sys, cgroups, /dev/pts, /dev/shm, /dev/mqueue,
 * and the links in /dev to a process's own descriptors. */
int boot_mount_usual(struct err *e);

/* Try @find until it returns something else than -ENOENT, between tries waiting
 * for the kernel to announce another device on @uevents.  What it returned, 0
 * or more; or -errno with @e filled. */
int boot_await(int uevents, int (*find)(void), const char *what, struct err *e);

/* Mount an overlay of /lower and /upper on NEW_ROOT, with these options behind
 * the directories. */
int boot_overlay(const char *options, struct err *e);

/* Make NEW_ROOT "/", and take /dev there. */
int boot_switch_root(struct err *e);

/* Bring an interface up, if it is there. */
void boot_link_up(const char *name);

/* ---- boot_host.c ---- */

int boot_host_port(int uevents, struct err *e);
int boot_host_root(struct err *e);

/* ---- boot_sandbox.c ---- */

int boot_sandbox_root(int uevents, struct err *e);

#endif
