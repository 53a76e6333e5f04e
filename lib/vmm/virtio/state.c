/* SPDX-License-Identifier: MIT
 *
 * The state of any virtio device, in the state file: see virtio.h.
 *
 * What was notified but not served yet, and what was raised but not seen yet,
 * is in no register.  So after loading every queue is served once and, if the
 * status says so, the interrupt is raised once more: drivers take both for what
 * they are, a question too many.
 */
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <unistd.h>

#include "vmm/state.h"
#include "vmm/virtio/virtio.h"

static void queue_state(struct virtio *v, struct vq *q, struct state_io *io)
{
	state_u16(io, &q->s.num);
	state_bool(io, &q->s.ready);
	state_u64(io, &q->s.desc);
	state_u64(io, &q->s.avail);
	state_u64(io, &q->s.used);
	state_u16(io, &q->s.next_avail);
	state_u16(io, &q->s.next_used);
	state_u16(io, &q->s.signalled);
	state_bool(io, &q->s.signalled_valid);
	if (!io->loading || io->failed)
		return;
	q->broken = NULL;
	q->event_idx = virtio_has(v, VIRTIO_RING_F_EVENT_IDX);
	if (q->s.ready && vq_enable(q) < 0)
		state_refuse(io, "a queue that cannot be: %s", q->broken);
}

void virtio_state(struct virtio *v, struct state_io *io)
{
	unsigned i;

	state_same(io, v->ops->id, "the kind of device");
	state_same(io, v->ops->features, "its features");
	state_u32(io, &v->s.status);
	state_u32(io, &v->s.device_features_sel);
	state_u32(io, &v->s.driver_features_sel);
	state_u64(io, &v->s.features);
	state_u32(io, &v->s.queue_sel);
	state_u32(io, &v->s.interrupt);
	state_u32(io, &v->s.config_generation);
	state_bytes(io, v->config, v->ops->config_size);
	for (i = 0; i < v->ops->queues; i++)
		queue_state(v, &v->q[i], io);
}

void virtio_loaded(struct virtio *v)
{
	const uint64_t one = 1;
	unsigned i;

	if (v->s.interrupt && v->irq >= 0)
		(void)!write(v->irq, &one, sizeof(one));
	for (i = 0; i < v->ops->queues; i++) {
		if (v->q[i].s.ready && v->kick[i].w.fd >= 0)
			(void)!write(v->kick[i].w.fd, &one, sizeof(one));
	}
}

void virtio_hold(struct virtio *v)
{
	pthread_mutex_lock(&v->lock);
	v->held = true;
	pthread_mutex_unlock(&v->lock);
}

void virtio_go_on(struct virtio *v)
{
	pthread_mutex_lock(&v->lock);
	v->held = false;
	pthread_mutex_unlock(&v->lock);
	/* What was notified meanwhile is in no register. */
	virtio_loaded(v);
}
