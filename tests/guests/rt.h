/* SPDX-License-Identifier: MIT
 *
 * What the guests of the device tests have instead of an operating system:
 * ports, memory, interrupts, and TAP on the serial console.
 *
 * A guest is one C file with a guest(); it is linked with start.S, rt.c and
 * virtio.c, and run by tests/shell/vmm-devices.t.  All of it is 32-bit code,
 * for which every KVM is good enough, software ones included.
 */
#ifndef TESTS_GUESTS_RT_H
#define TESTS_GUESTS_RT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/layout.h"

/* The guest's program; the VM is powered off when it returns.  @args: the
 * kernel's command line. */
void guest(const char *args);

/* ---- what is said ---- */

void print(const char *s);
void print_hex(uint64_t x);
/* A test.  Returns @good. */
bool ok(bool good, const char *what);
/* The same; both numbers are printed when they differ. */
bool is(uint64_t got, uint64_t want, const char *what);
/* A line for the test outside to read: "# NAME: VALUE". */
void tell(const char *name, uint64_t value);

void __attribute__((noreturn)) power_off(void);
void __attribute__((noreturn)) give_up(const char *why);

/* ---- memory ---- */

/* RAM of the guest; the part below the hole ends at ram_low. */
extern uint64_t ram_size;
extern uint32_t ram_low;

void *memset(void *p, int c, size_t n);
void *memcpy(void *to, const void *from, size_t n);
int memcmp(const void *a, const void *b, size_t n);
int strcmp(const char *a, const char *b);

/* @n bytes for ever, at a multiple of @align, zeroed. */
void *alloc(uint32_t n, uint32_t align);

/* @n bytes at guest address @gpa, wherever that is; not across a multiple of
 * 2 MiB. */
void far_read(uint64_t gpa, void *p, uint32_t n);
void far_write(uint64_t gpa, const void *p, uint32_t n);

static inline uint32_t addr(const volatile void *p)
{
	return (uint32_t)p;
}

static inline uint32_t get32(uint32_t at)
{
	return *(volatile uint32_t *)at;
}

static inline void put32(uint32_t at, uint32_t x)
{
	*(volatile uint32_t *)at = x;
}

/* ---- ports ---- */

static inline void out8(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port) : "memory");
}

static inline void out16(uint16_t port, uint16_t v)
{
	__asm__ volatile("outw %0, %1" ::"a"(v), "Nd"(port) : "memory");
}

static inline void out32(uint16_t port, uint32_t v)
{
	__asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port) : "memory");
}

static inline uint8_t in8(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline uint16_t in16(uint16_t port)
{
	uint16_t v;

	__asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline uint32_t in32(uint16_t port)
{
	uint32_t v;

	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

/* ---- interrupts ---- */

/* Interrupts that were taken; vectors are not told apart. */
extern volatile uint32_t interrupts;

/* Route interrupt line @gsi to us. */
void irq_enable(unsigned gsi);

/* Sleep until an interrupt comes.  To be called with interrupts off, as they
 * always are but in here: one that came since is taken at once. */
void sleep(void);

/* Start processor @id in ap_main(), on a stack of its own.  The next one may be
 * started only when it is there. */
void start_processor(unsigned id);
void ap_main(void);

#endif
