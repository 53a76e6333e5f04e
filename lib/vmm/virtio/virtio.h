/* SPDX-License-Identifier: MIT
 *
 * A virtio device and its registers in memory: virtio 1.2, chapters 2 and 4.2
 * (virtio-mmio, version 2; nothing of the legacy interface).
 *
 * Who calls what, on which thread:
 *
 *	a vCPU		virtio_mmio_read(), virtio_mmio_write(): registers and
 *			the device's configuration space
 *	the device's	ops->queue(), when the driver has notified a queue, and
 *	loop		whatever the device watches by itself
 *
 * Both take v->lock around all they do (but for the two registers that an
 * interrupt handler uses), so a device's code never meets another
 * thread in its own data.  A notification is an eventfd that KVM signals by
 * itself (ioeventfd): the vCPU does not leave the guest for it.
 *
 * What a snapshot is to contain stands in v->s and in the device's own struct
 * of the same kind; descriptors, mappings and locks stand outside of them.
 */
#ifndef VMM_VIRTIO_VIRTIO_H
#define VMM_VIRTIO_VIRTIO_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"
#include "vmm/virtio/queue.h"

struct err;
struct mem;
struct virtio;

#define VIRTIO_QUEUES_MAX 4
#define VIRTIO_CONFIG_MAX 64

/* Registers of virtio-mmio (4.2.2) that others than virtio/mmio.c need. */
#define VIRTIO_MMIO_NOTIFY 0x050

struct virtio_ops {
	const char *name;  /* "blk": in messages */
	uint32_t id;	   /* 5.x: 1 net, 2 block, ... */
	uint64_t features; /* besides VERSION_1, EVENT_IDX and INDIRECT_DESC,
			      which all have */
	unsigned queues;
	unsigned config_size;

	/* The driver is ready (DRIVER_OK): features are in v->s.features.
	 * NULL: nothing to do. */
	void (*activate)(struct virtio *v);
	/* Forget everything the driver said.  Requests under way must not
	 * touch guest memory any more once it returns.  NULL: nothing. */
	void (*reset)(struct virtio *v);
	/* The driver has put something into queue @q, or may have.  0; 1 when
	 * enough was done for now and there may be more: the loop comes back
	 * after others had their turn; -EPROTO when the driver broke a rule:
	 * v->q[q].broken or virtio_rule() say which. */
	int (*queue)(struct virtio *v, unsigned q);
	/* The driver wrote to the configuration space, which is in v->config
	 * already: undo what it may not change.  NULL: it may change
	 * nothing. */
	void (*config_written)(struct virtio *v, unsigned off, unsigned len);
};

/* What a snapshot has of every device. */
struct virtio_state {
	uint32_t status;
	uint32_t device_features_sel, driver_features_sel;
	uint64_t features; /* what the driver accepted */
	uint32_t queue_sel;
	uint32_t interrupt; /* InterruptStatus; atomic, see mmio.c */
	uint32_t config_generation;
};

struct virtio_kick {
	struct watch w;
	struct virtio *v;
	unsigned q;
};

struct virtio {
	const struct virtio_ops *ops;
	struct virtio_state s;
	struct vq q[VIRTIO_QUEUES_MAX];
	uint8_t config[VIRTIO_CONFIG_MAX]; /* little-endian, as the guest
					      sees it */
	const char *rule; /* why it wants a reset, when no queue says so */

	pthread_mutex_t lock;
	const struct mem *mem; /* borrowed */
	struct loop *loop;     /* borrowed; where its work is done */
	struct virtio_kick kick[VIRTIO_QUEUES_MAX]; /* w.fd: ioeventfds */
	int irq;   /* owned eventfd that KVM turns into the interrupt, or -1 */
	bool held; /* no queue is served: virtio_hold() */
	uint64_t refused; /* times a driver broke a rule since the start */
	/* Called, with the lock held, at each of them; NULL: nobody. */
	void (*on_broken)(struct virtio *v, const char *rule);
	/* Called, with the lock held, when it is we who could not do what the
	 * driver asked for: @what ("write"), for the errno @num.  NULL:
	 * nobody. */
	void (*on_failed)(struct virtio *v, const char *what, int num);
	void *owner; /* borrowed; for these */
};

/* Set up @v after reset, working on @loop.  Makes the eventfds (NULL @loop:
 * none, and a notification calls ops->queue() at once: for tests and fuzzing).
 * 0 or -errno. */
int virtio_init(struct virtio *v, const struct virtio_ops *ops,
		const struct mem *mem, struct loop *loop, struct err *e);
/* Also one that was never made: all zeros. */
void virtio_free(struct virtio *v);

/* A register access of @len bytes at @off of the device's page.  Accesses that
 * 4.2.2 does not allow read as zero and write nothing. */
void virtio_mmio_read(struct virtio *v, uint64_t off, void *p, unsigned len);
void virtio_mmio_write(struct virtio *v, uint64_t off, const void *p,
		       unsigned len);

/* What all devices have of the state file, within a section that the device
 * has begun.  The VM stands still. */
struct state_io;
void virtio_state(struct virtio *v, struct state_io *io);

/* Everything was loaded, and the VM is about to run. */
void virtio_loaded(struct virtio *v);

/* From now on nothing is served, and what is being served is done when this
 * returns; until it goes on.  Any thread. */
void virtio_hold(struct virtio *v);
void virtio_go_on(struct virtio *v);

/* In a child of fork(2): eventfds of its own, on the loop, which is new too.
 * 0 or -errno, @e filled. */
int virtio_renew(struct virtio *v, struct err *e);

/* ---- for the devices, with v->lock held ---- */

#define virtio_has(v, bit) (((v)->s.features >> (bit)) & 1)

/* Whether the driver is ready and the device not broken. */
bool virtio_live(const struct virtio *v);

/* After pushing to queue @q: interrupt the driver if it wants that. */
void virtio_signal(struct virtio *v, unsigned q);

/* The configuration space has changed: put it into v->config first. */
void virtio_config_changed(struct virtio *v);

/* The driver broke @rule (a string that lives for ever): remember, and
 * -EPROTO to return with. */
int virtio_rule(struct virtio *v, const char *rule);

/* Serve queue @q now, as if the driver had notified it: for work that became
 * possible on our side.  Does what is needed when it turns out broken. */
void virtio_serve(struct virtio *v, unsigned q);

#endif
