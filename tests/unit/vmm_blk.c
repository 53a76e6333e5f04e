/* SPDX-License-Identifier: MIT
 *
 * A disk: every request, at every edge.
 */
#include "tests/unit/blk_disk.h"

#include <sys/stat.h>

static void reading(void)
{
	begin(false);
	reads(0, 512, OK, "read the first sector");
	reads(SECTORS - 1, 512, OK, "the last");
	reads(0, SIZE, OK, "all");
	reads(1, SIZE - 512, OK, "all but the first");
	reads(1, SIZE, IOERR, "one too many");
	reads(SECTORS, 512, IOERR, "the first behind the disk");
	reads(SECTORS - 1, 1024, IOERR, "half behind it");
	reads(UINT32_MAX, 512, IOERR, "2^32 - 1");
	reads(UINT64_MAX, 512, IOERR, "2^64 - 1");
	reads(1ULL << 55, 512, IOERR, "2^55, whose byte is 2^64");
	reads((1ULL << 55) - 1, 1024, IOERR, "one less");
	reads(1ULL << 54, 512, IOERR, "2^54, whose byte is negative");
	reads(0, 511, IOERR, "511 bytes");
	reads(0, 513, IOERR, "513 bytes");
	is_int(request(VIRTIO_BLK_T_IN, 0, nothing), OK, "nothing at all");
	is_int(used_len, 1, "is a status");
	is_int(request(VIRTIO_BLK_T_IN, SECTORS, nothing), OK, "at the end");
	is_int(request(VIRTIO_BLK_T_IN, SECTORS + 1, nothing), IOERR,
	       "behind it");
	is_int(request(VIRTIO_BLK_T_IN, 0, out(image, 512)), OK,
	       "into a buffer that is to be read");
	is_int(used_len, 1, "reads nothing");
	is_mem(contents(), SIZE, image, SIZE, "nor writes");
	is_int(driver_interrupts(&d), DRIVER_INT_VRING, "interrupts came");
	end();
}

static void writes(uint64_t sector, uint32_t len, int want, const char *what)
{
	static uint8_t data[2 * SIZE];

	again();
	memset(data, (int)sector + 3, len);
	is_int(request(VIRTIO_BLK_T_OUT, sector, out(data, len)), want, what);
	is_int(used_len, 1, "a status");
	if (want == OK)
		memcpy(image + sector * 512, data, len);
	is_mem(contents(), SIZE, image, SIZE, "the disk is as it is to be");
}

static void writing(void)
{
	struct stat st;

	begin(false);
	writes(0, 512, OK, "write the first sector");
	writes(SECTORS - 1, 512, OK, "the last");
	writes(3, 1024, OK, "two");
	writes(0, SIZE, OK, "all");
	writes(SECTORS, 512, IOERR, "one behind the disk");
	writes(SECTORS - 1, 1024, IOERR, "half behind it");
	writes(UINT64_MAX, 512, IOERR, "2^64 - 1");
	writes(1ULL << 55, 512, IOERR, "2^55");
	writes(1, 511, IOERR, "511 bytes");
	is_int(request(VIRTIO_BLK_T_OUT, 0, nothing), OK, "nothing at all");
	is_int(request(VIRTIO_BLK_T_OUT, 0, in(512)), OK,
	       "from a buffer that is to be written");
	is_int(used_len, 0, "writes nothing there");
	is_mem(contents(), SIZE, image, SIZE, "nor here");
	fstat(file, &st);
	is_int(st.st_size, SIZE, "the file has not grown");
	is_int(request(VIRTIO_BLK_T_FLUSH, 0, nothing), OK, "flush");
	is_int(request(VIRTIO_BLK_T_FLUSH, UINT64_MAX, nothing), OK,
	       "whatever the sector");
	driver_up(&d, &blk.v, 0, 64);
	writes(2, 512, OK, "write by a driver that cannot flush");
	end();
}

static void read_only(void)
{
	struct virtio_blk_discard_write_zeroes z = { .num_sectors = 1 };

	begin(true);
	ok(driver_offered(&d) & 1 << VIRTIO_BLK_F_RO, "it says so");
	reads(0, SIZE, OK, "read");
	writes(0, 512, IOERR, "write");
	is_int(request(VIRTIO_BLK_T_FLUSH, 0, nothing), OK, "flush");
	is_int(request(VIRTIO_BLK_T_DISCARD, 0, out(&z, 16)), UNSUPP,
	       "discard");
	is_int(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, out(&z, 16)), UNSUPP,
	       "zeros");
	driver_up(&d, &blk.v, 0, 64);
	writes(0, 512, IOERR, "write by a driver that does not know");
	is_mem(contents(), SIZE, image, SIZE, "nothing has changed");
	end();
}

static void get_id(void)
{
	char want[21] = "scratch\0\0\0\0\0\0\0\0\0\0\0\0\0\xa5";
	struct driver_buf b;

	begin(false);
	b = in(21);
	is_int(request(VIRTIO_BLK_T_GET_ID, 0, b), OK, "the serial number");
	is_mem(driver_ptr(&d, b.gpa), 21, want, 21, "20 bytes of it");
	is_int(used_len, 20, "and no more");
	b = in(20);
	is_int(request(VIRTIO_BLK_T_GET_ID, 9, b), OK, "in 20 bytes");
	is_int(used_len, 21, "fits");
	b = in(3);
	is_int(request(VIRTIO_BLK_T_GET_ID, 0, b), OK, "in three");
	is_mem(driver_ptr(&d, b.gpa), 3, "scr", 3, "is cut off");
	is_int(request(VIRTIO_BLK_T_GET_ID, 0, nothing), OK, "in none");
	end();
}

