/* SPDX-License-Identifier: MIT
 *
 * The blocks of the image file: see space.h.
 *
 * First fit in a sorted array.  Which blocks are taken depends on the image
 * only: so a file system that cannot punch holes gets zeros written instead.
 */
#include "rootfs/space.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"

#define BLOCKS_MAX ((uint64_t)UINT32_MAX)
#define ZEROS ((size_t)64 << 10)

static uint64_t place(uint32_t block)
{
	return (uint64_t)block * SPACE_BLOCK;
}

static void take(struct space *s, size_t i, uint32_t count)
{
	struct extent *x = &s->free[i];

	x->block += count;
	x->count -= count;
	if (!x->count)
		memmove(x, x + 1, (--s->nfree - i) * sizeof(*x));
}

int space_get(struct space *s, uint64_t bytes, uint32_t *block, struct err *e)
{
	uint64_t count = space_blocks(bytes);
	size_t i;

	for (i = 0; i < s->nfree; i++) {
		if (s->free[i].count < count)
			continue;
		*block = s->free[i].block;
		take(s, i, (uint32_t)count);
		return 0;
	}
	if (count > BLOCKS_MAX - s->end)
		return err_set(e, EFBIG, "more than EROFS has blocks for");
	*block = s->end;
	s->end += (uint32_t)count;
	return 0;
}

static int write_all(int fd, const void *p, size_t n, uint64_t at)
{
	size_t done = 0;

	while (done < n) {
		ssize_t r = pwrite(fd, (const char *)p + done, n - done,
				   (off_t)(at + done));

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		done += (size_t)r;
	}
	return 0;
}

int space_write(const struct space *s, uint32_t block, uint64_t at,
		const void *p, size_t n, struct err *e)
{
	int r = write_all(s->fd, p, n, place(block) + at);

	return r < 0 ? err_sys(e, -r, "cannot write the image") : 0;
}

static int write_zeros(const struct space *s, uint64_t at, uint64_t n,
		       struct err *e)
{
	mem_auto char *zeros = calloc(1, ZEROS);

	if (!zeros)
		return err_sys(e, ENOMEM, "cannot write the image");
	while (n) {
		size_t part = n < ZEROS ? (size_t)n : ZEROS;
		int r = write_all(s->fd, zeros, part, at);

		if (r < 0)
			return err_sys(e, -r, "cannot write the image");
		at += part;
		n -= part;
	}
	return 0;
}

static int make_room(struct space *s)
{
	size_t room = s->room ? 2 * s->room : 64;
	struct extent *v;

	if (s->nfree < s->room)
		return 0;
	v = reallocarray(s->free, room, sizeof(*v));
	if (!v)
		return -ENOMEM;
	s->free = v;
	s->room = room;
	return 0;
}

/* Where in the array @block belongs. */
static size_t rank(const struct space *s, uint32_t block)
{
	size_t low = 0, high = s->nfree;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (s->free[mid].block < block)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static void insert(struct space *s, struct extent x)
{
	size_t i = rank(s, x.block);
	struct extent *v = s->free;

	if (i < s->nfree && x.block + x.count == v[i].block) {
		v[i].block = x.block;
		v[i].count += x.count;
	} else {
		memmove(v + i + 1, v + i, (s->nfree++ - i) * sizeof(*v));
		v[i] = x;
	}
	if (i > 0 && v[i - 1].block + v[i - 1].count == v[i].block) {
		v[i - 1].count += v[i].count;
		take(s, i, v[i].count);
	}
}

int space_put(struct space *s, uint32_t block, uint64_t bytes, struct err *e)
{
	uint64_t count = space_blocks(bytes);
	int r;

	do {
		r = fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			      (off_t)place(block),
			      (off_t)(count * SPACE_BLOCK));
	} while (r < 0 && errno == EINTR);
	if (r < 0 && write_zeros(s, place(block), count * SPACE_BLOCK, e) < 0)
		return -e->num;
	if (make_room(s) < 0)
		return err_sys(e, ENOMEM, "cannot keep free blocks");
	insert(s, (struct extent){ block, (uint32_t)count });
	return 0;
}

void space_free(struct space *s)
{
	mem_free(&s->free);
	s->nfree = s->room = 0;
}
