/* SPDX-License-Identifier: MIT
 *
 * libFuzzer: a kernel image.  The parsers look at the input as it is; what a
 * bzImage holds is unpacked only when it says it is small, or the fuzzer would
 * spend its time in the decompressors.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "guest/bzimage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char release[KERNEL_RELEASE_MAX];
	struct err e = ERR_INIT;
	struct bzimage b;

	vmlinux_check(data, size, release, &e);
	if (bzimage_parse(data, size, &b, &e) == 0 && b.size <= 65536) {
		buf_auto struct buf image = BUF_INIT, out = BUF_INIT;

		if (buf_add(&image, data, size) == 0)
			kernel_image_load(&image, &out, release, &e);
	}
	return 0;
}
