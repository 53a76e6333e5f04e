/* SPDX-License-Identifier: MIT
 *
 * Paths of entries: see path.h.
 */
#include "rootfs/path.h"

#include <string.h>

#include "base/err.h"

#define NOTE_PREFIX STR(".wh..wh.")
#define OPAQUE STR(".wh..wh..opq")

static int add_component(struct path *p, struct str c, struct err *e)
{
	if (c.len == 0 || str_eq(c, STR(".")))
		return 0;
	/* No tool writes one; resolving it would be as right as refusing it,
	 * and what it leads to is hardly what was meant. */
	if (str_eq(c, STR("..")))
		return err_set(e, EINVAL, "its path has a '..' in it");
	if (c.len > NAME_MAX)
		return err_set(e, ENAMETOOLONG,
			       "a name has %zu bytes; %d are the limit", c.len,
			       NAME_MAX);
	if (p->len + 1 + c.len >= sizeof(p->text))
		return err_set(e, ENAMETOOLONG,
			       "its path has more than the %d bytes allowed",
			       PATH_MAX - 1);
	if (p->len)
		p->text[p->len++] = '/';
	p->name = p->len;
	memcpy(p->text + p->len, c.p, c.len);
	p->len += c.len;
	p->text[p->len] = '\0';
	return 0;
}

int path_clean(struct path *p, const char *raw, struct err *e)
{
	struct str rest = str_of(raw);
	int r = 0;

	p->len = p->name = 0;
	p->text[0] = '\0';
	while (r == 0 && rest.p)
		r = add_component(p, str_cut(&rest, '/'), e);
	return r;
}

static int check_target(struct str name, struct err *e)
{
	name.p += WHITEOUT_PREFIX.len;
	name.len -= WHITEOUT_PREFIX.len;
	if (name.len == 0 || str_eq(name, STR(".")) || str_eq(name, STR("..")))
		return err_set(e, EINVAL, "it is a whiteout of nothing");
	return 0;
}

int path_whiteout(const struct path *p, enum whiteout *kind, struct err *e)
{
	struct str name, rest = { p->text, p->len };

	*kind = WHITEOUT_NONE;
	while (rest.p) {
		name = str_cut(&rest, '/');
		if (!str_starts(name, WHITEOUT_PREFIX))
			continue;
		if (!rest.p && str_eq(name, OPAQUE)) {
			*kind = WHITEOUT_OPAQUE;
			return 0;
		}
		if (str_starts(name, NOTE_PREFIX)) {
			*kind = WHITEOUT_IGNORE;
			return 0;
		}
		if (rest.p)
			return err_set(e, EINVAL, "it lies in a whiteout");
		*kind = WHITEOUT_NAME;
		return check_target(name, e);
	}
	return 0;
}
