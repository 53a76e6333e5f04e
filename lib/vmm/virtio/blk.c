/* SPDX-License-Identifier: MIT
 *
 * A disk: see blk.h.
 *
 * A request is a header, data, and a status byte, in buffers of any number and
 * size (2.7.4): the header is the first 16 bytes that we may read, wherever
 * they lie, the status is the last byte that we may write, and what is left of
 * either part is data.  The kernel moves it between the file and guest memory
 * (preadv(2), pwritev(2)); we copy nothing.
 *
 * What a request can get wrong ends in its status.  Only one without room for
 * header or status breaks the device: there would be no way to answer.
 *
 * Rejected: io_uring, or a pool of threads.  A guest's reads come from the
 * host's page cache nearly always; then a second thread costs more than it
 * overlaps.  And with requests in flight, resets and snapshots would have to
 * wait for them.
 */
#include "vmm/virtio/blk.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/virtio_blk.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "vmm/state.h"

#define SECTOR 512
#define HEADER sizeof(struct virtio_blk_outhdr)
#define SEGMENT sizeof(struct virtio_blk_discard_write_zeroes)
#define BIT(n) (1ULL << (n))

/* Requests until others get the lock, and bytes: a reset, or who pauses the VM,
 * waits for at most so many. */
#define BATCH 32
#define BATCH_BYTES (32u << 20)

/* A chain has as many buffers as the ring has entries, two of which are header
 * and status. */
#define SEG_MAX (VQ_MAX - 2)

/* Of DISCARD and WRITE_ZEROES: 1 GiB a range keeps one request from taking the
 * disk for seconds; Linux sends one range a request, or as many as we say when
 * it trims a whole file system. */
#define RANGE_SECTORS (1u << 21)
#define RANGES 16

/* The host's file systems work in pages: smaller writes read first, smaller
 * discards free nothing.  As a power of two of sectors. */
#define PAGE_EXP 3

static_assert(HEADER == 16 && SEGMENT == 16, "virtio 1.2, 5.2.6");
static_assert(BLK_SERIAL_MAX == VIRTIO_BLK_ID_BYTES, "virtio 1.2, 5.2.6");

/* A request, taken apart. */
struct request {
	uint32_t type;
	uint64_t sector;
	uint32_t in;	  /* bytes of data that we may write */
	uint32_t out;	  /* bytes of data that we may read */
	uint32_t written; /* of in, from its beginning */
};

static bool in_range(const struct blk *b, uint64_t sector, uint64_t n)
{
	return sector <= b->s.sectors && n <= b->s.sectors - sector;
}

static uint8_t status_of(int r)
{
	if (r == 0)
		return VIRTIO_BLK_S_OK;
	return r == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
}

/* The host could not.  Said once until it can: a full disk fails request after
 * request. */
static int failed(struct blk *b, const char *what, int num)
{
	if (!b->failing && b->v.on_failed)
		b->v.on_failed(&b->v, what, num);
	b->failing = true;
	return -EIO;
}

static int sync_file(struct blk *b)
{
	return fdatasync(b->fd) < 0 ? failed(b, "flush", errno) : 0;
}

/* ---- data ---- */

/* One call of the kernel: it moves 2 GiB at most, and less on a whim. */
static ssize_t move(const struct blk *b, unsigned n, off_t at, bool out)
{
	ssize_t r;

	do {
		r = out ? pwritev(b->fd, b->iov, (int)n, at) :
			  preadv(b->fd, b->iov, (int)n, at);
	} while (r < 0 && errno == EINTR);
	return r;
}

/* Move @len bytes between the file and the @n buffers of @iov, from their byte
 * @off on.  How many were moved goes to *@done.  0 or -EIO: also at the end of
 * a file that has become shorter. */
static int transfer(struct blk *b, const struct iovec *iov, unsigned n,
		    uint32_t off, uint64_t sector, uint32_t len, bool out,
		    uint32_t *done)
{
	const uint64_t at = sector * SECTOR;
	ssize_t r;

	*done = 0;
	while (*done < len) {
		unsigned k = vq_slice(iov, n, (uint64_t)off + *done,
				      len - *done, b->iov);

		r = move(b, k, (off_t)(at + *done), out);
		if (r <= 0)
			return failed(b, out ? "write" : "read",
				      r < 0 ? errno : ENODATA);
		*done += (uint32_t)r;
	}
	b->failing = false;
	return 0;
}

static int do_in(struct blk *b, struct request *r)
{
	const struct vq_chain *c = &b->chain;

	if (r->in % SECTOR || !in_range(b, r->sector, r->in / SECTOR))
		return -EIO;
	return transfer(b, c->iov + c->nread, c->nwrite, 0, r->sector, r->in,
			false, &r->written);
}

