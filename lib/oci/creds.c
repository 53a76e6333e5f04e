/* SPDX-License-Identifier: MIT
 *
 * Passwords for registries: see creds.h.
 *
 * Secrets live on the heap, are overwritten before it takes them back, and go
 * to no argument list and no message: an error names the file or the helper,
 * never what was in it.
 */
#include "oci/creds.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/proc.h"
#include "base/str.h"
#include "oci/json.h"

#define FILE_MAX ((size_t)1 << 20)
#define SECRET_MAX ((size_t)64 << 10)
#define DOCKER_HUB_KEY "https://index.docker.io/v1/"
/* What helpers answer as the user name of an identity token. */
#define TOKEN_USER "<token>"

void secret_free(char **s)
{
	if (*s)
		explicit_bzero(*s, strlen(*s));
	mem_free(s);
}

void creds_free(struct creds *c)
{
	secret_free(&c->user);
	secret_free(&c->password);
	secret_free(&c->token);
}

bool creds_none(const struct creds *c)
{
	return !c->token && !(c->user && c->password);
}

static int no_memory(struct err *e)
{
	return err_sys(e, ENOMEM, "cannot read credentials");
}

char *creds_basic(const struct creds *c)
{
	char *plain = str_printf("%s:%s", c->user ? c->user : "",
				 c->password ? c->password : "");
	size_t n = plain ? strlen(plain) : 0;
	char *out = plain && n < SECRET_MAX ? malloc(6 + 4 * (n / 3 + 1) + 1) :
					      NULL;

	if (out) {
		memcpy(out, "Basic ", sizeof("Basic "));
		EVP_EncodeBlock((unsigned char *)out + 6,
				(const unsigned char *)plain, (int)n);
	}
	secret_free(&plain);
	return out;
}

/* ---- auths: base64 of "user:password" ---------------------------------- */

static int decode(struct creds *c, const char *text, const char *path,
		  struct err *e)
{
	size_t n = strlen(text), out_len, pad;
	char *out = n % 4 == 0 && n < SECRET_MAX ? calloc(1, n + 1) : NULL;
	int len = out ? EVP_DecodeBlock((unsigned char *)out,
					(const unsigned char *)text, (int)n) :
			-1;
	char *colon = NULL;
	int r = 0;

	if (len >= 0) {
		pad = n && text[n - 1] == '=' ? 1 : 0;
		pad += pad && text[n - 2] == '=' ? 1 : 0;
		out_len = (size_t)len - pad;
		out[out_len] = '\0';
		colon = memchr(out, ':', out_len);
		if (strlen(out) != out_len)
			colon = NULL;
	}
	if (colon) {
		c->user = str_dup((struct str){ out, (size_t)(colon - out) });
		c->password = str_dup(str_of(colon + 1));
		r = c->user && c->password ? 0 : no_memory(e);
	} else {
		r = err_set(e, EINVAL,
			    "%s: an auth that is not base64 of "
			    "USER:PASSWORD",
			    path);
	}
	/* All of it: it may have a NUL in the middle. */
	if (out)
		explicit_bzero(out, n + 1);
	mem_free(&out);
	return r;
}

static int read_auth(struct creds *c, const json_t *a, const char *path,
		     struct err *e)
{
	const char *token = json_text(a, "identitytoken", path, e);
	const char *auth = json_text(a, "auth", path, e);

	if (!token || !auth)
		return -EBADMSG;
	if (*token) {
		c->token = str_dup(str_of(token));
		return c->token ? 0 : no_memory(e);
	}
	return *auth ? decode(c, auth, path, e) : 0;
}

/* "https://host/v1/" is an older way to write "host". */
static struct str plain_key(const char *key)
{
	struct str s = str_of(key);

	if (str_starts(s, STR("https://")))
		s = str_of(key + 8);
	else if (str_starts(s, STR("http://")))
		s = str_of(key + 7);
	while (s.len && s.p[s.len - 1] == '/')
		s.len--;
	if (str_ends(s, STR("/v1")) || str_ends(s, STR("/v2")))
		s.len -= 3;
	return s;
}

/* The longest key that is the host, or the host and leading components of the
 * repository. */
static const json_t *find_auth(const json_t *auths, const char *host,
			       const char *repo)
{
	mem_auto char *full = str_printf("%s/%s", host, repo);
	const json_t *best = NULL;
	size_t best_len = 0;
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)auths, key, v)
	{
		struct str k = plain_key(key);

		if (!strcmp(host, "docker.io") &&
		    (!strcmp(key, DOCKER_HUB_KEY) ||
		     str_eq(k, STR("index.docker.io"))))
			k = STR("docker.io");
		if (k.len <= best_len || !full ||
		    !str_starts(str_of(full), k) ||
		    (full[k.len] != '/' && full[k.len] != '\0'))
			continue;
		best = v;
		best_len = k.len;
	}
	return best;
}

/* ---- helpers ----------------------------------------------------------- */

