/* SPDX-License-Identifier: MIT
 *
 * A disk: requests in any pieces, what is no request, files that fail, and
 * work on a loop.
 */
#include "tests/unit/blk_disk.h"

#include <sys/eventfd.h>

/* ---- framing ---- */

/* A request cut into pieces of @size bytes, header and data and status without
 * regard, and what is to be written follows what is to be read. */
static int framed(uint32_t type, uint64_t sector, uint64_t data, uint32_t len,
		  uint32_t size)
{
	const bool write = type == VIRTIO_BLK_T_IN;
	uint8_t *flat = malloc(len + 16u);
	uint64_t at, back, table;
	uint32_t nread = write ? 16 : len + 16, nwrite = write ? len + 1 : 1;
	struct driver_buf b[64];
	unsigned n = 0;
	uint32_t k;
	int head;

	memcpy(flat, driver_ptr(&d, header(type, sector)), 16);
	if (!write)
		memcpy(flat + 16, driver_ptr(&d, data), len);
	at = out(flat, nread).gpa;
	free(flat);
	back = driver_alloc(&d, nwrite, 1);
	table = driver_alloc(&d, sizeof(b) / sizeof(b[0]) * 16, 16);
	for (k = 0; k < nread; k += size)
		b[n++] = (struct driver_buf){
			at + k, nread - k < size ? nread - k : size, false
		};
	for (k = 0; k < nwrite; k += size)
		b[n++] = (struct driver_buf){
			back + k, nwrite - k < size ? nwrite - k : size, true
		};
	head = driver_add_indirect(&d, 0, b, n, table);
	driver_kick(&d, 0);
	if (driver_used(&d, 0, &used_len) != head)
		return -1;
	if (write)
		memcpy(driver_ptr(&d, data), driver_ptr(&d, back), len);
	return *(uint8_t *)driver_ptr(&d, back + nwrite - 1);
}

static void framing(void)
{
	static const uint32_t sizes[] = { 1 << 16, 600, 512, 511, 100,
					  17,	   16,	15,  13,  11 };
	uint8_t data[512];
	uint64_t at;
	unsigned k;

	begin(false);
	for (k = 0; k < ARRAY_SIZE(sizes); k++) {
		again();
		memset(data, (int)k + 1, sizeof(data));
		memcpy(image + (size_t)k * 512, data, 512);
		at = out(data, 512).gpa;
		ok(framed(VIRTIO_BLK_T_OUT, k, at, 512, sizes[k]) == OK &&
			   used_len == 1,
		   "written in pieces of %u", sizes[k]);
		same("the disk has it");
		memset(driver_ptr(&d, at), 0, 512);
		ok(framed(VIRTIO_BLK_T_IN, k, at, 512, sizes[k]) == OK &&
			   used_len == 513,
		   "read in pieces of %u", sizes[k]);
		is_mem(driver_ptr(&d, at), 512, data, 512, "the driver has it");
	}
	ok(framed(VIRTIO_BLK_T_FLUSH, 0, 0, 0, 1) == OK && used_len == 1,
	   "a header byte by byte");
	end();
}

/* What cannot be answered. */
static void no_request(struct driver_buf a, struct driver_buf b,
		       const char *rule)
{
	struct driver_buf v[] = { a, b };

	driver_add(&d, 0, v, b.len ? 2 : 1);
	driver_kick(&d, 0);
	is_str(blk.v.rule, rule, rule);
	ok(driver_needs_reset(&d) && driver_used(&d, 0, NULL) < 0,
	   "breaks the disk");
	driver_up(&d, &blk.v, ~0ULL, 64);
	reads(0, 512, OK, "until it is reset");
}

static void no_requests(void)
{
	begin(false);
	again();
	no_request(out(image, 16), nothing, "disk request without a status");
	no_request(out(image, 15), in(1), "disk request without a header");
	no_request(in(1), nothing, "disk request without a header");
	no_request(out(image, 600), nothing, "disk request without a status");
	end();
}

static void descriptor_loop(void)
{
	begin(false);
	driver_add(&d, 0, (struct driver_buf[]){ { 8192, 16, false } }, 1);
	d.q[0].desc[0].flags = VRING_DESC_F_NEXT;
	driver_kick(&d, 0);
	is_str(blk.v.q[0].broken, "chain longer than the queue", "a loop");
	driver_up(&d, &blk.v, ~0ULL, 64);
	reads(0, 512, OK, "forgotten at a reset");
	end();
}

/* ---- a disk that fails ---- */

static const char *failed_what;
static int failed_num;
static unsigned failures;

static void note(struct virtio *v, const char *what, int num)
{
	(void)v;
	failed_what = what;
	failed_num = num;
	failures++;
}

