/* SPDX-License-Identifier: MIT
 *
 * Files of the guest, for WIRE_OP_FILE: read, written, listed, archived.
 *
 * All of it is done by a process of its own with the credentials of the user
 * who asks, so that what is allowed is the kernel's business and a link laid
 * for the agent catches only its owner.  The process is the agent's own
 * program, called as
 *
 *	iso-agent file VERB FLAGS MODE OWNER PATH
 *
 * (MODE and OWNER "-": not given), and to the agent a command like any other.
 * It ends with 0, or with the number of the error and one line about it on
 * standard error.
 */
#ifndef AGENT_FILE_H
#define AGENT_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;
struct wire_request;

#define FILE_ARGS 7

/* The command line of that process. */
struct file_call {
	const char *argv[FILE_ARGS + 1];
	size_t argc;
	char verb[16], flags[16], mode[16], owner[32];
};

/* Valid as long as @x is. */
void file_call(struct file_call *c, const struct wire_request *x);

/* What that process has been asked for. */
struct file_job {
	uint32_t flags; /* WIRE_FLAG_PARENTS, WIRE_FLAG_FOLLOW */
	int mode;	/* -1: not given */
	bool has_owner;
	uid_t uid;
	gid_t gid;
	const char *path;
};

/* The process: @argv is what follows "file".  Its exit status. */
int file_main(int argc, char **argv);

/* The directories that lead to @path.  0 or -errno with @e filled. */
int file_make_parents(const char *path, struct err *e);

/* Let SIGTERM wait, or no more. */
void file_hold_term(bool hold);

/* ---- tar.c ---- */

/* An archive of the path to standard output; from standard input to it.  0 or
 * -errno with @e filled. */
int tar_get(const struct file_job *j, struct err *e);
int tar_put(const struct file_job *j, struct err *e);

#endif
