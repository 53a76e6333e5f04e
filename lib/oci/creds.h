/* SPDX-License-Identifier: MIT
 *
 * Passwords for registries, from where docker, podman and skopeo keep them:
 * $REGISTRY_AUTH_FILE, $DOCKER_CONFIG/config.json, ~/.docker/config.json,
 * $XDG_RUNTIME_DIR/containers/auth.json; in the file itself or by the
 * credential helper that it names.
 */
#ifndef OCI_CREDS_H
#define OCI_CREDS_H

#include <stdbool.h>

struct err;

struct creds {
	char *user, *password; /* owned, or NULL: none */
	char *token; /* owned: an identity token instead of both, or NULL */
};

#define CREDS_INIT                                            \
	{                                                     \
		.user = NULL, .password = NULL, .token = NULL \
	}
#define creds_auto __attribute__((cleanup(creds_free)))

/* What is known for the repository @repo of the registry @host; nothing is not
 * an error.  0, or -errno, @e filled, when a file or a helper is broken. */
int creds_find(struct creds *c, const char *host, const char *repo,
	       struct err *e);
bool creds_none(const struct creds *c);
/* The value of a Basic Authorization header, on the heap; NULL: no memory. */
char *creds_basic(const struct creds *c);
/* The secrets are overwritten first. */
void creds_free(struct creds *c);
void secret_free(char **s);

#endif
