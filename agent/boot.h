/* SPDX-License-Identifier: MIT
 *
 * From the kernel's first process to a machine that can run commands.
 */
#ifndef AGENT_BOOT_H
#define AGENT_BOOT_H

struct err;

/* Mount /dev, /proc and /sys of the initramfs, load the modules of
 * /modules/list in their order, and find the port to the host.  The descriptor
 * of the port, or -errno with @e filled. */
int boot_early(struct err *e);

/* Put the root file system of the profile together and make it "/".  0 or
 * -errno with @e filled. */
int boot_root(struct err *e);

/* Sync, unmount what can be, switch the machine off.  Does not return. */
void boot_power_off(void) __attribute__((noreturn));

#endif
