/* SPDX-License-Identifier: MIT
 *
 * A guest's program that would notice if anything were lost: it appends records
 * to a file, one after the other, each on disk before the next one is begun, and
 * counts them in memory; beside that it changes memory.  Asked, it says what
 * memory says and what the disk does.
 *
 * usage: ledger run DIR		begin, and go on in the background
 *	  ledger ask DIR [N...]		one line on standard output:
 *
 *	COUNT SUM DISK-COUNT DISK-SUM REST STALE BAD [SUM-AT-N...]
 *
 * COUNT records are on disk as fsync(2) says, and SUM is the checksum over all
 * of them, both as counted in memory; DISK-COUNT records are found in the file,
 * in order and with a whole chain of checksums, DISK-SUM is the last of those,
 * and REST bytes are behind them; STALE slots of the file hold another record
 * than memory says; BAD pages of memory are not what was written to them;
 * SUM-AT-N is the checksum of record N, or "-" if there is none.  The file is
 * read from the disk itself: the guest's cache of it is memory, and would agree
 * with memory about anything.
 *
 * A record is written to the end of the file, by way of the cache, and some also
 * over an older one, past the cache and in a slot that is drawn.  A disk that is
 * older than memory lacks the last ones, one that is younger has too many; what
 * is written later hides that only where it comes to the same place, which takes
 * long.
 *
 * Before it answers it commits one more record, so what it says is younger than
 * the question.  What is in a record is the kernel's randomness, so two copies
 * of this process have not one record in common that either has made since.
 *
 * The threads: one writes and answers, and has the other one change pages while
 * the disk is written to.  To have that one run all the time was rejected: four
 * sandboxes of it leave a small machine nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PIECE 65536 /* of the file, at a time */
#define SLOTS 8192
#define SLOT 512		  /* bytes: the least that a disk writes */
#define SELDOM 4		  /* which record has one */
#define LOG ((off_t)SLOTS * SLOT) /* where the log begins, behind the slots */
#define PAGES 2048
#define WORDS 512  /* of a page */
#define CHANGES 32 /* pages for each record */
#define ASKED_MAX 8

struct record {
	uint64_t n; /* the first is 1 */
	uint64_t random[6];
	uint64_t sum; /* over the one before it, and this */
};

struct answer {
	uint64_t asked[ASKED_MAX], sums[ASKED_MAX];
	unsigned n;
	uint64_t count, sum, rest, stale;
};

static uint64_t count, sum;
static struct record slots[SLOTS];
static int direct;	   /* the file, past the cache */
static const char *broken; /* what failed */
static int broken_errno;

static uint64_t mix(uint64_t a, uint64_t b)
{
	a = (a ^ b) * 0x9e3779b97f4a7c15;
	return a ^ (a >> 29);
}

static uint64_t sum_of(const struct record *r, uint64_t before)
{
	uint64_t s = mix(before, r->n);

	for (unsigned i = 0; i < 6; i++)
		s = mix(s, r->random[i]);
	return s;
}

static void fail(const char *what)
{
	broken = what;
	broken_errno = errno;
}

static int die(const char *what)
{
	fprintf(stderr, "ledger: %s: %s\n", what, strerror(errno));
	return 1;
}

/* ---- memory ------------------------------------------------------------- */

static uint64_t pages[PAGES][WORDS], versions[PAGES], changes;
static sem_t go, looked;
static _Atomic int look;
static uint64_t bad;

static void change(uint64_t page)
{
	uint64_t v = mix(page, ++versions[page]);

	for (unsigned i = 0; i < WORDS; i++)
		pages[page][i] = v + i;
	changes++;
}

static uint64_t count_bad(void)
{
	uint64_t n = 0, all = 0;

	for (unsigned p = 0; p < PAGES; p++) {
		uint64_t v = mix(p, versions[p]);
		unsigned i = 0;

		while (i < WORDS && pages[p][i] == v + i)
			i++;
		n += i < WORDS;
		all += versions[p];
	}
	return n + (all != changes);
}

