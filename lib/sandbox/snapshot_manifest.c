/* SPDX-License-Identifier: MIT
 *
 * What a snapshot is of: its manifest, and whether this machine is like the one
 * it was made on.
 *
 * A manifest is read in the very form in which it is written and in no other
 * (no blanks, sorted keys), so that no two files have one meaning, and the MAC
 * of its meaning is the MAC of the file.  Guarding the file's bytes by a second
 * file was rejected: two files can be of two moments.
 */
#include <cpuid.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/fd.h"
#include "sandbox/snapshot_parts.h"
#include "vmm/state.h"

#define FORMAT 1
#define ARCH "x86_64"
#define TEXT_MAX 256 /* of "arch" and "cpu" */
#define CPU_SIZE 128
#define ROOTFS ".erofs"

static const uint64_t size_max[SNAPSHOT_FILES] = {
	[SNAPSHOT_STATE] = STATE_MAX,
	[SNAPSHOT_MEMORY] = (uint64_t)64 << 30,
	[SNAPSHOT_SCRATCH] = (uint64_t)8 << 40,
};

const char *const snapshot_file_names[SNAPSHOT_FILES] = {
	[SNAPSHOT_STATE] = "state",
	[SNAPSHOT_MEMORY] = "memory",
	[SNAPSHOT_SCRATCH] = "scratch",
};

/* ---- this machine ------------------------------------------------------- */

/* The brand string, without the blanks that processors have around it. */
static void brand(char out[static 49])
{
	unsigned int r[12] = { 0 }, *at = r;
	char raw[sizeof(r) + 1];
	struct str s;
	unsigned int i;

	if (__get_cpuid_max(0x80000000, NULL) >= 0x80000004) {
		for (i = 0; i < 3; i++, at += 4)
			__get_cpuid(0x80000002 + i, at, at + 1, at + 2, at + 3);
	}
	memcpy(raw, r, sizeof(r));
	raw[sizeof(r)] = '\0';
	s = str_trim(str_of(raw));
	snprintf(out, 49, "%.*s", STR_ARG(s));
	for (i = 0; out[i]; i++) {
		if (out[i] < ' ' || out[i] > '~')
			out[i] = '?';
	}
}

/* The processor: what must be the same for a guest to go on. */
static void cpu_text(char out[static CPU_SIZE])
{
	unsigned int a = 0, b = 0, c = 0, d = 0, family, model;
	unsigned int vendor[3] = { 0 };
	char name[49];

	__get_cpuid(0, &a, &vendor[0], &vendor[2], &vendor[1]);
	__get_cpuid(1, &a, &b, &c, &d);
	family = a >> 8 & 15;
	model = (a >> 4 & 15) | (a >> 12 & 0xf0);
	if (family == 15)
		family += a >> 20 & 255;
	brand(name);
	snprintf(out, CPU_SIZE, "%.12s family %u model %u stepping %u, %s",
		 (const char *)vendor, family, model, a & 15, name);
}

static int differs(const struct snapshot *s, const char *what, const char *then,
		   const char *now, struct err *e)
{
	err_set(e, EXDEV, "%s was made with %s '%.120s', and here is '%.120s'",
		s->id, what, then, now);
	err_plain(e);
	return e ? -e->num : -EXDEV;
}

int snapshot_check(const struct snapshot *s, struct err *e)
{
	const char *arch =
		json_string_value(json_object_get(s->manifest, "arch"));
	const char *cpu =
		json_string_value(json_object_get(s->manifest, "cpu"));
	json_int_t format = json_integer_value(
		json_object_get(s->manifest, "state_format"));
	char here[CPU_SIZE];

	if (!arch || !cpu)
		return err_set(e, EINVAL, "%s has no manifest", s->id);
	if (strcmp(arch, ARCH) != 0) {
		differs(s, "the architecture", arch, ARCH, e);
		return err_fix(e, "a machine of that kind");
	}
	if (format != STATE_VERSION) {
		err_set(e, EXDEV,
			"%s has a state of format %lld, and this isokit's is "
			"%d",
			s->id, (long long)format, STATE_VERSION);
		return err_fix(e, "the isokit that made it, or make it anew");
	}
	cpu_text(here);
	if (strcmp(cpu, here) != 0) {
		differs(s, "the processor", cpu, here, e);
		return err_fix(e, "a machine with such a processor, or make it "
				  "anew on this one");
	}
	return 0;
}

/* ---- writing ------------------------------------------------------------ */

json_t *manifest_make(const char *id, const char *parent, const json_t *config)
{
	char cpu[CPU_SIZE];

	cpu_text(cpu);
	return json_pack("{si ss ss sI so ss ss si s{}}", "format", FORMAT,
			 "id", id, "parent", parent ? parent : "", "created",
			 (json_int_t)time(NULL), "config",
			 json_deep_copy(config), "arch", ARCH, "cpu", cpu,
			 "state_format", STATE_VERSION, "files");
}

int manifest_set_file(json_t *m, enum snapshot_file f, uint64_t size,
		      const char *hex)
{
	json_t *o =
		json_pack("{sI ss}", "size", (json_int_t)size, "sha256", hex);

	return json_object_set_new(json_object_get(m, "files"),
				   snapshot_file_names[f], o) < 0 ?
		       -ENOMEM :
		       0;
}

