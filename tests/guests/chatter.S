/* SPDX-License-Identifier: MIT
 *
 * Prints more than anybody wants to read, then ends well.
 */
#include "vmm/guests/guest.inc.h"

	guest_begin
	mov	$1000, %ecx
	mov	$'x', %al
1:	out	%al, $GUEST_PORT_PRINT
	dec	%ecx
	jnz	1b
	guest_exit GUEST_EXIT_OK
