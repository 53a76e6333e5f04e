/* SPDX-License-Identifier: MIT
 *
 * The error object that library code fills and programs print.
 *
 * A library function that can fail returns 0 (or a descriptor) on success and
 * a negative errno on failure, and describes the failure in the caller's
 * struct err: what went wrong, with which value, what was expected; and, for
 * the few failures that people really meet, what to do about it.  Every
 * function here accepts a NULL object, for callers that want only the number.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <errno.h>

struct err {
	int num;	/* errno of the first cause; 0: nothing failed */
	char text[512]; /* one line, no full stop, no program name */
	char fix[256];	/* one line of advice, or "" */
};

#define ERR_INIT                                \
	{                                       \
		.num = 0, .text = "", .fix = "" \
	}

/* Say what failed.  @num is a positive errno.  Returns -@num. */
int err_set(struct err *e, int num, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The same with ": " and the text of @num behind it.  Returns -@num. */
int err_sys(struct err *e, int num, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Add the remedy to an error that is already set.  Returns -e->num. */
int err_fix(struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Put "context: " before the text of an error that is already set.
 * Returns -e->num. */
int err_in(struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* A stranger has had a part in the text, which ends on somebody's terminal:
 * control characters in it become '?'. */
void err_plain(struct err *e);

#endif
