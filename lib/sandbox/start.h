/* SPDX-License-Identifier: MIT
 *
 * Starting a sandbox: from an image's root file system and a kernel to a guest
 * that takes commands.
 */
#ifndef SANDBOX_START_H
#define SANDBOX_START_H

#include <stdbool.h>
#include <stdint.h>

#include "sandbox/box.h"
#include "sandbox/cgroup.h"
#include "sandbox/needs.h"
#include "sandbox/rundir.h"

struct err;

#define START_VCPUS_MAX 32
#define START_MEMORY_MIN ((uint64_t)64 << 20)
#define START_MEMORY_MAX ((uint64_t)64 << 30)
#define START_MEMORY_ALIGN ((uint64_t)2 << 20)

struct start_spec {
	const char *root;  /* $ISO_ROOT, absolute */
	const char *name;  /* NULL: none */
	uint64_t patience; /* ns for the guest to answer */
	int cancel;	   /* descriptor: readable means to give up; or -1 */
	/* Told of what is missing but not needed. */
	void (*on_lack)(const struct err *e);
	/* Take the place of this sandbox, which is no more when the new one is
	 * up; NULL: be another. */
	const char *replace;
};

/* What the machine begins with: a kernel, or what a snapshot has. */
struct start_source {
	const char *vmlinux, *initramfs;
	const char *cmdline; /* behind the kernel's usual; or NULL */
	const char *state, *memory, *scratch;
	const char *prefetch; /* what of memory it will want; or NULL */
};

/* When each was reached, clock_now(). */
struct start_times {
	uint64_t begun, made, vmm, agent, ready;
};

/* Start one that is as @config says, which gets its "id", "name" and "created".
 * 0 with @b open; -EINTR when cancelled; or another -errno; @e filled.  When it
 * fails, nothing of it is left. */
int start_sandbox(const struct start_spec *s, json_t *config,
		  const struct start_source *from, struct box *b,
		  struct start_times *t, struct err *e);

/* For those who make one in another way: what its limits are made from; its
 * cgroup, a descriptor, or -1 with on_lack() called, since a sandbox without
 * limits is one still, as its size is bounded by its machine; and its guest told
 * who it is, when it answers. */
struct cgroup_size start_size(const json_t *config);
int start_cgroup(const struct start_spec *s, const json_t *config,
		 const struct box *b);
int start_greet(const struct start_spec *s, const json_t *config,
		const struct box *b, struct start_times *t, struct err *e);

/* ---- config.c ----------------------------------------------------------- */

/* What of a sandbox is chosen, or is the image's. */
struct config_spec {
	const char *image; /* what it was called, for the record */
	uint64_t vcpus;
	uint64_t memory;	/* bytes, a multiple of START_MEMORY_ALIGN */
	uint64_t disk;		/* bytes, a multiple of SCRATCH_ALIGN */
	uint64_t idle_s;	/* 0: for ever */
	const char *const *env; /* NULL at its end: over the image's */
};

/* The object of config.json, but for what start_sandbox() adds; NULL: out of
 * memory. */
json_t *config_make(const struct config_spec *s, const struct needs *n);

/* Of a copy of the sandbox that @from was of: the same but for @env and, unless
 * it is CONFIG_SAME, @idle_s. */
#define CONFIG_SAME UINT64_MAX
json_t *config_derive(const json_t *from, uint64_t idle_s,
		      const char *const *env);

/* Say who it is, and, unless it says so, that it was made now and what its
 * machine id is.  0 or -errno, @e filled. */
int config_identify(json_t *config, const char *id, const char *name,
		    struct err *e);

uint64_t config_number(const json_t *config, const char *key);
const char *config_text(const json_t *config, const char *key); /* or "" */

/* Write config.json. */
int config_write(const struct box *b, const json_t *config, struct err *e);

/* Read it.  NULL with @e filled. */
json_t *config_read(const struct box *b, struct err *e);

/* ---- monitor.c ---------------------------------------------------------- */

struct proc;

/* Start the monitor, in the cgroup @cgroup (or -1), and wait until it is about
 * to run the guest.  0 or -errno, @e filled. */
int monitor_start(struct proc *p, const struct start_spec *s,
		  const json_t *config, const struct start_source *from,
		  const struct rundir *d, const struct box *b, int cgroup,
		  struct err *e);

/* A vsock address for a guest: any that its like is not likely to have. */
uint32_t monitor_cid(void);

/* Add what the monitor or the guest said last to an error that has no better
 * explanation. */
void monitor_explain(const struct box *b, struct err *e);

/* ---- identity.c --------------------------------------------------------- */

/* Tell the guest who it is, by the sandbox's configuration.  0 or -errno, @e
 * filled. */
int identity_give(int conn, const json_t *config, struct err *e);

#endif
