/* SPDX-License-Identifier: MIT
 *
 * What a sandbox is and uses: for those who list it and those who remove it.
 */
#ifndef SANDBOX_USAGE_H
#define SANDBOX_USAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "sandbox/box.h"

struct rundir;
struct err;

enum usage_state {
	USAGE_STARTING,
	USAGE_RUNNING,
	USAGE_SLEEPING,
	USAGE_DEAD,
};

struct usage {
	char id[ID_SIZE];
	enum usage_state state;
	pid_t pid;	    /* of the monitor, or 0 */
	struct box_end end; /* if dead */
	json_t *config;	    /* owned; NULL: not to be read */
	int64_t created;    /* seconds since 1970 */
	uint64_t up_s;	    /* until now, or its last sign of life */
	bool counted;	    /* the next three are known */
	uint64_t cpu_us, memory, memory_peak; /* of the monitor and its guest */
	uint64_t disk;			      /* bytes that it takes here */
};

#define USAGE_INIT             \
	{                      \
		.config = NULL \
	}
#define usage_auto __attribute__((cleanup(usage_free)))

/* Look at it.  What cannot be told is left at nothing. */
void usage_of(struct usage *u, const struct box *b);
void usage_free(struct usage *u);

const char *usage_state_name(enum usage_state s);

/* "1d02h", "3m05s": how long, to be read by people. */
const char *usage_time(uint64_t seconds, char text[static 24]);
/* "12.3M": how much. */
const char *usage_size(uint64_t bytes, char text[static 24]);

#endif
