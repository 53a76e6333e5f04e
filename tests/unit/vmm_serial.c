/* SPDX-License-Identifier: MIT
 *
 * The serial port as drivers see it, and the file its output is in.
 */
#include "tests/tap.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/io.h"
#include "tests/unit/scratch.h"
#include "vmm/serial.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* Registers, as Linux's serial_reg.h has them. */
#define TX 0
#define IER 1
#define IIR 2
#define FCR 2
#define LCR 3
#define MCR 4
#define LSR 5
#define MSR 6
#define SCR 7

static struct serial uart;
static int file = -1, irq = -1;

static void start(void)
{
	file = memfd_create("console", MFD_CLOEXEC);
	irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (file < 0 || irq < 0 || serial_init(&uart, file, irq, NULL) < 0)
		bail("cannot make a serial port");
}

static void end(void)
{
	serial_free(&uart);
	fd_close(&file);
	fd_close(&irq);
}

static unsigned in(unsigned reg)
{
	uint8_t v = 0xee;

	serial_read(&uart, reg, &v, 1);
	return v;
}

static void out(unsigned reg, unsigned v)
{
	uint8_t b = (uint8_t)v;

	serial_write(&uart, reg, &b, 1);
}

static void print(const char *s)
{
	while (*s)
		out(TX, (uint8_t)*s++);
}

/* Interrupts since the last question. */
static int edges(void)
{
	eventfd_t n = 0;

	return eventfd_read(irq, &n) < 0 ? 0 : (int)n;
}

static size_t file_size(void)
{
	struct stat st;

	return fstat(file, &st) < 0 ? SIZE_MAX : (size_t)st.st_size;
}

/* What is in the file now. */
static void is_logged(const char *want, const char *what)
{
	char text[8192] = "";

	if (pread(file, text, sizeof(text) - 1, 0) < 0)
		bail("cannot read the log");
	is_str(text, want, what);
}

/* ---- the device ---- */

/* What Linux's 8250 driver does to find out what it has: autoconfig() and
 * autoconfig_16550a(). */
static void test_detection(void)
{
	start();
	out(IER, 0);
	is_int(in(IER)&0x0f, 0, "interrupts can be disabled");
	out(IER, 0x0f);
	is_int(in(IER), 0x0f, "and enabled: four of them");
	out(IER, 0xff);
	is_int(in(IER), 0x0f, "no more than four");
	out(IER, 0);
	out(MCR, 0x10 | 0x0a);
	is_int(in(MSR)&0xf0, 0x90, "loopback: RTS and OUT2 come back");
	out(MCR, 0x10 | 0x05);
	is_int(in(MSR)&0xf0, 0x60, "loopback: DTR and OUT1 come back");
	print("x");
	out(MCR, 0);
	is_int(in(MSR), 0xb0, "otherwise somebody is there");
	is_int(in(IIR), 0x01, "no FIFO, no interrupt");
	out(LCR, 0);
	out(FCR, 0x01);
	is_int(in(IIR) >> 6, 3, "with FIFO: a 16550A");
	out(LCR, 0x80);
	ok(in(2) != 0, "no enhanced features register (16650)");
	out(LCR, 0xbf);
	ok(in(2) != 0, "nor an extended one");
	out(LCR, 0x80);
	out(0, 0x34);
	out(1, 0x12);
	is_int(in(0) | in(1) << 8, 0x1234, "the divisor can be read back");
	out(LCR, 0x03);
	is_int(in(LCR), 3, "and so can the line control");
	is_int(in(TX), 0, "data behind it: nothing was received");
	is_int(in(IER), 0, "interrupts behind it: as they were");
	out(SCR, 0xa5);
	is_int(in(SCR), 0xa5, "the scratch register keeps");
	is_int(in(LSR), 0x60, "the transmitter is empty, the receiver too");
	out(LSR, 0xff);
	out(MSR, 0xff);
	is_int(in(LSR) | in(MSR) << 8, 0xb060, "status cannot be written");
	serial_flush(&uart);
	is_logged("", "nothing got out, in loopback neither");
	end();
}

