/* SPDX-License-Identifier: MIT
 *
 * Passwords for registries, from files.
 */
#include "tests/tap.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "oci/creds.h"

static char path[64];

/* "user:password", the token, "none" or "error" for @host/@repo by @json. */
static const char *found(const char *json, const char *host, const char *repo)
{
	static char out[256];
	creds_auto struct creds c = CREDS_INIT;
	struct err e = ERR_INIT;

	if (io_write_atomic(AT_FDCWD, path, json, strlen(json), 0600, &e) < 0)
		bail("%s", e.text);
	if (creds_find(&c, host, repo, &e) < 0)
		return strstr(e.text, path) ? "error" : "another error";
	if (creds_none(&c))
		return "none";
	if (c.token)
		snprintf(out, sizeof(out), "token %s", c.token);
	else
		snprintf(out, sizeof(out), "%s:%s", c.user, c.password);
	return out;
}

#define AUTH(key, auth) "{\"auths\":{\"" key "\":{\"auth\":\"" auth "\"}}}"

static void keys(void)
{
	is_str(found(AUTH("a.b", "dTpw"), "a.b", "x"), "u:p", "a host");
	is_str(found(AUTH("a.b", "dTpw"), "a.b:5", "x"), "none",
	       "another port");
	is_str(found(AUTH("a.b", "dTpw"), "a.bc", "x"), "none",
	       "another host that begins alike");
	is_str(found(AUTH("https://a.b/v2/", "dTpw"), "a.b", "x"), "u:p",
	       "an address");
	is_str(found(AUTH("https://index.docker.io/v1/", "dTpw"), "docker.io",
		     "x"),
	       "u:p", "Docker's own key");
	is_str(found(AUTH("a.b/x", "dTpw"), "a.b", "x/y"), "u:p",
	       "a part of the repository");
	is_str(found(AUTH("a.b/x", "dTpw"), "a.b", "xy"), "none",
	       "whole components only");
	is_str(found("{\"auths\":{\"a.b\":{\"auth\":\"dTpw\"},"
		     "\"a.b/x\":{\"auth\":\"djpx\"}}}",
		     "a.b", "x/y"),
	       "v:q", "the longest counts");
	is_str(found("{\"auths\":{}}", "a.b", "x"), "none", "no keys");
	is_str(found("", "a.b", "x"), "none", "an empty file");
}

static void secrets(void)
{
	is_str(found(AUTH("a.b", "dTpwOnE="), "a.b", "x"), "u:p:q",
	       "a password with a colon");
	is_str(found(AUTH("a.b", "dTo="), "a.b", "x"), "u:", "an empty one");
	is_str(found(AUTH("a.b", ""), "a.b", "x"), "none", "no auth at all");
	is_str(found("{\"auths\":{\"a.b\":{\"identitytoken\":\"t\"}}}", "a.b",
		     "x"),
	       "token t", "an identity token");
	is_str(found(AUTH("a.b", "dXA="), "a.b", "x"), "error", "no colon");
	is_str(found(AUTH("a.b", "!!!!"), "a.b", "x"), "error", "no base64");
	is_str(found(AUTH("a.b", "dTpwA"), "a.b", "x"), "error",
	       "half a base64");
	is_str(found(AUTH("a.b", "dToAcA=="), "a.b", "x"), "error",
	       "NUL in a password");
	is_str(found("{\"auths\":{\"a.b\":{\"auth\":7}}}", "a.b", "x"), "error",
	       "a number");
	is_str(found("[", "a.b", "x"), "error", "no JSON");
	is_str(found("{\"credsStore\":\"../x\"}", "a.b", "x"), "error",
	       "a helper with a slash");
}

static void basic(void)
{
	char user[] = "user", password[] = "secret word";
	struct creds c = { .user = user, .password = password };
	char *header = creds_basic(&c);

	is_str(header, "Basic dXNlcjpzZWNyZXQgd29yZA==", "a header");
	secret_free(&header);
}

int main(void)
{
	creds_auto struct creds c = CREDS_INIT;
	struct err e = ERR_INIT;

	snprintf(path, sizeof(path), "/tmp/oci_creds.%d", (int)getpid());
	setenv("REGISTRY_AUTH_FILE", path, 1);
	ok(creds_find(&c, "a.b", "x", &e) == 0 && creds_none(&c), "no file");
	keys();
	secrets();
	basic();
	unlink(path);
	return tap_done();
}
