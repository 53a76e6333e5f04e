/* SPDX-License-Identifier: MIT
 *
 * Never comes out again: computes for ever.
 */
#include "vmm/guests/guest.inc.h"

	guest_begin
	step	1
1:	jmp	1b
