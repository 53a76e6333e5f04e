/* SPDX-License-Identifier: MIT
 *
 * libFuzzer: the entropy device.  See virtio.h for the input.
 */
#include "tests/fuzz/virtio.h"
#include "vmm/virtio/rng.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const struct fuzz_calls calls;
	static struct rng rng;
	struct driver *d = fuzz_ram();

	fuzz_must(rng_init(&rng, &d->m, NULL, NULL) == 0);
	fuzz_virtio(d, &rng.v, &calls, p, n);
	rng_free(&rng);
	return 0;
}
