/* SPDX-License-Identifier: MIT
 *
 * What a tiny guest and the program that runs it agree on.  Read by the
 * assembler as well as by the compiler: nothing but numbers here.
 *
 * A tiny guest is a flat binary that is loaded at GUEST_BASE into GUEST_RAM
 * bytes of memory starting at address 0, and entered at its first byte in the
 * state of a PVH kernel's entry: 32-bit protected mode, flat segments, paging
 * off, interrupts off, %ebx as the runner likes.  It talks through ports of
 * one byte, every write of which is an exit.
 */
#ifndef VMM_GUESTS_ABI_H
#define VMM_GUESTS_ABI_H

#define GUEST_RAM 0x40000
#define GUEST_BASE 0x10000
#define GUEST_STACK 0x40000 /* top; grows down */

/* A character for people to read. */
#define GUEST_PORT_PRINT 0xe9
/* The number of the step that begins. */
#define GUEST_PORT_STEP 0xf1
/* The end: one of GUEST_EXIT_*. */
#define GUEST_PORT_EXIT 0xf4

#define GUEST_EXIT_OK 0
#define GUEST_EXIT_WRONG 1 /* the step gave a wrong result */
#define GUEST_EXIT_TRAP 2  /* an exception nobody asked for */

/* A device register that the runner backs: reads give GUEST_MMIO_VALUE, and
 * what is written must be its complement. */
#define GUEST_MMIO 0xd0000000
#define GUEST_MMIO_VALUE 0x5ca1ab1e

/* The steps of check.S, in the order they are taken. */
#define STEP_ENTRY 1
#define STEP_PAGING 2
#define STEP_TABLES 3
#define STEP_CONTROL 4
#define STEP_MSR 5
#define STEP_EXCEPTION 6
#define STEP_PAGE_FAULT 7
#define STEP_TSC 8
#define STEP_MMIO 9
#define STEP_TIMER 10
#define STEP_ATOMIC 11
#define STEP_FPU 12
#define STEP_USER 13
#define STEP_LAST STEP_USER

#endif
