/* SPDX-License-Identifier: MIT
 *
 * From the kernel's first process to a machine that can run commands.
 *
 * Two profiles, named by the file /profile of the initramfs.  "sandbox" has an
 * image's file system for its root (boot_sandbox.c) and is reached by vsock;
 * "host" is the emulated host, whose root is the real machine's
 * (boot_host.c), and is reached by a virtio-serial port.
 *
 * Nothing here waits for a time: what is not there yet is announced by a
 * uevent of the kernel.
 */
#ifndef AGENT_BOOT_H
#define AGENT_BOOT_H

#include <stdbool.h>

struct err;

struct boot {
	bool sandbox;
	int uevents; /* where devices are announced */
	int port;    /* of a host: where the client is */
};

#define BOOT_INIT                          \
	{                                  \
		.uevents = -1, .port = -1, \
	}

/* Mount /dev, /proc and /sys of the initramfs, load the modules of
 * /modules/list in their order, and find the port of a host.  0 or -errno with
 * @e filled. */
int boot_early(struct boot *b, struct err *e);

/* Put the root file system of the profile together and make it "/".  0 or
 * -errno with @e filled. */
int boot_root(struct boot *b, struct err *e);

/* Sync, unmount what can be, switch the machine off.  Does not return. */
void boot_power_off(void) __attribute__((noreturn));

#endif