static int do_out(struct blk *b, const struct request *r)
{
	uint32_t done;
	int ret;

	if (b->read_only || r->out % SECTOR ||
	    !in_range(b, r->sector, r->out / SECTOR))
		return -EIO;
	ret = transfer(b, b->chain.iov, b->chain.nread, HEADER, r->sector,
		       r->out, true, &done);
	/* A driver that cannot flush is to find what it wrote on the disk
	 * (5.2.6.2). */
	if (ret == 0 && !virtio_has(&b->v, VIRTIO_BLK_F_FLUSH))
		ret = sync_file(b);
	return ret;
}

static int do_get_id(struct blk *b, struct request *r)
{
	r->written = r->in < BLK_SERIAL_MAX ? r->in : BLK_SERIAL_MAX;
	vq_write(&b->chain, 0, b->serial, r->written);
	return 0;
}

/* ---- ranges ---- */

static int fall(struct blk *b, int mode, uint64_t sector, uint64_t n)
{
	int r;

	do {
		r = fallocate(b->fd, mode | FALLOC_FL_KEEP_SIZE,
			      (off_t)(sector * SECTOR), (off_t)(n * SECTOR));
	} while (r < 0 && errno == EINTR);
	if (r == 0)
		return 0;
	return errno == EOPNOTSUPP ? -EOPNOTSUPP :
				     failed(b, "punch holes", errno);
}

/* Zeros, which stay allocated unless @unmap, where the file system can do that
 * (tmpfs cannot). */
static int zero(struct blk *b, uint64_t sector, uint64_t n, bool unmap)
{
	int r = -EOPNOTSUPP;

	if (!unmap)
		r = fall(b, FALLOC_FL_ZERO_RANGE, sector, n);
	if (r == -EOPNOTSUPP)
		r = fall(b, FALLOC_FL_PUNCH_HOLE, sector, n);
	return r;
}

static int do_range(struct blk *b, bool discard,
		    const struct virtio_blk_discard_write_zeroes *z)
{
	const uint32_t unmap = VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;

	/* Flags that are not known, and unmap where it makes no sense, are
	 * "unsupported" (5.2.6.2). */
	if (z->flags & ~(discard ? 0 : unmap))
		return -EOPNOTSUPP;
	if (z->num_sectors > RANGE_SECTORS ||
	    !in_range(b, z->sector, z->num_sectors))
		return -EIO;
	if (z->num_sectors == 0)
		return 0;
	if (discard)
		return fall(b, FALLOC_FL_PUNCH_HOLE, z->sector, z->num_sectors);
	return zero(b, z->sector, z->num_sectors, z->flags & unmap);
}

static int do_ranges(struct blk *b, const struct request *r, bool discard)
{
	struct virtio_blk_discard_write_zeroes z;
	const unsigned feature = discard ? VIRTIO_BLK_F_DISCARD :
					   VIRTIO_BLK_F_WRITE_ZEROES;
	uint32_t at;
	int ret = 0;

	/* A disk that is read-only does not offer them. */
	if (!virtio_has(&b->v, feature))
		return -EOPNOTSUPP;
	if (r->out == 0 || r->out % SEGMENT || r->out / SEGMENT > RANGES)
		return -EIO;
	for (at = 0; ret == 0 && at < r->out; at += SEGMENT) {
		vq_read(&b->chain, HEADER + at, &z, sizeof(z));
		ret = do_range(b, discard, &z);
	}
	return ret;
}

/* ---- requests ---- */

static int perform(struct blk *b, struct request *r)
{
	switch (r->type) {
	case VIRTIO_BLK_T_IN:
		return do_in(b, r);
	case VIRTIO_BLK_T_OUT:
		return do_out(b, r);
	case VIRTIO_BLK_T_FLUSH:
		return sync_file(b);
	case VIRTIO_BLK_T_GET_ID:
		return do_get_id(b, r);
	case VIRTIO_BLK_T_DISCARD:
		return do_ranges(b, r, true);
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return do_ranges(b, r, false);
	default:
		return -EOPNOTSUPP;
	}
}

