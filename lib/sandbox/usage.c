/* SPDX-License-Identifier: MIT
 *
 * What a sandbox is and uses: see usage.h.
 *
 * The cgroup counts what the monitor has used in all its life; without one,
 * /proc says the same of a monitor that is still alive.
 */
#include "sandbox/usage.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/str.h"
#include "sandbox/cgroup.h"
#include "sandbox/start.h"

void usage_free(struct usage *u)
{
	json_decref(u->config);
	u->config = NULL;
}

const char *usage_state_name(enum usage_state s)
{
	static const char *const names[] = { "starting", "running", "sleeping",
					     "dead" };

	return names[s];
}

/* ---- without a cgroup --------------------------------------------------- */

static uint64_t status_kib(struct str text, const char *key)
{
	uint64_t v = 0;

	while (text.len) {
		struct str line = str_cut(&text, '\n');
		struct str head = str_cut(&line, ':');

		if (!str_eq(head, str_of(key)))
			continue;
		line = str_trim(line);
		head = str_cut(&line, ' ');
		str_u64(head, 0, UINT64_MAX >> 10, &v, key, NULL);
		break;
	}
	return v << 10;
}

/* Fields 14 and 15 of stat, in ticks; the name before them, in brackets, may
 * hold anything. */
static uint64_t stat_cpu_us(const char *text)
{
	const char *at = strrchr(text, ')');
	struct str rest = str_of(at ? at : "");
	uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK);
	uint64_t user, sys;
	int i;

	/* The bracket ends field 2. */
	for (i = 2; i < 14; i++)
		str_cut(&rest, ' ');
	if (str_u64(str_cut(&rest, ' '), 0, UINT64_MAX, &user, "", NULL) < 0 ||
	    str_u64(str_cut(&rest, ' '), 0, UINT64_MAX, &sys, "", NULL) < 0)
		return 0;
	return (user + sys) * 1000000 / hz;
}

static void count_by_proc(struct usage *u)
{
	buf_auto struct buf stat = BUF_INIT_MAX(4096);
	buf_auto struct buf status = BUF_INIT_MAX(65536);
	struct str text;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)u->pid);
	if (io_read_file(AT_FDCWD, path, &stat, NULL) < 0)
		return;
	snprintf(path, sizeof(path), "/proc/%d/status", (int)u->pid);
	if (io_read_file(AT_FDCWD, path, &status, NULL) < 0)
		return;
	text = (struct str){ (const char *)status.data, status.len };
	u->cpu_us = stat_cpu_us(buf_str(&stat) ? buf_str(&stat) : "");
	u->memory = status_kib(text, "VmRSS");
	u->memory_peak = status_kib(text, "VmHWM");
	u->counted = true;
}

static void count(struct usage *u)
{
	struct cgroup_usage c;

	if (cgroup_read(u->id, &c) < 0) {
		if (u->pid)
			count_by_proc(u);
		return;
	}
	u->cpu_us = c.cpu_us;
	u->memory = c.memory_current;
	u->memory_peak = c.memory_peak;
	u->counted = true;
}

/* ---- times -------------------------------------------------------------- */

static int64_t last_change(const struct box *b)
{
	static const char *const files[] = { "ended", "console.log", "vmm.log",
					     "scratch" };
	struct stat st;
	int64_t last = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(files); i++) {
		if (fstatat(b->dir, files[i], &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    st.st_mtim.tv_sec > last)
			last = st.st_mtim.tv_sec;
	}
	return last;
}

static void measure_time(struct usage *u, const struct box *b)
{
	int64_t until = u->pid ? (int64_t)time(NULL) : last_change(b);

	u->created = json_integer_value(json_object_get(u->config, "created"));
	u->up_s = u->created && until > u->created ?
			  (uint64_t)(until - u->created) :
			  0;
}

void usage_of(struct usage *u, const struct box *b)
{
	struct stat st;

	*u = (struct usage)USAGE_INIT;
	memcpy(u->id, b->id, sizeof(u->id));
	u->pid = box_pid(b);
	u->state = b->entry[0] == '.' ? USAGE_STARTING :
		   u->pid	      ? USAGE_RUNNING :
		   box_sleeps(b)      ? USAGE_SLEEPING :
					USAGE_DEAD;
	if (u->state == USAGE_DEAD)
		box_end_of(b, &u->end);
	u->config = config_read(b, NULL);
	measure_time(u, b);
	count(u);
	if (fstatat(b->dir, "scratch", &st, AT_SYMLINK_NOFOLLOW) == 0)
		u->disk = (uint64_t)st.st_blocks * 512;
}

/* ---- words -------------------------------------------------------------- */

const char *usage_time(uint64_t s, char text[static 24])
{
	if (s < 60)
		snprintf(text, 24, "%us", (unsigned)s);
	else if (s < 3600)
		snprintf(text, 24, "%um%02us", (unsigned)(s / 60),
			 (unsigned)(s % 60));
	else if (s < 86400)
		snprintf(text, 24, "%uh%02um", (unsigned)(s / 3600),
			 (unsigned)(s / 60 % 60));
	else
		snprintf(text, 24, "%llud%02uh",
			 (unsigned long long)(s / 86400),
			 (unsigned)(s / 3600 % 24));
	return text;
}

const char *usage_size(uint64_t bytes, char text[static 24])
{
	static const char units[] = "BKMGTPE";
	double v = (double)bytes;
	size_t i = 0;

	while (v >= 1024 && units[i + 1]) {
		v /= 1024;
		i++;
	}
	snprintf(text, 24,
		 v < 10 && i && v != (double)(unsigned)v ? "%.1f%c" : "%.0f%c",
		 v, units[i]);
	return text;
}