static void unknown(void)
{
	static const uint32_t types[] = { 2,  3,  5,  7,	  12,	     14,
					  15, 24, 26, 0x80000000, UINT32_MAX };
	unsigned k;

	begin(false);
	for (k = 0; k < ARRAY_SIZE(types); k++) {
		is_int(request(types[k], 0, out(image, 512)), UNSUPP,
		       "not supported");
		diag("type %u", types[k]);
	}
	is_mem(contents(), SIZE, image, SIZE, "nothing was done");
	end();
}

/* ---- discarding and zeros ---- */

static void ranges(uint32_t type, const char *what)
{
	const uint32_t t = type;
	struct stat st;

	diag("%s", what);
	begin(false);
	is_int(range_of(t, 8, 8, 0), OK, "a page");
	memset(image + 8 * 512, 0, 8 * 512);
	same("is zeros");
	is_int(range_of(t, 21, 3, 0), OK, "some sectors");
	memset(image + 21 * 512, 0, 3 * 512);
	same("are zeros");
	is_int(range_of(t, SECTORS - 1, 1, 0), OK, "the last");
	memset(image + SIZE - 512, 0, 512);
	same("is zeros");
	is_int(range_of(t, 0, 0, 0), OK, "none");
	is_int(range_of(t, SECTORS, 0, 0), OK, "none at the end");
	is_int(range_of(t, SECTORS, 1, 0), IOERR, "one behind the disk");
	is_int(range_of(t, SECTORS - 1, 2, 0), IOERR, "half behind it");
	is_int(range_of(t, 0, UINT32_MAX, 0), IOERR, "2^32 - 1 of them");
	is_int(range_of(t, UINT64_MAX, 1, 0), IOERR, "from 2^64 - 1 on");
	is_int(range_of(t, UINT64_MAX, UINT32_MAX, 0), IOERR, "both");
	is_int(range_of(t, 1ULL << 55, 1, 0), IOERR, "at 2^55");
	is_int(range_of(t, 0, 1, 2), UNSUPP, "a flag that is not known");
	is_int(range_of(t, 0, 1, 1u << 31), UNSUPP, "another");
	same("nothing of that was done");
	fstat(file, &st);
	is_int(st.st_size, SIZE, "the file is as long as before");
	driver_up(&d, &blk.v, 1 << VIRTIO_BLK_F_FLUSH, 64);
	is_int(range_of(t, 0, 1, 0), UNSUPP, "not agreed on");
	same("not done");
	end();
}

static void unmap(void)
{
	struct stat before, after;

	begin(false);
	fstat(file, &before);
	is_int(range_of(VIRTIO_BLK_T_DISCARD, 0, 8, 1), UNSUPP,
	       "discard and unmap");
	same("nothing");
	is_int(range_of(VIRTIO_BLK_T_WRITE_ZEROES, 0, 16, 1), OK,
	       "zeros and unmap");
	memset(image, 0, 16 * 512);
	same("is zeros");
	fstat(file, &after);
	is_int(before.st_blocks - after.st_blocks, 16, "and gives space back");
	end();
}

/* On a file system that can zero without giving space back, if it can. */
static void zero_on_disk(void)
{
	const char *tmp = getenv("TMPDIR");
	struct stat before, after;

	begin(false);
	fd_close(&file);
	blk.fd = file = open(tmp && *tmp ? tmp : "/tmp",
			     O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (pwrite(file, image, SIZE, 0) != SIZE || fsync(file) < 0)
		bail("no disk in a directory");
	fstat(file, &before);
	is_int(range_of(VIRTIO_BLK_T_WRITE_ZEROES, 0, 17, 0), OK,
	       "zeros on a disk");
	memset(image, 0, (size_t)17 * 512);
	same("are zeros");
	fstat(file, &after);
	diag("%lld blocks, %lld after", (long long)before.st_blocks,
	     (long long)after.st_blocks);
	is_int(range_of(VIRTIO_BLK_T_DISCARD, 24, 24, 0), OK, "a discard");
	memset(image + (size_t)24 * 512, 0, (size_t)24 * 512);
	same("is zeros, too");
	fstat(file, &after);
	ok(after.st_blocks < before.st_blocks, "and gives space back");
	is_int(after.st_size, SIZE, "from within the file");
	end();
}

static void many_ranges(void)
{
	struct virtio_blk_discard_write_zeroes z[17] = { 0 };
	unsigned k;

	begin(false);
	for (k = 0; k < 17; k++) {
		z[k].sector = 2 * k;
		z[k].num_sectors = 1;
		if (k < 16)
			memset(image + (size_t)k * 1024, 0, 512);
	}
	is_int(request(VIRTIO_BLK_T_DISCARD, 0, out(z, 17 * 16)), IOERR,
	       "17 ranges");
	is_int(request(VIRTIO_BLK_T_DISCARD, 0, out(z, 16 * 16)), OK,
	       "16 ranges");
	same("are zeros");
	is_int(request(VIRTIO_BLK_T_DISCARD, 0, out(z, 15)), IOERR,
	       "not quite one");
	is_int(request(VIRTIO_BLK_T_DISCARD, 0, out(z, 17)), IOERR,
	       "a bit more");
	is_int(request(VIRTIO_BLK_T_DISCARD, 0, nothing), IOERR, "none");
	z[1].sector = SECTORS;
	is_int(request(VIRTIO_BLK_T_DISCARD, 0, out(z, 32)), IOERR,
	       "a bad one behind a good one");
	end();
}

int main(void)
{
	reading();
	writing();
	read_only();
	get_id();
	unknown();
	ranges(VIRTIO_BLK_T_DISCARD, "discard");
	ranges(VIRTIO_BLK_T_WRITE_ZEROES, "write zeros");
	unmap();
	zero_on_disk();
	many_ranges();
	return tap_done();
}