static int read_answer(struct creds *c, struct buf *out, const char *helper,
		       struct err *e)
{
	json_auto json_t *o = json_object_of(
		(struct str){ (const char *)out->data, out->len }, helper,
		NULL);
	const char *user = json_text(o, "Username", helper, NULL);
	const char *secret = json_text(o, "Secret", helper, NULL);

	if (!o || !user || !secret)
		return err_set(e, EBADMSG,
			       "%s: its answer is no object with Username "
			       "and Secret",
			       helper);
	if (strcmp(user, TOKEN_USER) == 0) {
		c->token = str_dup(str_of(secret));
		return c->token ? 0 : no_memory(e);
	}
	c->user = str_dup(str_of(user));
	c->password = str_dup(str_of(secret));
	return c->user && c->password ? 0 : no_memory(e);
}

/* A pipe's worth of input without a second process or a deadlock. */
static int text_fd(const char *text, struct err *e)
{
	fd_auto int fd = memfd_create("server", MFD_CLOEXEC);
	int r;

	if (fd < 0)
		return err_sys(e, errno, "cannot create a memory file");
	r = io_write_full(fd, text, strlen(text));
	if (r < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(e, r < 0 ? -r : errno,
			       "cannot write a memory "
			       "file");
	return fd_steal(&fd);
}

static int ask_helper(struct creds *c, const char *name, const char *host,
		      const char *path, struct err *e)
{
	mem_auto char *helper = str_printf("docker-credential-%s", name);
	const char *argv[] = { helper, "get", NULL };
	struct proc_spec spec = PROC_SPEC_INIT;
	struct buf out = BUF_INIT_MAX(SECRET_MAX);
	fd_auto int in = -1;
	int r;

	if (!helper)
		return no_memory(e);
	if (strchr(name, '/'))
		return err_set(e, EINVAL,
			       "%s: a credential helper with a "
			       "slash in its name: '%.64s'",
			       path, name);
	in = text_fd(strcmp(host, "docker.io") ? host : DOCKER_HUB_KEY, e);
	if (in < 0)
		return in;
	spec.argv = argv;
	spec.in = in;
	r = proc_run(&spec, &out, e);
	/* It says so on standard output when it knows nothing. */
	if (r == -EIO && out.len < 256 && buf_str(&out) &&
	    strstr(buf_str(&out), "credentials not found"))
		r = 0;
	else if (r == 0)
		r = read_answer(c, &out, helper, e);
	if (out.data)
		explicit_bzero(out.data, out.cap);
	buf_free(&out);
	return r;
}

/* ---- files ------------------------------------------------------------- */

static const char *helper_of(const json_t *o, const char *host)
{
	const json_t *helpers = json_object_get(o, "credHelpers");
	const char *h = json_string_value(json_object_get(helpers, host));

	if (!h && !strcmp(host, "docker.io"))
		h = json_string_value(json_object_get(helpers, DOCKER_HUB_KEY));
	if (!h)
		h = json_string_value(json_object_get(o, "credsStore"));
	return h && *h ? h : NULL;
}

/* 0 with nothing in @c when the file does not exist or knows nothing. */
static int ask_file(struct creds *c, const char *path, const char *host,
		    const char *repo, struct err *e)
{
	struct buf b = BUF_INIT_MAX(FILE_MAX);
	json_auto json_t *o = NULL;
	const json_t *auth;
	const char *helper;
	int r = io_read_file(AT_FDCWD, path, &b, e);

	if (r == 0 && b.len)
		o = json_object_of((struct str){ (const char *)b.data, b.len },
				   path, e);
	if (r == 0 && b.len && !o)
		r = -EBADMSG;
	if (b.data)
		explicit_bzero(b.data, b.cap);
	buf_free(&b);
	if (r < 0 || !o)
		return r == -ENOENT ? 0 : r;
	helper = helper_of(o, host);
	if (helper)
		r = ask_helper(c, helper, host, path, e);
	auth = find_auth(json_object_get(o, "auths"), host, repo);
	if (r == 0 && creds_none(c) && auth)
		r = read_auth(c, auth, path, e);
	return r;
}

static int ask_below(struct creds *c, const char *dir, const char *name,
		     const char *host, const char *repo, struct err *e)
{
	mem_auto char *path = dir && *dir ? str_path(dir, name) : NULL;

	return path && creds_none(c) ? ask_file(c, path, host, repo, e) : 0;
}

int creds_find(struct creds *c, const char *host, const char *repo,
	       struct err *e)
{
	const char *file = getenv("REGISTRY_AUTH_FILE");
	const char *config = getenv("DOCKER_CONFIG");
	int r;

	/* A file that is named is the only one. */
	if (file && *file)
		return ask_file(c, file, host, repo, e);
	if (config && *config)
		r = ask_below(c, config, "config.json", host, repo, e);
	else
		r = ask_below(c, getenv("HOME"), ".docker/config.json", host,
			      repo, e);
	if (r == 0)
		r = ask_below(c, getenv("XDG_RUNTIME_DIR"),
			      "containers/auth.json", host, repo, e);
	return r;
}
