/* SPDX-License-Identifier: MIT
 *
 * Persistent memory: see pmem.h.
 *
 * The guest mounts it with DAX, so its pages are the host's page cache: no
 * copy in guest RAM, and one in the host for all guests of an image.  The
 * queue is for flushing, which has nothing to do here and is answered.
 *
 * Rejected: to demand files of a multiple of 2 MiB.  It would make the format
 * of root file systems depend on how one guest kernel counts memory; a mapping
 * of zeros behind the file costs nothing.
 */
#include "vmm/virtio/pmem.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_pmem.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "vmm/kvm.h"
#include "vmm/state.h"

/* Requests until others get the lock. */
#define BATCH 32

/* Answers to a request (5.19.6). */
#define RET_OK 0
#define RET_EIO 1

static_assert(sizeof(struct virtio_pmem_config) <= VIRTIO_CONFIG_MAX,
	      "it fits");

static int answer(struct pmem *p)
{
	const struct vq_chain *c = &p->chain;
	struct virtio_pmem_req req;
	struct virtio_pmem_resp resp;

	if (vq_read(c, 0, &req, sizeof(req)) < sizeof(req))
		return virtio_rule(&p->v, "pmem request without a type");
	if (c->write_len < sizeof(resp))
		return virtio_rule(&p->v, "pmem request without an answer");
	resp.ret = req.type == VIRTIO_PMEM_REQ_TYPE_FLUSH ? RET_OK : RET_EIO;
	vq_write(c, 0, &resp, sizeof(resp));
	vq_push(&p->v.q[0], c->head, sizeof(resp));
	return 0;
}

static int serve(struct virtio *v, unsigned i)
{
	struct pmem *p = container_of(v, struct pmem, v);
	struct vq *q = &v->q[i];
	unsigned left = BATCH;
	int r;

	vq_notify(q, false);
	while ((r = vq_pop(q, &p->chain)) > 0) {
		r = answer(p);
		if (r < 0)
			return r;
		virtio_signal(v, i);
		if (--left == 0)
			return 1;
	}
	return r;
}

/* ---- the mapping ---- */

/* @size bytes of zeros at a multiple of PMEM_ALIGN, so that the kernel can use
 * huge pages where the file's system has them. */
static uint8_t *reserve(uint64_t size)
{
	uint8_t *p = mmap(NULL, size + PMEM_ALIGN, PROT_READ,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint8_t *at;

	if (p == MAP_FAILED)
		return NULL;
	at = p + (PMEM_ALIGN - (uintptr_t)p % PMEM_ALIGN) % PMEM_ALIGN;
	if (at != p)
		munmap(p, (size_t)(at - p));
	munmap(at + size, PMEM_ALIGN - (size_t)(at - p));
	return at;
}

static int map(struct pmem *p, int fd, struct err *e)
{
	const off_t size = lseek(fd, 0, SEEK_END);

	if (size < 0)
		return err_sys(e, errno, "cannot see how large the image is");
	if (size == 0)
		return err_set(e, EINVAL, "the image is empty");
	p->s.size = ((uint64_t)size + PMEM_ALIGN - 1) / PMEM_ALIGN * PMEM_ALIGN;
	p->host = reserve(p->s.size);
	if (!p->host)
		return err_sys(e, errno, "no address space for %llu bytes",
			       (unsigned long long)p->s.size);
	if (mmap(p->host, (size_t)size, PROT_READ, MAP_SHARED | MAP_FIXED, fd,
		 0) == MAP_FAILED)
		return err_sys(e, errno, "cannot map the image");
	return 0;
}

int pmem_attach(const struct pmem *p, struct kvm_vm *vm, uint32_t slot,
		struct err *e)
{
	return kvm_vm_set_memory_ro(vm, slot, p->s.start, p->host, p->s.size,
				    e);
}

/* ---- coming and going ---- */

static const struct virtio_ops ops = {
	.name = "pmem",
	.id = 27,
	.queues = 1,
	.config_size = sizeof(struct virtio_pmem_config),
	.queue = serve,
};

int pmem_init(struct pmem *p, const struct pmem_spec *spec,
	      const struct mem *mem, struct loop *loop, struct err *e)
{
	struct virtio_pmem_config c;
	int r;

	memset(p, 0, sizeof(*p));
	r = virtio_init(&p->v, &ops, mem, loop, e);
	if (r < 0)
		return r;
	if (spec->gpa % PMEM_ALIGN)
		return err_set(e, EINVAL,
			       "persistent memory at %#llx: it must be at a "
			       "multiple of 2 MiB",
			       (unsigned long long)spec->gpa);
	p->s.start = spec->gpa;
	r = map(p, spec->fd, e);
	if (r < 0)
		return r;
	c.start = p->s.start;
	c.size = p->s.size;
	memcpy(p->v.config, &c, sizeof(c));
	return 0;
}

void pmem_free(struct pmem *p)
{
	virtio_free(&p->v);
	if (p->host)
		munmap(p->host, p->s.size);
	p->host = NULL;
}

void pmem_state_io(struct pmem *p, struct state_io *io)
{
	state_begin(io, "pmem", 1);
	state_same(io, p->s.start, "its address");
	state_same(io, p->s.size, "its size");
	virtio_state(&p->v, io);
	state_end(io);
}
