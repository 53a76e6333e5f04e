/* SPDX-License-Identifier: MIT
 *
 * libFuzzer: the registers of virtio-mmio and the rings, with a device that
 * copies what it is sent into the same chain.  See virtio.h for the input.
 */
#include <errno.h>

#include "tests/fuzz/virtio.h"

/* At most 64 a time: a chain may lie across the ring and make more. */
static int copy(struct virtio *v, unsigned i)
{
	static struct vq_chain c;
	static uint8_t data[65536];
	struct vq *q = &v->q[i];
	unsigned left = 64;
	size_t n;
	int r;

	vq_notify(q, false);
	while ((r = vq_pop(q, &c)) > 0) {
		n = vq_read(&c, 0, data, sizeof(data));
		if (n && data[0] == 0xff)
			return virtio_rule(v, "copy");
		n = vq_write(&c, 0, data, n);
		vq_push(q, c.head, (uint32_t)n);
		virtio_signal(v, i);
		if (--left == 0)
			return 1;
	}
	return r;
}

static void config_written(struct virtio *v, unsigned off, unsigned len)
{
	fuzz_must(off < v->ops->config_size &&
		  len <= v->ops->config_size - off);
	v->config[off] = 0;
}

static const struct virtio_ops ops = { .name = "copy",
				       .id = 63,
				       .features = 7,
				       .queues = 3,
				       .config_size = 12,
				       .queue = copy,
				       .config_written = config_written };

/* From the host's side, at any time. */
static void event(struct virtio *v, struct fuzz_bytes *b)
{
	unsigned q = (unsigned)fuzz_int(b, 1);

	pthread_mutex_lock(&v->lock);
	if (q & 1)
		virtio_config_changed(v);
	else
		virtio_serve(v, (q >> 1) % ops.queues);
	pthread_mutex_unlock(&v->lock);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const struct fuzz_calls calls = { .event = event };
	static struct virtio v;
	struct driver *d = fuzz_ram();

	fuzz_must(virtio_init(&v, &ops, &d->m, NULL, NULL) == 0);
	fuzz_virtio(d, &v, &calls, p, n);
	virtio_free(&v);
	return 0;
}
