/* SPDX-License-Identifier: MIT
 *
 * The serial console: see serial.h.
 *
 * What a guest prints costs it an exit a byte, but us a write(2) a line.  A
 * prompt has no end of line; it comes to the file all the same, because Linux
 * writes the interrupt enable register after each message (console) and when it
 * has no more to send (terminal): that is taken for "this is all for now", and
 * no timer is needed.
 *
 * The transmitter is empty at once.  It says so by an interrupt once a burst:
 * the notice that is pending already is not given again for every further byte.
 *
 * The file is cut by moving its newer half to the front.  Collapsing the range
 * (fallocate(2)) would be one call instead of some 256 for 512 KiB of output,
 * but not every file system can, so that both ways would be there; and it cuts
 * at blocks, not at lines.  Two files that take turns would be no moving at
 * all, and nothing to `tail -f`.
 */
#include "vmm/serial.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "vmm/state.h"

/* ---- the file ---- */

static ssize_t read_at(int fd, void *p, size_t n, uint64_t off)
{
	ssize_t r;

	do
		r = pread(fd, p, n, (off_t)off);
	while (r < 0 && errno == EINTR);
	return r;
}

/* How many of the @n bytes at @p are written at @off; fewer: it failed. */
static size_t write_at(int fd, const char *p, size_t n, uint64_t off)
{
	size_t done = 0;

	while (done < n) {
		ssize_t r = pwrite(fd, p + done, n - done, (off_t)(off + done));

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			break;
		done += (size_t)r;
	}
	return done;
}

/* Where a line begins behind @at, not far from it; @at, if lines are that
 * long.  Uses the empty buffer. */
static uint64_t line_after(struct ring_log *l, uint64_t at)
{
	ssize_t n = read_at(l->fd, l->buf, sizeof(l->buf), at);
	const char *end = n > 0 ? memchr(l->buf, '\n', (size_t)n) : NULL;

	return end ? at + (uint64_t)(end - l->buf) + 1 : at;
}

/* Make room for a buffer, if there is none: drop all but the last half.  The
 * buffer is empty and serves for the move.  A VMM that dies in the middle
 * leaves some of the text twice. */
static void make_room(struct ring_log *l)
{
	uint64_t from, to = 0;

	if (l->size <= l->limit - sizeof(l->buf))
		return;
	from = line_after(l, l->size - l->limit / 2);
	while (from < l->size) {
		ssize_t n = read_at(l->fd, l->buf, sizeof(l->buf), from);

		if (n <= 0 ||
		    write_at(l->fd, l->buf, (size_t)n, to) < (size_t)n)
			break;
		from += (uint64_t)n;
		to += (uint64_t)n;
	}
	/* Even a failed move has to make room. */
	while (ftruncate(l->fd, (off_t)to) < 0)
		if (errno != EINTR)
			return;
	l->size = to;
}

void ring_log_flush(struct ring_log *l)
{
	size_t n = l->len, done;
	uint64_t room;

	if (n == 0)
		return;
	/* There is none if the file could not be cut. */
	room = l->limit > l->size ? l->limit - l->size : 0;
	done = write_at(l->fd, l->buf, n < room ? n : room, l->size);
	l->size += done;
	l->written += done;
	l->lost += n - done;
	l->len = 0;
	make_room(l);
}

void ring_log_add(struct ring_log *l, char c)
{
	l->buf[l->len++] = c;
	if (c == '\n' || l->len == sizeof(l->buf))
		ring_log_flush(l);
}

int ring_log_init(struct ring_log *l, int fd, uint64_t limit, struct err *e)
{
	int flags = fcntl(fd, F_GETFL);
	struct stat st;

	if (flags < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "cannot use the console's log");
	/* With O_APPEND, pwrite(2) does not look at its offset. */
	if ((flags & O_ACCMODE) != O_RDWR || (flags & O_APPEND) ||
	    limit < RING_LOG_LIMIT_MIN)
		return err_set(e, EINVAL,
			       "the console's log must be open for reading and "
			       "writing, not appending, and have %d bytes or "
			       "more",
			       2 * RING_LOG_BUF);
	*l = (struct ring_log){ .fd = fd,
				.limit = limit,
				.size = (uint64_t)st.st_size };
	make_room(l);
	return 0;
}

/* ---- the device ---- */

/* Registers; 0 and 1 are the divisor's while DLAB is set. */
enum { DATA, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR };

#define IER_THRE 0x02
#define IER_MASK 0x0f
#define IIR_NONE 0x01
#define IIR_THRE 0x02
#define IIR_FIFO 0xc0
#define FCR_ENABLE 0x01
#define FCR_KEPT 0xc9 /* the bits that clear FIFOs do nothing more */
#define LCR_DLAB 0x80
#define MCR_MASK 0x1f
#define MCR_LOOP 0x10
#define LSR_EMPTY 0x60 /* FIFO and shift register */
#define MSR_LINES 0xb0 /* CTS, DSR, DCD: somebody is there */

/* The interrupt line goes up. */
static void raise_irq(const struct serial *d)
{
	/* Fails only if 2^64 of them wait: then one is on its way. */
	if (d->irq >= 0)
		eventfd_write(d->irq, 1);
}

