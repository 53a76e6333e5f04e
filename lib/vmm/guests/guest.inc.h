/* SPDX-License-Identifier: MIT
 *
 * The common part of the tiny guests: how they begin, report, reach 64-bit
 * mode and end.  For assembler files only.
 */
#ifndef VMM_GUESTS_GUEST_INC_H
#define VMM_GUESTS_GUEST_INC_H

#include "abi.h"

/* Segment selectors.  The order is what syscall and sysret want of it. */
#define SEL_CODE32 0x08
#define SEL_CODE64 0x10
#define SEL_DATA 0x18
#define SEL_USER32 0x23 /* never loaded: the base sysret counts from */
#define SEL_USER_DATA 0x2b
#define SEL_USER64 0x33
#define SEL_TSS 0x38

/* Page tables, below the program. */
#define PML4 0x1000
#define PDPT_LOW 0x2000	 /* 0 to 512 GiB, as it is */
#define PDPT_HIGH 0x3000 /* the last 512 GiB: RAM once more, for the kernel */
#define PD_LOW 0x4000	 /* 0 to 1 GiB: only RAM */
#define PD_DEV 0x5000	 /* 3 to 4 GiB: only devices */

#define PTE_P 0x01
#define PTE_W 0x02
#define PTE_U 0x04
#define PTE_PCD 0x10
#define PTE_PS 0x80
#define PTE_TABLE (PTE_P | PTE_W | PTE_U)

/* Where 64-bit guests run: the addresses a Linux kernel is linked for. */
#define HIGH 0xffffffff80000000

#define APIC 0xfee00000

#define CR0_PE 0x00000001
#define CR0_MP 0x00000002
#define CR0_ET 0x00000010
#define CR0_NE 0x00000020
#define CR0_WP 0x00010000
#define CR0_PG 0x80000000
#define CR4_PAE 0x00020
#define CR4_PGE 0x00080
#define CR4_OSFXSR 0x00200
#define CR4_OSXMMEXCPT 0x00400
#define CR4_OSXSAVE 0x40000

#define MSR_EFER 0xc0000080
#define EFER_SCE 0x001
#define EFER_LME 0x100
#define EFER_LMA 0x400
#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_SFMASK 0xc0000084
#define MSR_GS_BASE 0xc0000101
#define MSR_KERNEL_GS_BASE 0xc0000102

/* The first lines of a guest.  What follows runs in 32-bit mode. */
.macro guest_begin
	.section .note.GNU-stack, "", @progbits
	.section .text
	.code32
	.globl _start
_start:
	mov	$GUEST_STACK, %esp
.endm

/* Name the step that begins.  Changes %al. */
.macro step number
	mov	$\number, %al
	out	%al, $GUEST_PORT_STEP
.endm

/* The end.  A monitor that runs us on all the same finds us halted. */
.macro guest_exit code
	mov	$\code, %al
	out	%al, $GUEST_PORT_EXIT
77:	cli
	hlt
	jmp	77b
.endm

/* Print the string at %esi (%rsi) up to its NUL.  Changes %al, %esi. */
.macro print_string
	cld
78:	lodsb
	test	%al, %al
	jz	79f
	out	%al, $GUEST_PORT_PRINT
	jmp	78b
79:
.endm

/* From 32-bit mode to 64-bit mode at the high addresses.  Memory is zero where
 * nothing was loaded, so only the entries in use are written. */
.macro enter_long_mode
	movl	$(PDPT_LOW | PTE_TABLE), PML4
	movl	$(PDPT_HIGH | PTE_P | PTE_W), PML4 + 511 * 8
	movl	$(PD_LOW | PTE_TABLE), PDPT_LOW
	movl	$(PD_DEV | PTE_TABLE), PDPT_LOW + 3 * 8
	movl	$(PD_LOW | PTE_P | PTE_W), PDPT_HIGH + 510 * 8
	movl	$(PTE_TABLE | PTE_PS), PD_LOW
	movl	$(GUEST_MMIO | PTE_PS | PTE_PCD | PTE_P | PTE_W), \
		PD_DEV + ((GUEST_MMIO >> 21) & 511) * 8
	movl	$(APIC | PTE_PS | PTE_PCD | PTE_P | PTE_W), \
		PD_DEV + ((APIC >> 21) & 511) * 8

	mov	$CR4_PAE, %eax
	mov	%eax, %cr4
	mov	$PML4, %eax
	mov	%eax, %cr3
	mov	$MSR_EFER, %ecx
	rdmsr
	or	$(EFER_LME | EFER_SCE), %eax
	wrmsr
	mov	$(CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG), %eax
	mov	%eax, %cr0
	lgdt	boot_gdt_ptr
	ljmp	$SEL_CODE64, $80f

boot_gdt_ptr:
	.word	boot_gdt_end - boot_gdt - 1
	.long	boot_gdt
	.balign	8
boot_gdt:
	.quad	0
	.quad	0x00cf9b000000ffff	/* 32-bit code */
	.quad	0x00af9b000000ffff	/* 64-bit code */
	.quad	0x00cf93000000ffff	/* data */
boot_gdt_end:

	.code64
80:	movabs	$(HIGH + 81f), %rax
	jmp	*%rax
81:	mov	$SEL_DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	movabs	$(HIGH + GUEST_STACK), %rsp
.endm

#endif
