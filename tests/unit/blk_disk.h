/* SPDX-License-Identifier: MIT
 *
 * A disk of 64 sectors on a file in memory, and requests to it, for tests of
 * the disk device.
 */
#ifndef TESTS_UNIT_BLK_DISK_H
#define TESTS_UNIT_BLK_DISK_H

#include "base/err.h"
#include "base/fd.h"
#include "tests/tap.h"
#include "tests/unit/driver.h"
#include "vmm/virtio/blk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>

#define SECTORS 64
#define SIZE (SECTORS * 512)
#define OK VIRTIO_BLK_S_OK
#define IOERR VIRTIO_BLK_S_IOERR
#define UNSUPP VIRTIO_BLK_S_UNSUPP
#define NONE 0x5a /* a status that nobody wrote */

static struct blk blk;
static struct driver d;
static int file = -1;
static uint8_t image[SIZE], now[SIZE]; /* the file, before and after */
static uint32_t used_len;	       /* of the last request */

static inline void open_file(void)
{
	unsigned k;

	file = memfd_create("disk", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	for (k = 0; k < SIZE; k++)
		image[k] = (uint8_t)(k / 512 * 7 + k % 251);
	if (pwrite(file, image, SIZE, 0) != SIZE)
		bail("no disk");
}

static inline void begin_with(bool read_only, struct loop *l, uint64_t ram)
{
	struct blk_spec spec = { .read_only = read_only, .serial = "scratch" };
	struct err e = ERR_INIT;

	open_file();
	spec.fd = file;
	memset(&d, 0, sizeof(d));
	driver_ram(&d, ram, 0);
	if (blk_init(&blk, &spec, &d.m, l, &e) < 0)
		bail("%s", e.text);
	driver_up(&d, &blk.v, ~0ULL, 64);
}

static inline void begin(bool read_only)
{
	begin_with(read_only, NULL, 1 << 20);
}

static inline void end(void)
{
	blk_free(&blk);
	driver_ram_free(&d);
	fd_close(&file);
}

static inline const uint8_t *contents(void)
{
	memset(now, 0, sizeof(now));
	if (pread(file, now, SIZE, 0) < 0)
		bail("no disk");
	return now;
}

/* ---- requests ---- */

static inline uint64_t header(uint32_t type, uint64_t sector)
{
	uint64_t at = driver_alloc(&d, 16, 1);
	struct virtio_blk_outhdr h = { .type = type, .sector = sector };

	memcpy(driver_ptr(&d, at), &h, 16);
	return at;
}

static inline uint64_t status_byte(void)
{
	uint64_t at = driver_alloc(&d, 1, 1);

	*(uint8_t *)driver_ptr(&d, at) = NONE;
	return at;
}

/* Header, @data unless it has no bytes, status: the status. */
static inline int request(uint32_t type, uint64_t sector,
			  struct driver_buf data)
{
	uint64_t st = status_byte();
	struct driver_buf b[3] = { { header(type, sector), 16, false } };
	unsigned n = 1;
	int head;

	if (data.len)
		b[n++] = data;
	b[n++] = (struct driver_buf){ st, 1, true };
	head = driver_add(&d, 0, b, n);
	driver_kick(&d, 0);
	used_len = UINT32_MAX;
	if (driver_used(&d, 0, &used_len) != head)
		return -1;
	if (driver_used(&d, 0, NULL) >= 0)
		return -2;
	return *(uint8_t *)driver_ptr(&d, st);
}

static inline struct driver_buf in(uint32_t len)
{
	return (struct driver_buf){ driver_alloc(&d, len, 1), len, true };
}

static inline struct driver_buf out(const void *p, uint32_t len)
{
	struct driver_buf b = { driver_alloc(&d, len, 1), len, false };

	memcpy(driver_ptr(&d, b.gpa), p, len);
	return b;
}

static const struct driver_buf nothing = { 0 };

/* Forget what tests have allocated. */
static inline void again(void)
{
	d.next = 8192;
}

static inline void reads(uint64_t sector, uint32_t len, int want,
			 const char *what)
{
	struct driver_buf b;

	again();
	b = in(len);
	is_int(request(VIRTIO_BLK_T_IN, sector, b), want, what);
	if (want == OK) {
		is_int(used_len, len + 1, "all of it and a status");
		is_mem(driver_ptr(&d, b.gpa), len, image + sector * 512, len,
		       "the right bytes");
	} else {
		is_int(used_len, 0, "nothing was written from the beginning");
	}
}

static inline int range_of(uint32_t type, uint64_t sector, uint32_t n,
			   uint32_t flags)
{
	struct virtio_blk_discard_write_zeroes z = { sector, n, flags };

	return request(type, 0, out(&z, 16));
}

static inline void same(const char *what)
{
	is_mem(contents(), SIZE, image, SIZE, what);
}

#endif
