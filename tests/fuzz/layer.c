/* SPDX-License-Identifier: MIT
 *
 * libFuzzer: the layers of an image, from blobs to the file system.
 *
 * The first two bytes say where in the rest the second layer begins.  Limits
 * are small, so that an input is too much rather than slow.  What was applied
 * is written to a file in memory.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "base/sha256.h"
#include "rootfs/apply.h"
#include "rootfs/erofs.h"
#include "rootfs/space.h"
#include "rootfs/tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max,
			       unsigned int seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);

static const struct limits limits = { .bytes = 4 << 20,
				      .entries = 2000,
				      .ratio = 1 << 20,
				      .depth = 64,
				      .xattr = 4096,
				      .names = 1 << 18 };

static void layer(struct layer *l, const uint8_t *p, size_t n)
{
	sha256_auto struct sha256 sum = SHA256_INIT;

	*l = (struct layer){ .fd = memfd_create("layer", 0),
			     .size = n,
			     .name = "fuzz" };
	if (l->fd < 0 || io_write_full(l->fd, p, n) < 0 ||
	    lseek(l->fd, 0, SEEK_SET) < 0 || sha256_begin(&sum) < 0 ||
	    sha256_add(&sum, p, n) < 0 || sha256_end(&sum, l->diff_id) < 0)
		abort();
}

static void run(const struct layer v[2])
{
	fd_auto int fd = memfd_create("image", 0);
	space_auto struct space s = SPACE_INIT(fd);
	struct apply_stats stats;
	struct err e = ERR_INIT;
	tree_auto struct tree t;
	uint64_t image;

	if (tree_init(&t, &limits, -1, &e) < 0)
		abort();
	if (apply_layers(&t, &s, v, 2, NULL, &stats, &e) < 0) {
		/* A failure says why. */
		if (!e.num || !e.text[0])
			abort();
		return;
	}
	if (erofs_write(&t, &s, v[0].diff_id, &image, &e) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct layer v[2];
	size_t cut;

	if (size < 2)
		return 0;
	cut = (size_t)(data[0] | data[1] << 8);
	data += 2;
	size -= 2;
	if (cut > size)
		cut = size;
	layer(&v[0], data, cut);
	layer(&v[1], data + cut, size - cut);
	run(v);
	close(v[0].fd);
	close(v[1].fd);
	return 0;
}

/* Whatever has the magic of a header gets the right checksum: guessing those
 * would be all that the fuzzer does. */
static void fix_checksum(uint8_t *p)
{
	unsigned int sum = 0, i;
	char text[8];

	memset(p + 148, ' ', 8);
	for (i = 0; i < 512; i++)
		sum += p[i];
	snprintf(text, sizeof(text), "%06o", sum);
	memcpy(p + 148, text, 7);
}

static void fix_tar(uint8_t *p, size_t n)
{
	for (; n >= 512; p += 512, n -= 512) {
		if (memcmp(p + 257, "ustar", 5) == 0)
			fix_checksum(p);
	}
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max,
			       unsigned int seed)
{
	size_t cut;

	(void)seed;
	size = LLVMFuzzerMutate(data, size, max);
	if (size < 2)
		return size;
	cut = (size_t)(data[0] | data[1] << 8);
	if (cut > size - 2)
		cut = size - 2;
	fix_tar(data + 2, cut);
	fix_tar(data + 2 + cut, size - 2 - cut);
	return size;
}
