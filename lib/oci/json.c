/* SPDX-License-Identifier: MIT
 *
 * JSON from elsewhere: see json.h.
 */
#include "oci/json.h"

#include "base/err.h"

void json_free_ref(json_t **j)
{
	json_decref(*j);
	*j = NULL;
}

/* Count what jansson would allocate, before it does.  Not a parser: text that
 * is wrong is counted somehow and refused by jansson. */
static int check_bounds(struct str text, const char *what, struct err *e)
{
	size_t i, values = 0, depth = 0;
	bool quoted = false;

	for (i = 0; i < text.len; i++) {
		char c = text.p[i];

		if (quoted && c == '\\')
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (quoted)
			continue;
		else if (c == '[' || c == '{')
			depth++, values++;
		else if (c == ',')
			values++;
		else if ((c == ']' || c == '}') && depth)
			depth--;
		if (depth > JSON_DEPTH_MAX)
			return err_set(e, EBADMSG,
				       "%s: JSON nested deeper than %d", what,
				       JSON_DEPTH_MAX);
		if (values > JSON_VALUES_MAX)
			return err_set(e, EBADMSG,
				       "%s: more than %d JSON values", what,
				       JSON_VALUES_MAX);
	}
	return 0;
}

json_t *json_object_of(struct str text, const char *what, struct err *e)
{
	json_error_t je;
	json_t *j;

	if (check_bounds(text, what, e) < 0)
		return NULL;
	j = json_loadb(text.p ? text.p : "", text.len, JSON_REJECT_DUPLICATES,
		       &je);
	if (!j) {
		err_set(e, EBADMSG, "%s is not JSON: line %d: %s", what,
			je.line, je.text);
		return NULL;
	}
	if (!json_is_object(j)) {
		json_decref(j);
		err_set(e, EBADMSG, "%s: not a JSON object", what);
		return NULL;
	}
	return j;
}

const char *json_text(const json_t *o, const char *key, const char *what,
		      struct err *e)
{
	const json_t *v = json_object_get(o, key);

	if (!v || json_is_null(v))
		return "";
	if (!json_is_string(v)) {
		err_set(e, EBADMSG, "%s: %s is not a string", what, key);
		return NULL;
	}
	return json_string_value(v);
}

int json_u64(const json_t *o, const char *key, uint64_t max, uint64_t *out,
	     const char *what, struct err *e)
{
	const json_t *v = json_object_get(o, key);
	json_int_t n = json_integer_value(v);

	if (!json_is_integer(v))
		return err_set(e, EBADMSG, "%s: %s is not a whole number", what,
			       key);
	if (n < 0 || (uint64_t)n > max)
		return err_set(e, EBADMSG, "%s: %s is %lld, not from 0 to %llu",
			       what, key, (long long)n,
			       (unsigned long long)max);
	*out = (uint64_t)n;
	return 0;
}

json_t *json_list(const json_t *o, const char *key, size_t max,
		  const char *what, struct err *e)
{
	json_t *v = json_object_get(o, key);

	if (!v || json_is_null(v)) {
		v = json_array();
		if (!v)
			err_sys(e, ENOMEM, "%s: %s", what, key);
		return v;
	}
	if (!json_is_array(v)) {
		err_set(e, EBADMSG, "%s: %s is not a list", what, key);
		return NULL;
	}
	if (json_array_size(v) > max) {
		err_set(e, EBADMSG, "%s: %zu %s, more than %zu", what,
			json_array_size(v), key, max);
		return NULL;
	}
	return json_incref(v);
}