char *manifest_text(const json_t *m, bool mac)
{
	json_t *copy = json_copy((json_t *)(uintptr_t)m);
	mem_auto char *text = NULL;

	if (copy && !mac)
		json_object_del(copy, "mac");
	text = copy ? json_dumps(copy, JSON_SORT_KEYS | JSON_COMPACT) : NULL;
	json_decref(copy);
	return text && mac ? str_printf("%s\n", text) : ptr_steal(&text);
}

/* ---- reading ------------------------------------------------------------ */

static bool is_hex(struct str s)
{
	size_t i;

	for (i = 0; i < s.len; i++) {
		if (!(s.p[i] >= '0' && s.p[i] <= '9') &&
		    !(s.p[i] >= 'a' && s.p[i] <= 'f'))
			return false;
	}
	return s.len == SNAPSHOT_HEX - 1;
}

static struct str text_of(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	return json_is_string(v) ? (struct str){ json_string_value(v),
						 json_string_length(v) } :
				   (struct str){ NULL, 0 };
}

static bool is_count(const json_t *o, const char *key, uint64_t max)
{
	const json_t *v = json_object_get(o, key);

	return json_is_integer(v) && json_integer_value(v) >= 0 &&
	       (uint64_t)json_integer_value(v) <= max;
}

const char *manifest_rootfs(const json_t *config)
{
	const char *path = json_string_value(json_object_get(config, "rootfs"));
	const char *slash = path ? strrchr(path, '/') : NULL;
	const char *name = slash ? slash + 1 : path;
	struct str s;

	if (!name || !str_ends(str_of(name), STR(ROOTFS)))
		return NULL;
	s = str_of(name);
	s.len -= strlen(ROOTFS);
	return is_hex(s) ? name : NULL;
}

static json_t *file_of(const json_t *m, enum snapshot_file f)
{
	return json_object_get(json_object_get(m, "files"),
			       snapshot_file_names[f]);
}

const char *manifest_digest(const json_t *m, enum snapshot_file f)
{
	const char *hex =
		json_string_value(json_object_get(file_of(m, f), "sha256"));

	return hex ? hex : "";
}

uint64_t snapshot_size(const struct snapshot *s, enum snapshot_file f)
{
	return (uint64_t)json_integer_value(
		json_object_get(file_of(s->manifest, f), "size"));
}

/* The member of @m that makes no sense, or NULL. */
static const char *nonsense(const json_t *m)
{
	const json_t *config = json_object_get(m, "config");
	const json_t *imported = json_object_get(m, "imported");
	struct str parent = text_of(m, "parent");
	int f;

	if (!snapdir_is_id(text_of(m, "id")))
		return "id";
	if (!parent.p || (parent.len && !snapdir_is_id(parent)))
		return "parent";
	if (!is_count(m, "created", INT64_MAX))
		return "created";
	if (!json_is_object(config) || !manifest_rootfs(config))
		return "config";
	if (!text_of(m, "arch").p || text_of(m, "arch").len > TEXT_MAX)
		return "arch";
	if (!text_of(m, "cpu").p || text_of(m, "cpu").len > TEXT_MAX)
		return "cpu";
	if (!is_count(m, "state_format", INT32_MAX))
		return "state_format";
	if (imported && !json_is_boolean(imported))
		return "imported";
	for (f = 0; f < SNAPSHOT_FILES; f++) {
		if (!is_count(file_of(m, f), "size", size_max[f]) ||
		    !is_hex(text_of(file_of(m, f), "sha256")))
			return "files";
	}
	return is_hex(text_of(m, "mac")) ? NULL : "mac";
}

static int damaged(struct err *e, const char *how)
{
	err_set(e, EBADMSG, MANIFEST_FILE " is damaged: %s", how);
	err_plain(e);
	return -EBADMSG;
}

static int check_format(const json_t *m, struct err *e)
{
	const json_t *v = json_object_get(m, "format");

	if (json_is_integer(v) && json_integer_value(v) > FORMAT) {
		err_set(e, ENOTSUP,
			MANIFEST_FILE " is of format %lld, and this isokit "
				      "knows format %d",
			(long long)json_integer_value(v), FORMAT);
		return err_fix(e, "the isokit that made it, or a newer one");
	}
	return json_is_integer(v) && json_integer_value(v) == FORMAT ?
		       0 :
		       damaged(e, "'format' makes no sense");
}

static int check(const json_t *m, struct str text, const char *id,
		 struct err *e)
{
	int r = check_format(m, e);
	const char *what = r == 0 ? nonsense(m) : NULL;
	mem_auto char *again = NULL;
	char how[80];

	if (r < 0)
		return r;
	if (what) {
		snprintf(how, sizeof(how), "'%s' makes no sense", what);
		return damaged(e, how);
	}
	if (id && !str_eq(text_of(m, "id"), str_of(id))) {
		snprintf(how, sizeof(how), "it is that of %.*s",
			 STR_ARG(text_of(m, "id")));
		return damaged(e, how);
	}
	again = manifest_text(m, true);
	if (!again)
		return err_sys(e, ENOMEM, "cannot read " MANIFEST_FILE);
	return str_eq(text, str_of(again)) ?
		       0 :
		       damaged(e, "it is not as isokit writes it");
}

int snapshot_parse(json_t **m, struct str text, const char *id, struct err *e)
{
	json_error_t why = { .line = 0 };
	json_t *o = json_loadb(text.p, text.len, JSON_REJECT_DUPLICATES, &why);
	int r = o ? check(o, text, id, e) : damaged(e, why.text);

	if (r < 0)
		json_decref(o);
	else
		*m = o;
	return r;
}
