/* SPDX-License-Identifier: MIT
 *
 * The guests' runtime: see rt.h.
 */
#include "rt.h"

/* ---- what is said ---- */

static unsigned tests;

void print(const char *s)
{
	for (; *s; s++)
		out8(LAYOUT_PORT_SERIAL, (uint8_t)*s);
}

static void print_number(uint64_t x, unsigned shift)
{
	char text[24], *p = text + sizeof(text);
	uint32_t n = (uint32_t)x;

	*--p = 0;
	do {
		unsigned digit = shift ? x & 15 : n % 10;

		*--p = "0123456789abcdef"[digit];
		x >>= shift;
		n /= 10;
	} while (shift ? x : n);
	print(p);
}

void print_hex(uint64_t x)
{
	print("0x");
	print_number(x, 4);
}

bool ok(bool good, const char *what)
{
	print(good ? "ok " : "not ok ");
	print_number(++tests, 0);
	print(" - ");
	print(what);
	print("\n");
	return good;
}

bool is(uint64_t got, uint64_t want, const char *what)
{
	if (ok(got == want, what))
		return true;
	print("# got ");
	print_hex(got);
	print(", expected ");
	print_hex(want);
	print("\n");
	return false;
}

void tell(const char *name, uint64_t value)
{
	print("# ");
	print(name);
	print(": ");
	print_number(value, 0);
	print("\n");
}

void power_off(void)
{
	out8(LAYOUT_PORT_SLEEP, LAYOUT_SLEEP_S5 << 2 | LAYOUT_SLEEP_ENABLE);
	for (;;)
		__asm__ volatile("cli; hlt");
}

void give_up(const char *why)
{
	print("Bail out! ");
	print(why);
	print("\n");
	power_off();
}

/* ---- memory ---- */

uint64_t ram_size;
uint32_t ram_low;
static uint32_t free_at;
extern char guest_end[];

/* The compiler calls the first three by itself.  By words where that goes: an
 * emulator takes its time for each. */
void *memset(void *p, int c, size_t n)
{
	uint32_t word = (uint8_t)c * 0x01010101u;
	size_t words = n / 4, rest = n % 4;
	void *to = p;

	__asm__ volatile("rep stosl"
			 : "+D"(to), "+c"(words)
			 : "a"(word)
			 : "memory");
	__asm__ volatile("rep stosb"
			 : "+D"(to), "+c"(rest)
			 : "a"(c)
			 : "memory");
	return p;
}

