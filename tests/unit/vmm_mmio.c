/* SPDX-License-Identifier: MIT
 *
 * virtio-mmio: what the registers say and do, in which order a driver may do
 * what, and how a device is told and tells.
 */
#include "tests/tap.h"

#include "base/fd.h"
#include "tests/unit/driver.h"

#include <errno.h>

static struct virtio v;
static struct driver d;

/* What the device was called for. */
static unsigned activated, resets, served, written;
static int answer;
static const char *told;

static void on_activate(struct virtio *dev)
{
	(void)dev;
	activated++;
}

static void on_reset(struct virtio *dev)
{
	(void)dev;
	resets++;
}

static int on_queue(struct virtio *dev, unsigned q)
{
	(void)q;
	served++;
	if (dev->loop)
		dev->loop->stop = answer == 0;
	return answer > 0 ? answer-- : answer;
}

static int on_queue_rule(struct virtio *dev, unsigned q)
{
	(void)q;
	return virtio_rule(dev, "some rule");
}

static void on_written(struct virtio *dev, unsigned off, unsigned len)
{
	(void)dev;
	written = off * 100 + len;
}

static void on_broken(struct virtio *dev, const char *rule)
{
	(void)dev;
	told = rule;
}

static const struct virtio_ops ops = { .name = "plain",
				       .id = 42,
				       .features = 1ULL << 3 | 1ULL << 40,
				       .queues = 2,
				       .config_size = 10,
				       .activate = on_activate,
				       .reset = on_reset,
				       .queue = on_queue,
				       .config_written = on_written };

/* The same with nothing that it need not have. */
static const struct virtio_ops bare = { .name = "bare",
					.id = 43,
					.queues = 1,
					.config_size = 8,
					.queue = on_queue_rule };

static void begin_on(const struct virtio_ops *o, struct loop *l)
{
	memset(&d, 0, sizeof(d));
	driver_ram(&d, 65536, 0);
	if (virtio_init(&v, o, &d.m, l, NULL) < 0)
		bail("no device");
	v.on_broken = on_broken;
	d.v = &v;
	activated = resets = served = written = 0;
	answer = 0;
	told = NULL;
}

static void begin(const struct virtio_ops *o)
{
	begin_on(o, NULL);
}

static void end(void)
{
	virtio_free(&v);
	driver_ram_free(&d);
}

/* ---- reading ---- */

static void constants(void)
{
	begin(&ops);
	is_int(driver_read(&d, 0x000), 0x74726976, "magic");
	is_int(driver_read(&d, 0x004), 2, "version");
	is_int(driver_read(&d, 0x008), 42, "device");
	is_int(driver_read(&d, 0x070), 0, "status");
	is_int(driver_read(&d, 0x060), 0, "interrupt status");
	is_int(driver_read(&d, 0x034), 256, "entries of queue 0");
	driver_write(&d, 0x030, 1);
	is_int(driver_read(&d, 0x034), 256, "of queue 1");
	driver_write(&d, 0x030, 2);
	is_int(driver_read(&d, 0x034), 0, "of one that is not there");
	driver_write(&d, 0x030, 0xffffffff);
	is_int(driver_read(&d, 0x034), 0, "nor 2^32 - 1");
	driver_write(&d, 0x038, 8);
	driver_write(&d, 0x044, 1);
	is_int(driver_read(&d, 0x044), 0, "which cannot be enabled");
	is_int(driver_read(&d, 0x0b0), 0xffffffff, "no shared memory");
	is_int(driver_read(&d, 0x0bc), 0xffffffff, "at all");
	is_int(driver_read(&d, 0x010), 1 << 3 | 3 << 28, "features, low");
	driver_write(&d, 0x014, 1);
	is_int(driver_read(&d, 0x010), 1 << 8 | 1, "features, high");
	driver_write(&d, 0x014, 2);
	is_int(driver_read(&d, 0x010), 0, "features, beyond");
	end();
}

