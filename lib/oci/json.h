/* SPDX-License-Identifier: MIT
 *
 * JSON from elsewhere: parsed within bounds, read by checked accessors.
 */
#ifndef OCI_JSON_H
#define OCI_JSON_H

#include <jansson.h>
#include <stdint.h>

#include "base/str.h"

struct err;

#define json_auto __attribute__((cleanup(json_free_ref)))
void json_free_ref(json_t **j);

/* Values in one document, and how deep they may nest.  A value takes some 100
 * bytes in memory, so 4 MiB of "[[],[],..." would take 200 MiB; the largest
 * real image (a config with 500 layers and its history) has 6,000. */
#define JSON_VALUES_MAX 65536
#define JSON_DEPTH_MAX 64

/* Parse an object; @what names it in the error.  A key that occurs twice is
 * refused: two readers would read two documents.  NULL with @e filled. */
json_t *json_object_of(struct str text, const char *what, struct err *e);

/* The string @key of @o; "" when it is absent or null.  NULL, with @e filled,
 * when it is something else. */
const char *json_text(const json_t *o, const char *key, const char *what,
		      struct err *e);

/* The integer @key of @o in [0, @max].  0 or -EINVAL, @e filled. */
int json_u64(const json_t *o, const char *key, uint64_t max, uint64_t *out,
	     const char *what, struct err *e);

/* The member @key of @o as an array of at most @max values; an empty
 * one when it is absent or null.  NULL, with @e filled, when it is something
 * else.  Release with json_decref(). */
json_t *json_list(const json_t *o, const char *key, size_t max,
		  const char *what, struct err *e);

#endif
