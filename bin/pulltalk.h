/* SPDX-License-Identifier: MIT
 *
 * How a pull is told: lines that move on a terminal, a line an event in a log,
 * an object an event on a descriptor.
 */
#ifndef BIN_PULLTALK_H
#define BIN_PULLTALK_H

#include <stdbool.h>
#include <stdint.h>

#include "oci/pull.h"

#define PULLTALK_LAYERS (MANIFEST_LAYERS_MAX + 1)

struct pulltalk {
	const char *prog; /* borrowed */
	int json_fd;	  /* borrowed, or -1 */
	bool quiet;

	bool tty;
	uint64_t started, drawn, told; /* clock_now() */
	unsigned int lines; /* on the terminal that will be drawn anew */
	uint64_t total, total_done, had;
	size_t layers;
	struct {
		uint64_t done, size;
		bool live;
	} layer[PULLTALK_LAYERS];
};

void pulltalk_begin(struct pulltalk *t);
void pulltalk_event(void *talk, const struct pull_event *ev);
/* @out: the manifest; NULL: @e says what went wrong (for the descriptor; the
 * program prints it). */
void pulltalk_end(struct pulltalk *t, const struct desc *out,
		  const struct err *e);

#endif
