/* SPDX-License-Identifier: MIT
 *
 * Split queues: every rule broken on purpose.
 */
#include "tests/unit/copy_device.h"

/* ---- rules ---- */

static void avail_index(void)
{
	d.q[0].avail->idx = NUM + 1;
}

static void avail_index_back(void)
{
	d.q[0].avail->idx = 0xffff;
}

static void head(void)
{
	driver_avail(&d, 0, NUM);
}

static void head_far(void)
{
	driver_avail(&d, 0, 0xffff);
}

static void next(void)
{
	set(0, 0, 1, NEXT, NUM);
	driver_avail(&d, 0, 0);
}

static void loop_of_one(void)
{
	set(0, 0, 1, NEXT, 0);
	driver_avail(&d, 0, 0);
}

static void loop_of_all(void)
{
	unsigned k;

	for (k = 0; k < NUM; k++)
		set(k, 0, 1, NEXT, (k + 1) % NUM);
	driver_avail(&d, 0, 0);
}

static void order(void)
{
	set(0, 0, 1, NEXT, 1);
	set(1, 0, 1, NEXT | WRITE, 2);
	set(2, 0, 1, 0, 0);
	driver_avail(&d, 0, 0);
}

static void one_buffer(uint64_t addr, uint32_t len)
{
	set(0, addr, len, WRITE, 0);
	driver_avail(&d, 0, 0);
}

static void buffer_behind(void)
{
	one_buffer(RAM, 1);
}

static void buffer_across(void)
{
	one_buffer(RAM - 1, 2);
}

static void buffer_empty(void)
{
	one_buffer(0, 0);
}

static void buffer_long(void)
{
	one_buffer(0, UINT32_MAX);
}

static void buffer_wraps(void)
{
	one_buffer(UINT64_MAX, 2);
}

static void buffer_hole(void)
{
	one_buffer(LAYOUT_HIGH - 1, 2);
}

static void buffer_device(void)
{
	one_buffer(LAYOUT_MMIO, 16);
}

static void buffer_high_across(void)
{
	one_buffer(LAYOUT_HIGH + 4095, 2);
}

/* An indirect table of @len bytes at @addr. */
static void indirect(uint64_t addr, uint32_t len, unsigned flags)
{
	set(0, addr, len, INDIRECT | flags, 1);
	set(1, 0, 1, 0, 0);
	driver_avail(&d, 0, 0);
}

static void table_empty(void)
{
	indirect(driver_alloc(&d, 16, 16), 0, 0);
}

static void table_odd_size(void)
{
	indirect(driver_alloc(&d, 32, 16), 24, 0);
}

static void table_long(void)
{
	indirect(driver_alloc(&d, 16 * (NUM + 1), 16), 16 * (NUM + 1), 0);
}

static void table_huge(void)
{
	indirect(0, 0xfffffff0, 0);
}

static void table_outside(void)
{
	indirect(RAM - 16, 32, 0);
}

static void table_wraps(void)
{
	indirect(UINT64_MAX - 15, 32, 0);
}

static void table_unaligned(void)
{
	indirect(driver_alloc(&d, 32, 16) + 4, 16, 0);
}

static void table_with_next(void)
{
	indirect(driver_alloc(&d, 16, 16), 16, NEXT);
}

static void table_in_table(void)
{
	uint64_t at = driver_alloc(&d, 16, 16);
	struct driver_desc *t = driver_ptr(&d, at);

	*t = (struct driver_desc){ at, 16, INDIRECT, 0 };
	indirect(at, 16, 0);
}

static void table_next(void)
{
	uint64_t at = driver_alloc(&d, 32, 16);
	struct driver_desc *t = driver_ptr(&d, at);

	t[0] = (struct driver_desc){ 0, 1, NEXT, 2 };
	indirect(at, 32, 0);
}

static void table_loop(void)
{
	uint64_t at = driver_alloc(&d, 32, 16);
	struct driver_desc *t = driver_ptr(&d, at);

	t[0] = (struct driver_desc){ 0, 1, NEXT, 1 };
	t[1] = (struct driver_desc){ 0, 1, NEXT, 0 };
	indirect(at, 32, 0);
}

