/* SPDX-License-Identifier: MIT
 *
 * Writes ACPI machine language (ACPI 6.3, chapter 20): the few terms that a
 * description of fixed devices takes.  No methods, so nothing for the guest to
 * interpret.
 *
 * Numbers and lengths take the shortest form that there is, as iasl writes
 * them: what it disassembles it compiles to the same bytes.
 */
#ifndef VMM_AML_H
#define VMM_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aml {
	uint8_t *data; /* borrowed */
	size_t len;
	size_t max;
	bool full; /* something did not fit; nothing is added any more */
};

/* Terms with a length: one is written between aml_begin() and aml_end(), which
 * gets what the former returned. */
#define AML_SCOPE 0x10
#define AML_BUFFER 0x11
#define AML_PACKAGE 0x12
#define AML_DEVICE 0x5b82
size_t aml_begin(struct aml *a, unsigned op);
void aml_end(struct aml *a, size_t begun);

void aml_bytes(struct aml *a, const void *p, size_t n);
void aml_byte(struct aml *a, uint8_t v);

/* A name where a term wants one: four characters, in the scope it stands in. */
void aml_path(struct aml *a, const char *path);

/* Data. */
void aml_number(struct aml *a, uint64_t v);
void aml_string(struct aml *a, const char *s);
void aml_eisaid(struct aml *a, const char id[static 7]); /* "PNP0501" */

/* The beginning of Name (@path, ...): data follows. */
void aml_name(struct aml *a, const char *path);

/* Name (_CRS, ResourceTemplate () { ... }), of at most 255 bytes: resources
 * (6.4) stand between the two. */
struct aml_crs {
	size_t buffer; /* begun */
	size_t count;  /* where its size stands */
};
struct aml_crs aml_crs_begin(struct aml *a);
void aml_crs_end(struct aml *a, struct aml_crs c);
void aml_crs_memory(struct aml *a, uint32_t base, uint32_t size);
void aml_crs_ports(struct aml *a, uint16_t base, uint8_t count);
void aml_crs_edge(struct aml *a, uint32_t gsi); /* active high, exclusive */

#endif
