/* SPDX-License-Identifier: MIT
 *
 * Persistent memory that the guest can only read: virtio 1.2, 5.19.  A file of
 * ours, which all guests that have it share in the host's page cache.
 */
#ifndef VMM_VIRTIO_PMEM_H
#define VMM_VIRTIO_PMEM_H

#include "vmm/virtio/virtio.h"

struct kvm_vm;

/* Linux takes such memory in parts of this size. */
#define PMEM_ALIGN ((uint64_t)2 << 20)

struct pmem_spec {
	int fd;	      /* open for reading; not needed any more afterwards */
	uint64_t gpa; /* where the guest sees it: a multiple of PMEM_ALIGN */
};

/* What a snapshot has of it besides v.s and the queue. */
struct pmem_state {
	uint64_t start; /* guest address */
	uint64_t size;	/* bytes, a multiple of PMEM_ALIGN */
};

struct pmem {
	struct virtio v;
	struct pmem_state s;
	uint8_t *host; /* owned mapping of s.size bytes; NULL: none */
	struct vq_chain chain;
};

/* Map the file and set up the device.  What is missing to a multiple of
 * PMEM_ALIGN reads as zeros.  The file must not become shorter while the VM
 * lives: whoever reads what is gone, we or the guest, is killed by SIGBUS or
 * fails with EFAULT.  0 or -errno with @e filled; pmem_free() in both cases. */
int pmem_init(struct pmem *p, const struct pmem_spec *spec,
	      const struct mem *mem, struct loop *loop, struct err *e);
/* After the VM was closed. */
void pmem_free(struct pmem *p);

/* Show it to the guest, as memory slot @slot.  0 or -errno. */
int pmem_attach(const struct pmem *p, struct kvm_vm *vm, uint32_t slot,
		struct err *e);

/* Its section of the state file: see vmm/state.h. */
struct state_io;
void pmem_state_io(struct pmem *p, struct state_io *io);

#endif
