/* SPDX-License-Identifier: MIT
 *
 * How a guest of the device tests begins: by the way of a Linux kernel, at a
 * PVH entry, in 32-bit protected mode with flat segments and paging off, %ebx
 * the start info.  It gets a stack, segments of its own, and gates for
 * interrupts; then guest_main() is called, see rt.c.
 */
#define SEL_CODE 0x08
#define SEL_DATA 0x10
#define STACK 0x4000

	.section .note.GNU-stack, "", @progbits

	/* XEN_ELFNOTE_PHYS32_ENTRY, what the VMM's loader looks for. */
	.section .note.pvh, "a", @note
	.balign	4
	.long	4, 4, 18
	.asciz	"Xen"
	.long	_start

	.text
	.code32
	.globl	_start
_start:
	cli
	mov	$stack_top, %esp
	lgdt	gdt_ptr
	ljmp	$SEL_CODE, $1f
1:	mov	$SEL_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	push	%ebx
	call	guest_main
2:	cli
	hlt
	jmp	2b

/* Gates: an exception that nobody wants (vectors 0 to 31), an interrupt that
 * needs only to end a hlt (the others).  rt.c fills the table with them.  No
 * iret: a KVM that is all emulator has none for protected mode, and with
 * interrupts taken in sleep() only, there is no state to come back to.  Nor is
 * there a choice of where: an emulated processor under KVM may forget that sti
 * holds interrupts off for one more instruction, and what comes in front of
 * the hlt must not be slept over. */
	.globl	gate_exception, gate_interrupt
gate_exception:
	mov	%esp, %eax
	push	%eax
	call	guest_exception
gate_interrupt:
	push	%eax
	mov	$0xfee000b0, %eax	/* end of interrupt */
	movl	$0, (%eax)
	incl	interrupts
	pop	%eax
	movl	$awake, (%esp)
	ret	$8

	.globl	sleep
sleep:
	sti
	hlt
awake:	cli
	ret

/* How another processor begins, once copied to AP_CODE: in real mode, %cs the
 * page.  It goes on in ap_main(), which does not come back. */
	.globl	ap_code, ap_code_end
	.code16
ap_code:
	cli
	mov	%cs, %ax
	mov	%ax, %ds
	lgdtl	ap_gdt_ptr - ap_code
	mov	%cr0, %eax
	or	$1, %eax
	mov	%eax, %cr0
	ljmpl	$SEL_CODE, $ap_32
ap_gdt_ptr:
	.word	gdt_end - gdt - 1
	.long	gdt
ap_code_end:
	.code32
ap_32:
	mov	$SEL_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	mov	ap_stack, %esp
	call	ap_main
2:	cli
	hlt
	jmp	2b

	.data
	.balign	8
gdt:
	.quad	0
	.quad	0x00cf9b000000ffff	/* SEL_CODE */
	.quad	0x00cf93000000ffff	/* SEL_DATA */
gdt_end:
gdt_ptr:
	.word	gdt_end - gdt - 1
	.long	gdt
	.balign	4
	.globl	interrupts
interrupts:
	.long	0

	.bss
	.balign	16
	.skip	STACK
stack_top:
