/* SPDX-License-Identifier: MIT
 *
 * The guest of the demo: says hello from 64-bit mode, a character an exit, and
 * then goes out and in again often enough for one round trip to be timed.
 */
#include "guest.inc.h"

#define ROUNDS 1000

	guest_begin
	enter_long_mode

	lea	greeting(%rip), %rsi
	print_string

	/* Which processor it is, as the guest sees it. */
	xor	%eax, %eax
	cpuid
	mov	%ebx, vendor(%rip)
	mov	%edx, vendor + 4(%rip)
	mov	%ecx, vendor + 8(%rip)
	lea	vendor(%rip), %rsi
	print_string

	mov	$ROUNDS, %ebx
1:	step	1
	dec	%ebx
	jnz	1b

	guest_exit GUEST_EXIT_OK

greeting:
	.asciz	"Hello from a virtual CPU in 64-bit mode: "
vendor:
	.zero	13
