/* SPDX-License-Identifier: MIT
 *
 * The guest of the check: what an unmodified Linux kernel asks of a virtual
 * processor between its entry and its first user process, a step at a time.
 *
 * Instructions that are emulated somewhere are easily got right one by one; a
 * KVM that cannot run a stock kernel shows it where the processor itself must
 * act: it delivers exceptions and interrupts through our tables, changes rings,
 * walks our page tables.  So each step is made to have a result that only a
 * processor which did that can give.
 */
#include "guest.inc.h"

#define VEC_UD 6
#define VEC_PF 14
#define VEC_TIMER 0x40
#define VEC_SPURIOUS 0xff
#define GATES 256

#define IDT 0x6000
#define TSS 0x7000
#define TSS_SIZE 104
#define PERCPU 0x7100 /* what %gs points to: the user's stack pointer */
#define ATOMIC_AREA 0x7200
#define FPU_AREA 0x8000
#define USER_STACK 0xa000
/* Not mapped until the page fault handler does so. */
#define HOLE 0x200000

#define APIC_ID 0x20
#define APIC_EOI 0xb0
#define APIC_SPURIOUS 0xf0
#define APIC_LVT_TIMER 0x320
#define APIC_TIMER_INIT 0x380
#define APIC_TIMER_DIVIDE 0x3e0

#define MAGIC 0x1ced7ea5ca0bedad

/* Go to "wrong" unless the last comparison was equal. */
.macro must_equal
	jne	wrong
.endm

.macro set_gate vector, handler
	lea	\handler(%rip), %rax
	lea	IDT + \vector * 16, %edi
	call	write_gate
.endm

.macro write_msr number
	mov	$\number, %ecx
	mov	%rax, %rdx
	shr	$32, %rdx
	wrmsr
.endm

/* %rax: what was written there. */
.macro must_read_msr number
	mov	%rax, %rbx
	mov	$\number, %ecx
	xor	%eax, %eax
	xor	%edx, %edx
	rdmsr
	shl	$32, %rdx
	or	%rdx, %rax
	cmp	%rax, %rbx
	must_equal
.endm

	guest_begin

	/* 32-bit code runs, and finds a 64-bit processor. */
	step	STEP_ENTRY
	mov	$0x80000000, %eax
	cpuid
	cmp	$0x80000001, %eax
	jb	wrong32
	mov	$0x80000001, %eax
	cpuid
	bt	$29, %edx
	jc	1f
wrong32:
	guest_exit GUEST_EXIT_WRONG
1:
	step	STEP_PAGING
	enter_long_mode
	mov	$MSR_EFER, %ecx
	rdmsr
	test	$EFER_LMA, %eax
	jz	wrong
	/* The same memory at both of its addresses. */
	movabs	$MAGIC, %rbx
	mov	%rbx, HIGH + PERCPU
	cmp	%rbx, PERCPU
	must_equal

	/* A descriptor table at high addresses, a task segment, and gates. */
	step	STEP_TABLES
	lgdt	gdt_ptr(%rip)
	movabs	$(HIGH + GUEST_STACK), %rax
	mov	%rax, TSS + 4		/* the stack of ring 0 */
	movw	$TSS_SIZE, TSS + 102	/* no permission map */
	mov	$SEL_TSS, %eax
	ltr	%ax
	str	%ecx
	cmp	%ecx, %eax
	must_equal
	/* Every vector has a gate, so that nothing ends in a triple fault. */
	xor	%ebx, %ebx
