/* SPDX-License-Identifier: MIT
 *
 * The way from a 401 to an Authorization header: basic, or a bearer token that
 * is fetched while other requests wait.
 */
#ifndef OCI_AUTH_H
#define OCI_AUTH_H

#include "oci/registry.h"

#define AUTH_TEXT_MAX ((size_t)256 << 10)

/* @q got a 401.  0: send it again, it is signed; -EAGAIN: a token is being
 * fetched; another -errno: no way, @e filled. */
int auth_ask(struct registry *r, struct http_req *q, unsigned int signed_with,
	     const char *what, struct err *e);

/* Why there is no token.  The errno, negative. */
int auth_failed(const struct registry *r, struct err *e);

#endif