static void test_interrupt(void)
{
	start();
	out(FCR, 1);
	print("polled\n");
	is_int(edges(), 0, "no interrupt that nobody asked for");
	out(IER, 0x02);
	is_int(edges(), 1, "asking for it while empty brings it");
	is_int(in(IIR), 0xc2, "and says why");
	is_int(in(IIR), 0xc1, "once");
	out(IER, 0x02);
	is_int(edges(), 0, "asking again changes nothing");
	/* serial8250_do_startup(): is it reasserted? */
	out(IER, 0);
	out(IER, 0x02);
	is_int(in(IIR), 0xc2, "switching it off and on brings it again");
	is_int(edges(), 1, "as an edge");
	print("0123456789abcdef");
	is_int(edges(), 1, "sixteen bytes, one interrupt");
	is_int(in(IIR), 0xc2, "sent");
	print("x");
	is_int(edges(), 1, "and one more byte, one more");
	out(IER, 0);
	is_int(in(IIR), 0xc1, "disabled, none is reported");
	print("y");
	is_int(edges(), 0, "nor raised");
	end();
}

static void test_widths(void)
{
	uint8_t v[4] = { 0 };

	start();
	serial_write(&uart, SCR, "\x11\x22\x33\x44", 4);
	serial_read(&uart, SCR, v, 4);
	is_mem(v, 4, "\x11\xff\xff\xff", 4, "nothing lies behind the ports");
	serial_write(&uart, 0, "A\x0f", 2);
	is_int(in(IER), 0x0f, "two bytes at once are two registers");
	serial_flush(&uart);
	is_logged("A", "each of them");
	end();
}

/* ---- when it comes to the file ---- */

static void test_lines(void)
{
	start();
	print("one line");
	is_logged("", "half a line waits");
	print("\n");
	is_logged("one line\n", "a whole one does not");
	/* serial8250_console_write(): off before, restored behind. */
	out(IER, 0);
	print("login: ");
	is_logged("one line\n", "a prompt waits as well");
	out(IER, 0x05);
	is_logged("one line\nlogin: ", "until the driver has done");
	print("root");
	serial_flush(&uart);
	is_logged("one line\nlogin: root", "or somebody wants to see");
	print("!");
	serial_free(&uart);
	is_logged("one line\nlogin: root!", "or it ends");
	fd_close(&file);
	fd_close(&irq);
}

static void test_long_line(void)
{
	int i;

	start();
	for (i = 1; i < RING_LOG_BUF; i++)
		out(TX, 'x');
	is_int(file_size(), 0, "a line of almost a buffer waits");
	out(TX, 'x');
	is_int(file_size(), RING_LOG_BUF, "a buffer does not");
	end();
}

/* ---- the file's size ---- */

/* Numbered lines, more than fit; the largest size seen. */
static size_t fill(unsigned lines)
{
	size_t most = 0;
	char line[64];
	unsigned i;

	for (i = 0; i < lines; i++) {
		snprintf(line, sizeof(line), "this is line %09u\n", i);
		print(line);
		if (i % 64 == 0 && file_size() > most)
			most = file_size();
	}
	return file_size() > most ? file_size() : most;
}

/* The lines in the file, which are consecutive and end with @last. */
static bool consecutive(unsigned last)
{
	buf_auto struct buf b = BUF_INIT;
	unsigned want, got;
	const char *s;

	if (lseek(file, 0, SEEK_SET) < 0 || io_read_all(file, &b) < 0)
		bail("cannot read the log");
	s = buf_str(&b);
	if (!s || sscanf(s, "this is line %u\n", &want) != 1)
		return false;
	for (; *s; s = strchr(s, '\n') + 1)
		if (!strchr(s, '\n') ||
		    sscanf(s, "this is line %u\n", &got) != 1 || got != want++)
			return false;
	return want == last + 1;
}

static void test_bound(void)
{
	size_t most;

	start();
	most = fill(200000);
	ok(most <= RING_LOG_LIMIT, "%u bytes, never more than %zu in the file",
	   200000 * 23, most);
	ok(most > RING_LOG_LIMIT - 2 * RING_LOG_BUF, "the room is used");
	ok(file_size() >= RING_LOG_LIMIT / 2 - RING_LOG_BUF,
	   "half of it stays");
	ok(consecutive(199999), "whole lines, the last ones, all of them");
	is_int(uart.log.written, 200000 * 23, "all counted");
	is_int(uart.log.lost, 0, "none lost");
	end();
}

