/* SPDX-License-Identifier: MIT
 *
 * The agent protocol: requests.  See msg.h.
 *
 * What fields there are, which operations take them and what their bytes may
 * be stands in one table; an operation's own code sees whole requests only.
 */
#include "wire/msg.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"

/* The shapes of a field's bytes. */
enum kind {
	KIND_NONE,
	KIND_TEXT,  /* string: const char *, NULL when absent */
	KIND_WORDS, /* string, may come many times: a vector and its length */
	KIND_NUM,   /* u32 within the rule's bounds: uint32_t, 0 when absent */
	KIND_MODE,  /* u32, cut to the rule's bits: int, -1 when absent */
	KIND_CLOCK, /* u64 */
	KIND_BYTES, /* within the rule's bounds */
	KIND_CRED,  /* u32 uid, u32 gid, u32 groups... */
	KIND_OWNER, /* u32 uid, u32 gid */
	KIND_TTY,   /* u16 rows, columns, x, y pixels */
};

#define EXEC (1U << WIRE_OP_EXEC)
#define SETUP (1U << WIRE_OP_SETUP)
#define SESSION (1U << WIRE_OP_SESSION)
#define FILE_OP (1U << WIRE_OP_FILE)
#define PORT (1U << WIRE_OP_PORT)

/* What the fields are: one row a tag, which is its index. */
static const struct rule {
	const char *name;
	enum kind kind;
	unsigned int with;   /* operations that take it */
	unsigned int always; /* operations that must have it */
	uint32_t min, max;   /* of a number, or of a length */
	size_t at;	     /* in struct wire_request */
} rules[] = {
#define AT(member) offsetof(struct wire_request, member)
	[1] = { "command", KIND_WORDS, EXEC | SESSION, EXEC, 1, 0, AT(argv) },
	[2] = { "environment", KIND_WORDS, EXEC | SETUP | SESSION, 0, 1, 0,
		AT(envp) },
	[3] = { "directory", KIND_TEXT, EXEC | SETUP | SESSION | FILE_OP, 0, 1,
		0, AT(cwd) },
	[4] = { "user", KIND_TEXT, EXEC | SETUP | SESSION | FILE_OP, 0, 1, 0,
		AT(user) },
	[5] = { "credentials", KIND_CRED, EXEC | SESSION | FILE_OP, 0, 8,
		8 + 4 * WIRE_GROUPS_MAX, 0 },
	[6] = { "umask", KIND_MODE, EXEC | SESSION | FILE_OP, 0, 0, 0777,
		AT(umask) },
	[7] = { "terminal", KIND_TTY, EXEC | SESSION, 0, 8, 8, 0 },
	[8] = { "flags", KIND_NUM, EXEC | SESSION | FILE_OP, 0, 0,
		WIRE_FLAGS_ALL, AT(flags) },
	[9] = { "session name", KIND_TEXT, SESSION, 0, 1, 0, AT(session) },
	[10] = { "port", KIND_NUM, PORT, PORT, 1, 65535, AT(port) },
	[11] = { "verb", KIND_NUM, SESSION | FILE_OP, SESSION | FILE_OP, 1,
		 WIRE_VERB_MAX, AT(verb) },
	[12] = { "path", KIND_TEXT, FILE_OP, FILE_OP, 1, 0, AT(path) },
	[13] = { "mode", KIND_MODE, FILE_OP, 0, 0, 07777, AT(mode) },
	[14] = { "owner", KIND_OWNER, FILE_OP, 0, 8, 8, 0 },
	[15] = { "host name", KIND_TEXT, SETUP, SETUP, 1, 0, AT(hostname) },
	[16] = { "machine ID", KIND_TEXT, SETUP, SETUP, 1, 0, AT(machine_id) },
	[17] = { "entropy", KIND_BYTES, SETUP, SETUP, 1, WIRE_ENTROPY_MAX, 0 },
	[18] = { "clock", KIND_CLOCK, SETUP, SETUP, 8, 8, 0 },
#undef AT
};

#define TAG_ARG 1
#define TAG_ENV 2

#define FIELD_HEADER 8
#define REQUEST_HEADER 4 /* u16 operation + 1, u16 0 */

