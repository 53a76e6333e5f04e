/* SPDX-License-Identifier: MIT
 *
 * The layers of an image as one stream of blocks: see stream.h.
 *
 * Blocks are counted from the first of the image; block N lies in slot
 * N % RING_BLOCKS.  Three counts move along: what is made, hashed, applied; the
 * unpacker may be RING_BLOCKS ahead of the slower of the other two.
 *
 * Threads and not processes, because blocks are handed over and not copied.
 * Unpacking several layers at once would need their output kept somewhere until
 * its turn comes, in memory that is not allowed or on a disk that is slower
 * than the decoder; with ISA-L the applier is as long a stage as the unpacker.
 */
#include "rootfs/stream.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/fd.h"
#include "rootfs/limits.h"
#include "rootfs/unpack.h"

/* 4 MiB in all: enough that a long write(2) does not stop the unpacker, small
 * enough to stay in a processor's cache.  Twice as much is no faster. */
#define RING_BLOCKS 16
#define BLOCK_SIZE ((size_t)256 << 10)
/* How many the applier may look at: the last one given and the one before. */
#define HELD_MAX 2

struct slot {
	uint8_t *data; /* BLOCK_SIZE bytes in the ring's memory */
	size_t len;
	size_t layer;
	bool last;
};

struct stream {
	const struct layer *layers;
	size_t n;
	struct limits limits;
	uint8_t *memory; /* owned */
	struct slot slots[RING_BLOCKS];
	pthread_t unpacker, hasher;
	bool unpacking, hashing; /* the threads that there are */

	pthread_mutex_t lock;		/* of everything below */
	pthread_cond_t moved;		/* any count, or stop, or error */
	uint64_t made, hashed, applied; /* blocks */
	uint64_t given;			/* blocks to the applier */
	uint64_t taken, bytes;		/* of the blobs, of the blocks */
	bool all_made, stop;
	struct err error; /* the first one of either thread */
};

static const char *layer_name(const struct stream *s, size_t i)
{
	return s->layers[i].name;
}

static void fail(struct stream *s, const struct err *e)
{
	pthread_mutex_lock(&s->lock);
	if (!s->error.num)
		s->error = *e;
	s->stop = true;
	pthread_cond_broadcast(&s->moved);
	pthread_mutex_unlock(&s->lock);
}

static uint64_t freed(const struct stream *s)
{
	return s->hashed < s->applied ? s->hashed : s->applied;
}

/* ---- the unpacker ------------------------------------------------------ */

/* A slot to unpack into; NULL: stop. */
static struct slot *slot_get(struct stream *s)
{
	struct slot *slot = NULL;

	pthread_mutex_lock(&s->lock);
	while (!s->stop && s->made - freed(s) >= RING_BLOCKS)
		pthread_cond_wait(&s->moved, &s->lock);
	if (!s->stop)
		slot = &s->slots[s->made % RING_BLOCKS];
	pthread_mutex_unlock(&s->lock);
	return slot;
}

static void slot_put(struct stream *s, const struct slot *slot, uint64_t taken)
{
	pthread_mutex_lock(&s->lock);
	s->made++;
	s->taken = taken;
	s->bytes += slot->len;
	s->all_made = slot->last && slot->layer == s->n - 1;
	pthread_cond_broadcast(&s->moved);
	pthread_mutex_unlock(&s->lock);
}

static int check_limits(const struct stream *s, const struct layer *l,
			uint64_t of_layer, uint64_t of_all, struct err *e)
{
	if (of_all > s->limits.bytes) {
		err_set(e, EFBIG,
			"the image unpacks to more than the %llu bytes allowed",
			(unsigned long long)s->limits.bytes);
		return err_fix(e, "--max-size, or more free disk space");
	}
	if (of_layer > LIMIT_RATIO_FLOOR &&
	    of_layer / s->limits.ratio >= l->size) {
		err_set(e, EFBIG,
			"unpacks to more than %llu times its %llu bytes",
			(unsigned long long)s->limits.ratio,
			(unsigned long long)l->size);
		return err_fix(e, "--max-ratio, if the image is trusted");
	}
	return 0;
}

