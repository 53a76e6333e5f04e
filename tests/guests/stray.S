/* SPDX-License-Identifier: MIT
 *
 * Asks for a device that is not there.
 */
#include "vmm/guests/guest.inc.h"

	guest_begin
	step	1
	mov	$0x1234, %dx
	in	%dx, %eax
	guest_exit GUEST_EXIT_OK