static void failing(void)
{
	begin(false);
	blk.v.on_failed = note;
	if (ftruncate(file, 1024) < 0)
		bail("cannot truncate");
	reads(0, 1024, OK, "what is left of a disk");
	reads(2, 512, IOERR, "what is not");
	again();
	is_int(request(VIRTIO_BLK_T_IN, 0, in(2048)), IOERR, "half of it");
	is_int(used_len, 1024, "that much was read");
	ok(failures == 1 && failed_num == ENODATA, "our fault, said once");
	reads(64, 512, IOERR, "beyond the disk");
	is_int(failures, 1, "which is the driver's fault");
	reads(0, 1024, OK, "what is left still");
	/* In place of a full disk: it may not grow. */
	fcntl(file, F_ADD_SEALS, F_SEAL_GROW);
	is_int(request(VIRTIO_BLK_T_OUT, 2, out(image, 512)), IOERR,
	       "no space to write");
	ok(failures == 2 && failed_num == EPERM, "said anew");
	is_str(failed_what, "write", "what failed");
	fcntl(file, F_ADD_SEALS, F_SEAL_WRITE);
	is_int(request(VIRTIO_BLK_T_OUT, 0, out(image, 512)), IOERR,
	       "no right to write");
	is_int(range_of(VIRTIO_BLK_T_DISCARD, 0, 1, 0), IOERR, "nor discard");
	is_int(range_of(VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 0), IOERR, "nor zero");
	end();
}

/* More than the kernel moves at once. */
static void huge(void)
{
	const uint32_t piece = 1 << 26;
	struct driver_buf b[35];
	uint64_t st, table;
	unsigned k;
	uint32_t len = 0;
	uint8_t *end_of;

	begin_with(false, NULL, piece + (1 << 20));
	if (ftruncate(file, 4LL << 30) < 0)
		bail("no large file");
	blk.s.sectors = 8 << 20;
	b[0] = (struct driver_buf){ header(VIRTIO_BLK_T_IN, 0), 16, false };
	st = status_byte();
	table = driver_alloc(&d, sizeof(b) / sizeof(b[0]) * 16, 16);
	for (k = 1; k < 34; k++)
		b[k] = (struct driver_buf){ 1 << 20, piece, true };
	b[34] = (struct driver_buf){ st, 1, true };
	/* The last bytes come from the file's 33 * 64 MiB. */
	end_of = driver_ptr(&d, (1 << 20) + piece - 1);
	if (pwrite(file, "!", 1, 33LL * piece - 1) != 1)
		bail("cannot write");
	driver_add_indirect(&d, 0, b, 35, table);
	driver_kick(&d, 0);
	ok(driver_used(&d, 0, &len) >= 0 &&
		   *(uint8_t *)driver_ptr(&d, st) == OK,
	   "read more than 2 GiB at once");
	ok(len == 33u * piece + 1 && *end_of == '!', "to the last byte");
	end();
}

/* ---- the device ---- */

static void config(void)
{
	begin(false);
	is_int(driver_config(&d, 0, 8), SECTORS, "capacity");
	is_int(driver_config(&d, 12, 4), 254, "seg_max");
	is_int(driver_config(&d, 20, 4), 512, "blk_size");
	is_int(driver_config(&d, 24, 1), 3, "physical_block_exp");
	is_int(driver_config(&d, 26, 2), 8, "min_io_size");
	is_int(driver_config(&d, 36, 4), 1 << 21, "max_discard_sectors");
	is_int(driver_config(&d, 40, 4), 16, "max_discard_seg");
	is_int(driver_config(&d, 44, 4), 8, "discard_sector_alignment");
	is_int(driver_config(&d, 48, 4), 1 << 21, "max_write_zeroes_sectors");
	is_int(driver_config(&d, 52, 4), 16, "max_write_zeroes_seg");
	is_int(driver_config(&d, 56, 1), 1, "write_zeroes_may_unmap");
	is_int(driver_read(&d, 8), 2, "it is a disk");
	end();
}

static void refuse(off_t size, const char *serial, const char *why)
{
	fd_auto int fd = memfd_create("odd", MFD_CLOEXEC);
	struct blk_spec spec = { .fd = fd, .serial = serial };
	struct err e = ERR_INIT;

	if (ftruncate(fd, size) < 0)
		bail("cannot truncate");
	is_int(blk_init(&blk, &spec, NULL, NULL, &e), -EINVAL, "refused");
	has_str(e.text, why, "for that");
	blk_free(&blk);
}

static void refusals(void)
{
	struct blk_spec spec = { .fd = -1, .serial = "x" };
	struct err e = ERR_INIT;

	refuse(0, "x", "has 0 bytes");
	refuse(511, "x", "has 511 bytes");
	refuse(513, "x", "has 513 bytes");
	refuse(512, "123456789012345678901", "at most 20 fit");
	is_int(blk_init(&blk, &spec, NULL, NULL, &e), -EBADF, "no file");
	blk_free(&blk);
	blk_free(&blk);
}

