/* SPDX-License-Identifier: MIT
 *
 * A sandbox's log, read to its end and beyond.
 */
#ifndef SANDBOX_LOGS_H
#define SANDBOX_LOGS_H

#include <stdbool.h>

struct box;
struct err;

struct logs_spec {
	const char *file; /* console.log or vmm.log */
	bool follow;	  /* until the sandbox has ended */
	bool plain;	  /* nothing that a terminal would obey */
	int out;	  /* where it goes; borrowed */
};

/* 0, or -errno with @e filled: -EPIPE when nobody reads it any more. */
int logs_copy(const struct box *b, const struct logs_spec *s, struct err *e);

#endif