/* Direct ones first, which count too: 1 + NUM in all. */
static void table_behind_buffer(void)
{
	uint64_t at = driver_alloc(&d, 16 * NUM, 16);
	struct driver_desc *t = driver_ptr(&d, at);
	unsigned k;

	for (k = 0; k < NUM; k++)
		t[k] = (struct driver_desc){ 0, 1, k + 1 < NUM ? NEXT : 0,
					     (uint16_t)(k + 1) };
	set(0, 0, 1, NEXT, 1);
	set(1, at, 16 * NUM, INDIRECT, 0);
	driver_avail(&d, 0, 0);
}

static const struct {
	const char *what;
	void (*break_it)(void);
	const char *rule;
} rules[] = {
	{ "idx is num + 1 ahead", avail_index, "avail index" },
	{ "idx goes back", avail_index_back, "avail index" },
	{ "a head of num", head, "head beyond the table" },
	{ "a head of 65535", head_far, "head beyond the table" },
	{ "a next of num", next, "descriptor beyond the table" },
	{ "a loop of one", loop_of_one, "chain longer than the queue" },
	{ "a loop of all", loop_of_all, "chain longer than the queue" },
	{ "r w r", order, "readable buffer after a writable one" },
	{ "a buffer behind RAM", buffer_behind, "buffer outside of memory" },
	{ "a byte behind RAM", buffer_across, "buffer outside of memory" },
	{ "a buffer of nothing", buffer_empty, "buffer outside of memory" },
	{ "2^32 - 1 bytes", buffer_long, "buffer outside of memory" },
	{ "around 2^64", buffer_wraps, "buffer outside of memory" },
	{ "from the hole", buffer_hole, "buffer outside of memory" },
	{ "a device's page", buffer_device, "buffer outside of memory" },
	{ "behind high RAM", buffer_high_across, "buffer outside of memory" },
	{ "an empty table", table_empty, "size of the indirect table" },
	{ "one and a half", table_odd_size, "size of the indirect table" },
	{ "num + 1 entries", table_long, "size of the indirect table" },
	{ "2^28 - 1 entries", table_huge, "size of the indirect table" },
	{ "half outside", table_outside, "indirect table outside of memory" },
	{ "table around 2^64", table_wraps,
	  "indirect table outside of memory" },
	{ "unaligned", table_unaligned, "alignment of the indirect table" },
	{ "table and next", table_with_next, "indirect with next" },
	{ "a table in itself", table_in_table, "indirect in indirect" },
	{ "a next of the table's size", table_next,
	  "descriptor beyond the table" },
	{ "a loop in a table", table_loop, "chain longer than the queue" },
	{ "1 + num buffers", table_behind_buffer,
	  "chain longer than the queue" },
};

static void rule(unsigned k)
{
	uint64_t refused;

	begin(RAM, 4096);
	refused = v.refused;
	rules[k].break_it();
	driver_kick(&d, 0);
	is_str(v.q[0].broken, rules[k].rule, rules[k].what);
	ok(driver_needs_reset(&d) && v.refused == refused + 1 &&
		   driver_interrupts(&d) == DRIVER_INT_CONFIG &&
		   driver_used(&d, 0, NULL) < 0,
	   "a reset is asked for, nothing else");
	driver_kick(&d, 0);
	ok(!works(1) && v.refused == refused + 1, "until then it is deaf");
	up(~0ULL);
	ok(!driver_needs_reset(&d) && works(0) && works(1),
	   "after it, it works");
	end();
}

/* 2^32 bytes: only with a buffer that is there many times. */
static void total(void)
{
	const uint64_t size = 1ULL << 29;
	struct driver_buf b[8];
	unsigned k;

	for (k = 0; k < 8; k++)
		b[k] = (struct driver_buf){ 0, size, k > 3 };
	begin(size, 4096);
	driver_add(&d, 0, b, 8);
	driver_kick(&d, 0);
	is_str(v.q[0].broken, "chain of 2^32 bytes", "8 times 512 MiB");
	up(~0ULL);
	b[7].len--;
	driver_add(&d, 0, b, 8);
	is_int(vq_pop(&v.q[0], &chain), 1, "one byte less");
	ok(chain.read_len + chain.write_len == UINT32_MAX, "is 2^32 - 1");
	end();
}

/* ---- enabling ---- */

static void enable(uint16_t num, uint64_t desc_at, uint64_t avail,
		   uint64_t used, const char *rule_, const char *what)
{
	struct driver_queue *q = &d.q[0];

	driver_negotiate(&d, DRIVER_COMMON);
	*q = (struct driver_queue){ .num = num,
				    .desc_gpa = desc_at,
				    .avail_gpa = avail,
				    .used_gpa = used };
	is_int(driver_queue_ready(&d, 0), !rule_, what);
	is_str(v.q[0].broken, rule_, "for that reason");
	is_int(driver_needs_reset(&d), rule_ != NULL, "and the device says so");
}

