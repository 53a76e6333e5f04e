/* SPDX-License-Identifier: MIT
 *
 * Unit tests in C that speak TAP (prove(1) reads it): a test program is a
 * main() that calls these and returns tap_done().
 *
 * The plan comes last, so that nobody counts; a program that dies early has
 * none and fails for it.  A skip is a failure unless TAP_SKIP_OK is set in the
 * environment: tests that could not run have shown nothing.
 */
#ifndef TESTS_TAP_H
#define TESTS_TAP_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tap {
	unsigned int run;
	unsigned int failed;
};

static struct tap tap;

/* A remark, for people: "# ...". */
static inline void __attribute__((format(printf, 1, 2)))
diag(const char *fmt, ...)
{
	va_list ap;

	printf("# ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
}

/* One test.  Returns @good, for more to say about a failure. */
static inline bool __attribute__((format(printf, 4, 5)))
tap_ok(bool good, const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	printf("%sok %u - ", good ? "" : "not ", ++tap.run);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	if (!good) {
		tap.failed++;
		printf("# failed at %s:%d\n", file, line);
	}
	fflush(stdout);
	return good;
}

static inline bool tap_is_int(int64_t got, int64_t want, const char *file,
			      int line, const char *what)
{
	if (tap_ok(got == want, file, line, "%s", what))
		return true;
	diag("     got: %" PRId64, got);
	diag("expected: %" PRId64, want);
	return false;
}

static inline bool tap_is_str(const char *got, const char *want,
			      const char *file, int line, const char *what)
{
	bool same = got && want ? strcmp(got, want) == 0 : got == want;

	if (tap_ok(same, file, line, "%s", what))
		return true;
	diag("     got: %s", got ? got : "(null)");
	diag("expected: %s", want ? want : "(null)");
	return false;
}

static inline bool tap_has_str(const char *got, const char *part,
			       const char *file, int line, const char *what)
{
	if (tap_ok(got && strstr(got, part), file, line, "%s", what))
		return true;
	diag("     got: %s", got ? got : "(null)");
	diag("expected to find: %s", part);
	return false;
}

static inline bool tap_is_mem(const void *got, size_t got_len, const void *want,
			      size_t want_len, const char *file, int line,
			      const char *what)
{
	const uint8_t *g = got, *w = want;
	size_t i = 0;

	while (i < got_len && i < want_len && g[i] == w[i])
		i++;
	if (tap_ok(i == got_len && i == want_len, file, line, "%s", what))
		return true;
	diag("%zu bytes, expected %zu, first difference at %zu", got_len,
	     want_len, i);
	return false;
}

/* ok(condition, "printf", ...) */
#define ok(good, ...) tap_ok((good), __FILE__, __LINE__, __VA_ARGS__)
#define is_int(got, want, what) \
	tap_is_int((int64_t)(got), (int64_t)(want), __FILE__, __LINE__, what)
#define is_str(got, want, what) tap_is_str(got, want, __FILE__, __LINE__, what)
/* @part occurs in @got */
#define has_str(got, part, what) \
	tap_has_str(got, part, __FILE__, __LINE__, what)
#define is_mem(got, got_len, want, want_len, what) \
	tap_is_mem(got, got_len, want, want_len, __FILE__, __LINE__, what)

/* A test that cannot be made here. */
static inline void skip(const char *what, const char *why)
{
	if (getenv("TAP_SKIP_OK"))
		printf("ok %u - %s # SKIP %s\n", ++tap.run, what, why);
	else
		ok(false, "%s (cannot run: %s)", what, why);
	fflush(stdout);
}

/* Give up the whole program. */
static inline void __attribute__((noreturn, format(printf, 1, 2)))
bail(const char *fmt, ...)
{
	va_list ap;

	printf("Bail out! ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	exit(255);
}

/* The plan, and the exit status. */
static inline int tap_done(void)
{
	printf("1..%u\n", tap.run);
	return tap.failed || fflush(stdout) != 0 ? 1 : 0;
}

#endif
