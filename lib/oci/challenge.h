/* SPDX-License-Identifier: MIT
 *
 * What registries say in headers: WWW-Authenticate, Content-Range,
 * Retry-After.  Pure parsers of hostile text.
 */
#ifndef OCI_CHALLENGE_H
#define OCI_CHALLENGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

#define CHALLENGE_TEXT_MAX 2048

struct challenge {
	bool basic;			/* a password would do */
	bool bearer;			/* a token from @realm would do */
	char realm[CHALLENGE_TEXT_MAX]; /* of the first bearer challenge */
	char service[CHALLENGE_TEXT_MAX];
};

/* Read the value of a WWW-Authenticate header, or of several joined by commas
 * (RFC 7235).  Schemes other than the two are passed over; so is, from where
 * it goes wrong, a header that is not one. */
void challenge_parse(struct challenge *c, struct str s);

/* "bytes FROM-LAST/TOTAL"; @total is UINT64_MAX for "*".  @to is LAST + 1. */
bool content_range_parse(struct str s, uint64_t *from, uint64_t *to,
			 uint64_t *total);

/* Seconds from @now (as of time(2)) that Retry-After asks for: a number or a
 * date; 0 for what is neither, or past. */
uint64_t retry_after_parse(struct str s, int64_t now);

#endif