static void enabling(void)
{
	const char *size = "size", *odd = "alignment of the rings";
	const char *out = "rings outside of memory";

	begin(RAM, 4096);
	enable(8, 0, 4096, 8192, NULL, "rings anywhere");
	enable(0, 0, 4096, 8192, size, "none");
	enable(1, 0, 4096, 8192, NULL, "one");
	enable(3, 0, 4096, 8192, size, "three");
	enable(256, 0, 4096, 8192, NULL, "256");
	enable(257, 0, 4096, 8192, size, "257");
	enable(512, 0, 4096, 8192, size, "512");
	enable(0x8000, 0, 4096, 8192, size, "32768");
	enable(8, 8, 4096, 8192, odd, "table at 8");
	enable(8, 0, 4097, 8192, odd, "avail ring at an odd address");
	enable(8, 0, 4098, 8192, NULL, "at an even one");
	enable(8, 0, 4096, 8194, odd, "used ring at 2 of 4");
	enable(8, 0, 4096, 8196, NULL, "at 4");
	enable(8, RAM - 128, 0, 4096, NULL, "table at the end");
	enable(8, RAM - 112, 0, 4096, out, "16 bytes behind");
	enable(8, 0, RAM - 22, 4096, NULL, "avail ring at the end");
	enable(8, 0, RAM - 20, 4096, out, "its event index is outside");
	enable(1, 0, 4096, RAM - 16, NULL, "used ring at the end");
	enable(1, 0, 4096, RAM - 12, out, "its event index is outside");
	enable(8, UINT64_MAX - 15, 0, 4096, out, "table at 2^64 - 16");
	enable(8, 0, UINT64_MAX - 1, 4096, out, "avail ring at 2^64 - 2");
	enable(8, 0, 4096, UINT64_MAX - 3, out, "used ring at 2^64 - 4");
	enable(8, LAYOUT_HIGH, LAYOUT_HIGH + 1024, LAYOUT_HIGH + 2048, NULL,
	       "all high");
	enable(8, LAYOUT_HIGH + 4096 - 128, 0, 4096, NULL, "at the high end");
	enable(8, LAYOUT_HIGH + 4096 - 112, 0, 4096, out, "behind it");
	end();
}

/* A chain that is under way when its queue is disabled and enlarged: the ring
 * that was checked is at the end of RAM, so that a write behind it crashes. */
static void disabled_meanwhile(void)
{
	uint16_t before;

	begin(RAM, 4096);
	driver_negotiate(&d, DRIVER_COMMON);
	driver_queue_at(&d, 0, 1, 0, 4096, RAM - 16);
	driver_queue_ready(&d, 0);
	driver_add_status(&d, VIRTIO_CONFIG_S_DRIVER_OK);
	/* So that the index of the larger ring is beyond the small one. */
	v.q[0].s.next_used = 200;
	driver_add(&d, 0, (struct driver_buf[]){ { 0, 1, true } }, 1);
	is_int(vq_pop(&v.q[0], &chain), 1, "a chain");
	driver_write(&d, VIRTIO_MMIO_QUEUE_SEL, 0);
	driver_write(&d, VIRTIO_MMIO_QUEUE_READY, 0);
	driver_write(&d, VIRTIO_MMIO_QUEUE_NUM, 256);
	before = d.q[0].used->idx;
	vq_push(&v.q[0], chain.head, 1);
	virtio_signal(&v, 0);
	ok(d.q[0].used->idx == before && driver_interrupts(&d) == 0,
	   "does not come back to a queue that is off");
	driver_reset(&d);
	vq_push(&v.q[0], 0, 1);
	virtio_signal(&v, 0);
	is_int(driver_interrupts(&d), 0, "nor after a reset");
	is_int(vq_pop(&v.q[0], &chain), 0, "which has no chains");
	ok(vq_notify(&v.q[0], true) && vq_notify(&v.q[0], false),
	   "and nobody to notify");
	end();
}

int main(void)
{
	unsigned k;

	for (k = 0; k < sizeof(rules) / sizeof(rules[0]); k++)
		rule(k);
	total();
	enabling();
	disabled_meanwhile();
	return tap_done();
}
