/* SPDX-License-Identifier: MIT */
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "rootfs/space.h"
#include "tests/tap.h"

static uint32_t get(struct space *s, uint64_t bytes)
{
	struct err e = ERR_INIT;
	uint32_t block = 0;

	if (space_get(s, bytes, &block, &e) < 0)
		bail("%s", e.text);
	return block;
}

static void put(struct space *s, uint32_t block, uint64_t bytes)
{
	struct err e = ERR_INIT;

	if (space_put(s, block, bytes, &e) < 0)
		bail("%s", e.text);
}

static void test_fit(struct space *s)
{
	is_int(get(s, 1), 1, "the first block is the superblock's");
	is_int(get(s, 4096), 2, "one block");
	is_int(get(s, 4097), 3, "two blocks");
	is_int(get(s, 40960), 5, "ten blocks");
	put(s, 2, 4096);
	put(s, 5, 40960);
	is_int(s->nfree, 2, "two free parts");
	put(s, 3, 4097);
	is_int(s->nfree, 1, "become one with what is between them");
	is_int(get(s, 8192), 2, "used again, from the first");
	is_int(get(s, 12 * 4096), 15, "what does not fit goes to the end");
	is_int(get(s, 11 * 4096), 4, "what fits exactly takes all");
	is_int(s->nfree, 0, "then nothing is free");
}

static void test_zeros(struct space *s)
{
	struct err e = ERR_INIT;
	char got[8] = "";
	uint32_t block = get(s, 5000);

	ok(space_write(s, block, 4990, "contents", 8, &e) == 0, "written");
	put(s, block, 5000);
	is_int(get(s, 5000), block, "the same blocks");
	is_int(pread(s->fd, got, 8, block * 4096L + 4990), 8, "read");
	is_mem(got, 8, "\0\0\0\0\0\0\0\0", 8, "as zeros");
}

static void test_end(void)
{
	struct space s = SPACE_INIT(-1);
	struct err e = ERR_INIT;
	uint32_t block;

	s.end = UINT32_MAX - 1;
	ok(space_get(&s, 2 * 4096, &block, &e) < 0, "no more than 2^32 blocks");
	ok(space_get(&s, UINT64_MAX, &block, &e) < 0, "nor a size that wraps");
}

int main(void)
{
	fd_auto int fd = memfd_create("space", MFD_CLOEXEC);
	space_auto struct space s = SPACE_INIT(fd);

	test_fit(&s);
	test_zeros(&s);
	test_end();
	return tap_done();
}