static int check_size(const struct layer *l, struct err *e)
{
	struct stat st;

	if (fstat(l->fd, &st) < 0)
		return err_sys(e, errno, "cannot read the blob");
	if (S_ISREG(st.st_mode) && (uint64_t)st.st_size != l->size)
		return err_set(e, EBADMSG,
			       "the blob has %llu bytes, its manifest says "
			       "%llu",
			       (unsigned long long)st.st_size,
			       (unsigned long long)l->size);
	return 0;
}

/* All of one layer.  0 or -errno; -ECANCELED: stopped. */
static int unpack_layer(struct stream *s, struct unpack *u, size_t i,
			uint64_t *taken, uint64_t *bytes, struct err *e)
{
	const struct layer *l = &s->layers[i];
	uint64_t before = *bytes;
	int r = check_size(l, e);

	if (r == 0)
		r = unpack_begin(u, l->fd, e);
	while (r == 0) {
		struct slot *slot = slot_get(s);
		ssize_t n;

		if (!slot)
			return -ECANCELED;
		n = unpack_read(u, slot->data, BLOCK_SIZE, e);
		if (n < 0)
			return (int)n;
		*bytes += (uint64_t)n;
		slot->len = (size_t)n;
		slot->layer = i;
		slot->last = slot->len < BLOCK_SIZE;
		r = check_limits(s, l, *bytes - before, *bytes, e);
		if (r == 0)
			slot_put(s, slot, *taken + u->taken);
		if (slot->last)
			break;
	}
	*taken += u->taken;
	return r;
}

static void *unpack_main(void *arg)
{
	struct stream *s = arg;
	unpack_auto struct unpack u = UNPACK_INIT(s->limits.window);
	struct err e = ERR_INIT;
	uint64_t taken = 0, bytes = 0;
	size_t i;

	for (i = 0; i < s->n; i++) {
		int r = unpack_layer(s, &u, i, &taken, &bytes, &e);

		if (r == -ECANCELED)
			break;
		if (r < 0) {
			err_in(&e, "layer %zu (%s)", i + 1, layer_name(s, i));
			fail(s, &e);
			break;
		}
	}
	return NULL;
}

/* ---- the hasher -------------------------------------------------------- */

static const struct slot *hash_get(struct stream *s)
{
	const struct slot *slot = NULL;

	pthread_mutex_lock(&s->lock);
	while (!s->stop && !s->all_made && s->made == s->hashed)
		pthread_cond_wait(&s->moved, &s->lock);
	if (!s->stop && s->made != s->hashed)
		slot = &s->slots[s->hashed % RING_BLOCKS];
	pthread_mutex_unlock(&s->lock);
	return slot;
}

static void hash_put(struct stream *s)
{
	pthread_mutex_lock(&s->lock);
	s->hashed++;
	pthread_cond_broadcast(&s->moved);
	pthread_mutex_unlock(&s->lock);
}

static int check_digest(const struct stream *s, size_t i, struct sha256 *sum,
			struct err *e)
{
	char hex[SHA256_HEX];

	if (sha256_end(sum, hex) < 0)
		return err_set(e, EIO, "cannot compute a digest");
	sha256_free(sum);
	if (strcmp(hex, s->layers[i].diff_id) == 0)
		return 0;
	return err_set(e, EBADMSG,
		       "layer %zu (%s): it unpacks to sha256:%s, the image's "
		       "config says sha256:%s",
		       i + 1, layer_name(s, i), hex, s->layers[i].diff_id);
}

static int hash_block(const struct stream *s, const struct slot *slot,
		      struct sha256 *sum, struct err *e)
{
	if (!sum->ctx && sha256_begin(sum) < 0)
		return err_sys(e, ENOMEM, "cannot compute a digest");
	if (sha256_add(sum, slot->data, slot->len) < 0)
		return err_set(e, EIO, "cannot compute a digest");
	return slot->last ? check_digest(s, slot->layer, sum, e) : 0;
}

