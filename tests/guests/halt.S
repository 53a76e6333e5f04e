/* SPDX-License-Identifier: MIT
 *
 * Never comes out again: sleeps with interrupts off.
 */
#include "vmm/guests/guest.inc.h"

	guest_begin
	step	1
	cli
1:	hlt
	jmp	1b