1:	lea	unexpected(%rip), %rax
	mov	%ebx, %edi
	shl	$4, %edi
	add	$IDT, %edi
	call	write_gate
	inc	%ebx
	cmp	$GATES, %ebx
	jne	1b
	set_gate VEC_UD, invalid_opcode
	set_gate VEC_PF, page_fault
	set_gate VEC_TIMER, timer
	set_gate VEC_SPURIOUS, spurious
	lidt	idt_ptr(%rip)
	xor	%eax, %eax
	mov	%eax, %fs
	mov	%eax, %gs

	step	STEP_CONTROL
	mov	%cr4, %rax
	or	$(CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT), %eax
	mov	%rax, %cr4
	mov	%cr4, %rbx
	cmp	%rax, %rbx
	must_equal
	mov	%cr3, %rax
	mov	%rax, %cr3
	cmp	$PML4, %rax
	must_equal
	mov	$5, %eax
	mov	%rax, %cr8
	mov	%cr8, %rbx
	cmp	%rax, %rbx
	must_equal
	xor	%eax, %eax
	mov	%rax, %cr8
	mov	%rax, %dr0
	clts
	/* Interrupts on and off: a flag that pushf must show. */
	sti
	pushfq
	cli
	pushfq
	pop	%rax
	pop	%rbx
	bt	$9, %rax
	jc	wrong
	bt	$9, %rbx
	jnc	wrong

	step	STEP_MSR
	lea	syscall_entry(%rip), %rax
	write_msr MSR_LSTAR
	must_read_msr MSR_LSTAR
	mov	$(SEL_USER32 << 16 | SEL_CODE64), %eax
	shl	$32, %rax
	write_msr MSR_STAR
	must_read_msr MSR_STAR
	mov	$0x200, %eax
	write_msr MSR_SFMASK
	must_read_msr MSR_SFMASK
	movabs	$(HIGH + PERCPU), %rax
	write_msr MSR_GS_BASE
	xor	%eax, %eax
	write_msr MSR_KERNEL_GS_BASE
	swapgs
	must_read_msr MSR_GS_BASE
	swapgs
	movabs	$MAGIC, %rbx
	cmp	%rbx, %gs:0
	must_equal

	/* The processor goes through the gate and comes back by iretq. */
	step	STEP_EXCEPTION
	xor	%r15d, %r15d
	mov	%rsp, %rbx
	ud2
	cmp	%rsp, %rbx
	must_equal
	cmp	$SEL_CODE64, %r15d	/* the handler's note of where from */
	must_equal

	step	STEP_PAGE_FAULT
	xor	%r15d, %r15d
	movabs	$MAGIC, %rbx
	cmp	%rbx, HOLE + PERCPU
	must_equal
	cmp	$(HOLE + PERCPU), %r15
	must_equal
	/* And once more after taking the mapping away: no stale entry. */
	xor	%r15d, %r15d
	movq	$0, PD_LOW + 8
	invlpg	HOLE + PERCPU
	cmp	%rbx, HOLE + PERCPU
	must_equal
	cmp	$(HOLE + PERCPU), %r15
	must_equal

	step	STEP_TSC
	call	read_tsc
	mov	%rax, %rbx
	call	read_tsc
	cmp	%rbx, %rax
	jbe	wrong

	step	STEP_MMIO
	mov	$GUEST_MMIO, %edi
	mov	(%rdi), %eax
	cmp	$GUEST_MMIO_VALUE, %eax
	must_equal
	not	%eax
	mov	%eax, (%rdi)

	/* A timer interrupt ends a halt. */
	step	STEP_TIMER
	mov	$APIC, %ebp
	movl	$(0x100 | VEC_SPURIOUS), APIC_SPURIOUS(%rbp)
	movl	$0xb, APIC_TIMER_DIVIDE(%rbp)
	movl	$VEC_TIMER, APIC_LVT_TIMER(%rbp)
	xor	%r15d, %r15d
	movl	$1000, APIC_TIMER_INIT(%rbp)
1:	sti
	hlt
	cli
	test	%r15d, %r15d
	jz	1b

	/* The widest exchange; the kernel's allocator is built on it. */
	step	STEP_ATOMIC
	mov	$1, %eax
	cpuid
	bt	$13, %ecx
	jnc	1f
	xor	%eax, %eax
	xor	%edx, %edx
	movabs	$MAGIC, %rbx
	lea	1(%rbx), %rcx
	lock cmpxchg16b ATOMIC_AREA
	must_equal
	cmp	%rbx, ATOMIC_AREA
	must_equal
	cmp	%rcx, ATOMIC_AREA + 8
	must_equal
1:

	/* The registers of the vector unit, saved and restored. */
	step	STEP_FPU
	mov	$1, %eax
	cpuid
	bt	$26, %ecx
	jc	1f
	movabs	$MAGIC, %rbx
	movq	%rbx, %xmm7
	fxsave64 FPU_AREA
	pxor	%xmm7, %xmm7
	fxrstor64 FPU_AREA
	jmp	2f
