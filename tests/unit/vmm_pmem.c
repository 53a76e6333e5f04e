/* SPDX-License-Identifier: MIT
 *
 * Persistent memory: the file as the guest sees it, and flushing, which is
 * nothing.
 */
#include "tests/tap.h"

#include "base/err.h"
#include "base/fd.h"
#include "tests/unit/driver.h"
#include "vmm/kvm.h"
#include "vmm/virtio/pmem.h"

#include <errno.h>

#define MIB2 (2 << 20)
#define GPA (5 * LAYOUT_GIB)

static struct pmem pmem;
static struct driver d;

static int make_file(off_t size)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, size) < 0)
		bail("no image");
	if (size && pwrite(fd, "!", 1, size - 1) != 1)
		bail("cannot write");
	return fd;
}

static void begin(off_t size)
{
	fd_auto int fd = make_file(size);
	struct pmem_spec spec = { .fd = fd, .gpa = GPA };
	struct err e = ERR_INIT;

	memset(&d, 0, sizeof(d));
	driver_ram(&d, 65536, 0);
	if (pmem_init(&pmem, &spec, &d.m, NULL, &e) < 0)
		bail("%s", e.text);
	driver_up(&d, &pmem.v, ~0ULL, 8);
}

static void end(void)
{
	pmem_free(&pmem);
	driver_ram_free(&d);
}

/* ---- the memory ---- */

static void size(off_t bytes, uint64_t want)
{
	uint64_t k, sum = 0;

	begin(bytes);
	diag("an image of %lld bytes", (long long)bytes);
	is_int(driver_config(&d, 0, 8), GPA, "is where it was put");
	is_int(driver_config(&d, 8, 8), want, "in parts of 2 MiB");
	is_int(pmem.host[bytes - 1], '!', "the last byte is there");
	for (k = (uint64_t)bytes; k < want; k++)
		sum += pmem.host[k];
	is_int(sum, 0, "and zeros behind it");
	is_int((uintptr_t)pmem.host % MIB2, 0, "at a huge page");
	end();
	ok(!pmem.host, "and is gone");
}

static void sizes(void)
{
	size(1, MIB2);
	size(4096, MIB2);
	size(MIB2 - 1, MIB2);
	size(MIB2, MIB2);
	size(MIB2 + 1, 2 * MIB2);
	size(5 * MIB2 + 5000, 6 * MIB2);
}

static void refuse(int fd, uint64_t gpa, int num, const char *why)
{
	struct pmem_spec spec = { .fd = fd, .gpa = gpa };
	struct err e = ERR_INIT;

	is_int(pmem_init(&pmem, &spec, NULL, NULL, &e), -num, "refused");
	has_str(e.text, why, "for that");
	pmem_free(&pmem);
	pmem_free(&pmem);
}

static void refusals(void)
{
	fd_auto int good = make_file(4096), empty = make_file(0);

	refuse(-1, GPA, EBADF, "how large the image is");
	refuse(empty, GPA, EINVAL, "is empty");
	refuse(good, GPA + 4096, EINVAL, "multiple of 2 MiB");
}

static void attach(void)
{
	kvm_dev_auto struct kvm_dev k = KVM_DEV_INIT;
	kvm_vm_auto struct kvm_vm vm = KVM_VM_INIT;
	struct err e = ERR_INIT;

	begin(MIB2 + 1);
	if (kvm_dev_open(&k, KVM_PATH, &e) < 0 ||
	    kvm_vm_create(&vm, &k, &e) < 0) {
		skip("a VM has it", e.text);
		end();
		return;
	}
	is_int(pmem_attach(&pmem, &vm, 2, &e), 0, "a VM has it");
	diag("%s", e.text);
	kvm_vm_close(&vm);
	end();
}

/* ---- requests ---- */

/* A request of @type with @rlen bytes, @wlen of them for the answer. */
static int64_t request(uint32_t type, uint32_t rlen, uint32_t wlen,
		       uint32_t *len)
{
	uint64_t req = driver_alloc(&d, 8, 1), resp = driver_alloc(&d, 8, 1);
	struct driver_buf b[] = { { req, rlen, false }, { resp, wlen, true } };
	uint32_t ret;

	memcpy(driver_ptr(&d, req), &type, sizeof(type));
	if (wlen == 0)
		driver_add(&d, 0, b, 1);
	else if (rlen == 0)
		driver_add(&d, 0, b + 1, 1);
	else
		driver_add(&d, 0, b, 2);
	driver_kick(&d, 0);
	if (driver_used(&d, 0, len) < 0)
		return -1;
	memcpy(&ret, driver_ptr(&d, resp), sizeof(ret));
	return ret;
}

static void requests(void)
{
	uint32_t len = 0;
	unsigned k;

	begin(4096);
	is_int(driver_read(&d, 8), 27, "it is persistent memory");
	is_int(request(0, 4, 4, &len), 0, "flush");
	is_int(len, 4, "is answered");
	is_int(driver_interrupts(&d), DRIVER_INT_VRING, "with an interrupt");
	is_int(request(1, 4, 4, &len), 1, "another request is refused");
	is_int(request(UINT32_MAX, 4, 4, &len), 1, "and another");
	is_int(request(0, 8, 8, &len), 0, "longer buffers");
	is_int(len, 4, "do not matter");
	for (k = 0; k < 100; k++)
		len += request(0, 4, 4, NULL) != 0;
	is_int(len, 4, "and so on");
	end();
}

static void broken(uint32_t rlen, uint32_t wlen, const char *rule)
{
	uint32_t len;

	begin(4096);
	is_int(request(0, rlen, wlen, &len), -1, "no answer");
	is_str(pmem.v.rule, rule, rule);
	ok(driver_needs_reset(&d), "but a reset is asked for");
	driver_up(&d, &pmem.v, ~0ULL, 8);
	is_int(request(0, 4, 4, &len), 0, "after it, all is well");
	end();
}

static void descriptor_loop(void)
{
	begin(4096);
	driver_add(&d, 0, (struct driver_buf[]){ { 8192, 4, false } }, 1);
	d.q[0].desc[0].flags = VRING_DESC_F_NEXT;
	driver_kick(&d, 0);
	is_str(pmem.v.q[0].broken, "chain longer than the queue", "a loop");
	end();
}

int main(void)
{
	sizes();
	refusals();
	attach();
	requests();
	broken(3, 4, "pmem request without a type");
	broken(0, 4, "pmem request without a type");
	broken(4, 3, "pmem request without an answer");
	broken(4, 0, "pmem request without an answer");
	descriptor_loop();
	return tap_done();
}
