/* SPDX-License-Identifier: MIT
 *
 * libFuzzer: persistent memory.  See virtio.h for the input.
 */
#include "tests/fuzz/virtio.h"
#include "vmm/virtio/pmem.h"

static struct pmem pmem;

/* Each request is answered at once, or the device is broken. */
static void check(struct driver *d)
{
	const struct vq *q = &d->v->q[0];
	uint16_t open = (uint16_t)(q->s.next_avail - q->s.next_used);

	fuzz_must(open == 0 || (open == 1 && d->v->rule));
	fuzz_must(pmem.host[0] == '!' && pmem.host[1] == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const struct fuzz_calls calls = { .check = check };
	static int file = -1;
	struct pmem_spec spec = { .gpa = LAYOUT_GIB };
	struct driver *d = fuzz_ram();

	if (file < 0) {
		file = memfd_create("image", MFD_CLOEXEC);
		fuzz_must(write(file, "!", 1) == 1);
	}
	spec.fd = file;
	fuzz_must(pmem_init(&pmem, &spec, &d->m, NULL, NULL) == 0);
	fuzz_virtio(d, &pmem.v, &calls, p, n);
	pmem_free(&pmem);
	return 0;
}
