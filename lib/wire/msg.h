/* SPDX-License-Identifier: MIT
 *
 * The agent protocol: what the frames carry.  iso-agent(7) is the
 * specification.
 *
 * A request is an operation and a list of fields, each a u16 tag, a u16 of
 * zero, a u32 length and that many bytes.  Strings carry their terminating
 * NUL, and it is their only one, so that argv and the environment can be handed
 * to execve(2) where they stand.  Unknown tags are an error, and so are known
 * ones that do not go with the operation: a client must not believe that an
 * agent did what it does not know.
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

#define WIRE_ENTROPY_MAX 512
#define WIRE_MACHINE_ID 32 /* lower-case hexadecimal digits */
#define WIRE_HOSTNAME_MAX 64

/* What is asked for.  On the wire it is this number and one. */
enum wire_op {
	WIRE_OP_EXEC,	 /* run a command */
	WIRE_OP_SETUP,	 /* become the machine with this identity */
	WIRE_OP_SESSION, /* a shell with a name, that outlives connections */
	WIRE_OP_FILE,	 /* read, write, list: as the user who asks */
	WIRE_OP_PORT,	 /* bytes to and from 127.0.0.1:port in the guest */
	WIRE_OP_QUIESCE, /* all commands stand still as long as it runs */
	WIRE_OP_COUNT
};

/* Of x->flags. */
#define WIRE_FLAG_DETACH 1U  /* lives on when its connection ends */
#define WIRE_FLAG_PARENTS 2U /* make the directories that are missing */
#define WIRE_FLAG_FOLLOW 4U  /* of a link: what it leads to */
#define WIRE_FLAGS_ALL 7U

/* x->verb of WIRE_OP_FILE. */
enum wire_file_verb {
	WIRE_FILE_GET = 1, /* stdout: the regular file's bytes */
	WIRE_FILE_PUT,	   /* stdin becomes the file, whole or not at all */
	WIRE_FILE_LIST,	   /* stdout: records of a directory's entries */
	WIRE_FILE_STAT,	   /* stdout: one record */
	WIRE_FILE_TAR_GET, /* stdout: an archive of the file or tree */
	WIRE_FILE_TAR_PUT, /* stdin: an archive, unpacked into a directory */
	WIRE_FILE_MKDIR,
	WIRE_FILE_REMOVE, /* a file or a tree; absent is success */
};

/* x->verb of WIRE_OP_SESSION. */
enum wire_session_verb {
	WIRE_SESSION_RUN = 1, /* argv in the session of that name */
	WIRE_SESSION_LIST,    /* stdout: what there is; no name */
	WIRE_SESSION_END,
};

#define WIRE_VERB_MAX 15U

/* A request.  Decoded, all pointers are into the request's bytes, but for the
 * two vectors, which the structure owns.  A member that a client leaves at its
 * initial value is not sent. */
struct wire_request {
	enum wire_op op;
	uint32_t verb;	   /* SESSION, FILE; 0: none */
	uint32_t flags;	   /* EXEC, SESSION, FILE */
	const char **argv; /* EXEC, SESSION; NULL at the end */
	size_t argc;
	const char **envp; /* EXEC, SETUP, SESSION */
	size_t envc;
	/* Of all but PORT and QUIESCE; NULL: the setup's, or else "/" and
	 * root. */
	const char *cwd;
	const char *user; /* "name|uid[:group|gid]", NULL: see cred */
	bool has_cred;	  /* numbers as they are */
	uint32_t uid, gid;
	uint32_t groups[WIRE_GROUPS_MAX];
	size_t ngroups;
	int umask; /* EXEC, SESSION, FILE; -1: the agent's */
	bool tty;  /* EXEC, SESSION */
	struct wire_winsize winsize;

	const char *session; /* its name: str_is_name() */
	uint32_t port;	     /* 1 to 65535 */

	const char *path; /* FILE; not empty, relative to cwd */
	int mode;	  /* FILE: of what is made; -1: by umask, or the old */
	bool has_owner;	  /* FILE: of what is made */
	uint32_t owner_uid, owner_gid;

	/* SETUP, all of them. */
	const char *hostname;
	const char *machine_id;
	const uint8_t *entropy;
	size_t entropy_len; /* 1 to WIRE_ENTROPY_MAX */
	uint64_t clock_ns;  /* wall clock since 1970, not 0 */
};

#define WIRE_REQUEST_INIT                \
	{                                \
		.umask = -1, .mode = -1, \
	}
#define wire_request_auto __attribute__((cleanup(wire_request_free)))

struct wire_exit {
	bool signaled;
	uint32_t code; /* exit status, or the signal's number */
	uint64_t user_us, sys_us;
	uint64_t maxrss_kib;
};

void wire_request_free(struct wire_request *x);

/* Append @x to @b as a request.  0 or -errno with @e filled. */
int wire_request_encode(struct buf *b, const struct wire_request *x,
			struct err *e);

/* Read a request; @x must be freed whatever the outcome.  0, -EPROTO with @e
 * saying which field is wrong, or -ENOMEM. */
int wire_request_decode(struct wire_request *x, const uint8_t *p, size_t n,
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
/* The 8 bytes of a size, in WINSIZE and in a request. */
void wire_set_winsize(uint8_t v[static 8], const struct wire_winsize *w);
void wire_get_winsize(const uint8_t *p, struct wire_winsize *w);

#endif
