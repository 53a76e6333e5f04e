/* SPDX-License-Identifier: MIT
 *
 * Split queues: chains that are right, and what keeps device and driver quiet
 * and awake.
 */
#include "tests/unit/copy_device.h"

/* ---- what is right ---- */

static void chains(void)
{
	struct driver_buf b[NUM];
	struct driver_desc *t;
	uint64_t in, table;
	uint32_t len;
	unsigned k;

	begin(RAM, 4096);
	for (k = 0; k < NUM; k++)
		b[k] = (struct driver_buf){ driver_alloc(&d, 1, 1), 1, k > 3 };
	in = b[0].gpa;
	memcpy(driver_ptr(&d, in), "abcd", 4);
	driver_add(&d, 0, b, NUM);
	driver_kick(&d, 0);
	ok(driver_used(&d, 0, &len) >= 0 && len == 4, "as many as there are");
	is_mem(driver_ptr(&d, in), 8, "abcdabcd", 8, "byte by byte");
	memset(driver_ptr(&d, in + 4), 0, 4);
	table = driver_alloc(&d, 16 * NUM, 16);
	driver_add_indirect(&d, 0, b, NUM, table);
	driver_kick(&d, 0);
	ok(driver_used(&d, 0, &len) >= 0 && len == 4, "the same in a table");
	is_mem(driver_ptr(&d, in), 8, "abcdabcd", 8, "byte by byte");
	set(0, in, 1, NEXT, 1);
	set(1, table, 16 * (NUM - 1), INDIRECT, 0);
	t = driver_ptr(&d, table);
	t[NUM - 2].flags = WRITE; /* the last */
	driver_avail(&d, 0, 0);
	driver_kick(&d, 0);
	is_int(driver_used(&d, 0, &len), 0, "a table at the end of a chain");
	for (k = 0; k < NUM; k++)
		driver_add(&d, 0, &b[k], 1);
	driver_kick(&d, 0);
	for (k = 0; driver_used(&d, 0, NULL) >= 0;)
		k++;
	is_int(k, NUM, "a full ring");
	b[0].gpa = LAYOUT_HIGH + 4095;
	driver_add(&d, 0, b, 1);
	driver_kick(&d, 0);
	ok(driver_used(&d, 0, NULL) >= 0, "the last byte of high RAM");
	end();
}

/* Persistent memory: a device may read it, and nothing else. */
static void shown(void)
{
	static const char rom[4096] = "hello";
	const uint64_t at = 2 * LAYOUT_HIGH;
	uint64_t to;
	uint32_t len = 0;

	begin(RAM, 0);
	mem_show(&d.m, at, rom, sizeof(rom));
	to = driver_alloc(&d, 5, 1);
	driver_add(&d, 0,
		   (struct driver_buf[]){ { at, 5, false }, { to, 5, true } },
		   2);
	driver_kick(&d, 0);
	ok(driver_used(&d, 0, &len) >= 0 && len == 5, "what is shown is read");
	is_mem(driver_ptr(&d, to), 5, "hello", 5, "as it is");
	driver_add(&d, 0, (struct driver_buf[]){ { at + 4095, 2, false } }, 1);
	is_int(vq_pop(&v.q[0], &chain), -EPROTO, "but not beyond its end");
	up(~0ULL);
	driver_add(&d, 0, (struct driver_buf[]){ { at - 1, 1, false } }, 1);
	is_int(vq_pop(&v.q[0], &chain), -EPROTO, "nor before it");
	up(~0ULL);
	driver_add(&d, 0, (struct driver_buf[]){ { at, 1, true } }, 1);
	is_int(vq_pop(&v.q[0], &chain), -EPROTO, "and never is it written");
	end();
}

static void unpop(void)
{
	begin(RAM, 0);
	driver_add(&d, 0, (struct driver_buf[]){ { 0, 1, true } }, 1);
	driver_add(&d, 0, (struct driver_buf[]){ { 0, 2, true } }, 1);
	vq_pop(&v.q[0], &chain);
	vq_unpop(&v.q[0]);
	vq_pop(&v.q[0], &chain);
	is_int(chain.write_len, 1, "a chain that was put back comes again");
	vq_pop(&v.q[0], &chain);
	is_int(chain.write_len, 2, "then the next");
	is_int(vq_pop(&v.q[0], &chain), 0, "then none");
	end();
}