void wire_request_free(struct wire_request *x)
{
	mem_free(&x->argv);
	mem_free(&x->envp);
}

/* The member that a rule is about. */
static void *member(struct wire_request *x, const struct rule *r)
{
	return (uint8_t *)x + r->at;
}

static const void *member_of(const struct wire_request *x, const struct rule *r)
{
	return (const uint8_t *)x + r->at;
}

/* ---- writing ---- */

static void add_field(struct buf *b, size_t tag, const void *p, size_t n)
{
	uint8_t h[FIELD_HEADER];

	wire_set16(h, (uint16_t)tag);
	wire_set16(h + 2, 0);
	wire_set32(h + 4, (uint32_t)n);
	buf_add(b, h, sizeof(h));
	buf_add(b, p, n);
}

static void add_text(struct buf *b, size_t tag, const char *s)
{
	if (s)
		add_field(b, tag, s, strlen(s) + 1);
}

static void add_words(struct buf *b, size_t tag, const struct wire_request *x)
{
	const char **v = tag == TAG_ARG ? x->argv : x->envp;
	size_t i, n = tag == TAG_ARG ? x->argc : x->envc;

	for (i = 0; i < n; i++)
		add_text(b, tag, v[i]);
}

static void add_ids(struct buf *b, size_t tag, uint32_t uid, uint32_t gid,
		    const uint32_t *groups, size_t n)
{
	uint8_t v[4 * (2 + WIRE_GROUPS_MAX)];
	size_t i;

	wire_set32(v, uid);
	wire_set32(v + 4, gid);
	for (i = 0; i < n && i < WIRE_GROUPS_MAX; i++)
		wire_set32(v + 8 + 4 * i, groups[i]);
	add_field(b, tag, v, 8 + 4 * i);
}

static void add_u32(struct buf *b, size_t tag, uint32_t n)
{
	uint8_t v[4];

	wire_set32(v, n);
	add_field(b, tag, v, sizeof(v));
}

/* The member of rule @tag, unless it is absent. */
static void add_member(struct buf *b, size_t tag, const struct wire_request *x)
{
	const void *p = member_of(x, &rules[tag]);
	uint8_t v[8];

	switch (rules[tag].kind) {
	case KIND_NONE:
		break;
	case KIND_TEXT:
		add_text(b, tag, *(const char *const *)p);
		break;
	case KIND_WORDS:
		add_words(b, tag, x);
		break;
	case KIND_NUM:
		if (*(const uint32_t *)p)
			add_u32(b, tag, *(const uint32_t *)p);
		break;
	case KIND_MODE:
		if (*(const int *)p >= 0)
			add_u32(b, tag, (uint32_t) * (const int *)p);
		break;
	case KIND_CLOCK:
		wire_set64(v, x->clock_ns);
		if (x->clock_ns)
			add_field(b, tag, v, 8);
		break;
	case KIND_BYTES:
		if (x->entropy)
			add_field(b, tag, x->entropy, x->entropy_len);
		break;
	case KIND_CRED:
		if (x->has_cred)
			add_ids(b, tag, x->uid, x->gid, x->groups, x->ngroups);
		break;
	case KIND_OWNER:
		if (x->has_owner)
			add_ids(b, tag, x->owner_uid, x->owner_gid, NULL, 0);
		break;
	case KIND_TTY:
		wire_set_winsize(v, &x->winsize);
		if (x->tty)
			add_field(b, tag, v, 8);
		break;
	}
}

int wire_request_encode(struct buf *b, const struct wire_request *x,
			struct err *e)
{
	uint8_t v[REQUEST_HEADER] = { 0 };
	size_t tag;

	wire_set16(v, (uint16_t)(x->op + 1));
	buf_add(b, v, sizeof(v));
	for (tag = 1; tag < ARRAY_SIZE(rules); tag++)
		add_member(b, tag, x);
	if (b->failed || b->len > WIRE_REQUEST_MAX)
		return err_set(e, E2BIG,
			       "arguments and environment are longer than "
			       "%u bytes",
			       WIRE_REQUEST_MAX);
	return 0;
}

/* ---- reading ---- */

