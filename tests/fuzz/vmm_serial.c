/* SPDX-License-Identifier: MIT
 *
 * libFuzzer: accesses to the serial port, two bytes each.  Whatever they are,
 * registers have no bits that do not exist, and the log keeps to its limit.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "vmm/serial.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LIMIT RING_LOG_LIMIT_MIN

static uint64_t seen; /* of what was written */

static void check(const struct serial *d, int fd)
{
	struct stat st;

	/* The file only when there is something new in it. */
	if (d->log.written != seen &&
	    (fstat(fd, &st) < 0 || (uint64_t)st.st_size != d->log.size))
		abort();
	seen = d->log.written;
	if (d->log.size > LIMIT || d->log.lost || d->log.len >= RING_LOG_BUF)
		abort();
	if (d->s.ier & 0xf0 || d->s.mcr & 0xe0 || d->s.thre > 1)
		abort();
}

static void read_one(struct serial *d, unsigned port, unsigned len)
{
	uint8_t v[4], beyond = 0xff;
	unsigned i;

	serial_read(d, port, v, len);
	for (i = 0; i < len; i++)
		if (port + i >= SERIAL_PORTS && v[i] != beyond)
			abort();
	if (port == 2 && (v[0] & 0x3c || !(v[0] & 3)))
		abort();
	if (port == 5 && v[0] != 0x60)
		abort();
}

/* Bits of @what: 0-2 port, 3 write, 4-5 width, 6 repeated: more output. */
static void access_one(struct serial *d, uint8_t what, uint8_t value)
{
	static const unsigned widths[4] = { 1, 2, 4, 1 };
	unsigned port = what & 7, len = widths[what >> 4 & 3], i;
	uint8_t v[4];

	memset(v, value, sizeof(v));
	if (!(what & 8))
		read_one(d, port, len);
	else
		for (i = 0; i < (what & 0x40 ? 256 : 1); i++)
			serial_write(d, port, v, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	struct serial d;
	size_t i;

	if (fd < 0)
		fd = memfd_create("console", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, 0) < 0 ||
	    serial_init(&d, fd, -1, NULL) < 0 ||
	    ring_log_init(&d.log, fd, LIMIT, NULL) < 0)
		abort();
	seen = 0;
	for (i = 0; i + 1 < size; i += 2) {
		access_one(&d, data[i], data[i + 1]);
		check(&d, fd);
	}
	serial_free(&d);
	check(&d, fd);
	return 0;
}
