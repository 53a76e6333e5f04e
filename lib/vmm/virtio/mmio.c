/* SPDX-License-Identifier: MIT
 *
 * virtio over memory-mapped registers: see virtio.h.
 *
 * The registers are those of virtio 1.2, 4.2.2, table 4.1.  A driver that
 * breaks a rule finds DEVICE_NEEDS_RESET in its status and a configuration
 * interrupt (2.1.2); until it resets the device, nothing is served.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "vmm/virtio/virtio.h"

#define MAGIC 0x74726976 /* "virt" */
#define VERSION 2
#define VENDOR 0x6f736925 /* any; ours is "%iso" */

#define BIT(n) (1ULL << (n))
#define COMMON_FEATURES                                           \
	(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_EVENT_IDX) | \
	 BIT(VIRTIO_RING_F_INDIRECT_DESC))

#define STATUS_ALL                                                 \
	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |    \
	 VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK | \
	 VIRTIO_CONFIG_S_FAILED)

static uint64_t offered(const struct virtio *v)
{
	return v->ops->features | COMMON_FEATURES;
}

bool virtio_live(const struct virtio *v)
{
	return (v->s.status & VIRTIO_CONFIG_S_DRIVER_OK) &&
	       !(v->s.status & VIRTIO_CONFIG_S_NEEDS_RESET);
}

/* ---- interrupts ---- */

/* The status bit must be there before the interrupt is: the driver's handler
 * reads it first and ignores an interrupt that has none.  The interrupt is an
 * edge; one that comes while the handler runs is remembered by the controller,
 * so none is lost.
 *
 * v->s.interrupt is the one thing that is touched without v->lock: the guest's
 * interrupt handler reads and acknowledges it, and would otherwise keep its
 * processor waiting for whatever the device's thread is at, a disk's reads for
 * instance.  It is one word, so atomic accesses are enough. */
static void interrupt(struct virtio *v, uint32_t bit)
{
	const uint64_t one = 1;

	__atomic_fetch_or(&v->s.interrupt, bit, __ATOMIC_SEQ_CST);
	if (v->irq >= 0)
		(void)!write(v->irq, &one, sizeof(one));
}

void virtio_signal(struct virtio *v, unsigned q)
{
	if (vq_wants_interrupt(&v->q[q]))
		interrupt(v, VIRTIO_MMIO_INT_VRING);
}

void virtio_config_changed(struct virtio *v)
{
	v->s.config_generation++;
	if (v->s.status & VIRTIO_CONFIG_S_DRIVER_OK)
		interrupt(v, VIRTIO_MMIO_INT_CONFIG);
}

int virtio_rule(struct virtio *v, const char *rule)
{
	v->rule = rule;
	return -EPROTO;
}

static void break_device(struct virtio *v, const char *rule)
{
	v->refused++;
	if (v->on_broken)
		v->on_broken(v, rule);
	if (v->s.status & VIRTIO_CONFIG_S_NEEDS_RESET)
		return;
	v->s.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	if (v->s.status & VIRTIO_CONFIG_S_DRIVER_OK)
		interrupt(v, VIRTIO_MMIO_INT_CONFIG);
}

/* ---- queues ---- */

void virtio_serve(struct virtio *v, unsigned q)
{
	const uint64_t one = 1;
	const char *rule;
	int r;

	if (v->held || !virtio_live(v) || !v->q[q].s.ready)
		return;
	r = v->ops->queue(v, q);
	/* More to do, but not in one go: a driver that never stops would keep
	 * the loop and the lock from everybody else. */
	if (r > 0 && v->kick[q].w.fd >= 0)
		(void)!write(v->kick[q].w.fd, &one, sizeof(one));
	if (r != -EPROTO)
		return;
	rule = v->q[q].broken ? v->q[q].broken : v->rule;
	break_device(v, rule ? rule : "?");
}

static void kicked(struct watch *w, uint32_t events)
{
	struct virtio_kick *k = container_of(w, struct virtio_kick, w);
	uint64_t n;

	(void)events;
	(void)!read(w->fd, &n, sizeof(n));
	pthread_mutex_lock(&k->v->lock);
	virtio_serve(k->v, k->q);
	pthread_mutex_unlock(&k->v->lock);
}

/* QueueNotify without an ioeventfd. */
static void notify(struct virtio *v, uint32_t q)
{
	const uint64_t one = 1;

	if (q >= v->ops->queues)
		return;
	if (v->kick[q].w.fd >= 0)
		(void)!write(v->kick[q].w.fd, &one, sizeof(one));
	else
		virtio_serve(v, q);
}

static void queue_ready(struct virtio *v, struct vq *q, uint32_t on)
{
	if (!on) {
		q->s.ready = false;
		return;
	}
	if (q->s.ready)
		return;
	if (!(v->s.status & VIRTIO_CONFIG_S_FEATURES_OK)) {
		break_device(v, "queue enabled before FEATURES_OK");
		return;
	}
	q->event_idx = virtio_has(v, VIRTIO_RING_F_EVENT_IDX);
	if (vq_enable(q) < 0)
		break_device(v, q->broken);
}