struct field {
	uint16_t tag;
	const uint8_t *p;
	uint32_t len;
};

/* The next field of [*@p, @end): 1, 0 at the end, or -EPROTO. */
static int next_field(const uint8_t **p, const uint8_t *end, struct field *f,
		      struct err *e)
{
	size_t left = (size_t)(end - *p);

	if (left == 0)
		return 0;
	if (left < FIELD_HEADER)
		return err_set(e, EPROTO, "request: %zu stray bytes", left);
	f->tag = wire_get16(*p);
	if (wire_get16(*p + 2) != 0)
		return err_set(e, EPROTO,
			       "request: unknown flags 0x%x of "
			       "field %u",
			       wire_get16(*p + 2), f->tag);
	f->len = wire_get32(*p + 4);
	f->p = *p + FIELD_HEADER;
	if (f->len > left - FIELD_HEADER)
		return err_set(e, EPROTO,
			       "request: field %u of %u bytes, %zu are there",
			       f->tag, f->len, left - FIELD_HEADER);
	*p = f->p + f->len;
	return 1;
}

static int get_text(struct wire_request *x, const struct rule *r,
		    const struct field *f, struct err *e)
{
	const char *s = (const char *)f->p;

	if (f->len == 0 || memchr(f->p, 0, f->len) != f->p + f->len - 1)
		return err_set(e, EPROTO, "request: field %u is not a string",
			       f->tag);
	if (r->kind == KIND_TEXT)
		*(const char **)member(x, r) = s;
	else if (f->tag == TAG_ENV)
		x->envp[x->envc++] = s;
	else if (x->argc == 0 && *s == '\0')
		return err_set(e, EPROTO, "request: empty command name");
	else
		x->argv[x->argc++] = s;
	return 0;
}

static int get_number(struct wire_request *x, const struct rule *r,
		      const struct field *f, struct err *e)
{
	uint32_t n;

	if (f->len != 4)
		return err_set(e, EPROTO, "request: %s of %u bytes, not 4",
			       r->name, f->len);
	n = wire_get32(f->p);
	if (r->kind == KIND_MODE) {
		*(int *)member(x, r) = (int)(n & r->max);
		return 0;
	}
	if (n < r->min || n > r->max)
		return err_set(e, EPROTO, "request: %s %u is not in %u to %u",
			       r->name, n, r->min, r->max);
	*(uint32_t *)member(x, r) = n;
	return 0;
}

static void get_cred(struct wire_request *x, const struct field *f)
{
	size_t i;

	x->has_cred = true;
	x->uid = wire_get32(f->p);
	x->gid = wire_get32(f->p + 4);
	x->ngroups = (f->len - 8) / 4;
	for (i = 0; i < x->ngroups; i++)
		x->groups[i] = wire_get32(f->p + 8 + 4 * i);
}

/* A field whose bytes have a length in bounds and no other rule. */
static int get_bytes(struct wire_request *x, const struct rule *r,
		     const struct field *f, struct err *e)
{
	if (f->len < r->min || f->len > r->max ||
	    (r->kind == KIND_CRED && f->len % 4))
		return err_set(e, EPROTO, "request: %s of %u bytes", r->name,
			       f->len);
	if (r->kind == KIND_CRED) {
		get_cred(x, f);
	} else if (r->kind == KIND_TTY) {
		x->tty = true;
		wire_get_winsize(f->p, &x->winsize);
	} else if (r->kind == KIND_OWNER) {
		x->has_owner = true;
		x->owner_uid = wire_get32(f->p);
		x->owner_gid = wire_get32(f->p + 4);
	} else if (r->kind == KIND_CLOCK) {
		x->clock_ns = wire_get64(f->p);
	} else {
		x->entropy = f->p;
		x->entropy_len = f->len;
	}
	return 0;
}

static int get_field(struct wire_request *x, const struct field *f,
		     struct err *e)
{
	const struct rule *r = &rules[f->tag];

	if (r->kind == KIND_TEXT || r->kind == KIND_WORDS)
		return get_text(x, r, f, e);
	if (r->kind == KIND_NUM || r->kind == KIND_MODE)
		return get_number(x, r, f, e);
	return get_bytes(x, r, f, e);
}