void *memcpy(void *to, const void *from, size_t n)
{
	size_t words = n / 4, rest = n % 4;
	void *p = to;

	__asm__ volatile("rep movsl"
			 : "+D"(p), "+S"(from), "+c"(words)::"memory");
	__asm__ volatile("rep movsb"
			 : "+D"(p), "+S"(from), "+c"(rest)::"memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;

	for (; n; n--, x++, y++) {
		if (*x != *y)
			return *x - *y;
	}
	return 0;
}

int strcmp(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return (uint8_t)*a - (uint8_t)*b;
}

void *alloc(uint32_t n, uint32_t align)
{
	uint32_t at = (free_at + align - 1) / align * align;

	if (n > ram_low || at > ram_low - n)
		give_up("out of memory");
	free_at = at + n;
	return memset((void *)at, 0, n);
}

/* ---- memory that 32 bits do not reach ---- */

/* By long mode's tables, the only ones that every KVM walks, while our code
 * stays 32-bit.  Interrupts would need gates of another kind, so all this is
 * undone before anybody else runs. */
#define WINDOW LAYOUT_GIB /* where the memory in question is seen */
#define LARGE 0x200000u
#define PTE_TABLE 0x3u /* present, writable */
#define PTE_LARGE 0x83u
#define CR4_PAE 0x20u
#define CR0_PG 0x80000000u
#define MSR_EFER 0xc0000080u
#define EFER_LME 0x100u

static uint64_t *far_entry, *far_top;

/* The first GiB where it is, and a large page at WINDOW. */
static void far_init(void)
{
	uint64_t *pml4 = alloc(4096, 4096), *pdpt = alloc(4096, 4096);
	uint64_t *low = alloc(4096, 4096), *far = alloc(4096, 4096);
	unsigned i;

	pml4[0] = addr(pdpt) | PTE_TABLE;
	pdpt[0] = addr(low) | PTE_TABLE;
	pdpt[1] = addr(far) | PTE_TABLE;
	for (i = 0; i < 512; i++)
		low[i] = (uint64_t)i * LARGE | PTE_LARGE;
	far_entry = far;
	far_top = pml4;
}

static volatile uint8_t *far_on(uint64_t gpa)
{
	uint32_t x;

	if (!far_top)
		far_init();
	*far_entry = (gpa & ~(uint64_t)(LARGE - 1)) | PTE_LARGE;
	__asm__ volatile("mov %%cr4, %0; or %1, %0; mov %0, %%cr4"
			 : "=&r"(x)
			 : "i"(CR4_PAE));
	__asm__ volatile("mov %0, %%cr3" ::"r"(far_top) : "memory");
	__asm__ volatile("wrmsr" ::"c"(MSR_EFER), "a"(EFER_LME), "d"(0));
	__asm__ volatile("mov %%cr0, %0; or %1, %0; mov %0, %%cr0"
			 : "=&r"(x)
			 : "i"(CR0_PG)
			 : "memory");
	return (volatile uint8_t *)(uint32_t)WINDOW + (gpa & (LARGE - 1));
}

static void far_off(void)
{
	uint32_t x;

	__asm__ volatile("mov %%cr0, %0; and %1, %0; mov %0, %%cr0"
			 : "=&r"(x)
			 : "i"(~CR0_PG)
			 : "memory");
	__asm__ volatile("wrmsr" ::"c"(MSR_EFER), "a"(0), "d"(0));
}

void far_read(uint64_t gpa, void *p, uint32_t n)
{
	volatile uint8_t *from = far_on(gpa);
	uint8_t *to = p;

	while (n--)
		*to++ = *from++;
	far_off();
}

void far_write(uint64_t gpa, const void *p, uint32_t n)
{
	volatile uint8_t *to = far_on(gpa);
	const uint8_t *from = p;

	while (n--)
		*to++ = *from++;
	far_off();
}

/* ---- interrupts ---- */

#define VECTOR 0x40
#define LAPIC_ID 0x20
#define LAPIC_SPURIOUS 0xf0
#define LAPIC_ICR_LOW 0x300
#define LAPIC_ICR_HIGH 0x310

extern char gate_exception[], gate_interrupt[], ap_code[], ap_code_end[];

void guest_exception(const uint32_t *frame);

static struct {
	uint16_t low, sel, type, high;
} idt[256];

static void interrupts_init(void)
{
	struct __attribute__((packed)) {
		uint16_t limit;
		uint32_t base;
	} p = { sizeof(idt) - 1, addr(idt) };
	unsigned i;

	for (i = 0; i < 256; i++) {
		uint32_t to = addr(i < 32 ? gate_exception : gate_interrupt);

		idt[i].low = (uint16_t)to;
		idt[i].sel = 0x08;
		idt[i].type = 0x8e00;
		idt[i].high = (uint16_t)(to >> 16);
	}
	__asm__ volatile("lidt %0" ::"m"(p));
	/* The old interrupt controllers get the same lines. */
	out8(0x21, 0xff);
	out8(0xa1, 0xff);
	put32(LAYOUT_LAPIC + LAPIC_SPURIOUS, 0x1ff);
}

void irq_enable(unsigned gsi)
{
	/* Edge-triggered, active high, to processor 0. */
	put32(LAYOUT_IOAPIC, 0x10 + 2 * gsi + 1);
	put32(LAYOUT_IOAPIC + 0x10, 0);
	put32(LAYOUT_IOAPIC, 0x10 + 2 * gsi);
	put32(LAYOUT_IOAPIC + 0x10, VECTOR + gsi);
}

/* Error code or instruction pointer come first; both are told. */
void guest_exception(const uint32_t *frame)
{
	print("# exception: ");
	print_hex(frame[0]);
	print(" ");
	print_hex(frame[1]);
	print("\n");
	give_up("an exception nobody asked for");
}

/* ---- processors ---- */

#define AP_CODE 0x8000u
#define ICR_INIT 0x4500u
#define ICR_STARTUP 0x4600u
#define AP_STACK 4096u

extern uint32_t ap_stack;

uint32_t ap_stack; /* of the one that is being started */

void start_processor(unsigned id)
{
	ap_stack = addr(alloc(AP_STACK, 16)) + AP_STACK;
	memcpy((void *)AP_CODE, ap_code, (size_t)(ap_code_end - ap_code));
	put32(LAYOUT_LAPIC + LAPIC_ICR_HIGH, id << 24);
	put32(LAYOUT_LAPIC + LAPIC_ICR_LOW, ICR_INIT);
	put32(LAYOUT_LAPIC + LAPIC_ICR_HIGH, id << 24);
	put32(LAYOUT_LAPIC + LAPIC_ICR_LOW, ICR_STARTUP | AP_CODE >> 12);
}

void __attribute__((weak)) ap_main(void)
{
}

/* ---- the beginning ---- */

/* Xen's hvm_start_info, and the memory map in it. */
struct start_info {
	uint32_t magic, version, flags, modules;
	uint64_t modlist, cmdline, rsdp, map;
	uint32_t map_entries, reserved;
};

struct start_map {
	uint64_t at, size;
	uint32_t type, reserved;
};

void guest_main(const struct start_info *info);

void guest_main(const struct start_info *info)
{
	const struct start_map *map = (const void *)(uint32_t)info->map;
	uint32_t i;

	for (i = 0; i < info->map_entries; i++) {
		uint64_t end = map[i].at + map[i].size;

		if (map[i].type != 1)
			continue;
		if (map[i].at >= LAYOUT_HIGH)
			ram_size = ram_low + map[i].size;
		else
			ram_size = ram_low = (uint32_t)end;
	}
	free_at = addr(guest_end);
	interrupts_init();
	guest((const char *)(uint32_t)info->cmdline);
	print("1..");
	print_number(tests, 0);
	print("\n");
	power_off();
}