1:	mov	%cr4, %rax
	or	$CR4_OSXSAVE, %eax
	mov	%rax, %cr4
	xor	%ecx, %ecx
	xor	%edx, %edx
	mov	$3, %eax
	xsetbv
	/* What xsetbv set must outlive an exit, which cpuid always is: QEMU
	 * 7.2 emulates an SVM that loses it, and a kernel there warns that
	 * XSAVE is inconsistent and does without. */
	xor	%eax, %eax
	cpuid
	xor	%ecx, %ecx
	xgetbv
	cmp	$3, %eax
	must_equal
	movabs	$MAGIC, %rbx
	movq	%rbx, %xmm7
	xor	%edx, %edx
	xsave64	FPU_AREA
	pxor	%xmm7, %xmm7
	xrstor64 FPU_AREA
2:	movq	%xmm7, %rax
	cmp	%rax, %rbx
	must_equal

	/* To ring 3; from there an exception, a system call, and sysret. */
	step	STEP_USER
	xor	%r14d, %r14d
	xor	%r15d, %r15d
	pushq	$SEL_USER_DATA
	pushq	$USER_STACK
	pushq	$0x202
	pushq	$SEL_USER64
	lea	user, %eax		/* its low address, open to users */
	push	%rax
	swapgs
	iretq
user_done:
	cmp	$SEL_USER64, %r15d
	must_equal
	cmp	$2, %r14d
	must_equal

	guest_exit GUEST_EXIT_OK

wrong:
	guest_exit GUEST_EXIT_WRONG

/* -> %rax, changes %rdx. */
read_tsc:
	lfence
	rdtsc
	lfence
	shl	$32, %rdx
	or	%rdx, %rax
	ret

/* A gate of ring 0 at %rdi for the handler at %rax.  Changes %rax. */
write_gate:
	mov	%ax, (%rdi)
	movw	$SEL_CODE64, 2(%rdi)
	movw	$0x8e00, 4(%rdi)
	shr	$16, %rax
	mov	%ax, 6(%rdi)
	shr	$16, %rax
	mov	%eax, 8(%rdi)
	movl	$0, 12(%rdi)
	ret

unexpected:
	guest_exit GUEST_EXIT_TRAP

/* Step over the ud2; leave the interrupted code segment in %r15. */
invalid_opcode:
	mov	8(%rsp), %r15
	addq	$2, (%rsp)
	iretq

/* Map the hole onto RAM; leave the address in %r15. */
page_fault:
	add	$8, %rsp		/* the error code */
	mov	%cr2, %r15
	cmp	$(HOLE + PERCPU), %r15
	jne	unexpected
	movq	$(PTE_TABLE | PTE_PS), PD_LOW + 8
	invlpg	HOLE + PERCPU
	iretq

timer:
	inc	%r15d
	mov	$APIC, %ebp
	movl	$0, APIC_EOI(%rbp)
	iretq

spurious:
	iretq

/* The user process: what it must have seen is counted in %r14. */
user:
	mov	%cs, %eax
	cmp	$SEL_USER64, %eax
	jne	1f
	inc	%r14d
1:	ud2
	mov	$1, %edi
	syscall				/* comes back here by sysret */
	cmp	$USER_STACK, %rsp
	jne	1f
	inc	%r14d
1:	mov	$2, %edi
	syscall				/* does not come back */
	ud2

syscall_entry:
	swapgs
	mov	%rsp, %gs:0
	mov	$(HIGH + GUEST_STACK), %rsp
	cmp	$2, %edi
	je	user_done
	mov	%gs:0, %rsp
	swapgs
	sysretq

	.balign	8
gdt:
	.quad	0
	.quad	0x00cf9b000000ffff	/* SEL_CODE32 */
	.quad	0x00af9b000000ffff	/* SEL_CODE64 */
	.quad	0x00cf93000000ffff	/* SEL_DATA */
	.quad	0x00cffb000000ffff	/* SEL_USER32 */
	.quad	0x00cff3000000ffff	/* SEL_USER_DATA */
	.quad	0x00affb000000ffff	/* SEL_USER64 */
	/* SEL_TSS, of two entries: at HIGH + TSS */
	.quad	0x0000890000000000 | TSS << 16 | (TSS_SIZE - 1) | \
		(HIGH >> 24 & 0xff) << 56
	.quad	HIGH >> 32
gdt_end:
gdt_ptr:
	.word	gdt_end - gdt - 1
	.quad	HIGH + gdt
idt_ptr:
	.word	GATES * 16 - 1
	.quad	HIGH + IDT
