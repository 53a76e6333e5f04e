/* SPDX-License-Identifier: MIT
 *
 * Copies of a running sandbox.
 */
#ifndef SANDBOX_FORK_H
#define SANDBOX_FORK_H

#include <stdint.h>

#include "sandbox/box.h"

struct err;
struct start_spec;

#define FORK_MAX 1000

struct fork_report {
	uint64_t pause_ns;	       /* that no processor of the parent ran */
	uint64_t frozen_ns;	       /* that no command of it did */
	uint64_t begun, forked, ready; /* clock_now(): of all copies */
};

/* Make @n copies of @parent: all of them, or none.  0 with the @n @copies open;
 * or -errno, @e filled; the parent goes on either way.  Of @s: root, patience,
 * cancel, on_lack. */
int fork_sandbox(const struct start_spec *s, const struct box *parent,
		 struct box *copies, unsigned n, struct fork_report *report,
		 struct err *e);

#endif
