/* SPDX-License-Identifier: MIT
 *
 * Extended attributes: see xattr.h.
 *
 * They are kept, whatever their namespace, but for those that speak of the
 * machine the image was made on or of the one it will run on, and not of the
 * image: SELinux labels and NFS access lists, which umoci leaves out as well,
 * and the notes that overlayfs leaves for itself, which would be orders to the
 * overlayfs of the guest.  POSIX access lists come as xattrs
 * (SCHILY.xattr.system.posix_acl_*) or not at all.
 */
#include "rootfs/xattr.h"

#include <archive_entry.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/str.h"
#include "rootfs/limits.h"
#include "rootfs/tree.h"

/* The header of all: a filter, the number of shared ones, and more that is 0
 * here. */
#define HEADER 12

struct xattr {
	const char *name;
	const uint8_t *value;
	size_t len;
};

/* Names are kept without their prefixes, by number. */
static const struct {
	const char *prefix;
	uint8_t index;
	bool whole; /* the prefix is all of the name */
} prefixes[] = {
	{ "user.", 1, false },
	{ "system.posix_acl_access", 2, true },
	{ "system.posix_acl_default", 3, true },
	{ "trusted.", 4, false },
	{ "security.", 6, false },
};

static bool is_kept(const char *name)
{
	struct str s = str_of(name);

	return !str_eq(s, STR("security.selinux")) &&
	       !str_eq(s, STR("system.nfs4_acl")) &&
	       !str_starts(s, STR("trusted.overlay.")) &&
	       !str_starts(s, STR("user.overlay."));
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct xattr *)a)->name,
		      ((const struct xattr *)b)->name);
}

static int too_large(const struct limits *l, struct err *e)
{
	err_set(e, E2BIG,
		"its extended attributes have more than the %llu bytes "
		"allowed",
		(unsigned long long)l->xattr);
	return err_fix(e, "--max-xattr");
}

/* Those that are kept, sorted; *@v on the heap. */
static int collect(const struct limits *l, struct archive_entry *entry,
		   struct xattr **v, size_t *n, struct err *e)
{
	int all = archive_entry_xattr_reset(entry);
	const void *value;
	const char *name;
	uint64_t total = 0;
	size_t len;

	*n = 0;
	*v = calloc((size_t)all + 1, sizeof(**v));
	if (!*v)
		return err_sys(e, ENOMEM, "cannot read extended attributes");
	while (archive_entry_xattr_next(entry, &name, &value, &len) == 0) {
		total += strlen(name) + len;
		if (total > l->xattr)
			return too_large(l, e);
		if (is_kept(name))
			(*v)[(*n)++] = (struct xattr){ name, value, len };
	}
	qsort(*v, *n, sizeof(**v), by_name);
	return 0;
}

static int encode(struct buf *b, const struct xattr *x, struct err *e)
{
	static const uint8_t pad[4];
	const char *name = NULL;
	uint8_t head[4];
	size_t i, n;

	for (i = 0; !name && i < ARRAY_SIZE(prefixes); i++) {
		struct str prefix = str_of(prefixes[i].prefix);

		if (prefixes[i].whole ? strcmp(x->name, prefix.p) == 0 :
					str_starts(str_of(x->name), prefix))
			name = x->name + prefix.len;
	}
	n = name ? strlen(name) : 0;
	if (!name || n > UINT8_MAX || x->len > UINT16_MAX)
		return err_set(e, EINVAL,
			       "the extended attribute %.64s is none that "
			       "Linux knows",
			       x->name);
	head[0] = (uint8_t)n;
	head[1] = prefixes[i - 1].index;
	head[2] = (uint8_t)x->len;
	head[3] = (uint8_t)(x->len >> 8);
	buf_add(b, head, sizeof(head));
	buf_add(b, name, n);
	buf_add(b, x->value, x->len);
	return buf_add(b, pad, -b->len & 3);
}

static int encode_all(struct buf *b, const struct xattr *v, size_t n,
		      struct err *e)
{
	static const uint8_t header[sizeof(uint32_t) + HEADER];
	uint32_t len;
	size_t i;

	buf_add(b, header, sizeof(header));
	for (i = 0; i < n; i++) {
		/* The last of those of one name counts. */
		if (i + 1 < n && strcmp(v[i].name, v[i + 1].name) == 0)
			continue;
		if (encode(b, &v[i], e) < 0 && e->num)
			return -e->num;
	}
	if (b->failed)
		return err_sys(e, ENOMEM, "cannot keep extended attributes");
	len = (uint32_t)(b->len - sizeof(len));
	memcpy(b->data, &len, sizeof(len));
	return 0;
}

uint32_t xattr_keep(struct tree *t, struct archive_entry *entry, struct err *e)
{
	buf_auto struct buf b = BUF_INIT;
	mem_auto struct xattr *v = NULL;
	size_t n;

	if (collect(t->limits, entry, &v, &n, e) < 0 || n == 0 ||
	    encode_all(&b, v, n, e) < 0)
		return 0;
	return tree_keep(t, b.data, b.len, e);
}

uint32_t xattr_bytes(const struct tree *t, uint32_t at, const uint8_t **p)
{
	uint32_t len;

	if (!at)
		return 0;
	memcpy(&len, tree_bytes(t, at), sizeof(len));
	*p = tree_bytes(t, at) + sizeof(len);
	return len;
}