/* ---- on a loop ---- */

#define MANY 60 /* more than it does in one go */

static void fill_ring(void)
{
	unsigned k;

	for (k = 0; k < MANY; k++) {
		struct driver_buf b[] = {
			{ header(VIRTIO_BLK_T_IN, k), 16, false },
			in(512),
			{ status_byte(), 1, true },
		};

		driver_add_indirect(&d, 0, b, 3, driver_alloc(&d, 48, 16));
	}
}

/* Nor more bytes: a request may have 4 GiB. */
static void large_batches(void)
{
	const uint32_t len = 20 << 20;
	unsigned k;

	begin_with(false, NULL, len + (1 << 20));
	if (ftruncate(file, len) < 0)
		bail("no large file");
	blk.s.sectors = len / 512;
	for (k = 0; k < 3; k++) {
		struct driver_buf b[] = {
			{ header(VIRTIO_BLK_T_IN, 0), 16, false },
			{ 1 << 20, len, true },
			{ status_byte(), 1, true },
		};

		driver_add_indirect(&d, 0, b, 3, driver_alloc(&d, 48, 16));
	}
	driver_kick(&d, 0);
	is_int(d.q[0].used->idx, 2, "so many bytes in one go");
	driver_kick(&d, 0);
	is_int(d.q[0].used->idx, 3, "and the rest in the next");
	end();
}

/* Others have their turn in between. */
static void batches(void)
{
	begin(false);
	fill_ring();
	driver_kick(&d, 0);
	is_int(d.q[0].used->idx, 32, "so many in one go");
	driver_kick(&d, 0);
	is_int(d.q[0].used->idx, MANY, "and the rest in the next");
	end();
}

/* The line to the driver, watched by the same loop. */
struct line {
	struct watch w;
	unsigned done;
};

static void on_line(struct watch *w, uint32_t events)
{
	struct line *l = container_of(w, struct line, w);
	uint64_t n;

	(void)events;
	if (read(w->fd, &n, sizeof(n)) < 0)
		bail("no edge");
	driver_interrupts(&d);
	*driver_used_event(&d, 0) = d.q[0].used->idx;
	while (driver_used(&d, 0, NULL) >= 0)
		l->done++;
	w->loop->stop = l->done == MANY;
}

static void on_loop(void)
{
	struct line line = { .done = 0 };
	struct loop l;

	loop_init(&l);
	begin_with(false, &l, 1 << 20);
	line.w = (struct watch)WATCH_INIT(&l, on_line);
	line.w.fd = blk.v.irq;
	loop_arm(&line.w, EPOLLIN);
	fill_ring();
	driver_kick(&d, 0);
	is_int(d.q[0].used->idx, 0, "nothing is done by the one who notifies");
	loop_run(&l);
	is_int(line.done, MANY, "all are answered on the loop");
	loop_arm(&line.w, 0);
	end();
	loop_free(&l);
}

static void *run_loop(void *l)
{
	loop_run(l);
	return NULL;
}

static void on_quit(struct watch *w, uint32_t events)
{
	(void)events;
	w->loop->stop = true;
}

/* Whether anything writes to the rings or the buffers after a reset. */
static bool quiet(void)
{
	const uint8_t *ram = driver_ptr(&d, 8192);
	uint16_t idx = d.q[0].used->idx;
	bool same = true;
	unsigned k;

	memset(driver_ptr(&d, 8192), 0, 65536);
	sched_yield();
	for (k = 0; k < 65536; k++)
		same = same && ram[k] == 0;
	return same && d.q[0].used->idx == idx;
}

/* A reset while another thread is at it. */
static void reset_meanwhile(void)
{
	struct watch quit;
	unsigned k, good = 0;
	struct loop l;
	pthread_t t;

	loop_init(&l);
	begin_with(false, &l, 1 << 20);
	quit = (struct watch)WATCH_INIT(&l, on_quit);
	quit.fd = eventfd(0, EFD_CLOEXEC);
	loop_arm(&quit, EPOLLIN);
	pthread_create(&t, NULL, run_loop, &l);
	for (k = 0; k < 200; k++) {
		again();
		fill_ring();
		driver_kick(&d, 0);
		/* From the first answer on it is under way. */
		if (k & 1)
			driver_wait(&d);
		driver_reset(&d);
		good += quiet();
		driver_up(&d, &blk.v, ~0ULL, 64);
	}
	is_int(good, 200, "after a reset, guest memory is left alone");
	if (eventfd_write(quit.fd, 1) < 0)
		bail("cannot end the loop");
	pthread_join(t, NULL);
	loop_close(&quit);
	end();
	loop_free(&l);
}

int main(void)
{
	framing();
	no_requests();
	descriptor_loop();
	failing();
	huge();
	config();
	refusals();
	batches();
	large_batches();
	on_loop();
	reset_meanwhile();
	return tap_done();
	return tap_done();
}
