/* SPDX-License-Identifier: MIT
 *
 * The agent protocol: what the frames carry.  See msg.h.
 */
#include "wire/msg.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"

enum service {
	SERVICE_EXEC = 1,
};

enum tag {
	TAG_ARG = 1,   /* string; once an argument, in order */
	TAG_ENV = 2,   /* string "NAME=value" */
	TAG_CWD = 3,   /* string, absolute */
	TAG_USER = 4,  /* string */
	TAG_CRED = 5,  /* u32 uid, u32 gid, u32 groups... */
	TAG_UMASK = 6, /* u32 */
	TAG_TTY = 7,   /* u16 rows, columns, x, y pixels */
};

#define FIELD_HEADER 8
#define REQUEST_HEADER 4 /* u16 service, u16 0 */

void wire_exec_free(struct wire_exec *x)
{
	mem_free(&x->argv);
	mem_free(&x->envp);
}

/* ---- writing ---- */

static void add_field(struct buf *b, enum tag tag, const void *p, size_t n)
{
	uint8_t h[FIELD_HEADER];

	wire_set16(h, (uint16_t)tag);
	wire_set16(h + 2, 0);
	wire_set32(h + 4, (uint32_t)n);
	buf_add(b, h, sizeof(h));
	buf_add(b, p, n);
}

static void add_text(struct buf *b, enum tag tag, const char *s)
{
	if (s)
		add_field(b, tag, s, strlen(s) + 1);
}

static void add_cred(struct buf *b, const struct wire_exec *x)
{
	uint8_t v[4 * (2 + WIRE_GROUPS_MAX)];
	size_t i;

	wire_set32(v, x->uid);
	wire_set32(v + 4, x->gid);
	for (i = 0; i < x->ngroups && i < WIRE_GROUPS_MAX; i++)
		wire_set32(v + 8 + 4 * i, x->groups[i]);
	add_field(b, TAG_CRED, v, 8 + 4 * i);
}

static void set_winsize(uint8_t v[static 8], const struct wire_winsize *w)
{
	wire_set16(v, w->rows);
	wire_set16(v + 2, w->cols);
	wire_set16(v + 4, w->xpixel);
	wire_set16(v + 6, w->ypixel);
}