static bool same_state(const struct virtio_state *a,
		       const struct virtio_state *b)
{
	return a->status == b->status && a->features == b->features &&
	       a->device_features_sel == b->device_features_sel &&
	       a->driver_features_sel == b->driver_features_sel &&
	       a->queue_sel == b->queue_sel && a->interrupt == b->interrupt &&
	       a->config_generation == b->config_generation;
}

static bool same_queue(const struct vq_state *a, const struct vq_state *b)
{
	return a->num == b->num && a->ready == b->ready && a->desc == b->desc &&
	       a->avail == b->avail && a->used == b->used &&
	       a->next_avail == b->next_avail && a->next_used == b->next_used;
}

/* Each register at each offset and length that it must not be accessed with,
 * on a device that works. */
static void odd_accesses(void)
{
	uint8_t junk[16], zero[16] = { 0 }, got[16];
	struct virtio_state before;
	bool quiet = true;
	unsigned off, len;

	begin(&ops);
	driver_up(&d, &v, ~0ULL, 4);
	resets = 0;
	memset(junk, 0xff, sizeof(junk));
	before = v.s;
	for (off = 0; off < 0x100; off++) {
		for (len = 0; len <= 16; len++) {
			if (len == 4 && off % 4 == 0)
				continue;
			virtio_mmio_write(&v, off, junk, len);
			memset(got, 0xee, sizeof(got));
			virtio_mmio_read(&v, off, got, len);
			quiet = quiet && memcmp(got, zero, len) == 0;
		}
	}
	ok(quiet, "odd accesses read as zeros");
	ok(same_state(&before, &v.s) && !served && !resets,
	   "and write nothing");
	memset(got, 0xee, sizeof(got));
	virtio_mmio_read(&v, UINT64_MAX, got, 4);
	virtio_mmio_write(&v, UINT64_MAX, junk, 4);
	virtio_mmio_read(&v, 0xfffffffffffffffc, got, 4);
	is_mem(got, 4, zero, 4, "far behind the page as well");
	end();
}

static void config(void)
{
	uint8_t got[8];

	begin(&ops);
	memcpy(v.config, "0123456789abcdef", 16);
	is_int(driver_config(&d, 0, 1), '0', "a byte");
	is_int(driver_config(&d, 2, 2), '2' | '3' << 8, "two");
	is_int(driver_config(&d, 4, 4), 0x37363534, "four");
	is_int(driver_config(&d, 0, 8), 0x3736353433323130, "eight");
	is_int(driver_config(&d, 9, 1), '9', "the last");
	is_int(driver_config(&d, 9, 2), 0, "one beyond");
	is_int(driver_config(&d, 10, 1), 0, "behind");
	is_int(driver_config(&d, 8, 4), 0, "half behind");
	is_int(driver_config(&d, 0, 3), 0, "three at a time");
	virtio_mmio_write(&v, 0x100 + 8, "xy", 2);
	is_int(written, 802, "the device hears of a write");
	is_int(driver_config(&d, 8, 2), 'x' | 'y' << 8, "which is done");
	written = 0;
	virtio_mmio_write(&v, 0x100 + 9, "xy", 2);
	virtio_mmio_write(&v, 0x100 + 7, "xyz", 3);
	virtio_mmio_write(&v, UINT64_MAX, "xy", 2);
	is_int(written, 0, "of no other");
	end();
	begin(&bare);
	virtio_mmio_write(&v, 0x100, "x", 1);
	virtio_mmio_read(&v, 0x100, got, 1);
	is_int(got[0], 0, "nothing is written where nobody wants it");
	end();
}

static void config_changes(void)
{
	uint32_t was;

	begin(&ops);
	was = driver_read(&d, 0x0fc);
	virtio_config_changed(&v);
	is_int(driver_read(&d, 0x0fc), was + 1, "another generation");
	is_int(driver_interrupts(&d), 0, "no driver, no interrupt");
	driver_up(&d, &v, ~0ULL, 4);
	is_int(driver_read(&d, 0x0fc), was + 1, "a reset is not a change");
	virtio_config_changed(&v);
	is_int(driver_interrupts(&d), DRIVER_INT_CONFIG, "an interrupt");
	is_int(driver_interrupts(&d), 0, "until it is acknowledged");
	end();
}

