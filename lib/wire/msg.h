/* SPDX-License-Identifier: MIT
 *
 * The agent protocol: what the frames carry.  iso-agent(7) is the
 * specification.
 *
 * A request to run a command is a list of fields, each a u16 tag, a u16 of
 * zero, a u32 length and that many bytes.  Strings carry their terminating
 * NUL, and it is their only one, so that argv and the environment can be handed
 * to execve(2) where they stand.  Unknown tags are an error: a client must not
 * believe that an agent did what it does not know.
 */
#ifndef WIRE_MSG_H
#define WIRE_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/frame.h"

struct buf;
struct err;

/* A request may be this long in all: what Linux allows argv and environment
 * together under the usual 8 MiB stack, and a little. */
#define WIRE_REQUEST_MAX (2U * 1024 * 1024 + 65536)
#define WIRE_GROUPS_MAX 64

struct wire_winsize {
	uint16_t rows, cols, xpixel, ypixel;
};

/* What to run.  Decoded, all pointers are into the request's bytes, but for
 * the two vectors, which the structure owns. */
struct wire_exec {
	const char **argv; /* NULL at the end */
	size_t argc;
	const char **envp;
	size_t envc;
	const char *cwd;  /* NULL: "/" */
	const char *user; /* "name|uid[:group|gid]", NULL: see cred */
	bool has_cred;	  /* numbers as they are */
	uint32_t uid, gid;
	uint32_t groups[WIRE_GROUPS_MAX];
	size_t ngroups;
	int umask; /* -1: the agent's */
	bool tty;
	struct wire_winsize winsize;
};

#define WIRE_EXEC_INIT      \
	{                   \
		.umask = -1 \
	}
#define wire_exec_auto __attribute__((cleanup(wire_exec_free)))

struct wire_exit {
	bool signaled;
	uint32_t code; /* exit status, or the signal's number */
	uint64_t user_us, sys_us;
	uint64_t maxrss_kib;
};

void wire_exec_free(struct wire_exec *x);

/* Append @x as a request to @b.  0 or -errno with @e filled. */
int wire_exec_encode(struct buf *b, const struct wire_exec *x, struct err *e);

/* Read a request; @x must be freed whatever the outcome.  0, -EPROTO with @e
 * saying which field is wrong, or -ENOMEM. */
int wire_exec_decode(struct wire_exec *x, const uint8_t *p, size_t n,
		     struct err *e);

/* Append a request as OPEN frames of @stream to @out. */
int wire_put_open(struct buf *out, uint32_t stream, const struct buf *request);

int wire_put_hello(struct buf *out, const char *text);
/* 0, or -EPROTO with @e naming the two versions. */
int wire_check_hello(const struct wire_frame *f, struct err *e);

int wire_put_exit(struct buf *out, uint32_t stream, const struct wire_exit *x);
void wire_get_exit(const struct wire_frame *f, struct wire_exit *x);

int wire_put_u32(struct buf *out, enum wire_type type, uint8_t channel,
		 uint32_t stream, uint32_t v);

/* FAILED on @stream, or ERROR for stream 0: a positive errno and a text. */
int wire_put_error(struct buf *out, uint32_t stream, const struct err *why);
void wire_get_error(const struct wire_frame *f, struct err *why);

int wire_put_winsize(struct buf *out, uint32_t stream,
		     const struct wire_winsize *w);
void wire_get_winsize(const uint8_t *p, struct wire_winsize *w);

#endif