static void *change_pages(void *arg)
{
	uint64_t at = 1;

	(void)arg;
	for (;;) {
		while (sem_wait(&go) < 0)
			;
		if (look) {
			look = 0;
			bad = count_bad();
			sem_post(&looked);
			continue;
		}
		for (unsigned i = 0; i < CHANGES; i++) {
			at = mix(at, i);
			change(at % PAGES);
		}
	}
	return NULL;
}

static uint64_t look_at_pages(void)
{
	look = 1;
	sem_post(&go);
	while (sem_wait(&looked) < 0)
		;
	return bad;
}

/* ---- the disk ----------------------------------------------------------- */

static int write_slot(uint64_t slot, const struct record *r)
{
	static unsigned char sector[SLOT] __attribute__((aligned(SLOT)));

	memcpy(sector, r, sizeof(*r));
	if (pwrite(direct, sector, SLOT, (off_t)(slot * SLOT)) != SLOT)
		return -1;
	return 0;
}

static void append(int fd)
{
	struct record r = { .n = count + 1 };
	uint64_t slot;

	if (getrandom(r.random, sizeof(r.random), 0) != sizeof(r.random))
		return fail("getrandom");
	r.sum = sum_of(&r, sum);
	sem_post(&go);
	if (pwrite(fd, &r, sizeof(r), LOG + (off_t)(count * sizeof(r))) !=
	    sizeof(r))
		return fail("write");
	slot = r.n % SELDOM ? SLOTS : r.random[0] % SLOTS;
	if (slot < SLOTS && write_slot(slot, &r) < 0)
		return fail("write");
	if (fsync(fd) < 0)
		return fail("fsync");
	if (slot < SLOTS)
		slots[slot] = r;
	count = r.n;
	sum = r.sum;
}

/* How many of the @n bytes at @p go on where @a is. */
static size_t follow(struct answer *a, const unsigned char *p, size_t n)
{
	size_t at = 0;
	struct record r;

	for (; at + sizeof(r) <= n; at += sizeof(r)) {
		memcpy(&r, p + at, sizeof(r));
		if (r.n != a->count + 1 || r.sum != sum_of(&r, a->sum))
			break;
		a->count = r.n;
		a->sum = r.sum;
		for (unsigned i = 0; i < a->n; i++) {
			if (a->asked[i] == r.n)
				a->sums[i] = r.sum;
		}
	}
	return at;
}

/* How many of the slots in the @n bytes at @p, which stand at @at, hold something
 * else than is known of them. */
static uint64_t count_stale(const unsigned char *p, size_t n, off_t at)
{
	const struct record *want = &slots[at / SLOT];
	uint64_t stale = 0;

	for (size_t i = 0; i < n; i += SLOT)
		stale += memcmp(p + i, want++, sizeof(*want)) != 0;
	return stale;
}

static void read_again(const char *path, struct answer *a)
{
	static unsigned char piece[PIECE] __attribute__((aligned(4096)));
	int fd = open(path, O_RDONLY | O_DIRECT);
	ssize_t n = fd < 0 ? -1 : 0;
	off_t at = 0;

	for (; fd >= 0 && (n = read(fd, piece, sizeof(piece))) > 0; at += n) {
		if (at < LOG)
			a->stale += count_stale(piece, (size_t)n, at);
		else
			a->rest += (size_t)n -
				   (a->rest ? 0 : follow(a, piece, (size_t)n));
	}
	if (n < 0)
		fail("reading it again");
	close(fd);
}

/* ---- questions ---------------------------------------------------------- */

static void say_all(FILE *f, const struct answer *a)
{
	fprintf(f, "%" PRIu64 " %016" PRIx64 " ", count, sum);
	fprintf(f, "%" PRIu64 " %016" PRIx64 " ", a->count, a->sum);
	fprintf(f, "%" PRIu64 " %" PRIu64 " ", a->rest, a->stale);
	fprintf(f, "%" PRIu64, look_at_pages());
	for (unsigned i = 0; i < a->n; i++) {
		if (a->asked[i] && a->asked[i] <= a->count)
			fprintf(f, " %016" PRIx64, a->sums[i]);
		else
			fputs(" -", f);
	}
}