static void test_one_long_line(void)
{
	uint64_t i;

	start();
	for (i = 0; i < 3 * RING_LOG_LIMIT; i++)
		out(TX, 'a' + (unsigned)(i % 26));
	ok(file_size() <= RING_LOG_LIMIT &&
		   file_size() >= RING_LOG_LIMIT / 2 - RING_LOG_BUF,
	   "a line without end is cut in the middle (%zu)", file_size());
	end();
}

static void test_continued(void)
{
	struct err e = ERR_INIT;
	struct ring_log l;

	file = memfd_create("console", MFD_CLOEXEC);
	if (write(file, "before\n", 7) != 7)
		bail("cannot write");
	is_int(ring_log_init(&l, file, 8192, NULL), 0, "a file with content");
	ring_log_add(&l, 'x');
	ring_log_flush(&l);
	is_logged("before\nx", "is continued");
	if (ftruncate(file, 1 << 20) < 0)
		bail("cannot truncate");
	is_int(ring_log_init(&l, file, 8192, NULL), 0, "one that is too long");
	is_int(file_size(), 4096, "is cut");
	is_int(ring_log_init(&l, file, 8191, &e), -EINVAL, "a limit too low");
	has_str(e.text, "8192", "says what is enough");
	if (fcntl(file, F_SETFL, O_APPEND) < 0)
		bail("cannot set flags");
	is_int(ring_log_init(&l, file, 8192, NULL), -EINVAL, "no appending");
	fd_close(&file);
	is_int(ring_log_init(&l, -1, 8192, NULL), -EBADF, "no file");
	file = open("/dev/null", O_WRONLY | O_CLOEXEC);
	is_int(ring_log_init(&l, file, 8192, NULL), -EINVAL, "no reading");
	fd_close(&file);
}

/* A file system without room costs the text, and nothing else. */
static void test_no_room(void)
{
	struct ring_log l;
	int i;

	file = open("/dev/full", O_RDWR | O_CLOEXEC);
	is_int(ring_log_init(&l, file, 8192, NULL), 0, "a full disk");
	for (i = 0; i < 20000; i++)
		ring_log_add(&l, "some text\n"[i % 10]);
	is_int(l.lost, 20000, "what it refused is counted");
	is_int(l.size, 0, "and not taken for there");
	fd_close(&file);
}

/* A file that cannot be cut (sealed against it) does not grow any more. */
static void test_no_cut(void)
{
	struct ring_log l;
	int i;

	file = memfd_create("console", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	is_int(ring_log_init(&l, file, 8192, NULL), 0, "a file");
	if (fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK) < 0)
		bail("cannot seal");
	for (i = 0; i < 20000; i++)
		ring_log_add(&l, "some text\n"[i % 10]);
	ok(file_size() <= 8192, "that cannot be cut stops growing (%zu)",
	   file_size());
	is_int(l.size + l.lost, 20000, "and the rest is lost, and counted");
	fd_close(&file);
}

/* ---- threads ---- */

#define THREADS 4
#define EACH 20000

static void *printer(void *arg)
{
	int i;

	for (i = 0; i < EACH; i++) {
		serial_write(&uart, TX, arg, 1);
		if (i % 100 == 99)
			serial_write(&uart, IER, i % 200 == 99 ? "\2" : "\0",
				     1);
	}
	return NULL;
}

static void test_threads(void)
{
	static char mark[THREADS] = { 'a', 'b', 'c', 'd' };
	int count[THREADS] = { 0 }, i;
	buf_auto struct buf b = BUF_INIT;
	pthread_t t[THREADS];
	size_t at;

	start();
	for (i = 0; i < THREADS; i++)
		if (pthread_create(&t[i], NULL, printer, &mark[i]) != 0)
			bail("cannot make a thread");
	for (i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	serial_flush(&uart);
	if (lseek(file, 0, SEEK_SET) < 0 || io_read_all(file, &b) < 0)
		bail("cannot read the log");
	for (at = 0; at < b.len; at++)
		if (b.data[at] >= 'a' && b.data[at] < 'a' + THREADS)
			count[b.data[at] - 'a']++;
	is_int(b.len, THREADS * EACH,
	       "what four processors print is all there");
	for (i = 0; i < THREADS; i++)
		ok(count[i] == EACH, "processor %d's as well", i);
	end();
}

int main(void)
{
	test_detection();
	test_interrupt();
	test_widths();
	test_lines();
	test_long_line();
	test_bound();
	test_one_long_line();
	test_continued();
	test_no_room();
	test_no_cut();
	test_threads();
	return tap_done();
}