/* ---- status ---- */

static void reset(struct virtio *v)
{
	unsigned i;

	if (v->ops->reset)
		v->ops->reset(v);
	for (i = 0; i < v->ops->queues; i++)
		vq_reset(&v->q[i]);
	v->rule = NULL;
	v->s = (struct virtio_state){ .config_generation =
					      v->s.config_generation };
}

/* FEATURES_OK stays off when the features cannot be (2.2.2). */
static uint32_t check_features(const struct virtio *v, uint32_t status)
{
	if ((v->s.features & ~offered(v)) || !virtio_has(v, VIRTIO_F_VERSION_1))
		status &= ~(uint32_t)VIRTIO_CONFIG_S_FEATURES_OK;
	return status;
}

static void write_status(struct virtio *v, uint32_t status)
{
	const uint32_t old = v->s.status;
	uint32_t added;

	if (status == 0) {
		reset(v);
		return;
	}
	/* A driver may only add bits, but for the reset (2.1.1). */
	status = (status & STATUS_ALL) | old;
	added = status & ~old;
	if (added & VIRTIO_CONFIG_S_FEATURES_OK)
		status = check_features(v, status);
	if ((added & VIRTIO_CONFIG_S_DRIVER_OK) &&
	    !(status & VIRTIO_CONFIG_S_FEATURES_OK)) {
		break_device(v, "DRIVER_OK before FEATURES_OK");
		return;
	}
	v->s.status = status;
	if ((added & VIRTIO_CONFIG_S_DRIVER_OK) && v->ops->activate)
		v->ops->activate(v);
}

/* ---- registers ---- */

static struct vq *selected(struct virtio *v)
{
	return v->s.queue_sel < v->ops->queues ? &v->q[v->s.queue_sel] : NULL;
}

static uint32_t half(uint64_t x, uint32_t sel)
{
	return sel > 1 ? 0 : (uint32_t)(x >> (32 * sel));
}

static uint32_t read_register(struct virtio *v, uint64_t off)
{
	const struct vq *q = selected(v);

	switch (off) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MAGIC;
	case VIRTIO_MMIO_VERSION:
		return VERSION;
	case VIRTIO_MMIO_DEVICE_ID:
		return v->ops->id;
	case VIRTIO_MMIO_VENDOR_ID:
		return VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return half(offered(v), v->s.device_features_sel);
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return q ? VQ_MAX : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return q && q->s.ready;
	case VIRTIO_MMIO_STATUS:
		return v->s.status;
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return v->s.config_generation;
	default:
		/* No shared memory: the length reads as all ones (4.2.2). */
		return off >= VIRTIO_MMIO_SHM_LEN_LOW &&
				       off <= VIRTIO_MMIO_SHM_BASE_HIGH ?
			       UINT32_MAX :
			       0;
	}
}

static void set_low(uint64_t *x, uint32_t to)
{
	*x = (*x & ~(uint64_t)UINT32_MAX) | to;
}

static void set_high(uint64_t *x, uint32_t to)
{
	*x = (*x & UINT32_MAX) | (uint64_t)to << 32;
}

/* Registers of the selected queue.  All but QueueReady are fixed while it is
 * ready (4.2.2.2). */
static void write_queue(struct virtio *v, uint64_t off, uint32_t x)
{
	struct vq *q = selected(v);

	if (!q)
		return;
	if (off == VIRTIO_MMIO_QUEUE_READY) {
		queue_ready(v, q, x & 1);
		return;
	}
	if (q->s.ready)
		return;
	switch (off) {
	case VIRTIO_MMIO_QUEUE_NUM:
		q->s.num = x > VQ_MAX ? 0 : (uint16_t)x;
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
		set_low(&q->s.desc, x);
		break;
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		set_high(&q->s.desc, x);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
		set_low(&q->s.avail, x);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		set_high(&q->s.avail, x);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
		set_low(&q->s.used, x);
		break;
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		set_high(&q->s.used, x);
		break;
	default:
		break;
	}
}

static void write_driver_features(struct virtio *v, uint32_t x)
{
	/* Fixed once they were agreed on (3.1.1). */
	if (v->s.status & VIRTIO_CONFIG_S_FEATURES_OK)
		return;
	if (v->s.driver_features_sel == 0)
		set_low(&v->s.features, x);
	else if (v->s.driver_features_sel == 1)
		set_high(&v->s.features, x);
}

static void write_register(struct virtio *v, uint64_t off, uint32_t x)
{
	switch (off) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		v->s.device_features_sel = x;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		v->s.driver_features_sel = x;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		write_driver_features(v, x);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		v->s.queue_sel = x;
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		notify(v, x);
		break;
	case VIRTIO_MMIO_STATUS:
		write_status(v, x);
		break;
	default:
		write_queue(v, off, x);
		break;
	}
}

