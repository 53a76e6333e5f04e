/* SPDX-License-Identifier: MIT
 *
 * A tiny guest as constant data of a program.  The Makefile defines NAME, a C
 * identifier, and FILE, the flat binary.
 */
#define GLUE_(a, b) a##b
#define GLUE(a, b) GLUE_(a, b)
#define START GLUE(guest_, NAME)
#define END GLUE(START, _end)

	.section .rodata
	.globl	START, END
	.balign	16
START:
	.incbin	FILE
END:
	.size	START, END - START

	.section .note.GNU-stack, "", @progbits
