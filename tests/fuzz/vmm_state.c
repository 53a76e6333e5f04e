/* SPDX-License-Identifier: MIT
 *
 * Loading the state of devices from whatever bytes: it is refused, or the
 * devices can be used, served and saved again.  The checksums are not looked
 * at in this build (state.c), or nothing would come behind them.
 */
#include <sys/eventfd.h>

#include "base/err.h"
#include "tests/unit/driver.h"
#include "vmm/serial.h"
#include "vmm/state.h"
#include "vmm/virtio/balloon.h"
#include "vmm/virtio/blk.h"
#include "vmm/virtio/rng.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

struct machine {
	struct driver d;
	struct blk blk;
	struct rng rng;
	struct balloon balloon;
	struct serial serial;
};

static void describe(struct machine *m, struct state_io *io)
{
	serial_state_io(&m->serial, io);
	blk_state_io(&m->blk, io);
	rng_state_io(&m->rng, io);
	balloon_state_io(&m->balloon, io);
}

static void use(struct virtio *v)
{
	unsigned q;
	uint8_t word[4];

	for (q = 0; q < v->ops->queues; q++) {
		memcpy(word, &q, sizeof(word));
		virtio_mmio_write(v, VIRTIO_MMIO_QUEUE_NOTIFY, word, 4);
	}
	virtio_loaded(v);
	virtio_mmio_read(v, VIRTIO_MMIO_STATUS, word, 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static uint8_t again[65536];
	static struct machine m;
	struct err e = ERR_INIT;
	struct state_io io;
	int disk = memfd_create("disk", MFD_CLOEXEC);

	if (disk < 0 || ftruncate(disk, 1 << 20) < 0)
		abort();
	memset(&m, 0, sizeof(m));
	driver_ram(&m.d, 65536, 0);
	if (blk_init(&m.blk, &(struct blk_spec){ .fd = disk, .serial = "s" },
		     &m.d.m, NULL, &e) < 0 ||
	    rng_init(&m.rng, &m.d.m, NULL, &e) < 0 ||
	    balloon_init(&m.balloon, &m.d.m, NULL, &e) < 0 ||
	    serial_init(&m.serial, disk, -1, &e) < 0)
		abort();
	state_load(&io, p, n);
	describe(&m, &io);
	if (state_done(&io, &e) == 0) {
		use(&m.blk.v);
		use(&m.rng.v);
		use(&m.balloon.v);
		state_save(&io, again, sizeof(again));
		describe(&m, &io);
		if (state_done(&io, &e) < 0)
			abort();
	} else if (!e.text[0]) {
		abort();
	}
	serial_free(&m.serial);
	balloon_free(&m.balloon);
	rng_free(&m.rng);
	blk_free(&m.blk);
	driver_ram_free(&m.d);
	close(disk);
	return 0;
}