/* The configuration space: 1, 2 or 4 bytes at a time (4.2.2.2). */
static bool in_config(const struct virtio *v, uint64_t off, unsigned len)
{
	return (len == 1 || len == 2 || len == 4 || len == 8) &&
	       off <= v->ops->config_size && len <= v->ops->config_size - off;
}

/* The registers of interrupts; see interrupt() for why they are apart. */
static bool read_interrupt(struct virtio *v, uint64_t off, void *p,
			   unsigned len)
{
	uint32_t x;

	if (off != VIRTIO_MMIO_INTERRUPT_STATUS || len != sizeof(x))
		return false;
	x = __atomic_load_n(&v->s.interrupt, __ATOMIC_SEQ_CST);
	memcpy(p, &x, sizeof(x));
	return true;
}

static bool write_interrupt(struct virtio *v, uint64_t off, const void *p,
			    unsigned len)
{
	uint32_t x;

	if (off != VIRTIO_MMIO_INTERRUPT_ACK || len != sizeof(x))
		return false;
	memcpy(&x, p, sizeof(x));
	__atomic_fetch_and(&v->s.interrupt, ~x, __ATOMIC_SEQ_CST);
	return true;
}

static bool is_register(uint64_t off, unsigned len)
{
	return off < VIRTIO_MMIO_CONFIG && off % 4 == 0 && len == 4;
}

void virtio_mmio_read(struct virtio *v, uint64_t off, void *p, unsigned len)
{
	uint32_t x;

	memset(p, 0, len);
	if (read_interrupt(v, off, p, len))
		return;
	pthread_mutex_lock(&v->lock);
	if (is_register(off, len)) {
		x = read_register(v, off);
		memcpy(p, &x, sizeof(x));
	} else if (off >= VIRTIO_MMIO_CONFIG &&
		   in_config(v, off - VIRTIO_MMIO_CONFIG, len)) {
		memcpy(p, v->config + (off - VIRTIO_MMIO_CONFIG), len);
	}
	pthread_mutex_unlock(&v->lock);
}

void virtio_mmio_write(struct virtio *v, uint64_t off, const void *p,
		       unsigned len)
{
	uint32_t x;

	if (write_interrupt(v, off, p, len))
		return;
	pthread_mutex_lock(&v->lock);
	if (is_register(off, len)) {
		memcpy(&x, p, sizeof(x));
		write_register(v, off, x);
	} else if (off >= VIRTIO_MMIO_CONFIG && v->ops->config_written &&
		   in_config(v, off - VIRTIO_MMIO_CONFIG, len)) {
		off -= VIRTIO_MMIO_CONFIG;
		memcpy(v->config + off, p, len);
		v->ops->config_written(v, (unsigned)off, len);
	}
	pthread_mutex_unlock(&v->lock);
}

/* ---- coming and going ---- */

static int make_kick(struct virtio *v, unsigned q, struct loop *loop,
		     struct err *e)
{
	struct virtio_kick *k = &v->kick[q];
	int r;

	*k = (struct virtio_kick){ .w = WATCH_INIT(loop, kicked),
				   .v = v,
				   .q = q };
	if (!loop)
		return 0;
	k->w.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (k->w.fd < 0)
		return err_sys(e, errno, "cannot make an eventfd for %s",
			       v->ops->name);
	r = loop_arm(&k->w, EPOLLIN);
	return r < 0 ? err_sys(e, -r, "cannot watch a queue of %s",
			       v->ops->name) :
		       0;
}

int virtio_init(struct virtio *v, const struct virtio_ops *ops,
		const struct mem *mem, struct loop *loop, struct err *e)
{
	int r = 0;
	unsigned i;

	*v = (struct virtio){ .ops = ops, .mem = mem, .loop = loop, .irq = -1 };
	pthread_mutex_init(&v->lock, NULL);
	for (i = 0; i < VIRTIO_QUEUES_MAX; i++) {
		v->q[i].mem = mem;
		vq_reset(&v->q[i]);
		v->kick[i].w.fd = -1;
	}
	for (i = 0; r == 0 && i < ops->queues; i++)
		r = make_kick(v, i, loop, e);
	if (r == 0 && loop) {
		v->irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (v->irq < 0)
			r = err_sys(e, errno, "cannot make an eventfd for %s",
				    ops->name);
	}
	return r;
}

int virtio_renew(struct virtio *v, struct err *e)
{
	unsigned i;
	int r = 0;

	for (i = 0; r == 0 && i < v->ops->queues; i++) {
		fd_close(&v->kick[i].w.fd);
		r = make_kick(v, i, v->loop, e);
	}
	fd_close(&v->irq);
	if (r == 0)
		v->irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r == 0 && v->irq < 0)
		r = err_sys(e, errno, "cannot make an eventfd for %s",
			    v->ops->name);
	return r;
}

void virtio_free(struct virtio *v)
{
	unsigned i;

	if (!v->ops)
		return;
	for (i = 0; i < VIRTIO_QUEUES_MAX; i++)
		loop_close(&v->kick[i].w);
	fd_close(&v->irq);
	pthread_mutex_destroy(&v->lock);
	v->ops = NULL;
}