/* Do and answer what is in b->chain. */
static int answer(struct blk *b)
{
	const struct vq_chain *c = &b->chain;
	struct virtio_blk_outhdr h;
	struct request r = { .written = 0 };
	uint8_t status;

	if (vq_read(c, 0, &h, HEADER) < HEADER)
		return virtio_rule(&b->v, "disk request without a header");
	if (c->write_len == 0)
		return virtio_rule(&b->v, "disk request without a status");
	r.type = h.type;
	r.sector = h.sector;
	r.in = (uint32_t)c->write_len - 1;
	r.out = (uint32_t)(c->read_len - HEADER);
	status = status_of(perform(b, &r));
	vq_write(c, r.in, &status, 1);
	/* The length is of what was written from the beginning without a gap
	 * (2.7.8.2), so the status counts only behind all data. */
	vq_push(&b->v.q[0], c->head, r.written + (r.written == r.in));
	return 0;
}

static int serve(struct virtio *v, unsigned i)
{
	struct blk *b = container_of(v, struct blk, v);
	struct vq *q = &v->q[i];
	unsigned left = BATCH;
	uint64_t bytes = 0;
	int r;

	vq_notify(q, false);
	while ((r = vq_pop(q, &b->chain)) > 0) {
		r = answer(b);
		if (r < 0)
			return r;
		virtio_signal(v, i);
		bytes += b->chain.read_len + b->chain.write_len;
		if (--left == 0 || bytes >= BATCH_BYTES)
			return 1;
	}
	return r;
}

/* ---- coming and going ---- */

#define FEATURES                                                  \
	(BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_BLK_SIZE) | \
	 BIT(VIRTIO_BLK_F_TOPOLOGY) | BIT(VIRTIO_BLK_F_FLUSH))

/* Up to the fields of zoned disks. */
#define CONFIG_SIZE offsetof(struct virtio_blk_config, max_secure_erase_sectors)

static const struct virtio_ops ops = {
	.name = "blk",
	.id = 2,
	.features = FEATURES | BIT(VIRTIO_BLK_F_DISCARD) |
		    BIT(VIRTIO_BLK_F_WRITE_ZEROES),
	.queues = 1,
	.config_size = CONFIG_SIZE,
	.queue = serve,
};

static const struct virtio_ops ops_read_only = {
	.name = "blk",
	.id = 2,
	.features = FEATURES | BIT(VIRTIO_BLK_F_RO),
	.queues = 1,
	.config_size = CONFIG_SIZE,
	.queue = serve,
};

static void fill_config(struct blk *b)
{
	const struct virtio_blk_config c = {
		.capacity = b->s.sectors,
		.seg_max = SEG_MAX,
		.blk_size = SECTOR,
		.physical_block_exp = PAGE_EXP,
		.min_io_size = 1 << PAGE_EXP,
		.max_discard_sectors = RANGE_SECTORS,
		.max_discard_seg = RANGES,
		.discard_sector_alignment = 1 << PAGE_EXP,
		.max_write_zeroes_sectors = RANGE_SECTORS,
		.max_write_zeroes_seg = RANGES,
		.write_zeroes_may_unmap = 1,
	};

	static_assert(CONFIG_SIZE <= VIRTIO_CONFIG_MAX, "it fits");
	memcpy(b->v.config, &c, CONFIG_SIZE);
}

static int measure(struct blk *b, const char *serial, struct err *e)
{
	const off_t size = lseek(b->fd, 0, SEEK_END);

	if (size < 0)
		return err_sys(e, errno, "cannot see how large disk %s is",
			       serial);
	if (size == 0 || size % SECTOR)
		return err_set(e, EINVAL,
			       "disk %s has %lld bytes: it must be a multiple "
			       "of 512, and not 0",
			       serial, (long long)size);
	b->s.sectors = (uint64_t)size / SECTOR;
	return 0;
}

int blk_init(struct blk *b, const struct blk_spec *spec, const struct mem *mem,
	     struct loop *loop, struct err *e)
{
	const size_t n = strlen(spec->serial);
	int r;

	memset(b, 0, sizeof(*b));
	r = virtio_init(&b->v, spec->read_only ? &ops_read_only : &ops, mem,
			loop, e);
	if (r < 0)
		return r;
	b->fd = spec->fd;
	b->read_only = spec->read_only;
	if (n > BLK_SERIAL_MAX)
		return err_set(e, EINVAL,
			       "serial number %s has %zu bytes: at most %d fit",
			       spec->serial, n, BLK_SERIAL_MAX);
	memcpy(b->serial, spec->serial, n);
	r = measure(b, spec->serial, e);
	if (r < 0)
		return r;
	fill_config(b);
	return 0;
}

void blk_free(struct blk *b)
{
	virtio_free(&b->v);
	b->fd = -1;
}

void blk_state_io(struct blk *b, struct state_io *io)
{
	state_begin(io, "blk", 1);
	state_same(io, b->s.sectors, "the number of sectors");
	state_same(io, b->read_only, "being read-only");
	virtio_state(&b->v, io);
	state_end(io);
}