/* ---- the order of things ---- */

static void order(void)
{
	begin(&ops);
	driver_add_status(&d, 1);
	driver_add_status(&d, 2);
	is_int(driver_status(&d), 3, "there and known");
	driver_write(&d, 0x070, 2);
	is_int(driver_status(&d), 3, "no bit is taken back");
	driver_write(&d, 0x070, 0xffffffc3);
	is_int(driver_status(&d), 3 | 128, "FAILED; no bits that are not ours");
	driver_reset(&d);
	is_int(driver_status(&d), 0, "reset");
	is_int(resets, 1, "the device too");
	ok(!driver_negotiate(&d, DRIVER_COMMON | 1 << 4),
	   "a feature that was not offered");
	ok(!driver_negotiate(&d, 1 << 3), "without VERSION_1");
	ok(!driver_negotiate(&d, 0), "without any");
	is_int(driver_status(&d), 3, "FEATURES_OK stays off");
	driver_write(&d, 0x024, 1);
	driver_write(&d, 0x020, 1);
	driver_add_status(&d, 8);
	is_int(driver_status(&d), 11, "another try without a reset");
	driver_write(&d, 0x020, 3);
	is_int(v.s.features >> 32, 1, "then they are fixed");
	is_int(activated, 0, "not active yet");
	driver_add_status(&d, 4);
	driver_add_status(&d, 4);
	is_int(activated, 1, "active, once");
	ok(driver_negotiate(&d, driver_offered(&d)), "all that is offered");
	end();
}

static void wrong_order(void)
{
	begin(&ops);
	driver_add_status(&d, 3);
	driver_add_status(&d, 4);
	is_str(told, "DRIVER_OK before FEATURES_OK", "too early");
	is_int(driver_status(&d), 3 | 64, "a reset is asked for");
	is_int(driver_interrupts(&d), 0, "without an interrupt");
	ok(!activated && !virtio_live(&v), "it is not active");
	driver_reset(&d);
	driver_add_status(&d, 3);
	driver_queue_make(&d, 0, 4);
	ok(!driver_queue_ready(&d, 0), "no queue before FEATURES_OK");
	is_str(told, "queue enabled before FEATURES_OK", "it says so");
	driver_negotiate(&d, 1ULL << 40 | DRIVER_COMMON | 1ULL << 41);
	driver_add_status(&d, 4);
	is_str(told, "DRIVER_OK before FEATURES_OK", "features refused");
	driver_up(&d, &v, ~0ULL, 4);
	ok(virtio_live(&v), "a reset mends all");
	is_int(v.refused, 3, "three times refused");
	end();
}

/* FEATURES_OK and DRIVER_OK in one write. */
static void at_once(void)
{
	begin(&ops);
	driver_write(&d, 0x024, 1);
	driver_write(&d, 0x020, 1);
	driver_write(&d, 0x070, 15);
	ok(driver_status(&d) == 15 && activated == 1, "all at once");
	driver_reset(&d);
	driver_write(&d, 0x070, 15);
	ok((driver_status(&d) & 64) && activated == 1, "or not");
	end();
}