/* Which fields there are, before any is read: so that the two vectors are
 * allocated once. */
static int survey(struct wire_request *x, const uint8_t *p, const uint8_t *end,
		  struct err *e)
{
	size_t tag, n[ARRAY_SIZE(rules)] = { 0 };
	struct field f;
	int r;

	while ((r = next_field(&p, end, &f, e)) > 0) {
		if (f.tag >= ARRAY_SIZE(rules) || f.tag == 0)
			return err_set(e, EPROTO, "request: unknown field %u",
				       f.tag);
		if (!(rules[f.tag].with & 1U << x->op))
			return err_set(e, EPROTO,
				       "request: a %s does not go with "
				       "operation %u",
				       rules[f.tag].name, x->op + 1);
		n[f.tag]++;
	}
	if (r < 0)
		return r;
	for (tag = 1; tag < ARRAY_SIZE(rules); tag++) {
		if (rules[tag].always & 1U << x->op && !n[tag])
			return err_set(e, EPROTO, "request: no %s",
				       rules[tag].name);
	}
	x->argv = calloc(n[TAG_ARG] + 1, sizeof(*x->argv));
	x->envp = calloc(n[TAG_ENV] + 1, sizeof(*x->envp));
	if (!x->argv || !x->envp)
		return err_sys(e, ENOMEM, "request of %zu arguments",
			       n[TAG_ARG]);
	return 0;
}

/* What a single field does not show. */
static int check(const struct wire_request *x, struct err *e)
{
	if (x->cwd && x->cwd[0] != '/')
		return err_set(e, EPROTO, "request: directory is not absolute");
	if (x->session && !str_is_name(str_of(x->session)))
		return err_set(e, EPROTO, "request: bad session name");
	if (x->path && (!x->path[0] || strlen(x->path) >= PATH_MAX))
		return err_set(e, EPROTO, "request: path of %zu bytes",
			       strlen(x->path));
	if (x->op != WIRE_OP_SETUP)
		return 0;
	if (strlen(x->hostname) > WIRE_HOSTNAME_MAX ||
	    !str_is_name(str_of(x->hostname)))
		return err_set(e, EPROTO, "request: bad host name");
	if (strlen(x->machine_id) != WIRE_MACHINE_ID ||
	    strspn(x->machine_id, "0123456789abcdef") != WIRE_MACHINE_ID)
		return err_set(e, EPROTO,
			       "request: machine ID is not %u hexadecimal "
			       "digits",
			       WIRE_MACHINE_ID);
	if (x->clock_ns == 0 || x->clock_ns > INT64_MAX)
		return err_set(e, EPROTO, "request: bad clock");
	return 0;
}

int wire_request_decode(struct wire_request *x, const uint8_t *p, size_t n,
			struct err *e)
{
	const uint8_t *end = p + n;
	struct field f;
	int r;

	*x = (struct wire_request)WIRE_REQUEST_INIT;
	if (n < REQUEST_HEADER)
		return err_set(e, EPROTO, "request of %zu bytes", n);
	if (wire_get16(p) == 0 || wire_get16(p) > WIRE_OP_COUNT)
		return err_set(e, EPROTO, "request for unknown operation %u",
			       wire_get16(p));
	if (wire_get16(p + 2) != 0)
		return err_set(e, EPROTO, "request: unknown flags 0x%x",
			       wire_get16(p + 2));
	x->op = (enum wire_op)(wire_get16(p) - 1);
	p += REQUEST_HEADER;
	r = survey(x, p, end, e);
	while (r == 0 && next_field(&p, end, &f, e) > 0)
		r = get_field(x, &f, e);
	return r == 0 ? check(x, e) : r;
}

int wire_put_open(struct buf *out, uint32_t stream, const struct buf *request)
{
	size_t done = 0;
	int r = 0;

	while (r == 0 && done < request->len) {
		size_t n = request->len - done;
		bool more = n > WIRE_PAYLOAD_MAX;

		if (more)
			n = WIRE_PAYLOAD_MAX;
		r = wire_put(out, WIRE_OPEN, more ? WIRE_OPEN_MORE : 0, stream,
			     request->data + done, n);
		done += n;
	}
	return r;
}
