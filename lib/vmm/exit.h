/* SPDX-License-Identifier: MIT
 *
 * What a guest wants when it comes out: a device register, a port, or nothing
 * that there is an answer to, which ends the VM.
 */
#ifndef VMM_EXIT_H
#define VMM_EXIT_H

#include <stdint.h>

struct vcpu;
struct vm;

/* Serve the exit that c->k.run describes. */
void exit_serve(struct vcpu *c);

/* An access of @len bytes (at most 8) to guest-physical address @gpa. */
void exit_mmio(struct vm *vm, uint64_t gpa, void *data, uint32_t len,
	       int is_write);

#endif