static void queues(void)
{
	struct vq_state was;
	unsigned off;

	begin(&ops);
	driver_up(&d, &v, ~0ULL, 4);
	driver_write(&d, 0x030, 1);
	was = v.q[1].s;
	for (off = 0x080; off <= 0x0a4; off += 4)
		driver_write(&d, off, 0x12345678);
	driver_write(&d, 0x038, 2);
	driver_write(&d, 0x044, 1);
	ok(same_queue(&was, &v.q[1].s), "a queue that is ready is fixed");
	driver_write(&d, 0x044, 0);
	is_int(driver_read(&d, 0x044), 0, "it can be disabled");
	driver_kick(&d, 1);
	is_int(served, 0, "then it is not served");
	driver_kick(&d, 0);
	is_int(served, 1, "the other one is");
	driver_kick(&d, 2);
	driver_kick(&d, 0xffffffff);
	is_int(served, 1, "those that are not there are not");
	driver_write(&d, 0x090, 2);
	driver_write(&d, 0x094, 1);
	is_int(v.q[1].s.avail, 1ULL << 32 | 2, "it can be moved then");
	driver_write(&d, 0x044, 1);
	ok(driver_needs_reset(&d), "but not out of memory");
	driver_up(&d, &v, ~0ULL, 4);
	driver_kick(&d, 1);
	is_int(served, 2, "a reset mends it");
	end();
}

static void not_yet(void)
{
	begin(&ops);
	driver_negotiate(&d, DRIVER_COMMON);
	driver_queue_make(&d, 0, 4);
	driver_queue_ready(&d, 0);
	driver_kick(&d, 0);
	is_int(served, 0, "before DRIVER_OK nothing is served");
	driver_add_status(&d, 4);
	driver_kick(&d, 0);
	is_int(served, 1, "afterwards it is");
	end();
}

static void device_rule(void)
{
	begin(&bare);
	driver_up(&d, &v, ~0ULL, 4);
	driver_kick(&d, 0);
	is_str(told, "some rule", "a rule of the device's own");
	is_int(driver_interrupts(&d), DRIVER_INT_CONFIG, "an interrupt");
	ok(driver_needs_reset(&d), "and the status");
	told = NULL;
	driver_kick(&d, 0);
	ok(!told && v.refused == 1, "counted once");
	driver_up(&d, &v, ~0ULL, 4);
	ok(!v.rule && virtio_live(&v), "forgotten at a reset");
	end();
}

/* ---- interrupts and loops ---- */

static void acknowledging(void)
{
	begin(&ops);
	driver_up(&d, &v, ~0ULL, 4);
	virtio_config_changed(&v);
	driver_add(&d, 0, (struct driver_buf[]){ { 0, 1, true } }, 1);
	vq_push(&v.q[0], 0, 0);
	virtio_signal(&v, 0);
	is_int(driver_read(&d, 0x060), 3, "both");
	driver_write(&d, 0x064, 4);
	is_int(driver_read(&d, 0x060), 3, "another is acknowledged");
	driver_write(&d, 0x064, 1);
	is_int(driver_read(&d, 0x060), 2, "one is");
	/* A vCPU must not wait for a device that is at work. */
	pthread_mutex_lock(&v.lock);
	is_int(driver_interrupts(&d), 2, "without the device's lock");
	pthread_mutex_unlock(&v.lock);
	virtio_config_changed(&v);
	driver_reset(&d);
	is_int(driver_read(&d, 0x060), 0, "a reset takes all back");
	end();
}

static void on_loop(void)
{
	struct loop l;

	loop_init(&l);
	begin_on(&ops, &l);
	driver_up(&d, &v, ~0ULL, 4);
	driver_kick(&d, 1);
	is_int(served, 0, "on a loop, nothing is done at once");
	loop_run(&l);
	is_int(served, 1, "but by the loop");
	answer = 3;
	l.stop = false;
	driver_kick(&d, 0);
	loop_run(&l);
	is_int(served, 5, "again while there is more to do");
	virtio_config_changed(&v);
	is_int(driver_wait(&d), DRIVER_INT_CONFIG, "an edge on the line");
	end();
	loop_free(&l);
}

static void freeing(void)
{
	struct virtio none = { .ops = NULL };

	virtio_free(&none);
	begin(&ops);
	virtio_free(&v);
	end();
	ok(true, "free, and free again");
}

int main(void)
{
	constants();
	odd_accesses();
	config();
	config_changes();
	order();
	wrong_order();
	at_once();
	queues();
	not_yet();
	device_rule();
	acknowledging();
	on_loop();
	freeing();
	return tap_done();
}
