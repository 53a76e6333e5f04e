/* SPDX-License-Identifier: MIT
 *
 * libFuzzer: the balloon.  See virtio.h for the input; an event is a number of
 * pages that is asked for (u32).
 */
#include "tests/fuzz/virtio.h"
#include "vmm/virtio/balloon.h"

static struct balloon balloon;

static void event(struct virtio *v, struct fuzz_bytes *b)
{
	(void)v;
	balloon_set(&balloon, (uint32_t)fuzz_int(b, 4));
}

/* Whatever the driver writes, what is wanted is what we said. */
static void check(struct driver *d)
{
	fuzz_must(driver_config(d, 0, 4) == balloon.wanted);
	fuzz_must(driver_config(d, 4, 4) == balloon_actual(&balloon));
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const struct fuzz_calls calls = { event, check };
	struct driver *d = fuzz_ram();

	fuzz_must(balloon_init(&balloon, &d->m, NULL, NULL) == 0);
	fuzz_virtio(d, &balloon.v, &calls, p, n);
	balloon_free(&balloon);
	return 0;
}