static void *hash_main(void *arg)
{
	sha256_auto struct sha256 sum = SHA256_INIT;
	struct stream *s = arg;
	struct err e = ERR_INIT;
	const struct slot *slot;

	while ((slot = hash_get(s))) {
		if (hash_block(s, slot, &sum, &e) < 0) {
			fail(s, &e);
			break;
		}
		hash_put(s);
	}
	return NULL;
}

/* ---- the applier's side ------------------------------------------------ */

int stream_next(struct stream *s, struct block *b)
{
	const struct slot *slot;
	int r = 0;

	pthread_mutex_lock(&s->lock);
	if (s->given - s->applied >= HELD_MAX) {
		s->applied = s->given - (HELD_MAX - 1);
		pthread_cond_broadcast(&s->moved);
	}
	while (!s->stop && s->made == s->given && !s->all_made)
		pthread_cond_wait(&s->moved, &s->lock);
	if (s->stop || s->made == s->given) {
		r = -ECANCELED;
	} else {
		slot = &s->slots[s->given++ % RING_BLOCKS];
		*b = (struct block){ slot->data, slot->len, slot->last };
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

void stream_release(struct stream *s)
{
	pthread_mutex_lock(&s->lock);
	s->applied = s->given;
	pthread_cond_broadcast(&s->moved);
	pthread_mutex_unlock(&s->lock);
}

bool stream_error(struct stream *s, struct err *e)
{
	bool failed;

	pthread_mutex_lock(&s->lock);
	failed = s->error.num != 0;
	if (failed && e)
		*e = s->error;
	pthread_mutex_unlock(&s->lock);
	return failed;
}

int stream_finish(struct stream *s, struct err *e)
{
	pthread_mutex_lock(&s->lock);
	while (!s->stop && !(s->all_made && s->hashed == s->made))
		pthread_cond_wait(&s->moved, &s->lock);
	pthread_mutex_unlock(&s->lock);
	return stream_error(s, e) ? -e->num : 0;
}

uint64_t stream_taken(struct stream *s)
{
	uint64_t n;

	pthread_mutex_lock(&s->lock);
	n = s->taken;
	pthread_mutex_unlock(&s->lock);
	return n;
}

uint64_t stream_given(struct stream *s)
{
	uint64_t n;

	pthread_mutex_lock(&s->lock);
	n = s->bytes;
	pthread_mutex_unlock(&s->lock);
	return n;
}

/* ---- beginning and end ------------------------------------------------- */

/* Signals are for the program's own thread. */
static int start_threads(struct stream *s)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&s->unpacker, NULL, unpack_main, s);
	s->unpacking = r == 0;
	if (r == 0) {
		r = pthread_create(&s->hasher, NULL, hash_main, s);
		s->hashing = r == 0;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -r;
}

struct stream *stream_start(const struct layer *v, size_t n,
			    const struct limits *limits, struct err *e)
{
	stream_auto struct stream *s = calloc(1, sizeof(*s));
	size_t i;
	int r;

	if (!s) {
		err_sys(e, ENOMEM, "cannot unpack");
		return NULL;
	}
	s->layers = v;
	s->n = n;
	s->limits = *limits;
	s->all_made = n == 0;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->moved, NULL);
	s->memory = malloc(RING_BLOCKS * BLOCK_SIZE);
	if (!s->memory) {
		err_sys(e, ENOMEM, "cannot unpack");
		return NULL;
	}
	for (i = 0; i < RING_BLOCKS; i++)
		s->slots[i].data = s->memory + i * BLOCK_SIZE;
	r = start_threads(s);
	if (r < 0) {
		err_sys(e, -r, "cannot start a thread");
		return NULL;
	}
	return ptr_steal(&s);
}

void stream_stop(struct stream **sp)
{
	struct stream *s = *sp;

	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_broadcast(&s->moved);
	pthread_mutex_unlock(&s->lock);
	if (s->unpacking)
		pthread_join(s->unpacker, NULL);
	if (s->hashing)
		pthread_join(s->hasher, NULL);
	pthread_cond_destroy(&s->moved);
	pthread_mutex_destroy(&s->lock);
	free(s->memory);
	free(s);
	*sp = NULL;
}
