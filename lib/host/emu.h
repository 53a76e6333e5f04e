/* SPDX-License-Identifier: MIT
 *
 * The emulated host: one QEMU process that emulates a computer with hardware
 * virtualization, for machines without a usable KVM.  iso-host(1) is its
 * interface, design and limits are there.
 *
 *	iso-host up --fork--> supervisor --+-- virtiofsd (root, read-only)
 *	                       |  ^        +-- virtiofsd (shares)
 *	iso-host run <--socket-+  |        +-- qemu
 *	                          +-- virtio port <-> agent
 *
 * The supervisor lives as long as the machine and holds a lock that long; its
 * children die with it.  So "is it up" is a question to the kernel (who holds
 * the lock, who listens on the socket), and no crash leaves a wrong answer
 * behind.  A pid file was the alternative.
 */
#ifndef HOST_EMU_H
#define HOST_EMU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;

struct emu_config {
	const char *iso_root; /* absolute */
	const char *name;
	uint64_t cpus;
	uint64_t memory; /* bytes */
	uint64_t disk;	 /* bytes, of a state disk that is yet to be made */
	const char *vmlinux, *initramfs;
	const char *modules;	   /* the tree for /lib/modules, or NULL */
	const char *const *shares; /* absolute, real paths */
	size_t nshares;
};

/* $ISO_ROOT/host/NAME/FILE on the heap; NULL: out of memory. */
char *emu_path(const char *iso_root, const char *name, const char *file);

/* Start it and wait until it runs commands.  0 with *@already telling whether
 * it was up before, or -errno with @e filled and nothing left running. */
int emu_start(const struct emu_config *c, bool *already, struct err *e);

/* A greeted connection to its agent, waiting while it starts.  The
 * descriptor; -ENOENT when it is not up; or -errno; @e filled. */
int emu_connect(const char *iso_root, const char *name, struct err *e);

/* Switch it off and wait for its end.  0, -ENOENT when it was not up, or
 * -errno, @e filled. */
int emu_stop(const char *iso_root, const char *name, struct err *e);

/* Whether it is up (which includes starting): 1 or 0, or -errno. */
int emu_is_up(const char *iso_root, const char *name, struct err *e);

/* ---- supervise.c ---- */

/* What the supervisor is handed, and owns. */
struct emu_handed {
	int lock;     /* held until its end */
	int starting; /* the lock of those who start it: until it listens */
	int report;   /* gets one struct err, num 0 when the machine is up */
};

/* Become the supervisor: bring the machine up, report, serve until its end. */
void emu_supervise(const struct emu_config *c, const struct emu_handed *h)
	__attribute__((noreturn));

/* ---- view.c ---- */

/* In a mount namespace of the caller's own: DIR/root becomes the machine's
 * root, read-only, without /proc, /sys, /dev, /run and /tmp; DIR/share holds
 * the shares under numbers, writable, and the agent's setup file.  0 or
 * -errno, @e filled. */
int emu_view(const struct emu_config *c, const char *dir, struct err *e);

#endif
