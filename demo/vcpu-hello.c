/* SPDX-License-Identifier: MIT
 *
 * A virtual CPU runs code: makes a virtual machine on /dev/kvm (or the device
 * named), runs lib/vmm/guests/hello.S in it, shows what the guest printed, and
 * what coming and going cost.
 */
#include "base/clock.h"
#include "base/err.h"
#include "vmm/tiny.h"

#include <stdio.h>

#define LIMIT CLOCK_S(30)

static int fail(const struct err *e)
{
	fprintf(stderr, "vcpu-hello: %s\n", e->text);
	if (e->fix[0])
		fprintf(stderr, "vcpu-hello: try: %s\n", e->fix);
	return 1;
}

static double ms(uint64_t ns)
{
	return (double)ns / 1e6;
}

static void show(const struct tiny_result *r, uint64_t create_ns)
{
	uint64_t trips_ns = r->total_ns - r->first_ns;
	uint32_t trips = r->exits > 1 ? r->exits - 1 : 1;

	printf("%s\n", r->text);
	printf("  virtual machine made in       %8.2f ms\n", ms(create_ns));
	printf("  first KVM_RUN to first exit   %8.2f ms\n", ms(r->first_ns));
	printf("  out of the guest and back     %8.2f us, mean of %u\n",
	       (double)trips_ns / 1e3 / trips, trips);
}

static int run(const char *path, struct err *e)
{
	kvm_dev_auto struct kvm_dev k = KVM_DEV_INIT;
	tiny_auto struct tiny t = TINY_INIT;
	uint64_t begun = clock_now(), created;
	struct tiny_result res;
	char end[64];
	int r;

	r = kvm_dev_open(&k, path, e);
	if (r < 0)
		return r;
	r = tiny_create(&t, &k, guest_hello,
			(size_t)(guest_hello_end - guest_hello), e);
	if (r < 0)
		return r;
	created = clock_now();
	r = tiny_run(&t, LIMIT, &res, e);
	if (r < 0)
		return r;
	if (res.end != TINY_EXITED || res.code != GUEST_EXIT_OK)
		return err_set(e, EIO, "the guest's end: %s",
			       tiny_end_text(&res, end));
	show(&res, created - begun);
	return 0;
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;

	if (run(argc > 1 ? argv[1] : KVM_PATH, &e) < 0)
		return fail(&e);
	return fflush(stdout) == 0 ? 0 : 1;
}
