/* SPDX-License-Identifier: MIT
 *
 * libFuzzer: a disk of 64 sectors, read-only or not, and what any driver does
 * to it.  See virtio.h for the input; its first byte says which disk.
 */
#include "tests/fuzz/virtio.h"
#include "vmm/virtio/blk.h"

#define SIZE (64 * 512)

static struct blk blk;
static int file = -1;

/* The same disk each time: what was written is gone. */
static void clean(void)
{
	static uint8_t image[SIZE];
	size_t k;

	if (file < 0) {
		file = memfd_create("disk", MFD_CLOEXEC);
		for (k = 0; k < SIZE; k++)
			image[k] = (uint8_t)(k >> 9);
	}
	fuzz_must(ftruncate(file, SIZE) == 0 &&
		  pwrite(file, image, SIZE, 0) == SIZE);
}

/* The file becomes shorter or longer under the disk. */
static void event(struct virtio *v, struct fuzz_bytes *b)
{
	(void)v;
	fuzz_must(ftruncate(file, (off_t)fuzz_int(b, 2)) == 0);
}

/* Each request is answered before anything else happens, or the disk is
 * broken. */
static void check(struct driver *d)
{
	const struct vq *q = &d->v->q[0];
	uint16_t open = (uint16_t)(q->s.next_avail - q->s.next_used);

	fuzz_must(open == 0 || (open == 1 && d->v->rule));
	fuzz_must(blk.s.sectors * 512 == SIZE);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const struct fuzz_calls calls = { .event = event,
						 .check = check };
	struct blk_spec spec = { .serial = "scratch" };
	struct driver *d = fuzz_ram();

	if (n == 0)
		return 0;
	clean();
	spec.fd = file;
	spec.read_only = p[0] & 1;
	fuzz_must(blk_init(&blk, &spec, &d->m, NULL, NULL) == 0);
	fuzz_virtio(d, &blk.v, &calls, p + 1, n - 1);
	blk_free(&blk);
	return 0;
}
