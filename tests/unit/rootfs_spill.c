/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "rootfs/spill.h"
#include "tests/tap.h"

#define PART ((size_t)96 << 10)
#define PARTS 1024 /* 96 MiB in all */
#define WORDS (PART / sizeof(uint32_t))

static uint32_t *parts[PARTS];

static bool is_zero(const uint32_t *p)
{
	size_t i;

	for (i = 0; i < WORDS && !p[i]; i++)
		;
	return i == WORDS;
}

/* What is in the word @k of part @i. */
static uint32_t word(size_t i, size_t k)
{
	return (uint32_t)(i * WORDS + k) * 2654435761U;
}

static void fill(struct spill *s, size_t i)
{
	size_t k;

	for (k = 0; k < WORDS; k++) {
		spill_tick(s);
		parts[i][k] = word(i, k);
	}
}

static bool is_filled(struct spill *s, size_t i)
{
	size_t k;

	for (k = 0; k < WORDS; k++) {
		spill_tick(s);
		if (parts[i][k] != word(i, k))
			return false;
	}
	return true;
}

static void test_kept(int dir)
{
	struct spill *s = spill_new(dir);
	struct err e = ERR_INIT;
	size_t i, zero = 0, right = 0;
	void *p;

	for (i = 0; i < PARTS; i++) {
		if (spill_get(s, PART, &p, &e) < 0)
			bail("%s", e.text);
		parts[i] = p;
		zero += is_zero(p);
		fill(s, i);
	}
	is_int(zero, PARTS, "96 MiB, all zeros");
	/* In another order than they were made in. */
	for (i = 0; i < PARTS; i++)
		right += is_filled(s, i * 389 % PARTS);
	is_int(right, PARTS, "what is written is kept");
	spill_free(&s);
	ok(!s, "and goes");
}

#ifndef __SANITIZE_ADDRESS__
static void test_small(void)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);
	ok(r.ru_maxrss < 64 << 10, "in less than 64 MiB of memory: %ld KiB",
	   r.ru_maxrss);
}
#endif

/* Its file must not grow: an error, and no signal when it is written to. */
static void test_full(int dir)
{
	struct rlimit old, none = { .rlim_cur = 0 };
	struct spill *s = spill_new(dir);
	struct err e = ERR_INIT;
	size_t had = 0;
	void *p;

	getrlimit(RLIMIT_FSIZE, &old);
	none.rlim_max = old.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &none);
	while (had < (size_t)64 << 20 && spill_get(s, PART, &p, &e) == 0) {
		memset(p, 1, PART);
		had += PART;
	}
	setrlimit(RLIMIT_FSIZE, &old);
	is_int(e.num, EFBIG, "a file that cannot grow is an error");
	has_str(e.text, "cannot keep the image's tree on disk",
		"which says so");
	ok(had >= (size_t)3 << 20, "after what fits into memory");
	spill_free(&s);
}

static void test_huge(int dir)
{
	struct spill *s = spill_new(dir);
	struct err e = ERR_INIT;
	void *p;

	is_int(spill_get(s, SIZE_MAX, &p, &e), -ENOMEM, "too much is refused");
	is_int(spill_get(s, 1, &p, &e), 0, "and then there is still some");
	spill_free(&s);
}

int main(void)
{
	char path[] = "/tmp/spill.XXXXXX";
	fd_auto int dir = -1;

	if (!mkdtemp(path))
		bail("no directory");
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	test_kept(dir);
#ifndef __SANITIZE_ADDRESS__
	test_small();
#endif
	test_full(dir);
	test_huge(dir);
	ok(rmdir(path) == 0, "no file of it has a name");
	/* Without a directory all of it is memory. */
	test_kept(-1);
	test_huge(-1);
	return tap_done();
}
