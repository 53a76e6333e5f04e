/* SPDX-License-Identifier: MIT
 *
 * What cpuid says in the guest: see cpuid.h.
 *
 * KVM reports the numbers of the processor on which it was asked, so whatever
 * says "who am I" or "how many are we" is written anew; the rest is passed on.
 * The numbers of the leaves are those of the Intel SDM, volume 2A, CPUID, and
 * the AMD APM, volume 3, appendix E.
 */
#include "vmm/cpuid.h"

#include <linux/kvm.h>
#include <stdint.h>

#define LEAF_FEATURES 0x1
#define LEAF_CACHES 0x4
#define LEAF_TOPOLOGY 0xb
#define LEAF_TOPOLOGY_V2 0x1f
#define LEAF_EXT_FEATURES 0x80000001
#define LEAF_SIZES 0x80000008
#define LEAF_SVM 0x8000000a
#define LEAF_AMD_CACHES 0x8000001d
#define LEAF_AMD_TOPOLOGY 0x8000001e

#define ECX_VMX (1U << 5)
#define ECX_TSC_DEADLINE (1U << 24)
#define ECX_HYPERVISOR (1U << 31)
#define EDX_HTT (1U << 28)
#define EXT_ECX_CMP_LEGACY (1U << 1)
#define EXT_ECX_SVM (1U << 2)
#define EXT_ECX_TOPOEXT (1U << 22)

#define LEVEL_SMT 1
#define LEVEL_CORE 2

/* Bits that number @n things. */
static unsigned bits_for(unsigned n)
{
	unsigned bits = 0;

	while ((1U << bits) < n)
		bits++;
	return bits;
}

static void features(struct kvm_cpuid_entry2 *l, unsigned id, unsigned n)
{
	l->ebx = (l->ebx & 0xffU) | 8U << 8 | (n << 16) | (id << 24);
	l->ecx |= ECX_TSC_DEADLINE | ECX_HYPERVISOR;
	l->ecx &= ~ECX_VMX;
	l->edx &= ~EDX_HTT;
	if (n > 1)
		l->edx |= EDX_HTT;
}

/* Threads: one.  Cores: all. */
static void topology(struct kvm_cpuid_entry2 *l, unsigned id, unsigned n)
{
	l->eax = l->ebx = 0;
	l->ecx = l->index;
	l->edx = id;
	if (l->index == 0) {
		l->ebx = 1;
		l->ecx |= LEVEL_SMT << 8;
	} else if (l->index == 1) {
		l->eax = bits_for(n);
		l->ebx = n;
		l->ecx |= LEVEL_CORE << 8;
	}
}

/* Bits 14 to 25: processors that share the cache; 26 to 31: cores. */
static void caches(struct kvm_cpuid_entry2 *l, unsigned n)
{
	if ((l->eax & 0x1f) == 0)
		return;
	l->eax &= 0x3fffU;
	l->eax |= (n - 1) << 26;
	if (((l->eax >> 5) & 7) == 3)
		l->eax |= (n - 1) << 14;
}

/* KVM gives as many topology levels as the host has; there are two here. */
static void add_level(struct kvm_cpuid2 *c, uint32_t room)
{
	uint32_t i, at = c->nent;

	for (i = 0; i < c->nent; i++) {
		if (c->entries[i].function == LEAF_TOPOLOGY &&
		    c->entries[i].index == 1)
			return;
		if (c->entries[i].function == LEAF_TOPOLOGY)
			at = i;
	}
	if (at == c->nent || c->nent == room)
		return;
	c->entries[c->nent] = c->entries[at];
	c->entries[c->nent++].index = 1;
}

void cpuid_for(struct kvm_cpuid2 *c, uint32_t room, unsigned id, unsigned n)
{
	uint32_t i;

	add_level(c, room);
	for (i = 0; i < c->nent; i++) {
		struct kvm_cpuid_entry2 *l = &c->entries[i];

		switch (l->function) {
		case LEAF_FEATURES:
			features(l, id, n);
			break;
		case LEAF_CACHES:
			caches(l, n);
			break;
		case LEAF_TOPOLOGY:
		case LEAF_TOPOLOGY_V2:
			topology(l, id, n);
			break;
		case LEAF_EXT_FEATURES:
			l->ecx &= ~(EXT_ECX_SVM | EXT_ECX_CMP_LEGACY |
				    EXT_ECX_TOPOEXT);
			if (n > 1)
				l->ecx |= EXT_ECX_CMP_LEGACY;
			break;
		case LEAF_SIZES:
			l->ecx = (bits_for(n) << 12) | (n - 1);
			break;
		case LEAF_SVM:
		case LEAF_AMD_CACHES:
		case LEAF_AMD_TOPOLOGY:
			l->eax = l->ebx = l->ecx = l->edx = 0;
			break;
		default:
			break;
		}
	}
}