int wire_exec_encode(struct buf *b, const struct wire_exec *x, struct err *e)
{
	uint8_t v[8] = { SERVICE_EXEC };
	size_t i;

	buf_add(b, v, REQUEST_HEADER);
	for (i = 0; i < x->argc; i++)
		add_text(b, TAG_ARG, x->argv[i]);
	for (i = 0; i < x->envc; i++)
		add_text(b, TAG_ENV, x->envp[i]);
	add_text(b, TAG_CWD, x->cwd);
	add_text(b, TAG_USER, x->user);
	if (x->has_cred)
		add_cred(b, x);
	if (x->umask >= 0) {
		wire_set32(v, (uint32_t)x->umask);
		add_field(b, TAG_UMASK, v, 4);
	}
	if (x->tty) {
		set_winsize(v, &x->winsize);
		add_field(b, TAG_TTY, v, 8);
	}
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

static const char *text_of(const struct field *f, struct err *e)
{
	if (f->len == 0 || memchr(f->p, 0, f->len) != f->p + f->len - 1) {
		err_set(e, EPROTO, "request: field %u is not a string", f->tag);
		return NULL;
	}
	return (const char *)f->p;
}

static int get_cred(struct wire_exec *x, const struct field *f, struct err *e)
{
	size_t i;

	if (f->len < 8 || f->len % 4 || (f->len - 8) / 4 > WIRE_GROUPS_MAX)
		return err_set(e, EPROTO, "request: credentials of %u bytes",
			       f->len);
	x->has_cred = true;
	x->uid = wire_get32(f->p);
	x->gid = wire_get32(f->p + 4);
	x->ngroups = (f->len - 8) / 4;
	for (i = 0; i < x->ngroups; i++)
		x->groups[i] = wire_get32(f->p + 8 + 4 * i);
	return 0;
}

static int get_fixed(struct wire_exec *x, const struct field *f, struct err *e)
{
	if (f->len != (f->tag == TAG_UMASK ? 4U : 8U))
		return err_set(e, EPROTO, "request: field %u of %u bytes",
			       f->tag, f->len);
	if (f->tag == TAG_UMASK) {
		x->umask = (int)(wire_get32(f->p) & 0777);
	} else {
		x->tty = true;
		wire_get_winsize(f->p, &x->winsize);
	}
	return 0;
}

static int get_field(struct wire_exec *x, const struct field *f, struct err *e)
{
	const char *s;

	switch (f->tag) {
	case TAG_CRED:
		return get_cred(x, f, e);
	case TAG_UMASK:
	case TAG_TTY:
		return get_fixed(x, f, e);
	case TAG_ARG:
	case TAG_ENV:
	case TAG_CWD:
	case TAG_USER:
		break;
	default:
		return err_set(e, EPROTO, "request: unknown field %u", f->tag);
	}
	s = text_of(f, e);
	if (!s)
		return -EPROTO;
	if (f->tag == TAG_ARG && x->argc == 0 && *s == '\0')
		return err_set(e, EPROTO, "request: empty command name");
	if (f->tag == TAG_ARG)
		x->argv[x->argc++] = s;
	else if (f->tag == TAG_ENV)
		x->envp[x->envc++] = s;
	else if (f->tag == TAG_CWD)
		x->cwd = s;
	else
		x->user = s;
	return 0;
}

/* How long the two vectors become: so that they are allocated once. */
static int count_fields(struct wire_exec *x, const uint8_t *p,
			const uint8_t *end, struct err *e)
{
	size_t args = 0, envs = 0;
	struct field f;
	int r;

	while ((r = next_field(&p, end, &f, e)) > 0) {
		args += f.tag == TAG_ARG;
		envs += f.tag == TAG_ENV;
	}
	if (r < 0)
		return r;
	if (args == 0)
		return err_set(e, EPROTO, "request: no command");
	x->argv = calloc(args + 1, sizeof(*x->argv));
	x->envp = calloc(envs + 1, sizeof(*x->envp));
	if (!x->argv || !x->envp)
		return err_sys(e, ENOMEM, "request of %zu arguments", args);
	return 0;
}

int wire_exec_decode(struct wire_exec *x, const uint8_t *p, size_t n,
		     struct err *e)
{
	const uint8_t *end = p + n;
	struct field f;
	int r;

	*x = (struct wire_exec)WIRE_EXEC_INIT;
	if (n < REQUEST_HEADER)
		return err_set(e, EPROTO, "request of %zu bytes", n);
	if (wire_get16(p) != SERVICE_EXEC)
		return err_set(e, EPROTO, "request for unknown service %u",
			       wire_get16(p));
	if (wire_get16(p + 2) != 0)
		return err_set(e, EPROTO, "request: unknown flags 0x%x",
			       wire_get16(p + 2));
	p += REQUEST_HEADER;
	r = count_fields(x, p, end, e);
	while (r == 0 && next_field(&p, end, &f, e) > 0)
		r = get_field(x, &f, e);
	if (r == 0 && x->cwd && x->cwd[0] != '/')
		r = err_set(e, EPROTO, "request: directory is not absolute");
	return r;
}

/* ---- frames ---- */

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

int wire_put_hello(struct buf *out, const char *text)
{
	uint8_t v[8 + 64];
	size_t n = strnlen(text, 64);

	wire_set32(v, WIRE_MAGIC);
	wire_set16(v + 4, WIRE_VERSION);
	wire_set16(v + 6, 0);
	memcpy(v + 8, text, n);
	return wire_put(out, WIRE_HELLO, 0, 0, v, 8 + n);
}

int wire_check_hello(const struct wire_frame *f, struct err *e)
{
	if (f->type != WIRE_HELLO)
		return err_set(e, EPROTO,
			       "protocol broken: type %u before HELLO",
			       f->type);
	if (wire_get32(f->data) != WIRE_MAGIC)
		return err_set(e, EPROTO,
			       "protocol broken: not an agent's HELLO");
	if (wire_get16(f->data + 4) != WIRE_VERSION)
		return err_set(e, EPROTO,
			       "protocol version %u at the other end, %u here",
			       wire_get16(f->data + 4), WIRE_VERSION);
	return 0;
}

int wire_put_exit(struct buf *out, uint32_t stream, const struct wire_exit *x)
{
	uint8_t v[32];

	wire_set32(v, x->signaled);
	wire_set32(v + 4, x->code);
	wire_set64(v + 8, x->user_us);
	wire_set64(v + 16, x->sys_us);
	wire_set64(v + 24, x->maxrss_kib);
	return wire_put(out, WIRE_EXIT, 0, stream, v, sizeof(v));
}

void wire_get_exit(const struct wire_frame *f, struct wire_exit *x)
{
	x->signaled = wire_get32(f->data) != 0;
	x->code = wire_get32(f->data + 4);
	x->user_us = wire_get64(f->data + 8);
	x->sys_us = wire_get64(f->data + 16);
	x->maxrss_kib = wire_get64(f->data + 24);
}

int wire_put_u32(struct buf *out, enum wire_type type, uint8_t channel,
		 uint32_t stream, uint32_t v)
{
	uint8_t p[4];

	wire_set32(p, v);
	return wire_put(out, type, channel, stream, p, sizeof(p));
}

int wire_put_error(struct buf *out, uint32_t stream, const struct err *why)
{
	uint8_t v[4 + sizeof(why->text)];
	size_t n = strnlen(why->text, sizeof(why->text));

	wire_set32(v, (uint32_t)why->num);
	memcpy(v + 4, why->text, n);
	return wire_put(out, stream ? WIRE_FAILED : WIRE_ERROR, 0, stream, v,
			4 + n);
}

void wire_get_error(const struct wire_frame *f, struct err *why)
{
	char text[sizeof(why->text)];
	size_t i, n = f->len - 4U;
	uint32_t num = wire_get32(f->data);

	if (n > sizeof(text))
		n = sizeof(text);
	/* The text ends on somebody's terminal. */
	for (i = 0; i < n; i++) {
		uint8_t c = f->data[4 + i];

		if (c < 0x20 || c == 0x7f)
			c = '?';
		text[i] = (char)c;
	}
	/* What claims to be no error is one of the agent's. */
	if (num == 0 || num > 4095)
		num = EPROTO;
	err_set(why, (int)num, "%.*s", (int)n, text);
}

int wire_put_winsize(struct buf *out, uint32_t stream,
		     const struct wire_winsize *w)
{
	uint8_t v[8];

	set_winsize(v, w);
	return wire_put(out, WIRE_WINSIZE, 0, stream, v, sizeof(v));
}

void wire_get_winsize(const uint8_t *p, struct wire_winsize *w)
{
	w->rows = wire_get16(p);
	w->cols = wire_get16(p + 2);
	w->xpixel = wire_get16(p + 4);
	w->ypixel = wire_get16(p + 6);
}