static void say(int conn, const char *path, struct answer *a)
{
	char text[1024];
	FILE *f = fmemopen(text, sizeof(text), "w");

	if (!broken)
		read_again(path, a);
	if (broken)
		fprintf(f, "%s: %s", broken, strerror(broken_errno));
	else
		say_all(f, a);
	fputc('\n', f);
	fflush(f);
	send(conn, text, (size_t)ftell(f), MSG_NOSIGNAL);
	fclose(f);
}

static void serve(int conn, int fd, const char *path)
{
	struct answer a = { .n = 0 };
	ssize_t n = recv(conn, a.asked, sizeof(a.asked), 0);

	if (n < 0)
		return;
	a.n = (unsigned)((size_t)n / sizeof(a.asked[0]));
	if (!broken)
		append(fd);
	say(conn, path, &a);
}

static void go_on(int fd, int listener, const char *path)
{
	for (;;) {
		int conn = accept(listener, NULL, NULL);

		if (conn >= 0) {
			serve(conn, fd, path);
			close(conn);
		}
		if (broken) /* then there is nothing but questions */
			fcntl(listener, F_SETFL, 0);
		else
			append(fd);
	}
}

static int named(const char *dir, struct sockaddr_un *a)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(a->sun_path, sizeof(a->sun_path), "%s/ask", dir);
	return socket(AF_UNIX, SOCK_SEQPACKET, 0);
}

static int make_slots(int fd)
{
	static const char zeros[PIECE];
	off_t at;

	for (at = 0; at < LOG; at += PIECE) {
		if (pwrite(fd, zeros, PIECE, at) != PIECE)
			return -1;
	}
	return fsync(fd);
}

static int run(const char *dir)
{
	struct sockaddr_un a;
	int listener = named(dir, &a), fd;
	static char path[4096];
	pthread_t thread;

	snprintf(path, sizeof(path), "%s/log", dir);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	direct = open(path, O_WRONLY | O_DIRECT);
	if (fd < 0 || direct < 0 || make_slots(fd) < 0 ||
	    bind(listener, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(listener, 16) < 0 ||
	    fcntl(listener, F_SETFL, O_NONBLOCK) < 0)
		return die(dir);
	/* From here on questions are answered, if not yet. */
	if (daemon(0, 0) < 0)
		return die("daemon");
	sem_init(&go, 0, 0);
	sem_init(&looked, 0, 0);
	for (unsigned p = 0; p < PAGES; p++)
		change(p);
	if (pthread_create(&thread, NULL, change_pages, NULL) != 0)
		fail("thread");
	go_on(fd, listener, path);
	return 0;
}

static int ask(const char *dir, int n, char **asked)
{
	uint64_t numbers[ASKED_MAX + 1] = { 0 };
	struct sockaddr_un a;
	int fd = named(dir, &a);
	char text[1024];
	ssize_t got;

	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return die("no ledger");
	for (int i = 0; i < n && i < ASKED_MAX; i++)
		numbers[i] = strtoull(asked[i], NULL, 10);
	/* One at least: nothing at all would be the end. */
	if (send(fd, numbers, (n ? (size_t)n : 1) * sizeof(numbers[0]), 0) < 0)
		return die("cannot ask");
	got = recv(fd, text, sizeof(text), 0);
	if (got <= 0)
		return die("no answer");
	return fwrite(text, 1, (size_t)got, stdout) != (size_t)got;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "run") == 0)
		return run(argv[2]);
	if (argc >= 3 && argc - 3 <= ASKED_MAX && strcmp(argv[1], "ask") == 0)
		return ask(argv[2], argc - 3, argv + 3);
	fprintf(stderr, "usage: ledger run DIR | ask DIR [N...]\n");
	return 2;
}