static bool wants_thre(const struct serial *d)
{
	return d->s.ier & IER_THRE;
}

/* The transmitter is empty (again): say so, unless that is yet to be heard. */
static void thre(struct serial *d)
{
	if (d->s.thre)
		return;
	d->s.thre = 1;
	if (wants_thre(d))
		raise_irq(d);
}

static void write_ier(struct serial *d, uint8_t v)
{
	bool wanted = wants_thre(d);

	d->s.ier = v & IER_MASK;
	/* To ask for it while it is empty brings it at once, heard or not:
	 * drivers start sending so, and Linux tests for it. */
	if (!wanted && wants_thre(d)) {
		d->s.thre = 0;
		thre(d);
	}
	ring_log_flush(&d->log);
}

/* Reading takes the notice back. */
static uint8_t read_iir(struct serial *d)
{
	uint8_t v = IIR_NONE;

	if (d->s.thre && wants_thre(d)) {
		v = IIR_THRE;
		d->s.thre = 0;
	}
	return d->s.fcr & FCR_ENABLE ? v | IIR_FIFO : v;
}

/* In loopback the outputs are the inputs. */
static uint8_t read_msr(const struct serial *d)
{
	uint8_t m = d->s.mcr;

	if (!(m & MCR_LOOP))
		return MSR_LINES;
	/* DTR 01 -> DSR 20, RTS 02 -> CTS 10, OUT1 04 -> RI 40,
	 * OUT2 08 -> DCD 80 */
	return (uint8_t)((m & 1) << 5 | (m & 2) << 3 | (m & 0xc) << 4);
}

static uint8_t read_byte(struct serial *d, unsigned reg)
{
	bool dlab = d->s.lcr & LCR_DLAB;

	switch (reg) {
	case DATA:
		return dlab ? d->s.dll : 0;
	case IER:
		return dlab ? d->s.dlm : d->s.ier;
	case IIR_FCR:
		return read_iir(d);
	case LCR:
		return d->s.lcr;
	case MCR:
		return d->s.mcr;
	case LSR:
		return LSR_EMPTY;
	case MSR:
		return read_msr(d);
	default:
		return d->s.scr;
	}
}

/* In loopback, what is sent would be received, and we receive nothing. */
static void transmit(struct serial *d, uint8_t v)
{
	if (!(d->s.mcr & MCR_LOOP))
		ring_log_add(&d->log, (char)v);
	thre(d);
}

static void write_byte(struct serial *d, unsigned reg, uint8_t v)
{
	bool dlab = d->s.lcr & LCR_DLAB;

	switch (reg) {
	case DATA:
		if (dlab)
			d->s.dll = v;
		else
			transmit(d, v);
		break;
	case IER:
		if (dlab)
			d->s.dlm = v;
		else
			write_ier(d, v);
		break;
	case IIR_FCR:
		d->s.fcr = v & FCR_KEPT;
		break;
	case LCR:
		d->s.lcr = v;
		break;
	case MCR:
		d->s.mcr = v & MCR_MASK;
		break;
	case SCR:
		d->s.scr = v;
		break;
	default: /* the status registers */
		break;
	}
}

void serial_read(struct serial *d, unsigned off, void *p, unsigned len)
{
	uint8_t *to = p;
	unsigned i;

	pthread_mutex_lock(&d->lock);
	for (i = 0; i < len; i++)
		to[i] = off + i < SERIAL_PORTS ? read_byte(d, off + i) : 0xff;
	pthread_mutex_unlock(&d->lock);
}

void serial_write(struct serial *d, unsigned off, const void *p, unsigned len)
{
	const uint8_t *from = p;
	unsigned i;

	pthread_mutex_lock(&d->lock);
	for (i = 0; i < len && off + i < SERIAL_PORTS; i++)
		write_byte(d, off + i, from[i]);
	pthread_mutex_unlock(&d->lock);
}

void serial_flush(struct serial *d)
{
	pthread_mutex_lock(&d->lock);
	ring_log_flush(&d->log);
	pthread_mutex_unlock(&d->lock);
}

int serial_init(struct serial *d, int fd, int irq, struct err *e)
{
	int r = ring_log_init(&d->log, fd, RING_LOG_LIMIT, e);

	if (r < 0)
		return r;
	/* The divisor for 9600 baud, and an empty transmitter. */
	d->s = (struct serial_state){ .dll = 12, .thre = 1 };
	d->irq = irq;
	return -pthread_mutex_init(&d->lock, NULL);
}

void serial_free(struct serial *d)
{
	serial_flush(d);
	pthread_mutex_destroy(&d->lock);
}

void serial_state_io(struct serial *d, struct state_io *io)
{
	state_begin(io, "serial", 1);
	state_u8(io, &d->s.ier);
	state_u8(io, &d->s.lcr);
	state_u8(io, &d->s.mcr);
	state_u8(io, &d->s.fcr);
	state_u8(io, &d->s.scr);
	state_u8(io, &d->s.dll);
	state_u8(io, &d->s.dlm);
	state_u8(io, &d->s.thre);
	state_end(io);
}