static void bytes(void)
{
	char text[] = "abcdefghij", got[16] = "";
	struct vq_chain *c = &chain;
	struct iovec out[VQ_MAX];

	c->nread = c->nwrite = 2;
	c->iov[0] = c->iov[2] = (struct iovec){ text, 3 };
	c->iov[1] = c->iov[3] = (struct iovec){ text + 5, 2 };
	is_int(vq_read(c, 0, got, 16), 5, "read all");
	is_str(got, "abcfg", "that is readable");
	is_int(vq_read(c, 2, got, 2), 2, "read across buffers");
	is_mem(got, 2, "cf", 2, "from the right place");
	is_int(vq_read(c, 5, got, 1), 0, "nothing at the end");
	is_int(vq_read(c, UINT64_MAX, got, 1), 0, "nor far behind it");
	is_int(vq_write(c, 2, "XYZ", 3), 3, "write across buffers");
	is_str(text, "abXdeYZhij", "to the right place");
	is_int(vq_write(c, 4, "12", 2), 1, "write what fits");
	is_int(vq_write(c, 5, "12", 2), 0, "nothing at the end");
	is_int(vq_slice(c->iov, 2, 1, 3, out), 2, "a slice of two");
	ok(out[0].iov_base == text + 1 && out[0].iov_len == 2 &&
		   out[1].iov_base == text + 5 && out[1].iov_len == 1,
	   "has the right bytes");
	is_int(vq_slice(c->iov, 2, 3, 9, out), 1, "a slice of the second");
	ok(out[0].iov_base == text + 5 && out[0].iov_len == 2, "as it is");
	is_int(vq_slice(c->iov, 2, 0, 0, out), 0, "a slice of nothing");
	is_int(vq_slice(c->iov, 2, 5, 1, out), 0, "a slice behind the end");
}

/* ---- notifications ---- */

/* One chain; whether it interrupted. */
static bool once(void)
{
	driver_add(&d, 0, (struct driver_buf[]){ { 0x8000, 1, true } }, 1);
	driver_kick(&d, 0);
	driver_used(&d, 0, NULL);
	return driver_interrupts(&d) == DRIVER_INT_VRING;
}

/* @n chains by a driver that wants the interrupt when @ahead more than the
 * next one is there; how many came. */
static unsigned interrupts(unsigned n, unsigned ahead, bool *asked)
{
	unsigned k, came = 0;

	*driver_used_event(&d, 0) = (uint16_t)(d.q[0].seen + ahead);
	for (k = 0; k < n; k++) {
		if (once()) {
			came++;
			*driver_used_event(&d, 0) =
				(uint16_t)(d.q[0].seen + ahead);
		}
		*asked &= *driver_avail_event(&d, 0) == d.q[0].avail->idx;
	}
	return came;
}

static void event_idx(void)
{
	bool asked = true;

	begin(RAM, 0);
	ok(once(), "the first one interrupts");
	is_int(interrupts(65536 + 9, 0, &asked), 65536 + 9,
	       "wanted each time, across 65536");
	is_int(interrupts(3 * 65536 / 2, 2, &asked), 3 * 65536 / 2 / 3,
	       "wanted each third time");
	is_int(interrupts(3000, 0xffff, &asked), 0, "wanted long ago");
	is_int(interrupts(65536, 65535, &asked), 1, "wanted once around");
	ok(asked, "and it always wanted to know of the next chain");
	ok(d.q[0].used->flags == 0, "the flag of old is not used");
	end();
}

/* Several at once: one of them is what the driver waits for. */
static void event_idx_batch(void)
{
	struct driver_buf b = { 0x8000, 1, true };
	unsigned k;

	begin(RAM, 0);
	once();
	*driver_used_event(&d, 0) = 4;
	for (k = 0; k < 3; k++)
		driver_add(&d, 0, &b, 1);
	driver_kick(&d, 0);
	is_int(driver_interrupts(&d), 0, "2 to 4: not yet");
	for (k = 0; k < 3; k++)
		driver_add(&d, 0, &b, 1);
	driver_kick(&d, 0);
	is_int(driver_interrupts(&d), DRIVER_INT_VRING, "5 to 7: now");
	/* And by a device that asks only behind the last. */
	*driver_used_event(&d, 0) = 8;
	for (k = 0; k < 3; k++)
		vq_push(&v.q[0], 0, 0);
	virtio_signal(&v, 0);
	is_int(driver_interrupts(&d), DRIVER_INT_VRING, "8 to 10: once");
	virtio_signal(&v, 0);
	is_int(driver_interrupts(&d), 0, "no more: no more");
	end();
}

static void flags(void)
{
	begin(RAM, 0);
	up(0);
	ok(!v.q[0].event_idx && once() && once(), "each interrupts");
	d.q[0].avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	ok(!once() && !once(), "none when none are wanted");
	d.q[0].avail->flags = 0;
	ok(once(), "again when they are");
	ok(vq_notify(&v.q[0], false) &&
		   d.q[0].used->flags == VRING_USED_F_NO_NOTIFY,
	   "the device can ask for silence");
	ok(vq_notify(&v.q[0], true) && d.q[0].used->flags == 0,
	   "and for notifications");
	vq_notify(&v.q[0], false);
	driver_add(&d, 0, (struct driver_buf[]){ { 0x8000, 1, true } }, 1);
	ok(!vq_notify(&v.q[0], true), "and hears what came meanwhile");
	vq_notify(&v.q[0], false);
	vq_pop(&v.q[0], &chain);
	vq_pop(&v.q[0], &chain);
	is_int(d.q[0].used->flags, 0, "who takes the last is told of the next");
	end();
}

int main(void)
{
	chains();
	shown();
	unpop();
	bytes();
	event_idx();
	event_idx_batch();
	flags();
	return tap_done();
}
